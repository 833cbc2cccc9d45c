"""Recordings from their upload to their verified copy, and to the deletion of the original."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from roomkeeper.domain.copies import Copy
from roomkeeper.domain.recordings import Recording
from roomkeeper.handlers import cleanup, copying, management_api
from roomkeeper.store import Store
from tests.integration.test_job_functions import ENVIRONMENT, Invocation
from tests.support.env import TABLE, Env, an_upload

NOW = datetime.now(UTC)
BUCKET = "copies"


@pytest.fixture(autouse=True)
def queue(env: Env, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return the queue of a stack that copies recordings."""
    s3 = boto3.client("s3", region_name="eu-west-1")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    found = boto3.resource("sqs", region_name="eu-west-1").create_queue(QueueName="copies")
    variables = ENVIRONMENT | {
        "VONAGE_BASE_URL": env.vonage.api_url,
        "COPY_RECORDINGS": "true",
        "COPY_BUCKET": BUCKET,
        "COPY_QUEUE_URL": found.url,
        "COPY_STORAGE_CLASS": "STANDARD",
        "COPY_DAYS": "0",
        "EVENT_DAYS": "30",
        "NO_PROXY": "127.0.0.1,localhost",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    boto3.client("secretsmanager").create_secret(
        Name="vonage", SecretString=json.dumps({"api_key": "key", "api_secret": "secret"})
    )
    for cached in (management_api._settings, management_api._store, management_api._copies):
        cached.cache_clear()
    management_api._vonage_client.cache_clear()
    yield found
    for cached in (management_api._settings, management_api._store, management_api._copies):
        cached.cache_clear()
    management_api._vonage_client.cache_clear()


@pytest.fixture
def store(env: Env) -> Store:
    """A store of a stack that copies recordings."""
    return Store(env.dynamodb, TABLE, deleted_days=90, copies=True)


def uploaded(env: Env, store: Store, at: datetime = NOW, **more: Any) -> str:
    """Return the id of a recording whose upload was received at that time."""
    [recording_id] = env.vonage.add_recordings(1, **more)["recording_ids"]
    store.apply(an_upload(recording_id), at)
    return str(recording_id)


def known(store: Store, recording_id: str) -> Recording:
    recording = store.recordings.get(recording_id)
    assert recording is not None
    return recording


def message(recording_id: str, delivery: int = 1) -> dict[str, Any]:
    return {
        "Records": [
            {
                "messageId": "1",
                "receiptHandle": "handle",
                "body": json.dumps(recording_id),
                "attributes": {"ApproximateReceiveCount": str(delivery)},
                "eventSource": "aws:sqs",
            }
        ]
    }


def copy(recording_id: str) -> None:
    assert copying.handler(message(recording_id), Invocation()) == {"batchItemFailures": []}


def test_an_uploaded_recording_awaits_its_copy_where_the_cleanup_does_not_look(
    env: Env, store: Store
) -> None:
    recording_id = uploaded(env, store, NOW - timedelta(days=100))
    assert (known(store, recording_id).worklist or "").startswith("awaiting_copy#")
    report = cleanup.handler({}, Invocation())
    assert (report["due"], report["deleted"]) == (0, 0)
    copy(recording_id)
    assert (known(store, recording_id).worklist or "").startswith("confirmed#")
    assert cleanup.handler({}, Invocation())["deleted"] == 1


def test_a_copy_is_the_file_and_is_announced_once(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store)
    before = known(store, recording_id)
    copy(recording_id)
    made = known(store, recording_id).copy
    assert isinstance(made, Copy)
    assert made.key.endswith(f"/{recording_id}.mp4")
    stored = boto3.client("s3").get_object(Bucket=BUCKET, Key=made.key)["Body"].read()
    assert len(stored) == made.size
    after = known(store, recording_id)
    assert after.seen - before.seen == {"recording:copied"}
    assert after.copy_claimed_until is None
    copy(recording_id)
    assert known(store, recording_id) == after
