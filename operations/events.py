"""`make events`: prints the events on a stack's bus as they happen, until Ctrl-C.

It subscribes with a rule and a queue of its own, which it deletes at its end.
"""

import argparse
import json
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import Any

from operations import subscriber
from operations.arguments import positive
from operations.command import command
from operations.layout import progress
from operations.stack import Stack, deployed_stack
from operations.subscriber import Subscriber
from operations.terminal import escape, without_queries

_IDS = ("recording_id", "session_id", "room_id", "participant_id", "key")
_POLL_SECONDS = 5.0


@command
def main() -> int:
    """Print events; return the exit code: 1 when fewer than COUNT= came within SECONDS=."""
    parser = argparse.ArgumentParser(prog="make events", usage="make events [COUNT= SECONDS=]")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    parser.add_argument("--count", type=positive, help="end after so many events")
    parser.add_argument("--seconds", type=positive, help="end after so many seconds")
    parser.add_argument("--json", action="store_true", help="print whole events, one JSON a line")
    options = parser.parse_args()
    seen = 0
    try:
        with closing(
            _from_bus(deployed_stack(options.stack), options.count, options.seconds)
        ) as arriving:
            for event in arriving:
                print(as_json(event) if options.json else as_line(event), flush=True)
                seen += 1
    except KeyboardInterrupt:
        print(f"\n{seen} events. The rule and the queue are deleted.", file=sys.stderr)
        return 0
    if options.count and seen < options.count:
        print(
            f"{seen} of {options.count} events came in {options.seconds} seconds.", file=sys.stderr
        )
        return 1
    return 0


def events(source: Subscriber, count: int | None, seconds: float | None) -> Iterator[Any]:
    """Yield events as they arrive: at most `count`, for at most `seconds`; None for no limit."""
    deadline = time.monotonic() + (seconds or float("inf"))
    seen = 0
    while (count is None or seen < count) and (left := deadline - time.monotonic()) > 0:
        arrived = source.wait_for_more(than=seen, within=min(left, _POLL_SECONDS))
        for event in arrived if count is None else arrived[: count - seen]:
            yield event
            seen += 1


def as_line(event: Any) -> str:
    """Return an event on one line: when it was published (UTC), its type, and the ids in it."""
    data = event["detail"]["data"]
    ids = " ".join(f"{name}={data[name]}" for name in _IDS if data.get(name))
    return escape(f"{event['time'][11:19]} {event['detail-type']} {ids}")


def as_json(event: Any) -> str:
    """Return an event as JSON on one line, without the queries of its URLs: they are secrets."""
    return without_queries(json.dumps(event))  # ASCII alone: control characters are escaped


def _from_bus(stack: Stack, count: int | None, seconds: float | None) -> Generator[Any, None, None]:
    with ExitStack() as exits:
        with progress("Subscribing"):
            source = exits.enter_context(subscriber.temporary(stack, "events"))
        print(
            f"Rule and queue {source.name} listen. Ctrl-C ends it.\n"
            "A new rule may take some seconds to match events.",
            file=sys.stderr,
            flush=True,
        )
        yield from events(source, count, seconds)


if __name__ == "__main__":
    sys.exit(main())
