"""Scenarios that need every permission of a role, run on the deployed stack.

A scenario raises AssertionError if a step fails. Each creates its own items, so it can be repeated
and fails only for a missing permission.
"""

import json
import secrets
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import local.clients.jobs
from local import back_dating
from local.clients.management import ManagementApi
from local.testing.builders import a_body, a_record
from local.testing.template import resources
from roomkeeper.domain.recordings import WorklistEntry
from roomkeeper.times import iso
from tests.support import jobs
from tests.support.deployed import Deployed
from tests.support.jobs import DAY

REFUSAL = "The schedule's role does not allow it to start"
KEEP = "roomkeeper:keep"

Scenario = Callable[[Deployed], None]


def take_a_callback(deployed: Deployed) -> None:
    """Have the intake store a callback of each product."""
    session = deployed.vonage.video.play_session(drop={"archive:available"})
    assert deployed.item(f"RECORDING#{session['archive_ids'][0]}")
    recording_id = _new()
    body = a_body("recording:started", recording_id=recording_id, session_id=_new())
    response = deployed.post(body)
    assert response.status_code == 204, response.text
    assert deployed.item(f"RECORDING#{recording_id}")


def publish_and_dead_letter(deployed: Deployed) -> None:
    """Have the publisher look up an upload's room, and send an invalid record to the DLQ."""
    response = deployed.stack.client("lambda").invoke(
        FunctionName=deployed.id_of("EventPublisher"),
        Payload=json.dumps({"Records": _records(deployed)}),
    )
    assert "FunctionError" not in response
    assert json.loads(response["Payload"].read()) == {"batchItemFailures": []}


@cache
def _records(deployed: Deployed) -> list[dict[str, Any]]:
    """Return stream records: an upload without a room, and an event of an unknown type."""
    recording_id, session_id = _new(), _new()
    started = a_body("session:started", session_id=session_id)
    uploaded = a_body("recording:uploaded", recording_id=recording_id, session_id=session_id)
    for body in (started, uploaded):
        assert deployed.post(body).status_code == 204
    upload = deployed.item(f"RECORDING#{recording_id}")
    assert upload is not None
    poison = {"pk": {"S": f"EVENT#{_new()}"}, "event": {"S": "never:heard"}, "detail": {"S": "{}"}}
    return [a_record(upload, number="1"), a_record(poison, number="2")]


def look_after_recordings(deployed: Deployed) -> None:
    """Have the management API read and change a recording's item."""
    api = ManagementApi(deployed.stack)
    [recording_id] = jobs.uploads(deployed, 1)
    recording = deployed.store().recordings.get(recording_id)
    assert recording is not None
    for method, path, body in (
        ("GET", f"/recordings/{recording_id}", None),
        ("GET", f"/sessions/{recording.session_id}/recordings", None),
        ("PUT", f"/recordings/{recording_id}/hold", {"reason": "a permission test"}),
        ("DELETE", f"/recordings/{recording_id}/hold", None),
    ):
        response = api.call(method, path, json=body)
        assert response.ok, response.text
    [archive_id] = deployed.vonage.video.play_session()["archive_ids"]
    response = api.call("DELETE", f"/recordings/{archive_id}")
    assert response.ok, response.text


def clean_up(deployed: Deployed) -> None:
    """Have the cleanup delete a recording of each product past its retention."""
    ids = [*jobs.uploads(deployed, 1), *deployed.vonage.video.play_session()["archive_ids"]]
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 31 * DAY)
    require_done(deployed, "cleanup", "deleted", len(ids))


def reconcile(deployed: Deployed) -> None:
    """Have the reconciler recover a callback of each product that was lost."""
    meeting = deployed.vonage.hold_meeting(drop={"recording:uploaded"})
    session = deployed.vonage.video.play_session(drop={"archive:available"})
    ids = [*meeting["recording_ids"], *session["archive_ids"]]
    waiting = [WorklistEntry("recording", each, datetime.now(UTC)) for each in ids]
    back_dating.back_date(deployed.stack, waiting, 2 * DAY)
    require_done(deployed, "reconciliation", "recovered", len(ids))


def extend_rooms(deployed: Deployed) -> None:
    """Have the extender extend a recently used room; ONLY_ROOMS_USED_WITHIN_DAYS must be set."""
    soon = iso(datetime.now(UTC) + timedelta(days=2))
    [room_id] = deployed.vonage.add_rooms(1, expires_at=soon, metadata=KEEP)
    deployed.vonage.hold_meeting(room_id)
    require_done(deployed, "room-extension", "extended")


def require_done(deployed: Deployed, job: str, count: str, least: int = 1) -> None:
    """Run a job by HTTP and fail unless its report has at least `least` of this count.

    By HTTP a job does not raise; after an error the local AWS would start a new process each time.
    """
    response = local.clients.jobs.post(deployed.stack, job, {})
    report = response.json()
    assert response.ok, report
    assert report["failed"] == 0, report
    assert report[count] >= least, report


SCENARIOS: Mapping[str, Scenario] = {
    "CallbackIntakeRole": take_a_callback,
    "EventPublisherRole": publish_and_dead_letter,
    "ManagementApiRole": look_after_recordings,
    "RecordingCleanupRole": clean_up,
    "RecordingReconcilerRole": reconcile,
    "RoomExpiryExtenderRole": extend_rooms,
}
"""The scenario of each function's role."""

SCHEDULE_ROLE = "JobScheduleRole"
"""The role of all schedules."""

SCHEDULES = [*resources("AWS::Scheduler::Schedule")]


def start_by_schedule(deployed: Deployed) -> None:
    """Start every schedule's target once, now, with the schedule's role."""
    scheduler = deployed.stack.client("scheduler")
    for schedule in SCHEDULES:
        target = scheduler.get_schedule(Name=deployed.id_of(schedule))["Target"]
        scheduler.create_schedule(
            Name=f"once-{secrets.token_hex(4)}",
            ScheduleExpression=f"at({datetime.now(UTC):%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target=target,
        )


def refused_starts(deployed: Deployed) -> int:
    """Return how often the local AWS refused to start a schedule's target."""
    return (deployed.folder / "local.aws.log").read_text().count(REFUSAL)


def _new() -> str:
    return str(uuid.uuid4())
