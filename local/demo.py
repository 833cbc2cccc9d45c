"""`make demo`: a meeting, from Vonage's callbacks through the deployed template to a subscriber.

What is shown is checked: each check is listed, and one that fails makes the exit code 1.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import requests
from msgspec import Struct, field

from local import demo_cleanup, demo_management, demo_rooms, stack, timeline
from local.servers import BUILD, LocalStackError
from local.stack import LocalStack
from local.subscriber import Subscriber
from operations.stack import Stack
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


class Check(Struct, frozen=True):
    """Something that must hold, whether it does, and what was seen."""

    name: str
    ok: bool
    detail: str


class Report(Struct):
    """All that the demonstration did and saw; what JSON=FILE gets."""

    checks: list[Check] = field(default_factory=list)
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    recordings: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def check(self, name: str, *, ok: bool, detail: str) -> None:
        """Note whether something holds that must."""
        self.checks.append(Check(name, ok, detail))

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long the context lasted."""
        start = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - start, 2)


def main() -> int:
    """Run the demonstration; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m local.demo")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write what was seen there too")
    options = parser.parse_args()
    report = Report()
    try:
        with report.timed("all"):
            _run(report)
    except LocalStackError as problem:
        print(problem, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; what was started has been ended.", file=sys.stderr)
        return 130
    timeline.show_checks(report.checks, report.seconds["all"])
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(report)))
    return 0 if all(check.ok for check in report.checks) else 1


def _run(report: Report) -> None:
    timeline.heading("Starting")
    with _timed_start(report) as local, report.timed("meeting"):
        subscriber = Subscriber(local.stack, "demo")
        timeline.heading(
            "A meeting in a Vonage room, its callbacks out of order, one of them twice"
        )
        meeting = local.vonage.hold_meeting(
            participants=PARTICIPANTS, repeat={REPEATED: 1}, order=OUT_OF_ORDER
        )
        forged = _post_forged(local, meeting)
        report.callbacks = local.vonage.deliveries()
        timeline.show_callbacks(report.callbacks)

        distinct = {msgspec.json.encode(callback["body"]) for callback in report.callbacks}
        subscriber.wait_for(lambda events: len(events) >= len(distinct), EVENTS_WITHIN)
        report.events = list(subscriber.drain())
        report.recordings = [_recording(local.stack, id_) for id_ in meeting["recording_ids"]]
        timeline.show_recordings(report.recordings)
        timeline.show_events(report.events)

        _check_callbacks(report, forged)
        _check_recording(report)
        _check_events(report, meeting, len(distinct))
        demo_management.run(local, report)
        demo_cleanup.show(report, local, subscriber)
        demo_rooms.show(report, local, subscriber)
        _check_dead_letters(report, local.stack)


@contextmanager
def _timed_start(report: Report) -> Iterator[LocalStack]:
    start = time.monotonic()
    with stack.running(BUILD / "local/demo", timeline.say) as local:
        report.seconds["start"] = round(time.monotonic() - start, 2)
        yield local


def _post_forged(local: LocalStack, meeting: dict[str, Any]) -> int:
    """Post a callback with a wrong token, return the answer's status."""
    body = {
        "event": "recording:started",
        "recording_id": FORGED,
        "session_id": meeting["session_id"],
    }
    url = f"{local.stack.base_url}/callbacks/guessed"
    return requests.post(url, json=body, headers=local.stack.headers, timeout=30).status_code


def _recording(deployed: Stack, recording_id: str) -> dict[str, Any]:
    """Return what the table holds of a recording; an empty dict when it holds nothing."""
    table = Store(deployed.client("dynamodb"), deployed.outputs["TableName"])
    recording = table.recording(recording_id)
    if recording is None:
        return {}
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


def _check_dead_letters(report: Report, deployed: Stack) -> None:
    counted = deployed.client("sqs").get_queue_attributes(
        QueueUrl=deployed.outputs["DeadLetterQueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages"],
    )["Attributes"]["ApproximateNumberOfMessages"]
    report.check("no dead letters", ok=counted == "0", detail=f"{counted} in the queue")


if __name__ == "__main__":
    sys.exit(main())
