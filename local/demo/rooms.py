"""The demonstration's part about rooms: one is about to expire, and lives on."""

from datetime import UTC, datetime, timedelta
from typing import Any

from local.clients import jobs
from local.demo import timeline
from local.demo.report import Report
from local.stack import LocalStack
from operations.subscriber import Subscriber
from roomkeeper.times import from_iso, iso

JOB = "room-expiry-extension"
EVENTS_WITHIN = 30.0  # seconds


def show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    """Rehearse the extension of rooms, do it, and check what came of it."""
    with report.timed("rooms"):
        _show(report, local, subscriber)


def _show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    timeline.heading("A room is about to expire; the extender is asked what it would do, and why")
    soon = iso(datetime.now(UTC) + timedelta(days=2))
    [kept] = local.vonage.add_rooms(1, expires_at=soon, metadata="Maths roomkeeper:keep")
    [left] = local.vonage.add_rooms(1, expires_at=soon, metadata="One-off interview")
    rehearsal = jobs.start(local.stack, JOB, dry_run=True)
    planned = {each["room_id"]: each for each in rehearsal["planned"]}
    for room_id, name in ((kept, "Maths"), (left, "One-off interview")):
        _tell(name, planned[room_id])
    unchanged = _expiry(local, kept) == soon

    done = jobs.start(local.stack, JOB)
    subscriber.wait_for(lambda events: bool(_told(events, kept)), EVENTS_WITHIN)
    expiry = _expiry(local, kept)
    timeline.say(f"then it is done: Maths expires at {expiry}")

    report.check(
        "a rehearsal tells what would be extended, and changes nothing",
        ok=unchanged and planned[kept]["verdict"] == "extend" and rehearsal["extended"] == 0,
        detail=f"Maths {planned[kept]['reason']}; it still expired at {soon}",
    )
    report.check(
        "a room with the marker lives on, one without is left alone",
        ok=from_iso(expiry) >= from_iso(planned[kept]["new_expires_at"])
        and _expiry(local, left) == soon,
        detail=f"{done['extended']} extended, {done['opted_out']} not selected",
    )
    events = _told(subscriber.drain(), kept)
    report.check(
        "room:extended tells of the new expiry, once",
        ok=[from_iso(event["detail"]["data"]["expires_at"]) for event in events]
        == [from_iso(expiry)],
        detail=f"{len(events)} event",
    )


def _tell(name: str, decision: dict[str, str]) -> None:
    until = decision.get("new_expires_at", decision["expires_at"])
    timeline.say(f"{name:<18} {decision['verdict']:<10} until {until}: {decision['reason']}")


def _expiry(local: LocalStack, room_id: str) -> str:
    [expiry] = [room["expires_at"] for room in local.vonage.rooms() if room["id"] == room_id]
    return str(expiry)


def _told(events: Any, room_id: str) -> list[dict[str, Any]]:
    return [
        event
        for event in events
        if event["detail-type"] == "room:extended" and event["detail"]["data"]["room_id"] == room_id
    ]
