"""`make events`: prints the events on a stack's bus as they are published, until Ctrl-C.

It subscribes with a temporary rule and queue, which it deletes when it ends.
"""

import argparse
import json
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing
from typing import Any

from operations import products, subscriber
from operations.arguments import Parser, positive
from operations.command import command
from operations.layout import line, progress
from operations.stack import Stack, deployed_stack
from operations.subscriber import Subscriber
from operations.terminal import escape, without_queries

_IDS = ("product", "recording_id", "session_id", "room_id", "participant_id", "stream_id", "key")
_POLL_SECONDS = 5.0


@command
def main() -> int:
    """Print events; return the exit code: 1 if fewer than COUNT= arrived within SECONDS=."""
    parser = Parser("events")
    parser.add_stack()
    parser.add_argument("--count", type=positive, help="stop after this many events")
    parser.add_argument("--seconds", type=positive, help="stop after this many seconds")
    parser.add_argument(
        "--json", action="store_true", help="print complete events, one JSON object per line"
    )
    products.add_option(parser)
    options = parser.parse_args()
    seen = 0
    try:
        with closing(_from_bus(deployed_stack(options.stack), options)) as arriving:
            for event in arriving:
                _show(event, as_it_is=options.json)
                seen += 1
    except KeyboardInterrupt:
        print(f"\n{seen} events. The rule and the queue are deleted.", file=sys.stderr)
        return 0
    is_enough = seen >= (options.count or 0)
    if options.seconds and not (is_enough and seen):
        wanted = f"{seen} of {options.count}" if options.count else seen
        print(f"{wanted} events arrived within {options.seconds} seconds.", file=sys.stderr)
    return 0 if is_enough else 1


def _show(event: Any, *, as_it_is: bool) -> None:
    if as_it_is:
        print(as_json(event), flush=True)
    else:
        line(as_line(event), 0)


def events(source: Subscriber, count: int | None, seconds: float | None) -> Iterator[Any]:
    """Yield events as they arrive, at most `count` within `seconds`; None means no limit."""
    deadline = time.monotonic() + (seconds or float("inf"))
    seen = 0
    while (count is None or seen < count) and (remaining := deadline - time.monotonic()) > 0:
        arrived = source.wait_for_more(than=seen, within=min(remaining, _POLL_SECONDS))
        for event in arrived if count is None else arrived[: count - seen]:
            yield event
            seen += 1


def as_line(event: Any) -> str:
    """Return an event as one line: time of publication (UTC), type and ids."""
    data = event["detail"]["data"]
    ids = " ".join(f"{name}={data[name]}" for name in _IDS if data.get(name))
    return escape(f"{event['time'][11:19]} {event['detail-type']} {ids}")


def as_json(event: Any) -> str:
    """Return an event as one line of JSON, without its URLs' queries, which contain signatures."""
    return without_queries(json.dumps(event))  # ASCII only: json escapes control characters


def _from_bus(stack: Stack, options: argparse.Namespace) -> Generator[Any, None, None]:
    with ExitStack() as exits:
        with progress("Subscribing"):
            source = exits.enter_context(subscriber.temporary(stack, "events", options.product))
        print(
            f"Listening with the temporary rule and queue {source.name}. Press Ctrl-C to stop.\n"
            "A new rule may miss events in its first seconds.",
            file=sys.stderr,
            flush=True,
        )
        yield from events(source, options.count, options.seconds)


if __name__ == "__main__":
    sys.exit(main())
