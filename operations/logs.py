"""`make logs`: the functions' last log lines, one line each, oldest first.

It reads CloudWatch Logs directly (FilterLogEvents), which shows a line seconds after it is written.
"""

import argparse
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

from operations import insights
from operations.account import explain
from operations.arguments import duration
from operations.command import command
from operations.layout import progress
from operations.stack import Stack, StackError, deployed_stack, resource_ids
from operations.terminal import escape, without_queries

FOLLOW_SECONDS = 2.0
OVERLAP = timedelta(seconds=30)
"""How far each look reaches back beyond the last one: lines arrive late, and not in order."""

_BOILERPLATE = re.compile(r'^(START|END|REPORT|INIT_START) |"_aws"')
"""Lines of Lambda itself about invocations that went well, and metrics."""


class Event(Struct, frozen=True, order=True):
    """A log line: when it was written (Unix time in ms), its id, its function, and its text."""

    at: int
    id: str
    function: str
    text: str


@command
def main() -> int:
    """Print log lines; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="make logs", usage="make logs [FUNCTION= SINCE=10m FOLLOW=1]"
    )
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    parser.add_argument("--function", default="", help="a function's name, such as event_publisher")
    parser.add_argument("--since", type=duration, default="10m", help="how far back: 90s, 2h, 3d")
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    options = parser.parse_args()
    stack = deployed_stack(options.stack)
    since = datetime.now(UTC) - options.since
    try:
        if not _print(lines(stack, options.function, since, follow=options.follow)):
            print("No lines in that time: SINCE=1d looks further back.", file=sys.stderr)
    except KeyboardInterrupt:
        print(file=sys.stderr)
    except (ClientError, BotoCoreError) as error:
        raise StackError(
            f"The logs cannot be read. {explain(error)} It takes permission for "
            "logs:FilterLogEvents and cloudformation:ListStackResources."
        ) from error
    return 0


def lines(stack: Stack, function: str, since: datetime, *, follow: bool = False) -> Iterator[str]:
    """Yield the lines of a function, or of all, written `since` then, ready to be printed.

    With `follow`, go on for ever with the lines that are written meanwhile.

    Raises:
        StackError: there is no such function.
    """
    groups = log_groups(stack, function)
    seen: set[tuple[int, str]] = set()
    while True:
        begun = datetime.now(UTC)
        for event in _events(stack, groups, since):
            if (event.at, event.id) not in seen and not _BOILERPLATE.search(event.text):
                yield readable(event)
            seen.add((event.at, event.id))
        if not follow:
            return
        since = max(since, begun - OVERLAP)
        time.sleep(FOLLOW_SECONDS)  # CloudWatch cannot be waited on


def log_groups(stack: Stack, function: str = "") -> dict[str, str]:
    """Return the log group of one function or, by default, of each, by the function's name.

    The name may be written as in the template or as in the logs: EventPublisher, event_publisher.

    Raises:
        StackError: there is no such function; the message names those that there are.
    """
    groups = resource_ids(stack, "AWS::Logs::LogGroup")
    names = {
        _plain(name): _snake_case(name) for name in resource_ids(stack, "AWS::Lambda::Function")
    }
    found = {
        names[plain]: group
        for name, group in groups.items()
        if (plain := _plain(name.removesuffix("Logs"))) in names
    }
    if not function:
        return found
    chosen = {name: group for name, group in found.items() if _plain(name) == _plain(function)}
    if not chosen:
        raise StackError(
            f"The stack {stack.name} has no function {function}: choose FUNCTION= from "
            f"{', '.join(sorted(found)) or 'none, for it has none'}."
        )
    return chosen


def readable(event: Event) -> str:
    """Return a line as an operator reads it: time (UTC), function, message, and its fields.

    Control characters are escaped, and queries of URLs left out.
    """
    at = datetime.fromtimestamp(event.at / 1000, UTC)
    return escape(without_queries(f"{at:%H:%M:%S} {event.function} {_content(event.text)}"))


def _content(text: str) -> str:
    fields = insights.structured(text)
    if fields is None:
        return text.rstrip()
    level = str(fields.get("level", "INFO"))
    rest = dict(sorted(insights.own_fields(fields).items(), key=_rank))
    told = [*([] if level == "INFO" else [level]), _value(fields["message"])]
    return " ".join([*told, *(f"{name}={_value(value)}" for name, value in rest.items())])


def _rank(field: tuple[str, Any]) -> tuple[bool, str]:
    """Put the event's name first; the logger has no order of its own."""
    return field[0] != "event", field[0]


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _events(stack: Stack, groups: Mapping[str, str], since: datetime) -> Iterator[Event]:
    """Yield the log events of all groups, oldest first."""
    with progress("Reading the logs"):
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
    """Return when a line was written, as it says itself; else when CloudWatch got it (both ms)."""
    line = insights.structured(found["message"])
    try:
        return int(insights.time_of(line).timestamp() * 1000) if line else int(found["timestamp"])
    except (TypeError, ValueError):  # another version of Roomkeeper logged it
        return int(found["timestamp"])


def _id(found: Mapping[str, Any]) -> str:
    """Return what tells a log event from others; the local AWS gives it no id."""
    return found.get("eventId") or f"{found['logStreamName']} {found['message']}"


def _print(texts: Iterator[str]) -> int:
    count = 0
    for count, text in enumerate(texts, 1):  # noqa: B007 - the last number is the count
        print(text, flush=True)
    return count


def _plain(name: str) -> str:
    return re.sub(r"[_\- ]", "", name).lower()


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


if __name__ == "__main__":
    sys.exit(main())
