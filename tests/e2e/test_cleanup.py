"""The recording cleanup on the deployed stack: what it deletes and keeps, also on failures."""

import json
import threading
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from local import back_dating
from local.clients import jobs as http
from local.testing.template import ROOT
from local.waiting import wait_until
from tests.support import jobs
from tests.support.deployed import WITHIN, Deployed
from tests.support.jobs import DAY, JobFailed

pytestmark = pytest.mark.local_stack

JOB, FUNCTION = "cleanup", "RecordingCleanupName"


@pytest.fixture(autouse=True)
def _without_faults_afterwards(deployed: Deployed) -> Iterator[None]:
    yield
    deployed.vonage.clear_faults()


def at_vonage(deployed: Deployed) -> set[str]:
    return {each["id"] for each in deployed.vonage.recordings() if not each["deleted"]}


def deletions(deployed: Deployed) -> Counter[str]:
    """Return how often Vonage deleted each recording."""
    return Counter(
        request["path"].rpartition("/")[2]
        for request in deployed.vonage.requests()
        if request["operation"] == "delete_recording" and request["status"] == 204
    )


def marked(deployed: Deployed, ids: list[str]) -> set[str]:
    """Return the recordings that are deleted according to the table."""
    known = deployed.store().recordings.get_many(ids)
    return {id_ for id_, recording in known.items() if recording.status == "deleted"}


def deleted_events(deployed: Deployed, ids: list[str], count: int) -> list[dict[str, Any]]:
    def about(events: Any) -> list[dict[str, Any]]:
        return [
            event
            for event in events
            if event["detail-type"] == "recording:deleted"
            and event["detail"]["data"]["recording_id"] in ids
        ]

    return about(deployed.subscriber.wait_for(lambda events: len(about(events)) >= count, WITHIN))


def test_due_recordings_are_deleted_once_but_none_that_is_young_on_hold_or_unknown(
    deployed: Deployed,
) -> None:
    *due, on_hold, young = jobs.uploads(deployed, 12)
    [unknown] = deployed.vonage.add_recordings(1)["recording_ids"]
    back_dating.back_date(deployed.stack, back_dating.recordings([*due, on_hold]), 31 * DAY)
    back_dating.back_date(deployed.stack, back_dating.recordings([young]), 29 * DAY)
    assert deployed.store().recordings.hold(on_hold, "a court order", "legal", datetime.now(UTC))

    report = http.start(deployed.stack, JOB, retention_days=30)

    assert (report["deleted"], report["failed"], report["remaining"]) == (10, 0, 0)
    assert (report["due"], report["on_hold"]) == (11, 1)
    assert {on_hold, young, unknown} <= at_vonage(deployed)
    assert not set(due) & at_vonage(deployed)
    assert marked(deployed, [*due, on_hold, young, unknown]) == set(due)
    events = deleted_events(deployed, due, len(due))
    assert Counter(event["detail"]["data"]["recording_id"] for event in events) == Counter(due)
    schema = json.loads((ROOT / "docs/events/recording-deleted.json").read_text())
    for event in events:
        Draft202012Validator(schema).validate(event["detail"])
        assert event["detail"]["metadata"]["origin"] == "cleanup"

    assert http.start(deployed.stack, JOB, retention_days=30)["deleted"] == 0
    made = deletions(deployed)
    assert all(made[recording_id] == 1 for recording_id in due)


def test_a_dry_run_lists_what_it_would_delete_oldest_first_and_changes_nothing(
    deployed: Deployed,
) -> None:
    ids = jobs.uploads(deployed, 5)
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 40 * DAY)
    items = [deployed.item(f"RECORDING#{recording_id}") for recording_id in ids]

    report = http.start(deployed.stack, JOB, dry_run=True, retention_days=30)

    planned = [each["recording_id"] for each in report["planned"]]
    assert [recording_id for recording_id in planned if recording_id in ids] == ids
    assert (report["dry_run"], report["deleted"]) == (True, 0)
    assert report["would_delete"] == len(planned)
    assert not deletions(deployed).keys() & set(ids)
    assert [deployed.item(f"RECORDING#{recording_id}") for recording_id in ids] == items

    assert http.start(deployed.stack, JOB, retention_days=30, limit=2)["deleted"] == 2
    assert marked(deployed, ids) == set(ids[:2])
    assert http.start(deployed.stack, JOB, retention_days=30)["deleted"] == 3


def test_an_unsigned_request_starts_no_run(deployed: Deployed) -> None:
    assert http.post(deployed.stack, JOB, {}, sign=False).status_code == 403


def test_invalid_options_are_refused_with_the_reason(deployed: Deployed) -> None:
    response = http.post(deployed.stack, JOB, {"retention_days": 0})

    assert response.status_code == 400
    assert response.json()["error"]["code"] == "invalid_request"
    assert "retention_days" in response.json()["error"]["message"]


def test_a_few_runs_delete_everything_although_every_fifth_call_fails(
    deployed: Deployed,
) -> None:
    ids = jobs.uploads(deployed, 150)
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 31 * DAY)
    ways: list[dict[str, Any]] = [
        {"status": 500},
        {"status": 429, "retry_after": 1},
        {"status": 502, "body": "<h1>Bad Gateway</h1>", "after": True},
        {"status": 404, "body": "<h1>Not Found</h1>"},
        {"status": 400},
        {"reset": True},
        {"reset": True, "after": True},
        {"status": 503, "latency": 0.2},
    ]
    for seed, way in enumerate(ways):
        deployed.vonage.fault("*", probability=0.2 / len(ways), seed=seed, **way)

    runs = 0
    while (left := set(ids) - marked(deployed, ids)) and runs < 6:
        runs += 1
        # Recordings for which Vonage returned 400 are deferred for up to a day.
        back_dating.back_date(deployed.stack, back_dating.recordings(left), 31 * DAY)
        with suppress(JobFailed):
            jobs.run(deployed, FUNCTION)
        assert not marked(deployed, ids) & at_vonage(deployed), "marked before it was deleted"

    assert not left, f"{len(left)} are left after {runs} runs"
    assert not set(ids) & at_vonage(deployed)
    made = deletions(deployed)
    assert all(made[recording_id] <= 1 for recording_id in ids)
    events = deleted_events(deployed, ids, len(ids))
    assert Counter(event["detail"]["data"]["recording_id"] for event in events) == Counter(ids)


def test_a_run_with_a_failed_deletion_raises_at_its_end(deployed: Deployed) -> None:
    ids = jobs.uploads(deployed, 3)
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 31 * DAY)
    deployed.vonage.fault("delete_recording", status=400, times=1)

    with pytest.raises(JobFailed, match="deleted 2, failed 1"):
        jobs.run(deployed, FUNCTION)

    [deferred] = set(ids) - marked(deployed, ids)
    assert jobs.run(deployed, FUNCTION)["deleted"] == 0
    # Back-dating ends its deferral.
    back_dating.back_date(deployed.stack, back_dating.recordings([deferred]), DAY)
    assert jobs.run(deployed, FUNCTION)["deleted"] == 1


def test_a_run_that_is_killed_is_completed_by_the_next(deployed: Deployed) -> None:
    ids = jobs.uploads(deployed, 40)
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 31 * DAY)
    deployed.vonage.fault("delete_recording", latency=0.5)
    ended: list[object] = []

    def start() -> None:
        try:
            ended.append(jobs.run(deployed, FUNCTION))
        except JobFailed as failed:
            ended.append(failed)

    killed = threading.Thread(target=start)
    killed.start()
    assert wait_until(lambda: len(set(ids) & at_vonage(deployed)) < len(ids), WITHIN, interval=0.2)
    jobs.kill_worker(deployed, FUNCTION)
    killed.join(WITHIN)
    assert isinstance(ended[0], JobFailed)
    gone = set(ids) - at_vonage(deployed)
    assert 0 < len(gone) < len(ids)
    deployed.vonage.clear_faults()

    jobs.run(deployed, FUNCTION)

    assert marked(deployed, ids) == set(ids)
    assert not set(ids) & at_vonage(deployed)
    events = deleted_events(deployed, ids, len(ids))
    assert Counter(event["detail"]["data"]["recording_id"] for event in events) == Counter(ids)


def test_without_stored_credentials_a_run_does_nothing_and_a_request_gets_an_error(
    deployed: Deployed,
) -> None:
    secrets = ("VonageSecretArn", "VideoSecretArn")
    stored = {name: deployed.stack.secret(name) for name in secrets}
    for name, content in stored.items():
        deployed.stack.put_secret(name, json.dumps(dict.fromkeys(content, "")))
    try:
        assert jobs.run(deployed, FUNCTION) == {"not_configured": True}
        response = http.post(deployed.stack, JOB, {})
    finally:
        for name, content in stored.items():
            deployed.stack.put_secret(name, json.dumps(content))

    assert response.status_code == 503
    assert response.json()["error"]["code"] == "not_configured"
    assert "make configure" in response.json()["error"]["message"]


def test_the_schedule_starts_the_cleanup_under_its_own_role(deployed: Deployed) -> None:
    ids = jobs.uploads(deployed, 2)
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 31 * DAY)
    scheduler = deployed.stack.client("scheduler")
    deployed_one = scheduler.get_schedule(Name=deployed.id_of("RecordingCleanupJob/Schedule"))
    assert deployed_one["ScheduleExpression"] == "rate(1 hour)"
    assert deployed_one["Target"]["RetryPolicy"]["MaximumRetryAttempts"] == 0
    once = f"once-{uuid.uuid4()}"
    scheduler.create_schedule(
        Name=once,
        ScheduleExpression=f"at({datetime.now(UTC) + timedelta(seconds=2):%Y-%m-%dT%H:%M:%S})",
        FlexibleTimeWindow={"Mode": "OFF"},
        Target=deployed_one["Target"],
    )
    try:
        assert wait_until(lambda: marked(deployed, ids) == set(ids), WITHIN)
    finally:
        scheduler.delete_schedule(Name=once)
