"""The job functions as Lambda calls them, with the sample events in events/ and others."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import boto3
import pytest

from roomkeeper.handlers import cleanup, reconciliation
from roomkeeper.jobs.batch import BatchIncomplete
from tests.support.env import TABLE, Env, an_upload

SAMPLES = Path(__file__).parent.parent.parent / "events/functions"
ENVIRONMENT = {
    "TABLE_NAME": TABLE,
    "DRY_RUN": "false",
    "RETENTION_DAYS": "30",
    "DELETED_RECORDING_DAYS": "90",
    "COPY_RECORDINGS": "false",
    "UPLOAD_GRACE_HOURS": "6",
    "HORIZON_HOURS": "96",
    "EXPIRING_NOTICE_HOURS": "12",
    "JOB_CONCURRENCY": "1",  # in moto, other threads may see a partly written item
    "JOB_RATE_PER_SECOND": "1000",
    "JOB_CONSECUTIVE_FAILURES": "20",
    "SERVED_PRODUCTS": "meetings",
    "VONAGE_SECRET_ARN": "vonage",
    "AWS_DEFAULT_REGION": "eu-west-1",
}
NOW = datetime.now(UTC)


class Invocation:
    """The context object that Lambda passes."""

    function_name = "function"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


@pytest.fixture(autouse=True)
def _deployed(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (ENVIRONMENT | {"VONAGE_BASE_URL": env.vonage.api_url}).items():
        monkeypatch.setenv(name, value)
    boto3.client("secretsmanager").create_secret(
        Name="vonage", SecretString=json.dumps({"api_key": "key", "api_secret": "secret"})
    )


def sample(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text())
    return found


def test_a_scheduled_cleanup_reports_all_its_counts(env: Env) -> None:
    deleted, on_hold, unready = env.vonage.add_recordings(3)["recording_ids"]
    env.vonage.add_recordings(1, status="stopped", ids=["unready"])
    for recording_id in (deleted, on_hold, "unready", "gone"):
        env.receive(an_upload(recording_id), NOW - timedelta(days=31))
    env.receive(an_upload(unready), NOW)
    env.store.recordings.hold(on_hold, "a court order", "legal", NOW)

    assert cleanup.handler(sample("recording_cleanup"), Invocation()) == {
        "dry_run": False,
        "due": 4,
        "deleted": 1,
        "record_deleted": 0,
        "already_deleted": 1,
        "not_deletable_yet": 1,
        "would_delete": 0,
        "not_copied_yet": 0,
        "on_hold": 1,
        "deferred": 1,
        "remaining": 0,
        "failed": 0,
        "stopped_by": None,
        "sample_errors": [],
    }


def test_a_retention_of_zero_days_switches_the_cleanup_off(
    env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RETENTION_DAYS", "0")
    env.uploaded(1, NOW - timedelta(days=36_500))

    report = cleanup.handler({}, Invocation())

    assert (report["due"], report["deleted"]) == (0, 0)
    assert env.vonage.requests() == []


def test_a_changed_retention_applies_at_once(env: Env, monkeypatch: pytest.MonkeyPatch) -> None:
    env.uploaded(1, NOW - timedelta(days=8))
    assert cleanup.handler({}, Invocation())["deleted"] == 0
    monkeypatch.setenv("RETENTION_DAYS", "7")

    assert cleanup.handler({}, Invocation())["deleted"] == 1


def test_due_recordings_beyond_the_limit_are_reported_as_remaining(env: Env) -> None:
    env.uploaded(5, NOW - timedelta(days=31))

    report = cleanup.handler({"limit": 2}, Invocation())

    assert (report["due"], report["deleted"], report["remaining"]) == (5, 2, 3)


def test_a_cleanup_deployed_as_a_dry_run_deletes_nothing(
    env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DRY_RUN", "true")
    ids = env.uploaded(2, NOW - timedelta(days=31))

    report = cleanup.handler({}, Invocation())

    assert [each["recording_id"] for each in report["planned"]] == ids
    assert env.left_at_vonage() == set(ids)


def test_a_scheduled_reconciliation_reports_all_its_counts(env: Env) -> None:
    meeting = env.vonage.hold_meeting(recordings=2)
    unannounced = meeting["recording_ids"][1]
    received = [body for body in meeting["callbacks"] if body.get("recording_id") != unannounced]
    env.receive_all(received, NOW - timedelta(hours=7), "recording:uploaded")
    started = {"event": "recording:started", "recording_id": "lost", "session_id": "s"}
    env.receive(started, NOW - timedelta(hours=7))

    assert reconciliation.handler(sample("recording_reconciler"), Invocation()) == {
        "dry_run": False,
        "due": 3,
        "recovered": 1,
        "lost": 1,
        "never_uploaded": 0,
        "waiting": 0,
        "already_resolved": 0,
        "session_checked": 1,
        "scanned": 0,
        "expiring": 0,
        "expired": 0,
        "unrecognized": 0,
        "discovered": 1,
        "deferred": 0,
        "remaining": 0,
        "failed": 0,
        "stopped_by": None,
        "sample_errors": [],
    }


@pytest.mark.parametrize(
    ("app", "name"), [(cleanup, "recording_cleanup"), (reconciliation, "recording_reconciler")]
)
def test_the_sample_event_of_a_run_on_demand_is_a_dry_run(app: ModuleType, name: str) -> None:
    response = app.handler(sample(f"{name}_on_demand"), Invocation())

    assert response["statusCode"] == 200
    assert json.loads(response["body"])["planned"] == []


@pytest.mark.parametrize("app", [cleanup, reconciliation], ids=["cleanup", "reconciliation"])
def test_a_scheduled_run_with_failures_raises_after_its_batch_is_finished(
    app: ModuleType, env: Env
) -> None:
    ids = env.uploaded(3, NOW - timedelta(days=31))
    meeting = env.vonage.hold_meeting(recordings=3)
    env.receive_all(meeting["callbacks"], NOW - timedelta(hours=7), "recording:uploaded")
    env.vonage.fault("*", status=400, times=1)

    with pytest.raises(BatchIncomplete, match="failed 1"):
        app.handler({}, Invocation())

    if app is cleanup:
        assert len(set(ids) & env.left_at_vonage()) == 1
    else:
        assert env.store.worklists.count("awaiting_upload", NOW) <= 1
