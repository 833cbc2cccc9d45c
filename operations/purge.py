"""`make purge FROM=... TO=...`: removes items that Vonage's API has never confirmed.

Use it to remove recordings and sessions that somebody forged with a stolen callback token. It is a
dry run unless CONFIRM is the stack's name. It deletes nothing at Vonage and causes no events, since
the publisher ignores removals.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from botocore.config import Config
from msgspec import Struct

from operations import products
from operations.arguments import Parser
from operations.command import command
from operations.layout import progress
from operations.stack import Stack, deployed_stack
from roomkeeper.domain.recordings import DEFERRED
from roomkeeper.store.items import RECORDING, SESSION, deserialize
from roomkeeper.times import from_iso, iso

SAMPLES = 5
"""How many keys of each kind are shown."""

_THREADS = 16
_ATTRIBUTES = (
    "pk",
    "received_at",
    "uploaded_at",
    "queued_at",
    "since",
    "worklist",
    "confirmed_at",
    "hold",
    "deleted_at",
    "product",
)


class Window(Struct, frozen=True):
    """Selects items received at or after `start` and before `end`.

    With `only_refused`, only items for which Vonage denied access. `product` limits them to those
    of one product; empty means all.
    """

    start: datetime
    end: datetime
    only_refused: bool = False
    product: str = ""


class Selection(Struct):
    """The result of a table scan: keys to remove by kind, and keys to keep by reason."""

    recordings: list[str]
    sessions: list[str]
    refused: int
    left: dict[str, list[str]]

    @property
    def keys(self) -> list[str]:
        """All keys to remove."""
        return self.recordings + self.sessions


@command
def main() -> int:
    """Print the items that would be removed, or remove them; return the exit code."""
    parser = Parser("purge")
    parser.add_stack()
    parser.add_argument("--from", dest="start", required=True, type=_moment, help="included")
    parser.add_argument("--to", dest="end", required=True, type=_moment, help="not included")
    parser.add_argument(
        "--refused", action="store_true", help="only items for which Vonage denied access"
    )
    products.add_option(parser)
    parser.add_argument("--confirm", default="", help="the stack's name, to remove the items")
    options = parser.parse_args()
    if options.confirm not in ("", options.stack):
        parser.error(f"to remove the items, set CONFIRM={options.stack}, the stack's name")
    if options.start >= options.end:
        parser.error("FROM must be before TO")
    window = Window(options.start, options.end, options.refused, options.product)
    stack = deployed_stack(options.stack)
    return _purge(stack, window, is_confirmed=bool(options.confirm))


def select(stack: Stack, window: Window) -> Selection:
    """Scan the whole table for items in the window that Vonage's API never returned.

    Raises:
        StackError: the stack cannot be read.
        ClientError, BotoCoreError: the table cannot be read.
    """
    selection = Selection([], [], 0, {})
    for item in _items(stack):
        key = item["pk"]
        if reason := _reason_to_leave(item, window):
            selection.left.setdefault(reason, []).append(key)
            continue
        selection.refused += _is_refused(item)
        (selection.recordings if key.startswith(RECORDING) else selection.sessions).append(key)
    return selection


def remove(stack: Stack, keys: list[str]) -> list[str]:
    """Remove the items with these keys; return the keys that were kept because they had changed.

    An item that meanwhile is on hold, confirmed or deleted is kept.

    Raises:
        ClientError, BotoCoreError: the table cannot be written; some items may be removed.
    """
    client = stack.client("dynamodb", config=Config(max_pool_connections=_THREADS))
    table = stack.outputs["TableName"]

    def is_removed(key: str) -> bool:
        try:
            client.delete_item(
                TableName=table,
                Key={"pk": {"S": key}},
                ConditionExpression="attribute_not_exists(confirmed_at) AND "
                "attribute_not_exists(#hold) AND attribute_not_exists(deleted_at)",
                ExpressionAttributeNames={"#hold": "hold"},
            )
        except client.exceptions.ConditionalCheckFailedException:
            return False
        return True

    with ThreadPoolExecutor(_THREADS) as pool:
        removed = pool.map(is_removed, keys)
        return [key for key, is_gone in zip(keys, removed, strict=True) if not is_gone]


def _purge(stack: Stack, window: Window, *, is_confirmed: bool) -> int:
    with progress("Reading the table"):
        selection = select(stack, window)
    print(
        f"Stack {stack.name} ({stack.account_and_region()}): items received at or after "
        f"{iso(window.start)} and before {iso(window.end)} that Vonage's API never returned:"
    )
    for line in _lines(selection):
        print(f"  {line}")
    if not is_confirmed:
        print(f"Nothing was removed. To remove them, add CONFIRM={stack.name}.")
        return 0
    with progress("Removing items"):
        left = remove(stack, selection.keys)
    print(f"{len(selection.keys) - len(left)} items were removed.")
    if left:
        print(f"{len(left)} had changed meanwhile and were kept: {_sample(left)}", file=sys.stderr)
    return 1 if left else 0


def _lines(selection: Selection) -> Iterator[str]:
    yield f"{len(selection.recordings)} recordings{_sample(selection.recordings, ': ')}"
    yield f"{len(selection.sessions)} sessions{_sample(selection.sessions, ': ')}"
    unknown = len(selection.keys) - selection.refused
    yield f"Vonage denied access to {selection.refused} of them. The other {unknown} are unknown to"
    yield "Vonage, or were not looked up yet. The cleanup never deletes a recording whose item is"
    yield "removed, so make sure that none of them is real."
    for reason, keys in sorted(selection.left.items()):
        yield f"kept, {reason}: {len(keys)}{_sample(keys, ', ')}"


def _sample(keys: list[str], before: str = "") -> str:
    # Escape them: ids from callbacks may contain control characters.
    shown = ", ".join(ascii(key)[1:-1] for key in keys[:SAMPLES])
    return f"{before}{shown}{', ...' if len(keys) > SAMPLES else ''}" if keys else ""


def _items(stack: Stack) -> Iterator[dict[str, Any]]:
    """Yield the recordings and sessions in the table, with only the needed attributes."""
    names = {f"#{name}": name for name in _ATTRIBUTES}
    pages = stack.client("dynamodb").get_paginator("scan")
    for page in pages.paginate(
        TableName=stack.outputs["TableName"],
        ConsistentRead=True,
        FilterExpression="begins_with(#pk, :recording) OR begins_with(#pk, :session)",
        ProjectionExpression=", ".join(names),
        ExpressionAttributeNames=names,
        ExpressionAttributeValues={":recording": {"S": RECORDING}, ":session": {"S": SESSION}},
    ):
        yield from map(deserialize, page["Items"])


def _reason_to_leave(item: Mapping[str, Any], window: Window) -> str | None:
    received_at = _received_at(item)
    reasons = {
        "of another product": window.product not in ("", item.get("product", "meetings")),
        "returned by Vonage's API": "confirmed_at" in item,
        "on hold": "hold" in item,
        "already deleted": "deleted_at" in item,
        "without a time of receipt": received_at is None,
        "received at another time": received_at is not None
        and not window.start <= received_at < window.end,
        "access not denied by Vonage": window.only_refused and not _is_refused(item),
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


def _received_at(item: Mapping[str, Any]) -> datetime | None:
    """Return when the first callback arrived. Items of earlier versions lack `received_at`."""
    names = ("received_at", "uploaded_at", "queued_at", "since")
    text = next((item[name] for name in names if name in item), None)
    return from_iso(text) if text else None


def _is_refused(item: Mapping[str, Any]) -> bool:
    return str(item.get("worklist", "")).startswith(DEFERRED)


def _moment(text: str) -> datetime:
    """Return the time, in UTC, that an option contains in ISO 8601.

    Raises:
        argparse.ArgumentTypeError: it is not such a time, or has no UTC offset.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = datetime.min
    if moment.tzinfo is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time with a UTC offset, such as 2026-07-01T12:00:00Z"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise argparse.ArgumentTypeError(f"{text!r} is before the year 1 or after 9999") from None


if __name__ == "__main__":
    sys.exit(main())
