"""`make logs`: prints the functions' latest log lines, oldest first.

It calls FilterLogEvents, which returns a line within seconds after it was written.
"""

import heapq
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from operations import insights, layout
from operations.account import explain
from operations.arguments import Parser, duration
from operations.command import command
from operations.stack import Stack, StackError, deployed_stack, resource_ids
from operations.terminal import escape, without_queries

FOLLOW_SECONDS = 2.0
OVERLAP = timedelta(seconds=30)
"""How far each request overlaps the previous one, because lines arrive late and out of order."""

EPOCH = datetime.fromtimestamp(0, UTC)
"""The earliest time of a log line that FilterLogEvents accepts."""

_BOILERPLATE = re.compile(r'^(START|END|REPORT|INIT_START) |"_aws"')
"""Lambda's own lines about successful invocations, and metrics."""


class Event(Struct, frozen=True, order=True):
    """A log line: time of writing (Unix time in ms), id, function and text."""

    at: int
    id: str
    function: str
    text: str


@command
def main() -> int:
    """Print log lines; return the exit code."""
    parser = Parser("logs")
    parser.add_stack()
    parser.add_argument("--function", default="", help="a function's name, such as event_publisher")
    parser.add_argument("--since", type=duration, default="10m", help="how far back: 90s, 2h, 3d")
    parser.add_argument("--follow", action="store_true", help="print new lines until Ctrl-C")
    options = parser.parse_args()
    stack = deployed_stack(options.stack)
    since = max(datetime.now(UTC) - options.since, EPOCH)
    try:
        if not _print(lines(stack, options.function, since, follow=options.follow)):
            print(
                "No lines in that time. Look further back, for example SINCE=1d.", file=sys.stderr
            )
    except KeyboardInterrupt:
        print(file=sys.stderr)
    except (ClientError, BotoCoreError) as error:
        raise StackError(
            f"The logs cannot be read. {explain(error)} This needs permission for "
            "logs:FilterLogEvents and cloudformation:ListStackResources."
        ) from error
    return 0


def lines(stack: Stack, function: str, since: datetime, *, follow: bool = False) -> Iterator[str]:
    """Yield the lines that a function, or all functions, wrote `since` a time, ready to print.

    With `follow`, continue without end with new lines.

    Raises:
        StackError: there is no such function.
    """
    groups = log_groups(stack, function)
    seen: set[tuple[int, str]] = set()
    while True:
        started_at = datetime.now(UTC)
        for event in _events(stack, groups, since):
            if (event.at, event.id) not in seen and not _BOILERPLATE.search(event.text):
                yield readable(event)
            seen.add((event.at, event.id))
        if not follow:
            return
        since = max(since, started_at - OVERLAP)
        time.sleep(FOLLOW_SECONDS)  # FilterLogEvents cannot wait for new lines


def log_groups(stack: Stack, function: str = "") -> dict[str, str]:
    """Return the log group of one function or, by default, of all, by function name.

    The name can be written as in the template or as in the logs: EventPublisher, event_publisher.

    Raises:
        StackError: there is no such function; the message lists the functions.
    """
    groups = resource_ids(stack, "AWS::Logs::LogGroup")
    names = {
        _normalized(name): _snake_case(name)
        for name in resource_ids(stack, "AWS::Lambda::Function")
    }
    found = {
        names[normalized]: group
        for name, group in groups.items()
        if (normalized := _normalized(name.removesuffix("Logs"))) in names
    }
    if not function:
        return found
    chosen = {
        name: group for name, group in found.items() if _normalized(name) == _normalized(function)
    }
    if not chosen:
        raise StackError(
            f"The stack {stack.name} has no function {function}. "
            + (f"Set FUNCTION= to {', '.join(sorted(found))}." if found else "It has no functions.")
        )
    return chosen


def readable(event: Event) -> str:
    """Return a line as text: time (UTC), function, message and fields.

    Control characters are escaped, and the queries of URLs are left out.
    """
    at = datetime.fromtimestamp(event.at / 1000, UTC)
    return escape(without_queries(f"{at:%H:%M:%S} {event.function} {_content(event.text)}"))


def _content(text: str) -> str:
    fields = insights.structured(text)
    if fields is None:
        return text.rstrip()
    level = str(fields.get("level", "INFO"))
    rest = dict(sorted(insights.own_fields(fields).items(), key=_rank))
    start = [*([] if level == "INFO" else [level]), _value(fields["message"])]
    return " ".join([*start, *(f"{name}={_value(value)}" for name, value in rest.items())])


def _rank(field: tuple[str, Any]) -> tuple[bool, str]:
    """Sort fields by name, but the event's name first."""
    return field[0] != "event", field[0]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _events(stack: Stack, groups: Mapping[str, str], since: datetime) -> Iterator[Event]:
    """Yield the log events of all groups, oldest first."""
    with layout.progress("Reading the logs"):
        each = [_events_of(stack, name, group, since) for name, group in groups.items()]
    yield from heapq.merge(*each)


def _events_of(stack: Stack, function: str, group: str, since: datetime) -> list[Event]:
    pages = (
        stack.client("logs")
        .get_paginator("filter_log_events")
        .paginate(logGroupName=group, startTime=int(since.timestamp() * 1000))
    )
    return sorted(
        Event(_written_at(found), _id(found), function, found["message"])
        for page in pages
        for found in page["events"]
    )


def _written_at(found: Mapping[str, Any]) -> int:
    """Return the line's own timestamp in ms; without one, the time of arrival at CloudWatch."""
    line = insights.structured(found["message"])
    try:
        return int(insights.time_of(line).timestamp() * 1000) if line else int(found["timestamp"])
    except (TypeError, ValueError):  # another version of Roomkeeper logged it
        return int(found["timestamp"])


def _id(found: Mapping[str, Any]) -> str:
    """Return the event's id. The local AWS sets none, so use its stream and text there."""
    return found.get("eventId") or f"{found['logStreamName']} {found['message']}"


def _print(texts: Iterator[str]) -> int:
    count = 0
    for count, text in enumerate(texts, 1):  # noqa: B007 - the last number is the count
        layout.line(text, 0)
    return count


def _normalized(name: str) -> str:
    return re.sub(r"[_\- ]", "", name).lower()


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


if __name__ == "__main__":
    sys.exit(main())
