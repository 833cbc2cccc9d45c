"""`make items`: prints what the table holds, for a small one to be looked at."""

import argparse
import sys
from collections.abc import Iterator
from typing import Any

from operations.selection import EVERYTHING, Selection, select
from operations.stack import Stack, StackError

LIMIT = 50


def main() -> int:
    """Print items, an empty line after each; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m operations.items")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    parser.add_argument("--recording", default="", help="the item of the recording with this id")
    parser.add_argument("--session", default="", help="those of a session and its recordings")
    parser.add_argument("--room", default="", help="those of a room, its sessions and recordings")
    options = parser.parse_args()
    selection = Selection(options.recording, options.session, options.room)
    try:
        for item in items(Stack(options.stack), LIMIT, selection):
            for name, value in item.items():
                print(f"{name:<20} {value}")
            print()
    except StackError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def items(stack: Stack, limit: int, selection: Selection = EVERYTHING) -> Iterator[dict[str, str]]:
    """Yield up to `limit` items, their attributes as texts, URLs without their secret part."""
    for item in select(stack, selection, limit):
        yield {name: _text(item[name]) for name in sorted(item, key=lambda name: name != "pk")}


def _text(value_in_type: dict[str, Any]) -> str:
    [value] = value_in_type.values()
    if isinstance(value, dict):
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    text, query, _secret = str(value).partition("?")
    return text + ("?..." if query else "")


if __name__ == "__main__":
    sys.exit(main())
