"""The demonstration's part about callbacks: a meeting's callbacks become events on the bus."""

from typing import Any

import msgspec
import requests

from local.demo import steps, timeline
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
"""The order of sending: the recording's end and upload come before its start."""

REPEATED = "recording:uploaded"
PARTICIPANTS = ("Ada Lovelace", "Grace Hopper")
FORGED = "forged-recording"


def show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    """Show a meeting's callbacks, its recording in the table, and its events; add the checks."""
    timeline.heading("A meeting in a Vonage room: callbacks out of order, and one sent twice")
    with report.timed("meeting"):
        meeting = local.vonage.hold_meeting(
            participants=PARTICIPANTS, repeat={REPEATED: 1}, order=OUT_OF_ORDER
        )
        forged = _post_forged(local, meeting)
        report.callbacks = local.vonage.deliveries()
        distinct = {msgspec.json.encode(callback["body"]) for callback in report.callbacks}
        copied = len(meeting["recording_ids"])
        subscriber.wait_for(
            lambda events: len(events) >= len(distinct) + copied, steps.EVENTS_WITHIN
        )
        report.events = list(subscriber.receive_all())
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
    """Post a callback with a wrong token; show the response and return its status."""
    body = {
        "event": "recording:started",
        "recording_id": FORGED,
        "session_id": meeting["session_id"],
    }
    url = f"{local.stack.base_url}/callbacks/guessed"
    response = requests.post(url, json=body, headers=local.stack.headers, timeout=30)
    timeline.say_response("A forged callback, posted with a wrong token", response)
    return response.status_code


def _recording(report: Report, local: LocalStack, recording_id: str) -> dict[str, Any]:
    """Return a recording's item in the table; an empty dict if there is none."""
    table = Store(local.stack.client("dynamodb"), local.stack.outputs["TableName"])
    recording = table.recordings.get(recording_id)
    if recording is None:
        return {}
    report.note_life(recording)
    copy = recording.copy and {"key": recording.copy.key, "size": recording.copy.size}
    return {"status": recording.status, **msgspec.to_builtins(recording), "copy": copy}


def _check_callbacks(report: Report, forged: int) -> None:
    statuses = [callback["status"] for callback in report.callbacks]
    report.check(
        "every callback is acknowledged",
        ok=bool(statuses) and set(statuses) == {204},
        detail=f"{statuses.count(204)} of {len(statuses)} responses are 204",
    )
    report.check(
        "a forged callback is rejected",
        ok=forged == 401,
        detail=f"the response to a wrong token is {forged}",
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
    stages = {"recording:started", "recording:ended", "recording:uploaded", "recording:copied"}
    report.check(
        "the table has the complete recording, in spite of the order",
        ok=all(item.get(fact) == body[fact] for fact in facts) and set(item["seen"]) == stages,
        detail=f"status {item.get('status')}, seen {', '.join(sorted(item.get('seen', [])))}",
    )


def _check_events(report: Report, meeting: dict[str, Any], expected: int) -> None:
    ids = [steps.event_id(each) for each in report.events if steps.origin(each) == "callback"]
    report.check(
        "every callback becomes exactly one event, also the repeated one",
        ok=len(ids) == len(set(ids)) == expected,
        detail=f"{expected} expected, {len(ids)} received, {len(set(ids))} of them distinct",
    )
    uploaded = [event for event in report.events if event["detail-type"] == REPEATED]
    rooms = [event["detail"]["data"].get("room_id") for event in uploaded]
    report.check(
        "recording:uploaded has the room's id, which its callback lacks",
        ok=rooms == [meeting["room_id"]],
        detail=f"room {', '.join(map(str, rooms))}",
    )
    names = str(report.events)
    report.check(
        "no event contains a participant's name",
        ok=not any(name in names for name in PARTICIPANTS),
        detail=f"searched for {' and '.join(PARTICIPANTS)}",
    )
