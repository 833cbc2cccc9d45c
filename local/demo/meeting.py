"""The demonstration's part about callbacks: a meeting, from Vonage to a subscriber."""

from typing import Any

import msgspec
import requests

from local.demo import timeline
from local.demo.report import Report
from local.stack import LocalStack
from operations.subscriber import Subscriber
from roomkeeper.store import Store

OUT_OF_ORDER = [
    "session:started",
    "session:participant:joined",
    "recording:ended",
    "recording:uploaded",
    "recording:started",
    "session:participant:left",
    "session:ended",
]
"""The order of sending: the recording's end and upload are told before its start."""

REPEATED = "recording:uploaded"
PARTICIPANTS = ("Ada Lovelace", "Grace Hopper")
FORGED = "forged-recording"
EVENTS_WITHIN = 30.0  # seconds


def show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    """Show a meeting's callbacks, what the table holds of it, and its events; note the checks."""
    timeline.heading("A meeting in a Vonage room, its callbacks out of order, one of them twice")
    with report.timed("meeting"):
        meeting = local.vonage.hold_meeting(
            participants=PARTICIPANTS, repeat={REPEATED: 1}, order=OUT_OF_ORDER
        )
        forged = _post_forged(local, meeting)
        report.callbacks = local.vonage.deliveries()
        distinct = {msgspec.json.encode(callback["body"]) for callback in report.callbacks}
        subscriber.wait_for(lambda events: len(events) >= len(distinct), EVENTS_WITHIN)
        report.events = list(subscriber.drain())
        report.recordings = [_recording(report, local, id_) for id_ in meeting["recording_ids"]]
        timeline.show_meeting(report.callbacks, report.events)
        timeline.show_recordings(report.recordings)
        for event in report.events:
            if event["detail-type"] == REPEATED:
                timeline.show_event(event)

    _check_callbacks(report, forged)
    _check_recording(report)
    _check_events(report, meeting, len(distinct))


def _post_forged(local: LocalStack, meeting: dict[str, Any]) -> int:
    """Post a callback with a wrong token, return the answer's status."""
    body = {
        "event": "recording:started",
        "recording_id": FORGED,
        "session_id": meeting["session_id"],
    }
    url = f"{local.stack.base_url}/callbacks/guessed"
    return requests.post(url, json=body, headers=local.stack.headers, timeout=30).status_code


def _recording(report: Report, local: LocalStack, recording_id: str) -> dict[str, Any]:
    """Return what the table holds of a recording; an empty dict when it holds nothing."""
    table = Store(local.stack.client("dynamodb"), local.stack.outputs["TableName"])
    recording = table.recording(recording_id)
    if recording is None:
        return {}
    report.note_life(recording)
    return {"status": recording.status, **msgspec.to_builtins(recording)}


def _check_callbacks(report: Report, forged: int) -> None:
    statuses = [callback["status"] for callback in report.callbacks]
    report.check(
        "every callback was acknowledged",
        ok=bool(statuses) and set(statuses) == {204},
        detail=f"{statuses.count(204)} of {len(statuses)} were answered 204",
    )
    report.check(
        "a forged callback was refused", ok=forged == 401, detail=f"a wrong token gave {forged}"
    )


def _check_recording(report: Report) -> None:
    [sent] = {
        msgspec.json.encode(callback["body"])
        for callback in report.callbacks
        if callback["event"] == REPEATED
    }
    body = msgspec.json.decode(sent)
    item = report.recordings[0]
    facts = ("recording_id", "session_id", "duration", "url")
    told = {"recording:started", "recording:ended", "recording:uploaded"}
    report.check(
        "the table holds the recording, whatever the order",
        ok=all(item.get(fact) == body[fact] for fact in facts) and set(item["seen"]) == told,
        detail=f"status {item.get('status')}, seen {', '.join(sorted(item.get('seen', [])))}",
    )


def _check_events(report: Report, meeting: dict[str, Any], expected: int) -> None:
    ids = [event["detail"]["metadata"]["event_id"] for event in report.events]
    report.check(
        "every callback became one event, the repeated one too",
        ok=len(ids) == len(set(ids)) == expected,
        detail=f"{expected} due, {len(ids)} received, {len(set(ids))} of them distinct",
    )
    uploaded = [event for event in report.events if event["detail-type"] == REPEATED]
    rooms = [event["detail"]["data"].get("room_id") for event in uploaded]
    report.check(
        "recording:uploaded names the room, which its callback did not",
        ok=rooms == [meeting["room_id"]],
        detail=f"room {rooms}",
    )
    names = str(report.events)
    report.check(
        "no event holds a participant's name",
        ok=not any(name in names for name in PARTICIPANTS),
        detail=f"looked for {' and '.join(PARTICIPANTS)}",
    )
