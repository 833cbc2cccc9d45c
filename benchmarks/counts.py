"""What is counted, not timed: calls to AWS and write units, on the code as it is."""

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from msgspec import Struct

from benchmarks.figures import Figure, counted
from local.servers import PROJECT
from roomkeeper import callbacks, store
from roomkeeper.bus import Bus
from roomkeeper.store import Store
from tests import sdk
from tests.builders import NOON, a_record
from tests.template import properties, table_definition

LIFE = ("started", "ended", "uploaded")
"""A recording's callbacks; a cleanup deletes it in the end."""

EVENTS = 1_000
UNIT = 1024
"""Bytes of an item that one write unit pays for."""

Item = Mapping[str, Any]


class Life(Struct, frozen=True):
    """What a recording's life costs, from its first callback to its deletion."""

    calls: int
    item_units: int
    index_units: int


def measure() -> list[Figure]:
    """Return the counted figures."""
    lived = life()
    wrote = len(LIFE) + 1
    units = lived.item_units + lived.index_units
    return [
        counted("intake_calls", lived.calls / wrote, "calls a callback", "1", 1),
        Figure(
            name="intake_write_units",
            value=units,
            unit="write units a recording's life",
            against=f"{wrote} writes of an item of 1 unit, and 5 of index entries",
            ratio=units / (wrote + 5),
            aim="the least that the table's design allows",
            met=units <= wrote + 5,
        ),
        counted(
            "publisher_putevents",
            put_events_calls(),
            f"calls for {EVENTS} events",
            "100: ten events a call",
            EVENTS / 10,
        ),
    ]


def life() -> Life:
    """Count what is done for a recording that is told of three times and then deleted."""
    with sdk.moto(), pytest.MonkeyPatch.context() as patch:
        client: Any = store.connect()
        client.create_table(TableName="table", **table_definition())
        books = Store(client, "table", deleted_days=90)
        images: list[Item] = [{}]
        noted = sdk.note_calls(patch)
        calls = 0
        for name in (*LIFE, "deleted"):
            noted.clear()
            _write(books, name)
            calls += len(noted)
            [item] = client.scan(TableName="table")["Items"]
            images.append(item)
    changes = list(itertools.pairwise(images))
    return Life(
        calls,
        sum(math.ceil(max(size(old), size(new)) / UNIT) for old, new in changes),
        sum(index_writes(old, new) for old, new in changes),
    )


def index_writes(old: Item, new: Item) -> int:
    """Return how many index entries a change of an item puts or deletes, each of one unit."""
    writes = 0
    for index in table_definition()["GlobalSecondaryIndexes"]:
        names = [key["AttributeName"] for key in index["KeySchema"]]
        entries = [_entry(names, item) for item in (old, new)]
        if entries[0] != entries[1]:
            writes += sum(entry is not None for entry in entries)
    return writes


def size(item: Item) -> int:
    """Return an item's bytes. Source: "DynamoDB item sizes and formats" in its guide."""
    return sum(len(name) + _size(value) for name, value in item.items())


def put_events_calls() -> int:
    """Return the calls for events that come in batches as the stream hands them over."""
    calls: list[Sequence[Any]] = []

    class Bridge:
        def put_events(self, Entries: Sequence[Any]) -> dict[str, Any]:  # noqa: N803
            calls.append(Entries)
            return {"Entries": [{} for _ in Entries]}

    bridge: Any = Bridge()
    batch = properties("EventPublisher")["Events"]["TableStream"]["Properties"]["BatchSize"]
    for start in range(0, EVENTS, batch):
        due = [event for n in range(start, start + batch) for event in _due(str(n))]
        Bus(bridge, "bus").publish(due)
    return len(calls)


def _write(books: Store, name: str) -> None:
    told = json.loads((PROJECT / f"events/callbacks/recording-{LIFE[0]}.json").read_text())
    if name == "deleted":
        books.mark_deleted(told["recording_id"], "cleanup", NOON)
        return
    body = (PROJECT / f"events/callbacks/recording-{name}.json").read_bytes()
    parsed = json.loads(body) | {"recording_id": told["recording_id"]}
    books.apply(callbacks.parse(json.dumps(parsed).encode()), NOON)


def _due(number: str) -> list[Any]:
    item = {
        "pk": {"S": f"RECORDING#{number}"},
        "recording_id": {"S": number},
        "session_id": {"S": "session"},
        "room_id": {"S": "room"},
        "seen": {"SS": ["recording:started"]},
    }
    return store.events_due(a_record(item))


def _entry(names: Sequence[str], item: Item) -> tuple[str, ...] | None:
    if not all(name in item for name in names):
        return None
    return tuple(str(item[name]) for name in names)


def _size(value: Mapping[str, Any]) -> int:
    [(kind, content)] = value.items()
    if kind == "SS":
        return sum(map(len, content))
    return len(content) if kind == "S" else 1 + len(str(content)) // 2
