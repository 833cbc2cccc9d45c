"""For each role: the work that needs all that it allows, done once on the deployed stack.

An exercise raises when something of it fails. Each makes what it works on itself, so that it can
be repeated, and fails for a missing permission alone.
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
from local.servers import BUILD
from local.testing.builders import a_body, a_record
from roomkeeper.domain.recordings import WorklistEntry
from roomkeeper.times import iso
from tests.support import jobs
from tests.support.deployed import Deployed
from tests.support.jobs import DAY
from tests.support.roles import ROLES

AWS_LOG = BUILD / "local/test/local.aws.log"
REFUSAL = "The schedule's role does not let it start"
KEEP = "roomkeeper:keep"

Exercise = Callable[[Deployed], None]


def take_a_callback(deployed: Deployed) -> None:
    """Have the intake keep a callback."""
    recording_id = _new()
    body = a_body("recording:started", recording_id=recording_id, session_id=_new())
    answer = deployed.post(body)
    assert answer.status_code == 204, answer.text
    assert deployed.item(f"RECORDING#{recording_id}")


def publish_and_set_aside(deployed: Deployed) -> None:
    """Have the publisher join an upload to its room, and set aside a record that makes no sense."""
    answer = deployed.stack.client("lambda").invoke(
        FunctionName=deployed.id_of("EventPublisher"),
        Payload=json.dumps({"Records": _records(deployed)}),
    )
    assert "FunctionError" not in answer
    assert json.loads(answer["Payload"].read()) == {"batchItemFailures": []}


@cache
def _records(deployed: Deployed) -> list[dict[str, Any]]:
    """Return what the stream shows of an upload that lacks its room, and one of nothing known."""
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
    """Have the management API read and change what the table holds of a recording."""
    api = ManagementApi(deployed.stack)
    [recording_id] = jobs.uploads(deployed, 1)
    recording = deployed.store().recording(recording_id)
    assert recording is not None
    for method, path, body in (
        ("GET", f"/recordings/{recording_id}", None),
        ("GET", f"/sessions/{recording.session_id}/recordings", None),
        ("PUT", f"/recordings/{recording_id}/hold", {"reason": "an exercise"}),
        ("DELETE", f"/recordings/{recording_id}/hold", None),
    ):
        answer = api.call(method, path, json=body)
        assert answer.ok, answer.text


def clean_up(deployed: Deployed) -> None:
    """Have the cleanup delete a recording that is due."""
    ids = jobs.uploads(deployed, 1)
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 31 * DAY)
    require_done(deployed, "recording-cleanup", "deleted")


def reconcile(deployed: Deployed) -> None:
    """Have the reconciler make up for a callback that never came."""
    held = deployed.vonage.hold_meeting(drop={"recording:uploaded"})
    now = datetime.now(UTC)
    waiting = [WorklistEntry("recording", held["recording_ids"][0], now)]
    back_dating.back_date(deployed.stack, waiting, 2 * DAY)
    require_done(deployed, "recording-reconciliation", "recovered")


def extend_rooms(deployed: Deployed) -> None:
    """Have the extender extend a room that was used lately; its policy has to ask for that."""
    soon = iso(datetime.now(UTC) + timedelta(days=2))
    [room_id] = deployed.vonage.add_rooms(1, expires_at=soon, metadata=KEEP)
    deployed.vonage.hold_meeting(room_id)
    require_done(deployed, "room-expiry-extension", "extended")


def require_done(deployed: Deployed, job: str, count: str) -> None:
    """Run a job over HTTP, where it does not raise: the local AWS would start it anew each time."""
    answer = local.clients.jobs.post(deployed.stack, job, {})
    report = answer.json()
    assert answer.ok, report
    assert report["failed"] == 0, report
    assert report[count] >= 1, report


EXERCISES: Mapping[str, Exercise] = {
    "CallbackIntakeRole": take_a_callback,
    "EventPublisherRole": publish_and_set_aside,
    "ManagementApiRole": look_after_recordings,
    "RecordingCleanupRole": clean_up,
    "RecordingReconcilerRole": reconcile,
    "RoomExpiryExtenderRole": extend_rooms,
}
"""The work of each function, by its role."""

SCHEDULES = {role: role.removesuffix("Role") for role in ROLES if role.endswith("ScheduleRole")}
"""The schedule of each role that starts a function."""


def start_by_schedule(deployed: Deployed) -> None:
    """Have every schedule's target started once more, under its role, now."""
    scheduler = deployed.stack.client("scheduler")
    for schedule in SCHEDULES.values():
        target = scheduler.get_schedule(Name=deployed.id_of(schedule))["Target"]
        scheduler.create_schedule(
            Name=f"once-{secrets.token_hex(4)}",
            ScheduleExpression=f"at({datetime.now(UTC):%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target=target,
        )


def refused_starts() -> int:
    """Return how often the local AWS has refused a schedule the start of its target."""
    return AWS_LOG.read_text().count(REFUSAL)


def _new() -> str:
    return str(uuid.uuid4())
