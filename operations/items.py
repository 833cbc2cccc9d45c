"""`make items`: prints items of the table, to inspect a few of them.

Anyone with the callback token chooses the text in callbacks, so control characters are escaped.
Bodies of unrecognized callbacks and the queries of URLs, which contain signatures, are left out.
"""

import sys
from collections.abc import Iterator
from typing import Any

from operations import products
from operations.arguments import Parser
from operations.command import command
from operations.layout import field
from operations.selection import EVERYTHING, Selection, select
from operations.stack import Stack, deployed_stack
from operations.terminal import escape, without_queries

LIMIT = 50


@command
def main() -> int:
    """Print items, each followed by an empty line; return the exit code."""
    parser = Parser("items")
    parser.add_stack()
    parser.add_argument("--recording", default="", help="the item of the recording with this id")
    parser.add_argument("--session", default="", help="the items of a session and its recordings")
    parser.add_argument(
        "--room", default="", help="the items of a room, its sessions and recordings"
    )
    products.add_option(parser)
    options = parser.parse_args()
    selection = Selection(options.recording, options.session, options.room, options.product)
    found = 0
    for found, item in enumerate(items(deployed_stack(options.stack), LIMIT, selection), 1):  # noqa: B007
        for name, value in item.items():
            field(name, value, indent=0)
        print()
    if not found:
        print("No items were found.", file=sys.stderr)
    return 0


def items(stack: Stack, limit: int, selection: Selection = EVERYTHING) -> Iterator[dict[str, str]]:
    """Yield up to `limit` items, with their attributes as text that is safe to print."""
    for item in select(stack, selection, limit):
        names = sorted(item, key=lambda name: name != "pk")
        yield {escape(name): _shown(name, item[name]) for name in names}


def _shown(name: str, value_in_type: dict[str, Any]) -> str:
    if name == "body":
        return "(not shown)"
    text = _text(value_in_type)
    if name == "url":  # a callback can send any text here, so cut at the first question mark
        path, mark, _query = text.partition("?")
        text = path + ("?..." if mark else "")
    return escape(without_queries(text))


def _text(value_in_type: dict[str, Any]) -> str:
    [(kind, value)] = value_in_type.items()
    if kind == "NULL":
        return "(none)"
    if kind == "BOOL":
        return str(value).lower()
    if kind == "M":
        return ", ".join(f"{name} {_text(each)}" for name, each in value.items())
    if kind == "L":
        return ", ".join(map(_text, value))
    return ", ".join(sorted(value)) if kind in ("SS", "NS") else str(value)


if __name__ == "__main__":
    sys.exit(main())
