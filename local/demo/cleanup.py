"""The demonstration's part about the scheduled jobs: a cleanup, and a callback that never came."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from local import aging
from local.clients import jobs
from local.clients.management import ManagementApi
from local.demo import timeline
from local.demo.report import Report
from local.stack import LocalStack
from operations.subscriber import Subscriber
from roomkeeper.store import Store

CLEANUP, RECONCILIATION = "recording-cleanup", "recording-reconciliation"
RETENTION = 30  # days
EVENTS_WITHIN = 30.0  # seconds


def show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    """Show a cleanup, rehearsed and done, and the healing of a lost callback; note the checks."""
    with report.timed("cleanup"):
        _show_cleanup(report, local, subscriber)
    with report.timed("reconciliation"):
        _show_healing(report, local, subscriber)


def _show_cleanup(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    timeline.heading(f"A month later: recordings of which {RETENTION} days are enough")
    old, held = local.vonage.hold_meeting(recordings=2)["recording_ids"]
    [young] = local.vonage.hold_meeting()["recording_ids"]
    store = Store(local.stack.client("dynamodb"), local.stack.outputs["TableName"])
    store.hold(held, "a court order", "legal", datetime.now(UTC))
    a_month_ago = timedelta(days=RETENTION + 1)
    aging.back_date(local.stack, aging.recordings([old, held]), a_month_ago)

    rehearsal = _start(local, CLEANUP, dry_run=True, retention_days=RETENTION)
    after_rehearsal = _at_vonage(local)
    _start(local, CLEANUP, retention_days=RETENTION)
    events = _events(subscriber, "recording:deleted", old)

    planned = [each["recording_id"] for each in rehearsal["planned"]]
    report.check(
        "a rehearsed cleanup names what is due, and deletes nothing",
        ok=planned == [old] and {old, held, young} <= after_rehearsal,
        detail=f"{len(planned)} named, {rehearsal['on_hold']} on hold",
    )
    left = {old, held, young} & _at_vonage(local)
    report.check(
        "the cleanup deletes what is due, and nothing held or young",
        ok=left == {held, young},
        detail=f"{len(left)} of 3 are left at Vonage",
    )
    report.check(
        "recording:deleted is published once",
        ok=[_origin(event) for event in events] == ["cleanup"],
        detail=f"{len(events)} received",
    )
    _note_lives(report, store, [old, held, young])
    _show_release(report, local, held)
    _note_lives(report, store, [held])


def _show_release(report: Report, local: LocalStack, held: str) -> None:
    """Delete a recording that is on hold by hand, which takes the lifting of its hold first."""
    api, path = ManagementApi(local.stack), f"/recordings/{held}"
    answers: list[int] = []
    for call in (path, f"{path}/hold", path):
        answers.append(api.call("DELETE", call).status_code)
        timeline.say(f"DELETE {call}: {answers[-1]}")
    report.check(
        "what is on hold is deleted by hand only once the hold is lifted",
        ok=answers == [409, 204, 204],
        detail=f"answered {', '.join(map(str, answers))}",
    )


def _note_lives(report: Report, store: Store, recording_ids: list[str]) -> None:
    for recording in store.recordings(recording_ids).values():
        report.note_life(recording)


def _show_healing(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    timeline.heading("A callback that never comes: the upload of a recording")
    meeting = local.vonage.hold_meeting(drop={"recording:uploaded"})
    [recording_id] = meeting["recording_ids"]

    _start(local, RECONCILIATION, grace_hours=0)
    healed = _events(subscriber, "recording:uploaded", recording_id)
    late = local.vonage.upload(recording_id)["status"]
    subscriber.drain()
    events = _events(subscriber, "recording:uploaded", recording_id)

    report.check(
        "the lost upload is found out and published",
        ok=[_origin(event) for event in healed] == ["reconciliation"],
        detail=f"{len(healed)} received, origin {', '.join(map(_origin, healed))}",
    )
    report.check(
        "its callback, late after all, gives no second event",
        ok=late == 204 and len(events) == 1,
        detail=f"answered {late}, {len(events)} event in all",
    )


def _start(local: LocalStack, job: str, **options: Any) -> dict[str, Any]:
    """Start a job over HTTP, signed; show and return its report."""
    told = jobs.start(local.stack, job, **options)
    asked = ", ".join(f"{name} {value}".lower() for name, value in options.items())
    counts = (f"{name} {told[name]}" for name in told if told[name] and type(told[name]) is int)
    timeline.say(f"POST /jobs/{job} ({asked}): {', '.join(counts)}")
    return told


def _at_vonage(local: LocalStack) -> set[str]:
    return {each["id"] for each in local.vonage.recordings() if not each["deleted"]}


def _events(subscriber: Subscriber, name: str, recording_id: str) -> list[dict[str, Any]]:
    """Return the events of that name about a recording, once there is one."""

    def about(events: Any) -> list[dict[str, Any]]:
        return [
            event
            for event in events
            if event["detail-type"] == name
            and event["detail"]["data"]["recording_id"] == recording_id
        ]

    return about(subscriber.wait_for(lambda events: bool(about(events)), EVENTS_WITHIN))


def _origin(event: Mapping[str, Any]) -> str:
    origin: str = event["detail"]["metadata"]["origin"]
    return origin
