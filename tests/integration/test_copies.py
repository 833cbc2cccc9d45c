"""Recordings from their upload to their verified copy, and to the deletion of the original."""

import json
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import msgspec
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders

from local.testing.builders import a_record
from local.vonage.video.projects import APPLICATION_ID
from roomkeeper.aws import AwsError, copy_queue
from roomkeeper.aws.bucket import Bucket
from roomkeeper.callbacks.meetings import parse
from roomkeeper.domain.copies import Copy
from roomkeeper.domain.recordings import Recording, WorklistEntry
from roomkeeper.handlers import cleanup, copying, management_api
from roomkeeper.jobs.batch import BatchIncomplete
from roomkeeper.store import Store, lost_uncopied
from roomkeeper.store.copies import CopyStore
from roomkeeper.store.recordings import RecordingStore
from roomkeeper.vonage.meetings.client import MeetingsClient
from tests.integration.test_job_functions import ENVIRONMENT, Invocation
from tests.support.env import TABLE, Env, an_upload, json_bytes
from tests.support.management import a_request_for

NOW = datetime.now(UTC)
BUCKET = "copies"


def forget_environment() -> None:
    """Clear the caches of the management API's function."""
    kept = management_api
    for cached in (kept._settings, kept._dynamodb, kept._s3, kept._sqs, kept._vonage_client):
        cached.cache_clear()


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
        "SERVED_PRODUCTS": "meetings",
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
    forget_environment()
    yield found
    forget_environment()


@pytest.fixture
def store(env: Env) -> Store:
    """A store of a stack that copies recordings."""
    return Store(env.dynamodb, TABLE, deleted_days=90, copies=True)


def uploaded(env: Env, store: Store, at: datetime = NOW, **more: Any) -> str:
    """Return the id of a recording whose upload was received at that time."""
    [recording_id] = env.vonage.add_recordings(1, **more)["recording_ids"]
    store.apply(parse(json_bytes(an_upload(recording_id))), at)
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


def test_late_repetitions_of_the_upload_change_nothing(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store)
    copy(recording_id)
    after = known(store, recording_id)
    assert not store.apply(parse(json_bytes(an_upload(recording_id))), NOW + timedelta(hours=1))
    assert known(store, recording_id) == after


def test_the_item_of_a_copied_recording_outlives_the_original(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store, NOW - timedelta(days=100))
    copy(recording_id)
    cleanup.handler({}, Invocation())
    assert known(store, recording_id).deleted_at
    assert known(store, recording_id).copied_at
    assert env.item(f"RECORDING#{recording_id}")["ttl"] == {"NULL": True}


def test_with_a_retention_the_item_expires_after_the_copy(
    env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPY_DAYS", "365")
    recording_id = uploaded(env, store, NOW - timedelta(days=100))
    copy(recording_id)
    cleanup.handler({}, Invocation())
    expected = (NOW + timedelta(days=365 + 90)).timestamp()
    found = int(env.item(f"RECORDING#{recording_id}")["ttl"]["N"])
    assert expected <= found < expected + 600


def test_recordings_from_before_copying_was_switched_on_are_queued_once(
    env: Env, store: Store, queue: Any
) -> None:
    before = Store(env.dynamodb, TABLE, deleted_days=90)
    recording_id = uploaded(env, before, NOW - timedelta(days=2))
    report = copying.handler({"dry_run": True}, Invocation())
    assert report["would_copy"] == 1
    assert report["bytes"] == int(report["planned"][0]["bytes"]) > 0
    assert (known(store, recording_id).worklist or "").startswith("retained#")

    assert copying.handler({}, Invocation())["queued"] == 1
    assert [each.body for each in queue.receive_messages()] == [json.dumps(recording_id)]
    assert (known(store, recording_id).worklist or "").startswith("awaiting_copy#")
    assert known(store, recording_id).since == known(store, recording_id).uploaded_at
    copy(recording_id)
    assert copying.handler({}, Invocation())["queued"] == 0
    assert store.copies.swept_until()


@pytest.mark.parametrize("copied_from_the_start", [True, False])
def test_recordings_that_a_full_queue_does_not_take_are_counted_before_vonage_deletes_them(
    copied_from_the_start: bool, env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_then = Store(env.dynamodb, TABLE, deleted_days=90, copies=copied_from_the_start)
    for id_, hours in (("urgent", 70), ("later", 30)):
        upload = msgspec.structs.replace(
            parse(json_bytes(an_upload(id_))), expires_at=NOW + timedelta(hours=72 - hours)
        )
        of_then.apply(upload, NOW - timedelta(hours=hours))
    monkeypatch.setattr(copy_queue, "MAX_WAITING", 0)
    report = copying.handler({}, Invocation())
    assert (report["queued"], report["expiring_uncopied"]) == (0, 1)
    assert report["oldest_waiting_seconds"] >= timedelta(hours=70).total_seconds()
    assert store.copies.swept_until() is None


@pytest.mark.parametrize("worklist", ["retained", "confirmed"])
def test_what_the_cleanup_had_deferred_before_copying_was_switched_on_is_queued(
    worklist: str, env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = Store(env.dynamodb, TABLE, deleted_days=90)
    recording_id = uploaded(env, before, NOW - timedelta(days=2))
    if worklist == "confirmed":
        before.recordings.confirm(known(before, recording_id), NOW)
    recording = known(before, recording_id)
    assert recording.since
    entry = WorklistEntry("recording", recording_id, recording.since, recording.worklist or "")
    an_hour_ago, delay = NOW - timedelta(hours=1), timedelta(minutes=30)
    assert before.worklists.defer(entry, an_hour_ago, lambda _: delay, confirmed=False)
    assert (known(store, recording_id).worklist or "").startswith(f"deferred_{worklist}#")

    monkeypatch.setenv("RETENTION_DAYS", "0")
    assert copying.handler({}, Invocation())["queued"] == 1
    assert (known(store, recording_id).worklist or "").startswith("awaiting_copy#")
    assert known(store, recording_id).since == recording.uploaded_at
    copy(recording_id)
    assert known(store, recording_id).copied_at


def test_the_cleanup_returns_recordings_without_a_copy_to_their_worklist(
    env: Env, store: Store
) -> None:
    before = Store(env.dynamodb, TABLE, deleted_days=90)
    recording_id = uploaded(env, before, NOW - timedelta(days=100))
    report = cleanup.handler({}, Invocation())
    assert (report["deleted"], report["not_copied_yet"]) == (0, 1)
    assert (known(store, recording_id).worklist or "").startswith("awaiting_copy#")
    assert "DELETE" not in {each["method"] for each in env.vonage.requests()}


def test_a_copy_of_before_that_fails_after_the_sweep_has_passed_is_tried_again(
    env: Env, store: Store
) -> None:
    before = Store(env.dynamodb, TABLE, deleted_days=90)
    before.apply(parse(json_bytes(an_upload("young"))), NOW - timedelta(hours=20))
    assert store.copies.claim("young", "other", NOW + timedelta(minutes=15), NOW)
    assert copying.handler({}, Invocation())["in_progress"] == 1
    assert store.copies.swept_until()
    assert store.copies.release("young", "other")  # the copy failed
    assert copying.handler({}, Invocation())["queued"] == 1


@pytest.mark.parametrize("copied_from_the_start", [True, False])
def test_recordings_of_a_product_that_cannot_be_called_wait_and_keep_no_place_in_the_queue(
    copied_from_the_start: bool, env: Env, store: Store, queue: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_then = Store(env.dynamodb, TABLE, deleted_days=90, copies=copied_from_the_start)
    upload = msgspec.structs.replace(parse(json_bytes(an_upload("other"))), product="video")
    expiring = msgspec.structs.replace(upload, expires_at=NOW + timedelta(hours=1))
    of_then.apply(expiring, NOW - timedelta(hours=60))
    recording_id = uploaded(env, store, NOW - timedelta(hours=50))
    monkeypatch.setattr(copy_queue, "MAX_WAITING", 1 if copied_from_the_start else 2)
    for _ in range(2):
        report = copying.handler({}, Invocation())
        assert (report["queued"], report["failed"], report["expiring_uncopied"]) == (1, 0, 1)
        assert [each.body for each in queue.receive_messages()] == [json.dumps(recording_id)]
    assert (known(store, "other").worklist or "").startswith("awaiting_copy#")


def test_a_recording_that_expired_meanwhile_is_not_queued_again(env: Env, store: Store) -> None:
    before = Store(env.dynamodb, TABLE, deleted_days=90)
    recording_id = uploaded(env, before, NOW - timedelta(days=100))
    upload = parse(json_bytes(an_upload(recording_id)))
    store.apply(msgspec.structs.replace(upload, event="recording:expired"), NOW)
    assert not store.copies.queue(known(store, recording_id))
    assert (known(store, recording_id).worklist or "").startswith("closed#")


def test_a_dry_run_stops_asking_when_vonage_refuses_the_credentials(env: Env, store: Store) -> None:
    for _ in range(20):
        uploaded(env, store, NOW - timedelta(hours=1))
    env.vonage.fault("get_recording", status=401, times=20)
    run = {"dry_run": True}
    with pytest.raises(BatchIncomplete):
        copying.handler(run, Invocation())
    asked = [each for each in env.vonage.requests() if each["method"] == "GET"]
    assert len(asked) < 20


def test_with_copying_off_the_cleanup_deletes_what_awaited_a_copy(
    env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploaded(env, store, NOW - timedelta(days=100))
    monkeypatch.setenv("COPY_RECORDINGS", "false")
    assert cleanup.handler({}, Invocation())["deleted"] == 1


def test_a_recording_that_another_invocation_copies_is_skipped(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store)
    assert store.copies.claim(recording_id, "other", NOW + timedelta(minutes=15), NOW)
    copy(recording_id)
    assert known(store, recording_id).copied_at is None


def test_the_claim_of_a_killed_invocation_ends_by_itself(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store)
    ended = NOW - timedelta(seconds=1)
    assert store.copies.claim(recording_id, "killed", ended, NOW - timedelta(minutes=15))
    copy(recording_id)
    assert known(store, recording_id).copied_at


def test_a_claim_is_made_although_the_response_to_its_first_attempt_was_lost(
    env: Env, store: Store
) -> None:
    recording_id, until = uploaded(env, store), NOW + timedelta(minutes=15)
    assert store.copies.claim(recording_id, "ours", until, NOW)
    assert store.copies.claim(recording_id, "ours", until, NOW)
    assert not store.copies.claim(recording_id, "another", until, NOW)


def test_a_copy_is_counted_although_the_response_to_its_record_was_lost(
    env: Env, store: Store
) -> None:
    recording_id = uploaded(env, store)
    before = known(store, recording_id)
    copy(recording_id)
    made = known(store, recording_id).copy
    assert made is not None
    assert store.copies.mark_copied(before, "ours", made, None, NOW)
    later = msgspec.structs.replace(made, copied_at=NOW + timedelta(hours=1))
    assert not store.copies.mark_copied(before, "another", later, None, NOW)


def test_a_copy_confirms_its_recording_also_if_that_expired_meanwhile(
    env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    upload = parse(json_bytes(an_upload(recording_id)))
    expired = msgspec.structs.replace(upload, event="recording:expired")
    around(monkeypatch, CopyStore, "mark_copied", lambda: store.apply(expired, NOW), is_after=False)
    copy(recording_id)
    assert known(store, recording_id).copied_at
    assert known(store, recording_id).status == "expired"
    assert known(store, recording_id).confirmed_at


def test_a_stored_recording_needs_no_copy(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store)
    stored = parse(json_bytes(an_upload(recording_id)))
    store.apply(msgspec.structs.replace(stored, event="recording:stored"), NOW)
    copy(recording_id)
    assert (known(store, recording_id).worklist or "").startswith("retained#")
    assert known(store, recording_id).copy is None


def test_a_recording_that_vonage_does_not_have_is_tried_again_and_then_gone(
    env: Env, store: Store
) -> None:
    store.apply(parse(json_bytes(an_upload("young"))), NOW)
    store.apply(parse(json_bytes(an_upload("old"))), NOW - timedelta(days=2))
    copy("young")
    copy("old")
    assert (known(store, "young").worklist or "").startswith("deferred_awaiting_copy#")
    assert known(store, "old").deleted_by == "vonage"


def test_a_recording_whose_file_vonage_offers_is_confirmed_although_its_copy_fails(
    env: Env, store: Store
) -> None:
    """So `make purge` leaves it alone: a forged recording has no file."""
    recording_id, refused = uploaded(env, store), uploaded(env, store)
    env.vonage.fault("download", status=302, location="https://elsewhere.example/")
    copy(recording_id)
    env.vonage.fault("get_recording", status=403)
    copy(refused)
    for each, is_confirmed in ((recording_id, True), (refused, False)):
        assert (known(store, each).worklist or "").startswith("deferred_awaiting_copy#")
        assert bool(known(store, each).confirmed_at) is is_confirmed


def test_a_recording_that_failed_at_vonage_after_its_upload_is_settled_and_counted(
    env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    before = env.item(f"RECORDING#{recording_id}")
    upload = parse(json_bytes(an_upload(recording_id)))
    failed = msgspec.structs.replace(upload, event="recording:failed")
    monkeypatch.setattr(MeetingsClient, "download", lambda *_: None)
    monkeypatch.setattr(MeetingsClient, "get", lambda *_: failed)
    copy(recording_id)
    assert known(store, recording_id).status == "failed"
    assert (known(store, recording_id).worklist or "").startswith("closed#")
    record = a_record(env.item(f"RECORDING#{recording_id}"), before)
    assert lost_uncopied(record) == recording_id
    requests = len(env.vonage.requests())
    assert copying.handler({}, Invocation())["due"] == 0
    copy(recording_id)
    assert len(env.vonage.requests()) == requests


def test_a_copy_that_keeps_failing_is_tried_again_well_before_the_file_is_deleted(
    env: Env, store: Store
) -> None:
    store.apply(parse(json_bytes(an_upload("young"))), NOW)
    for _ in range(8):
        copy("young")
    next_attempt = known(store, "young").since
    assert next_attempt
    assert next_attempt <= datetime.now(UTC) + timedelta(hours=6)


def test_after_a_failure_of_vonage_the_queue_and_then_the_sweep_retry(
    env: Env, store: Store
) -> None:
    recording_id = uploaded(env, store)
    env.vonage.fault("get_recording", status=500)
    first = copying.handler(message(recording_id), Invocation())
    assert first == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert copying.handler(message(recording_id, 3), Invocation()) == {"batchItemFailures": []}
    assert (known(store, recording_id).worklist or "").startswith("awaiting_copy#")
    assert known(store, recording_id).copy_claimed_until is None


def test_while_a_products_credentials_cannot_be_read_the_queue_retries(
    env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    key = env.vonage.video.credentials()["private_key"]
    video = {"application_id": APPLICATION_ID, "private_key": key}
    secrets = boto3.client("secretsmanager")
    secrets.create_secret(Name="video", SecretString=json.dumps(video))
    secrets.delete_secret(SecretId="vonage")
    monkeypatch.setenv("SERVED_PRODUCTS", "both")
    monkeypatch.setenv("VIDEO_SECRET_ARN", "video")
    monkeypatch.setenv("VIDEO_BASE_URL", env.vonage.api_url)
    before = known(store, recording_id)
    first = copying.handler(message(recording_id), Invocation())
    assert first == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert known(store, recording_id) == before  # it was not deferred


def call(method: str, path: str, query: dict[str, str] | None = None) -> tuple[int, Any]:
    """Call the management API."""
    _, _, id_, *rest = path.split("/")
    route = "/".join([f"{method} /recordings/{{recording_id}}", *rest])
    body = {"reason": "a lawsuit"} if method == "PUT" else None
    request = a_request_for(route, id_, body=body, **(query or {}))
    response = management_api.handler(request, Invocation())
    return response["statusCode"], json.loads(response.get("body") or "null")


def test_the_management_api_serves_the_copy(env: Env, store: Store, queue: Any) -> None:
    recording_id = uploaded(env, store)
    assert call("GET", f"/recordings/{recording_id}/file")[0] == 404
    assert call("POST", f"/recordings/{recording_id}/copy")[0] == 202
    assert [each.body for each in queue.receive_messages()] == [json.dumps(recording_id)]
    copy(recording_id)
    status, shown = call("POST", f"/recordings/{recording_id}/copy")
    assert (status, shown["copy"]["bucket"]) == (200, BUCKET)
    assert call("GET", f"/recordings/{recording_id}")[1]["copy"] == shown["copy"]
    status, file = call("GET", f"/recordings/{recording_id}/file")
    assert status == 200
    assert "X-Amz-Signature=" in file["url"]
    assert file["size"] == shown["copy"]["size"]


def test_a_deletion_keeps_the_copy_unless_it_is_to_be_deleted(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store)
    copy(recording_id)
    made = known(store, recording_id).copy
    assert made is not None
    path = f"/recordings/{recording_id}"
    assert call("DELETE", path) == (200, {"recording_id": recording_id, "copy": "kept"})
    assert call("DELETE", path, {"copy": "burn"})[0] == 400
    deleted = {"recording_id": recording_id, "copy": "deleted"}
    assert call("DELETE", path, {"copy": "delete"}) == (200, deleted)
    assert boto3.client("s3").list_object_versions(Bucket=BUCKET).get("Versions", []) == []
    assert known(store, recording_id).copy is None
    assert "N" in env.item(f"RECORDING#{recording_id}")["ttl"]
    assert call("DELETE", path, {"copy": "delete"})[0] == 204
    copy(recording_id)
    assert known(store, recording_id).copy is None


def test_a_hold_holds_the_copy_too(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store)
    copy(recording_id)
    path = f"/recordings/{recording_id}"
    assert call("DELETE", path)[0] == 200
    assert tag(store, recording_id) == "limited"
    assert call("PUT", f"{path}/hold")[0] == 200
    assert tag(store, recording_id) == "on-hold"
    assert call("DELETE", path, {"copy": "delete"})[0] == 409
    assert call("DELETE", f"{path}/hold")[0] == 204
    assert tag(store, recording_id) == "limited"
    assert call("DELETE", path, {"copy": "delete"})[0] == 200


def without_permission(monkeypatch: pytest.MonkeyPatch, *also: str) -> None:
    """Have S3 respond as to a role that may not do what it asks for, or not see what is missing."""
    refusing(monkeypatch, 403, "AccessDenied", "PutObjectTagging", *also)


def refusing(monkeypatch: pytest.MonkeyPatch, status: int, code: str, *operations: str) -> None:
    """Have S3 refuse operations."""
    make = boto3.client

    def client(service: str, *arguments: Any, **more: Any) -> Any:
        made = make(service, *arguments, **more)  # type: ignore[call-overload]
        for name in operations if service == "s3" else ():
            made.meta.events.register(f"before-call.s3.{name}", refused)
        return made

    def refused(**_: Any) -> Any:
        response = AWSResponse("", status, HTTPHeaders(), None)
        error = {"Code": code, "Message": "Refused"}
        metadata = {"HTTPStatusCode": status, "RequestId": "an-id"}
        return response, {"Error": error, "ResponseMetadata": metadata}

    monkeypatch.setattr(boto3, "client", client)
    forget_environment()


@pytest.mark.parametrize("has_version", [True, False])
def test_a_hold_does_not_fail_because_the_copy_is_gone_from_the_bucket(
    has_version: bool, env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 responds 403 for what is missing to callers who may not list the bucket."""
    recording_id = uploaded(env, store)
    copy(recording_id)
    made = known(store, recording_id).copy
    assert made is not None
    if not has_version:
        forget_version(env, recording_id)
    boto3.client("s3").delete_object(Bucket=BUCKET, Key=made.key, VersionId=made.version_id)
    boto3.client("s3").put_object(Bucket=BUCKET, Key=f"{made.key}.another")
    path = f"/recordings/{recording_id}"
    without_permission(monkeypatch)
    assert call("PUT", f"{path}/hold")[0] == 200
    copy(recording_id)
    assert call("DELETE", f"{path}/hold")[0] == 204
    without_permission(monkeypatch, "ListObjectVersions")
    assert call("PUT", f"{path}/hold")[0] == 503


def test_a_hold_does_not_fail_because_the_copy_has_a_delete_marker(
    env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3 responds 405 for it, if the bucket got its versioning after the copy."""
    recording_id = uploaded(env, store)
    copy(recording_id)
    forget_version(env, recording_id)
    refusing(monkeypatch, 405, "MethodNotAllowed", "PutObjectTagging")
    assert call("PUT", f"/recordings/{recording_id}/hold")[0] == 200


@pytest.mark.parametrize("has_version", [True, False])
def test_a_hold_fails_if_the_copy_is_there_and_the_permission_is_missing(
    has_version: bool, env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    copy(recording_id)
    if not has_version:
        forget_version(env, recording_id)
    without_permission(monkeypatch)
    assert call("PUT", f"/recordings/{recording_id}/hold")[0] == 503


def forget_version(env: Env, recording_id: str) -> None:
    """Change a copy's item as in a bucket without versioning."""
    env.dynamodb.update_item(
        TableName=TABLE,
        Key={"pk": {"S": f"RECORDING#{recording_id}"}},
        UpdateExpression="REMOVE #copy.version_id",
        ExpressionAttributeNames={"#copy": "copy"},
    )


@pytest.fixture
def kept(env: Env, store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """The id of a recording whose copy is in the bucket of before, which another one replaced."""
    recording_id = uploaded(env, store)
    copy(recording_id)
    assert call("DELETE", f"/recordings/{recording_id}")[0] == 200
    boto3.client("s3").create_bucket(
        Bucket="another", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    monkeypatch.setenv("COPY_BUCKET", "another")
    forget_environment()
    return recording_id


def test_a_copy_in_an_earlier_bucket_is_not_served_from_the_present_one(kept: str) -> None:
    status, body = call("GET", f"/recordings/{kept}/file")
    assert (status, body["error"]["code"]) == (409, "copy_out_of_reach")
    assert f"CopyBucket={BUCKET}" in body["error"]["message"]


def test_a_copy_in_an_earlier_bucket_does_not_count_as_deleted(kept: str, store: Store) -> None:
    assert call("DELETE", f"/recordings/{kept}", {"copy": "delete"})[0] == 409
    assert len(versions()) == 1
    assert known(store, kept).copied_at


@pytest.mark.parametrize("is_off", [False, True])
def test_a_hold_that_does_not_reach_the_copy_is_recorded_and_says_so(
    is_off: bool, kept: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_off:
        monkeypatch.setenv("COPY_RECORDINGS", "false")
        monkeypatch.setenv("COPY_BUCKET", "")
        forget_environment()
    status, body = call("PUT", f"/recordings/{kept}/hold")
    assert (status, body["error"]["code"]) == (409, "copy_out_of_reach")
    assert f"CopyBucket={BUCKET}" in body["error"]["message"]
    assert known(store, kept).hold
    assert tag(store, kept) == "limited"

    assert call("DELETE", f"/recordings/{kept}/hold")[0] == 409
    assert known(store, kept).hold is None


def test_a_delivery_leaves_a_copy_in_an_earlier_bucket_alone(kept: str, store: Store) -> None:
    store.recordings.hold(kept, "a reason", "somebody", NOW)
    copy(kept)
    assert tag(store, kept) == "limited"


DELETION: Sequence[tuple[type, str]] = (
    (MeetingsClient, "delete"),
    (RecordingStore, "mark_deleted"),
    (CopyStore, "start_deletion"),
    (Bucket, "delete"),
    (CopyStore, "finish_deletion"),
)
"""The steps of a deletion with its copy."""


@pytest.mark.parametrize(
    ("owner", "step", "is_after"),
    [*((*each, False) for each in DELETION), (*DELETION[-1], True)],
)
def test_a_hold_that_is_accepted_at_any_moment_of_a_deletion_keeps_the_copy(
    owner: type, step: str, is_after: bool, env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    copy(recording_id)
    path, held = f"/recordings/{recording_id}", list[int]()

    def hold() -> None:
        held.append(call("PUT", f"{path}/hold")[0])

    around(monkeypatch, owner, step, hold, is_after=is_after)
    status, _ = call("DELETE", path, {"copy": "delete"})
    monkeypatch.undo()
    assert (held, status) in [([200], 409), ([409], 200)]
    is_held = held == [200]
    assert is_held == (DELETION.index((owner, step)) + is_after < 3)
    assert bool(versions()) == is_held
    assert (known(store, recording_id).copy is not None) == is_held
    assert (known(store, recording_id).copied_at is not None) == is_held
    assert (known(store, recording_id).hold is not None) == is_held


@pytest.mark.parametrize("is_after", [False, True])
@pytest.mark.parametrize(("owner", "step"), DELETION)
def test_an_interrupted_deletion_is_finished_by_its_repetition(
    owner: type, step: str, is_after: bool, env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    copy(recording_id)
    path = f"/recordings/{recording_id}"

    def fail() -> None:
        raise AwsError("InternalError", "a failure", "", True)

    around(monkeypatch, owner, step, fail, is_after=is_after)
    assert call("DELETE", path, {"copy": "delete"})[0] == 503
    monkeypatch.undo()
    is_over = (owner, step, is_after) == (*DELETION[-1], True)
    assert call("DELETE", path, {"copy": "delete"})[0] == (204 if is_over else 200)
    assert versions() == []
    assert known(store, recording_id).copy is None
    assert "N" in env.item(f"RECORDING#{recording_id}")["ttl"]


class Killed(BaseException):
    """The end of an invocation at any moment."""


@pytest.fixture
def unrecorded(env: Env, store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the id of a recording whose copier was killed after S3 had made the object."""
    recording_id = uploaded(env, store)

    def kill() -> None:
        raise Killed

    with monkeypatch.context() as during:
        around(during, CopyStore, "mark_copied", kill, is_after=False)
        with pytest.raises(Killed):
            copy(recording_id)
    assert len(versions()) == 1
    return recording_id


def test_a_copy_whose_copier_was_killed_before_it_recorded_it_is_deleted_on_request(
    unrecorded: str, store: Store
) -> None:
    path = f"/recordings/{unrecorded}"
    deleted = {"recording_id": unrecorded, "copy": "deleted"}
    assert call("DELETE", path, {"copy": "delete"}) == (200, deleted)
    assert versions() == []
    copy(unrecorded)
    assert known(store, unrecorded).copied_at is None
    assert call("DELETE", path, {"copy": "delete"}) == (204, None)


def test_a_copy_whose_copier_was_killed_is_recorded_although_the_original_is_deleted(
    unrecorded: str, store: Store, env: Env
) -> None:
    path = f"/recordings/{unrecorded}"
    assert call("DELETE", path) == (204, None)
    copy(unrecorded)
    assert "recording:copied" in known(store, unrecorded).seen
    assert "N" not in env.item(f"RECORDING#{unrecorded}")["ttl"]
    assert call("GET", f"{path}/file")[0] == 200


def test_no_copy_is_made_of_a_deleted_recording_although_vonage_still_offers_its_file(
    unrecorded: str, store: Store
) -> None:
    made = known(store, unrecorded).copy
    assert made is not None
    assert store.recordings.mark_deleted(unrecorded, "management", NOW)
    assert Bucket(BUCKET).delete_matching(made.key, made.s3_checksum or "")
    copy(unrecorded)
    assert versions() == []
    assert known(store, unrecorded).copied_at is None


def test_an_object_that_is_no_copy_is_not_deleted_with_the_recording(
    unrecorded: str, store: Store
) -> None:
    made = known(store, unrecorded).copy
    assert made is not None
    [version] = versions()
    s3 = boto3.client("s3")
    s3.delete_object(Bucket=BUCKET, Key=made.key, VersionId=version["VersionId"])
    s3.put_object(Bucket=BUCKET, Key=made.key, Body=b"another", ChecksumAlgorithm="SHA256")
    assert call("DELETE", f"/recordings/{unrecorded}", {"copy": "delete"}) == (204, None)
    assert len(versions()) == 1


def test_a_copy_whose_deletion_has_started_is_not_served(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store)
    copy(recording_id)
    path = f"/recordings/{recording_id}"
    assert call("DELETE", path)[0] == 200
    assert store.copies.start_deletion(recording_id, NOW)
    assert call("GET", f"{path}/file")[0] == 404
    assert call("GET", path)[1]["copy"] is None
    assert call("DELETE", path) == (204, None)
    assert call("PUT", f"{path}/hold")[0] == 409


def around(
    monkeypatch: pytest.MonkeyPatch,
    owner: type,
    name: str,
    act: Callable[[], object],
    *,
    is_after: bool,
) -> None:
    """Have `act` called before or after a method."""
    method = getattr(owner, name)

    def call_both(*arguments: Any, **more: Any) -> Any:
        if not is_after:
            act()
        result = method(*arguments, **more)
        if is_after:
            act()
        return result

    monkeypatch.setattr(owner, name, call_both)


def versions() -> list[Any]:
    """Return all versions of all objects of the bucket."""
    found = boto3.client("s3").list_object_versions(Bucket=BUCKET)
    return list(found.get("Versions", []))


def test_a_hold_from_before_the_copy_holds_it_too(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store)
    store.recordings.hold(recording_id, "a reason", "somebody", NOW)
    copy(recording_id)
    assert tag(store, recording_id) == "on-hold"


def test_a_hold_during_a_copy_is_applied_by_the_next_delivery(env: Env, store: Store) -> None:
    recording_id = uploaded(env, store)
    copy(recording_id)
    store.recordings.hold(recording_id, "a reason", "somebody", NOW)
    assert tag(store, recording_id) == "limited"
    copy(recording_id)
    assert tag(store, recording_id) == "on-hold"


@pytest.mark.parametrize("held_first", [True, False])
@pytest.mark.parametrize("event", ["recording:expired", "recording:deleted"])
def test_the_item_of_a_copy_on_hold_stays_until_the_release(
    event: str, held_first: bool, env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COPY_DAYS", "30")
    recording_id = uploaded(env, store)
    path, key = f"/recordings/{recording_id}", f"RECORDING#{recording_id}"
    hold_and_copy = [lambda: call("PUT", f"{path}/hold"), lambda: copy(recording_id)]
    for step in hold_and_copy if held_first else reversed(hold_and_copy):
        step()
    over = msgspec.structs.replace(parse(json_bytes(an_upload(recording_id))), event=event)
    assert store.apply(over, NOW)
    assert "N" not in env.item(key).get("ttl", {})

    assert call("DELETE", f"{path}/hold")[0] == 204
    expected = (NOW + timedelta(days=30 + 90)).timestamp()
    assert expected <= int(env.item(key)["ttl"]["N"]) < expected + 600


@pytest.mark.parametrize("is_after", [False, True])
def test_a_release_during_the_expiry_of_a_recording_gives_its_item_a_ttl(
    is_after: bool, env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    path = f"/recordings/{recording_id}"
    assert call("PUT", f"{path}/hold")[0] == 200
    expired = msgspec.structs.replace(
        parse(json_bytes(an_upload(recording_id))), event="recording:expired"
    )
    around(
        monkeypatch,
        RecordingStore,
        "release",
        lambda: store.apply(expired, NOW),
        is_after=is_after,
    )
    assert call("DELETE", f"{path}/hold")[0] == 204
    assert known(store, recording_id).hold is None
    assert "N" in env.item(f"RECORDING#{recording_id}")["ttl"]


def test_a_release_during_a_copy_keeps_the_item_as_long_as_the_copy(
    env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    path = f"/recordings/{recording_id}"
    assert call("PUT", f"{path}/hold")[0] == 200
    around(monkeypatch, RecordingStore, "release", lambda: copy(recording_id), is_after=False)
    assert call("DELETE", f"{path}/hold")[0] == 204
    assert tag(store, recording_id) == "limited"
    assert call("DELETE", path)[0] == 200
    assert "N" not in env.item(f"RECORDING#{recording_id}")["ttl"]


@pytest.mark.parametrize("is_after", [False, True])
def test_the_latest_of_a_hold_and_a_release_at_the_same_time_decides_about_the_copy(
    is_after: bool, env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    copy(recording_id)
    path = f"/recordings/{recording_id}/hold"
    assert call("PUT", path)[0] == 200
    for method, other, expected in (("DELETE", "PUT", "on-hold"), ("PUT", "DELETE", "limited")):
        with monkeypatch.context() as during:
            once = iter([other])
            act = lambda once=once: [call(each, path) for each in once]  # noqa: E731
            around(during, Bucket, "keep", act, is_after=is_after)
            assert call(method, path)[0] in {200, 204}
        assert tag(store, recording_id) == expected


def test_a_release_leaves_a_hold_that_was_accepted_after_the_request(
    env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    copy(recording_id)
    path = f"/recordings/{recording_id}/hold"
    store.recordings.hold(recording_id, "an earlier lawsuit", "somebody", NOW)
    once = iter(["PUT"])
    act = lambda: [call(each, path) for each in once]  # noqa: E731
    around(monkeypatch, RecordingStore, "release", act, is_after=False)
    assert call("DELETE", path)[0] == 204
    hold = known(store, recording_id).hold
    assert hold is not None
    assert hold.reason == "a lawsuit"
    assert tag(store, recording_id) == "on-hold"


def test_a_release_during_the_delivery_that_applies_a_hold_decides_about_the_copy(
    env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store)
    path = f"/recordings/{recording_id}/hold"
    assert call("PUT", path)[0] == 200
    once = iter(["DELETE"])
    act = lambda: [call(each, path) for each in once]  # noqa: E731
    around(monkeypatch, Bucket, "keep", act, is_after=False)
    copy(recording_id)
    assert known(store, recording_id).hold is None
    assert tag(store, recording_id) == "limited"


def tag(store: Store, recording_id: str) -> str:
    """Return the value of the tag by which the bucket's retention selects objects."""
    made = known(store, recording_id).copy
    assert made is not None
    [found] = boto3.client("s3").get_object_tagging(Bucket=BUCKET, Key=made.key)["TagSet"]
    return str(found["Value"])


class ShortInvocation(Invocation):
    """An invocation with too little time left for another part."""

    def get_remaining_time_in_millis(self) -> int:
        return 60_000


def test_a_long_copy_is_continued_by_the_next_invocation(
    env: Env, store: Store, queue: Any
) -> None:
    recording_id = uploaded(env, store, size=20 * 1024 * 1024)
    assert copying.handler(message(recording_id), ShortInvocation()) == {"batchItemFailures": []}
    started = known(store, recording_id).copy
    assert started is not None
    assert started.upload_id
    assert known(store, recording_id).copied_at is None
    assert known(store, recording_id).copy_claimed_until is None
    assert [each.body for each in queue.receive_messages()] == [json.dumps(recording_id)]
    copy(recording_id)
    made = known(store, recording_id).copy
    assert made is not None
    assert made.started_at == started.started_at
    assert made.size == 20 * 1024 * 1024


def test_the_upload_of_a_recording_that_was_deleted_meanwhile_is_removed(
    env: Env, store: Store
) -> None:
    recording_id = uploaded(env, store, size=20 * 1024 * 1024)
    copying.handler(message(recording_id), ShortInvocation())
    assert call("DELETE", f"/recordings/{recording_id}")[0] == 204
    copy(recording_id)
    assert boto3.client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []


def test_progress_of_an_invocation_that_just_gave_its_claim_back_is_not_lost(
    env: Env, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    recording_id = uploaded(env, store, size=20 * 1024 * 1024)
    claim = CopyStore.claim

    def claim_after_another(*arguments: Any) -> bool:
        monkeypatch.setattr(CopyStore, "claim", claim)
        copying.handler(message(recording_id), ShortInvocation())
        return claim(*arguments)

    monkeypatch.setattr(CopyStore, "claim", claim_after_another)
    copy(recording_id)
    assert known(store, recording_id).copied_at
    assert boto3.client("s3").list_multipart_uploads(Bucket=BUCKET).get("Uploads", []) == []
