"""Reads the items of the table that an operator selects."""

import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from msgspec import Struct

from operations.stack import Stack
from roomkeeper.store.items import CHECKPOINT, RECORDING, ROOM, SESSION, key_of

SCANNED = 1000
"""The most items that are read if nothing is selected. A scan has no order, and a scan of a whole
large table would be expensive."""

_FIRST = (RECORDING, SESSION, ROOM)
_BATCH = 100  # DynamoDB API Reference, BatchGetItem

Item = dict[str, Any]


class Selection(Struct, frozen=True):
    """Ids that select items. An empty id selects nothing; three empty ids select everything.

    `product` limits the items to those of one product; empty means all.
    """

    recording: str = ""
    session: str = ""
    room: str = ""
    product: str = ""

    def __bool__(self) -> bool:
        """Return whether any id is given."""
        return bool(self.recording or self.session or self.room)


EVERYTHING = Selection()


def select(stack: Stack, selection: Selection, limit: int) -> Iterator[Item]:
    """Yield up to `limit` items in DynamoDB's JSON: recordings, sessions, rooms, then others.

    A recording without a known start time is not found by its session, because the index lacks it.
    """
    table = _Table(stack)
    found = table.get(_keys(table, selection)) if selection else table.scan(SCANNED)
    matching = (item for item in found if selection.product in ("", product_of(item)))
    yield from islice(sorted(matching, key=_rank), limit)


def product_of(item: Item) -> str:
    """Return the product that an item in DynamoDB's JSON is about; "" for a checkpoint."""
    if item["pk"]["S"].startswith(CHECKPOINT):
        return ""
    if "detail" in item:  # an outbox item: its event says so
        return str(json.loads(item["detail"]["S"]).get("product", "meetings"))
    return str(item.get("product", {"S": "meetings"})["S"])


def _keys(table: "_Table", selection: Selection) -> Iterator[str]:
    sessions = [SESSION + selection.session] if selection.session else []
    if selection.recording:
        yield RECORDING + selection.recording
    if selection.room:
        yield ROOM + selection.room
        sessions += table.keys_in("by_room", "room_id", selection.room)
    for session in sessions:
        yield session
        yield from table.keys_in("by_session", "session_id", session.removeprefix(SESSION))


def _rank(item: Item) -> tuple[int, str]:
    key: str = item["pk"]["S"]
    kinds = [rank for rank, prefix in enumerate(_FIRST) if key.startswith(prefix)]
    return (kinds or [len(_FIRST)])[0], key


class _Table:
    def __init__(self, stack: Stack) -> None:
        self._client = stack.client("dynamodb")
        self._name = stack.outputs["TableName"]

    def scan(self, count: int) -> list[Item]:
        """Return the first `count` items in scan order, at most 1 MB of them."""
        found: list[Item] = self._client.scan(TableName=self._name, Limit=count)["Items"]
        return found

    def keys_in(self, index: str, attribute: str, value: str) -> list[str]:
        """Return the keys of the items with this value of an index's attribute."""
        pages = self._client.get_paginator("query").paginate(
            TableName=self._name,
            IndexName=index,
            KeyConditionExpression="#name = :value",
            ExpressionAttributeNames={"#name": attribute},
            ExpressionAttributeValues={":value": {"S": value}},
        )
        return [item["pk"]["S"] for page in pages for item in page["Items"]]

    def get(self, keys: Iterable[str]) -> Iterator[Item]:
        """Yield the existing items with these `keys`, in no order."""
        wanted = sorted(set(keys))
        for start in range(0, len(wanted), _BATCH):
            yield from self._get_batch(wanted[start : start + _BATCH])

    def _get_batch(self, keys: Sequence[str]) -> Iterator[Item]:
        pending: Any = {self._name: {"Keys": [key_of(key) for key in keys]}}
        while pending:  # DynamoDB returns at most 16 MB per call; the SDK retries throttling
            response = self._client.batch_get_item(RequestItems=pending)
            yield from response["Responses"].get(self._name, [])
            pending = response["UnprocessedKeys"]
