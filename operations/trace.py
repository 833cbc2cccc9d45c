"""`make trace RECORDING=...`: prints a recording's history, from its first callback to its end.

The sources are the item in the table and the functions' logs about the recording and its session.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from operations import insights, layout
from operations.account import explain
from operations.arguments import Parser, within
from operations.command import command
from operations.insights import Line
from operations.products import NAMES
from operations.stack import Stack, StackError, deployed_stack
from operations.terminal import escape, without_queries
from roomkeeper.domain.copies import Copy
from roomkeeper.domain.recordings import Recording, Session
from roomkeeper.store import items
from roomkeeper.times import iso

MAX_LOG_DAYS = 3653
"""The longest time that CloudWatch Logs keeps logs, in days."""

ItemT = TypeVar("ItemT", Recording, Session)


class Step(Struct, frozen=True):
    """One step of the history: its time, its source, a description, and the event's id if known."""

    at: datetime
    by: str
    what: str
    event_id: str = ""


@command
def main() -> int:
    """Print the history; return the exit code."""
    parser = Parser("trace")
    parser.add_argument("recording_id", help="the recording's id")
    parser.add_stack()
    parser.add_argument(
        "--days",
        type=within(1, MAX_LOG_DAYS),
        default=30,
        metavar="DAYS",
        help="how many days of logs to search",
    )
    options = parser.parse_args()
    if not options.recording_id:
        parser.error("give the recording's id: make trace RECORDING=17461b93-...")
    stack = deployed_stack(options.stack)
    with layout.progress("Searching the logs"):
        found = list(history(stack, options.recording_id, timedelta(options.days)))
    for text in found:
        layout.line(text, 0)
    return 0


def history(stack: Stack, recording_id: str, back: timedelta) -> Iterator[str]:
    """Yield the lines of a recording's history, with logs of the time `back` from now.

    They are safe to print: control characters are escaped, and the queries of URLs are left out.

    Raises:
        StackError: the recording is unknown, or the stack cannot be read.
        RoomkeeperError: an item in the table is corrupt.
    """
    for line in _history(stack, recording_id, back):
        yield escape(without_queries(line))


def _history(stack: Stack, recording_id: str, back: timedelta) -> Iterator[str]:
    known = _item(stack, items.RECORDING + recording_id, Recording)
    session = _item(stack, items.SESSION + known.session_id, Session) if known else None
    steps = list(_from_logs(stack, recording_id, known.session_id if known else None, back))
    if known is None and not steps:
        raise StackError(
            f"The stack {stack.name} does not know the recording {recording_id!r}: it is not in "
            f"the table, and the logs of the last {back.days} days do not mention it. Check that "
            "the id is complete and the stack is the right one (STACK=). DAYS= searches more logs."
        )
    if known is None:
        yield f"Recording {recording_id}: not in the table"
    else:
        yield from _heading(known, session)
        steps += [*_from_item(known), *(_from_session(session) if session else ())]
    yield ""
    yield from map(_line, sorted(steps, key=lambda step: step.at))


def _item(stack: Stack, key: str, item_type: type[ItemT]) -> ItemT | None:
    try:
        response = stack.client("dynamodb").get_item(
            TableName=stack.outputs["TableName"], Key=items.key_of(key), ConsistentRead=True
        )
    except (ClientError, BotoCoreError) as exc:
        raise StackError(
            f"The table of the stack {stack.name} cannot be read. {explain(exc)}"
        ) from None
    if "Item" not in response:
        return None
    return items.read(key, items.deserialize(response["Item"]), item_type)


def _heading(known: Recording, session: Session | None) -> Iterator[str]:
    yield f"Recording {known.recording_id}: {known.status}"
    yield f"  of {NAMES[known.product].label}, in session {known.session_id}{_room(known, session)}"
    if known.hold:
        yield f"  on hold, by {known.hold.requested_by}: {known.hold.reason}"
    if known.url_expires_at and not known.deleted_at:
        yield f"  its last published URL works until {iso(known.url_expires_at)}"
    if known.expires_at and not (known.deleted_at or known.expired_at or known.failed_at):
        yield f"  Vonage deletes its file at {iso(known.expires_at)}"


def _room(known: Recording, session: Session | None) -> str:
    """Return the room in words; nothing for a product without rooms."""
    if known.product != "meetings":
        return ""
    return f", room {known.room_id or (session and session.room_id) or 'unknown'}"


def _from_item(known: Recording) -> Iterator[Step]:
    """Yield the steps recorded in the item, which outlives the logs. Its URL is never shown."""
    hold = known.hold
    ended = f"ended{_after(known.duration)}{_because(known.reason)}"
    times = {
        "started": known.started_at,
        ended: known.ended_at or known.ended_received_at,
        "upload known": known.uploaded_at,
        "stored in the customer's own storage": known.stored_at,
        "put on hold": hold and hold.since,
        f"copied{_to(known.copy)}": known.copied_at,
        "copy deleted": known.copy_deleted_at,
        "found missing at Vonage": known.missing_at,
        "about to be deleted by Vonage": known.expiring_at,
        "file deleted by Vonage": known.expired_at,
        f"failed{_because(known.failure_reason)}": known.failed_at,
        f"deleted by {known.deleted_by}": known.deleted_at,
    }
    for what, at in times.items():
        if at:
            yield Step(at, "table", what)


def _after(duration: int | None) -> str:
    return "" if duration is None else f" after {duration} s"


def _to(copy: Copy | None) -> str:
    return f" to s3://{copy.bucket}/{copy.key}" if copy else ""


def _because(reason: str | None) -> str:
    return f" ({reason})" if reason else ""


def _from_session(session: Session) -> Iterator[Step]:
    for what, at in {"started": session.started_at, "ended": session.ended_at}.items():
        if at:
            yield Step(at, "table", f"session {what}")


def _from_logs(
    stack: Stack, recording_id: str, session_id: str | None, back: timedelta
) -> Iterator[Step]:
    ids = [recording_id, *([session_id] if session_id else [])]
    for line in insights.lines(stack, ids, datetime.now(UTC) - back):
        if _is_about(line, recording_id):
            what = _phrase(line)
            event_id = line.get("correlation_id", "")
            yield Step(insights.time_of(line), line.get("service", ""), what, event_id)


def _is_about(line: Line, recording_id: str) -> bool:
    """Return whether a line is about the recording or its session, and not a participant's."""
    of_participant = str(line.get("event", "")).startswith(_OF_PARTICIPANTS)
    return line.get("recording_id", recording_id) == recording_id and not of_participant


_OF_PARTICIPANTS = ("session:participant:", "session:stream:")


def _phrase(line: Line) -> str:
    """Return a description of a line in words."""
    phrase = _PHRASES.get(line["message"])
    if phrase is None:
        reason = line.get("error") or line.get("reason")
        return f"{line['message']}: {reason}" if reason else str(line["message"])
    try:
        return phrase(line)
    except KeyError:  # another version of Roomkeeper logged other fields
        return str(line["message"])


def _management(line: Line) -> str:
    """Return a description of a call and its outcome."""
    route, status = line["route"], line["status"]
    if status < 400:
        return f"{_CALLS.get(route, route)}, called by {line['caller']}"
    outcome = "rejected" if status < 500 else "failed"
    return f"{route} {outcome} with {status}, called by {line['caller']}"


_PHRASES: Mapping[str, Callable[[Line], str]] = {
    "callback accepted": lambda line: (
        f"{line['event']} {'accepted' if line['is_new'] else 'repeated, nothing new'}"
    ),
    "callback not stored": lambda line: (
        f"503 in response to {line['event']}, which Vonage sends again: {line['error']}"
    ),
    "missed callback recovered": lambda line: f"{line['event']} recovered from Vonage's API",
    "event published": lambda line: f"{line['event']} published",
    "event not published": lambda line: f"{line['event']} not published: {line['reason']}",
    "recording deleted": lambda line: (
        "deleted at Vonage" if line["deleted_by"] == "cleanup" else "found deleted at Vonage"
    ),
    "management call": _management,
}
_CALLS = {
    "GET /recordings/{recording_id}": "read",
    "DELETE /recordings/{recording_id}": "deleted through the management API",
    "PUT /recordings/{recording_id}/hold": "put on hold",
    "DELETE /recordings/{recording_id}/hold": "hold released",
    "POST /recordings/{recording_id}/republish": "recording:uploaded published again",
    "POST /recordings/{recording_id}/copy": "copy requested",
    "GET /recordings/{recording_id}/file": "link to the copy returned",
    "GET /sessions/{session_id}/recordings": "listed with its session",
}


def _line(step: Step) -> str:
    return f"{iso(step.at)}  {step.by:<20}  {step.what:<40}  {step.event_id}".rstrip()


if __name__ == "__main__":
    sys.exit(main())
