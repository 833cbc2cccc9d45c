"""The demonstration's part about room extension: two rooms are about to expire, one is extended."""

from datetime import UTC, datetime, timedelta
from typing import Any

from local.clients import jobs
from local.demo import timeline
from local.demo.report import Report
from local.stack import LocalStack
from operations.subscriber import Subscriber
from roomkeeper.times import from_iso, iso

JOB = "room-extension"
EVENTS_WITHIN = 30.0  # seconds


def show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    """Show a dry run of the extension, then the extension; add the checks."""
    with report.timed("rooms"):
        _show(report, local, subscriber)


def _show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    timeline.heading("Room extension: two rooms are about to expire; first a dry run")
    soon = iso(datetime.now(UTC) + timedelta(days=2))
    [kept] = local.vonage.add_rooms(1, expires_at=soon, metadata="Maths roomkeeper:keep")
    [left] = local.vonage.add_rooms(1, expires_at=soon, metadata="One-off interview")
    dry_run = jobs.start(local.stack, JOB, dry_run=True)
    planned = {each["room_id"]: each for each in dry_run["planned"]}
    for room_id, name in ((kept, "Maths"), (left, "One-off interview")):
        _show_decision(name, planned[room_id])
    unchanged = _expiry(local, kept) == soon

    done = jobs.start(local.stack, JOB)
    subscriber.wait_for(lambda events: bool(_extensions(events, kept)), EVENTS_WITHIN)
    expiry = _expiry(local, kept)
    timeline.say(f"After the real run, Maths expires at {expiry}.")

    report.check(
        "a dry run lists what would be extended, and changes nothing",
        ok=unchanged and planned[kept]["verdict"] == "extend" and dry_run["extended"] == 0,
        detail=f"Maths {planned[kept]['reason']}; it still expires at {soon}",
    )
    report.check(
        "a room with the marker is extended, a room without is not",
        ok=from_iso(expiry) >= from_iso(planned[kept]["new_expires_at"])
        and _expiry(local, left) == soon,
        detail=f"{done['extended']} extended, {done['opted_out']} without the marker",
    )
    events = _extensions(subscriber.receive_all(), kept)
    report.check(
        "room:extended is published once, with the new expiry",
        ok=[from_iso(event["detail"]["data"]["expires_at"]) for event in events]
        == [from_iso(expiry)],
        detail=f"{len(events)} event",
    )


def _show_decision(name: str, decision: dict[str, str]) -> None:
    until = decision.get("new_expires_at", decision["expires_at"])
    verdict = decision["verdict"].replace("_", " ")
    timeline.say(f"{name:<18} {verdict:<10} until {until}: {decision['reason']}")


def _expiry(local: LocalStack, room_id: str) -> str:
    [expiry] = [room["expires_at"] for room in local.vonage.rooms() if room["id"] == room_id]
    return str(expiry)


def _extensions(events: Any, room_id: str) -> list[dict[str, Any]]:
    return [
        event
        for event in events
        if event["detail-type"] == "room:extended" and event["detail"]["data"]["room_id"] == room_id
    ]
