"""`make trace RECORDING=...`: what happened to a recording, from its first callback to its end.

Told by the table's item and by what the functions logged about the recording and its session.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from operations import insights
from operations.command import command
from operations.insights import Line
from operations.stack import Stack, StackError, deployed_stack
from operations.terminal import escape, without_queries
from roomkeeper.domain.recordings import Recording, Session
from roomkeeper.store import items
from roomkeeper.times import iso

Kind = TypeVar("Kind", Recording, Session)


class Step(Struct, frozen=True):
    """Something that happened: when, as told by whom, and the event's id where there is one."""

    at: datetime
    by: str
    what: str
    event_id: str = ""


@command
def main() -> int:
    """Print the story; return the exit code."""
    parser = argparse.ArgumentParser(prog="make trace", usage="make trace RECORDING=ID [STACK=]")
    parser.add_argument("recording_id", help="the recording's id")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    parser.add_argument("--days", type=int, default=30, help="how far back to look in the logs")
    options = parser.parse_args()
    if not options.recording_id:
        parser.error("which recording? Give its id: make trace RECORDING=17461b93-...")
    stack = deployed_stack(options.stack)
    for line in story(stack, options.recording_id, timedelta(options.days)):
        print(line)
    return 0


def story(stack: Stack, recording_id: str, back: timedelta) -> Iterator[str]:
    """Yield the lines that tell a recording's story, those from the logs as far `back` as asked.

    They are safe to print: control characters are escaped, and the queries of URLs left out.

    Raises:
        StackError: nothing is known of the recording, or the stack cannot be asked.
        RoomkeeperError: an item in the table is damaged.
    """
    for line in _story(stack, recording_id, back):
        yield escape(without_queries(line))


def _story(stack: Stack, recording_id: str, back: timedelta) -> Iterator[str]:
    known = _item(stack, items.RECORDING + recording_id, Recording)
    session = _item(stack, items.SESSION + known.session_id, Session) if known else None
    steps = list(_told_by_logs(stack, recording_id, known.session_id if known else None, back))
    if known is None and not steps:
        raise StackError(
            f"The stack {stack.name} knows nothing of a recording {recording_id!r}: it is not in "
            f"the table, and the logs of the last {back.days} days do not mention it. Is the id "
            "whole, and is it the right stack (STACK=)? DAYS= looks further back."
        )
    if known is None:
        yield f"Recording {recording_id}: not in the table"
    else:
        yield from _heading(known, session)
        steps += [*_told_by_table(known), *(_told_of_session(session) if session else ())]
    yield ""
    yield from map(_line, sorted(steps, key=lambda step: step.at))


def _item(stack: Stack, key: str, kind: type[Kind]) -> Kind | None:
    try:
        answer = stack.client("dynamodb").get_item(
            TableName=stack.outputs["TableName"], Key=items.key_of(key), ConsistentRead=True
        )
    except (ClientError, BotoCoreError) as problem:
        raise StackError(f"The table of the stack {stack.name} cannot be read: {problem}") from None
    return items.read(key, items.deserialize(answer["Item"]), kind) if "Item" in answer else None


def _heading(known: Recording, session: Session | None) -> Iterator[str]:
    room_id = known.room_id or (session and session.room_id) or "not told"
    yield f"Recording {known.recording_id}: {known.status}"
    yield f"  in session {known.session_id}, room {room_id}"
    if known.hold:
        yield f"  on hold, by {known.hold.who}: {known.hold.reason}"
    if known.url_expires_at and not known.deleted_at:
        yield f"  its last published URL is good until {iso(known.url_expires_at)}"


def _told_by_table(known: Recording) -> Iterator[Step]:
    """Yield what the item tells, which is there when the logs have expired. Never its URL."""
    hold = known.hold
    times = {
        "began": known.started_at,
        f"ended, after {known.duration} s": known.ended_at,
        "its upload was heard of": known.uploaded_at,
        "was put on hold": hold and hold.since,
        "was found missing at Vonage": known.missing_at,
        f"was deleted, by {known.deleted_by}": known.deleted_at,
    }
    for what, at in times.items():
        if at:
            yield Step(at, "table", what)


def _told_of_session(session: Session) -> Iterator[Step]:
    for what, at in {"began": session.started_at, "ended": session.ended_at}.items():
        if at:
            yield Step(at, "table", f"its session {what}")


def _told_by_logs(
    stack: Stack, recording_id: str, session_id: str | None, back: timedelta
) -> Iterator[Step]:
    ids = [recording_id, *([session_id] if session_id else [])]
    for line in insights.lines(stack, ids, datetime.now(UTC) - back):
        if _is_about(line, recording_id):
            what = _phrase(line)
            event_id = line.get("correlation_id", "")
            yield Step(insights.time_of(line), line.get("service", ""), what, event_id)


def _is_about(line: Line, recording_id: str) -> bool:
    """Whether a line is about the recording, or about its session as such."""
    of_participant = str(line.get("event", "")).startswith("session:participant")
    return line.get("recording_id", recording_id) == recording_id and not of_participant


def _phrase(line: Line) -> str:
    """Return what a line says, in words."""
    phrase = _PHRASES.get(line["message"])
    if phrase is None:
        reason = line.get("problem") or line.get("reason")
        return f"{line['message']}: {reason}" if reason else str(line["message"])
    try:
        return phrase(line)
    except KeyError:  # another version of Roomkeeper logged it, with other fields
        return str(line["message"])


def _management(line: Line) -> str:
    """Return what a call did. One that was refused or failed did nothing that is known of."""
    route, status = line["route"], line["status"]
    if status < 400:
        return f"{_CALLS.get(route, route)}; asked by {line['caller']}"
    outcome = "refused" if status < 500 else "failed"
    return f"{outcome} with {status}: {route}; asked by {line['caller']}"


_PHRASES: Mapping[str, Callable[[Line], str]] = {
    "callback accepted": lambda line: (
        f"{line['event']} {'taken in' if line['news'] else 'came again: nothing new'}"
    ),
    "callback could not be taken now": lambda line: (
        f"{line['event']} turned away with 503, to be sent again: {line['problem']}"
    ),
    "missed callback recovered": lambda line: f"{line['event']} made up for: Vonage was asked",
    "event published": lambda line: f"{line['event']} published",
    "event not published": lambda line: f"{line['event']} not published: {line['reason']}",
    "recording deleted": lambda line: (
        "deleted at Vonage" if line["by"] == "cleanup" else "found deleted at Vonage"
    ),
    "management call": _management,
}
_CALLS = {
    "GET /recordings/{recording_id}": "looked at",
    "DELETE /recordings/{recording_id}": "deleted by hand",
    "PUT /recordings/{recording_id}/hold": "put on hold",
    "DELETE /recordings/{recording_id}/hold": "hold lifted",
    "POST /recordings/{recording_id}/republish": "recording:uploaded sent again",
    "GET /sessions/{session_id}/recordings": "listed with its session",
}


def _line(step: Step) -> str:
    return f"{iso(step.at)}  {step.by:<20}  {step.what:<40}  {step.event_id}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
