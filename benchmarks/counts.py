"""Counts calls to AWS and write units while the real code runs."""

import importlib
import itertools
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from typing import Any

import pytest
from msgspec import Struct

from benchmarks.measurements import Measurement, counted
from local.servers import PROJECT
from local.testing import sdk
from local.testing.builders import NOON, TOKEN, AContext, a_body, a_record, a_request
from local.testing.template import environment, properties, table_definition
from roomkeeper.aws import sdk as aws
from roomkeeper.callbacks import meetings
from roomkeeper.store import Store

LIFE = ("started", "ended", "uploaded")
"""The callbacks of a recording, which a cleanup finally deletes."""

EVENTS = 1_000
UNIT = 1024
"""Bytes of an item per write unit."""

TABLE = table_definition()
Item = Mapping[str, Any]


class Life(Struct, frozen=True):
    """The cost of a recording's life, from its first callback to its deletion."""

    calls: int
    item_units: int
    index_units: int


def measure() -> list[Measurement]:
    """Return the counted measurements."""
    lived = life()
    writes = len(LIFE) + 2
    units = lived.item_units + lived.index_units
    return [
        counted("intake_calls", intake_calls(), "calls a callback", "1", 1),
        counted(
            "intake_write_units",
            units,
            "write units a recording's life",
            f"{writes + 7}: {writes} writes of an item, and 7 of index entries",
            writes + 7,
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
    """Count the calls and writes for a recording's three callbacks, confirmation and deletion."""
    with sdk.moto(), pytest.MonkeyPatch.context() as patch:
        recorded = sdk.record_calls(patch)
        client = aws.dynamodb(sdk.LONG_TIMEOUT)
        client.create_table(TableName="table", **table_definition())
        store = Store(client, "table", deleted_days=90)
        images: list[Item] = [{}]
        calls = 0
        for name in (*LIFE, "confirmed", "deleted"):
            recorded.clear()
            _write(store, name)
            calls += len(recorded)
            [item] = client.scan(TableName="table")["Items"]
            images.append(item)
    changes = list(itertools.pairwise(images))
    return Life(
        calls,
        sum(math.ceil(max(size(old), size(new)) / UNIT) for old, new in changes),
        sum(index_writes(old, new) for old, new in changes),
    )


def index_writes(old: Item, new: Item) -> int:
    """Return the number of index entries that a change of an item puts or deletes, 1 unit each."""
    writes = 0
    for index in table_definition()["GlobalSecondaryIndexes"]:
        names = [key["AttributeName"] for key in index["KeySchema"]]
        entries = [_entry(names, item) for item in (old, new)]
        if entries[0] != entries[1]:
            writes += sum(entry is not None for entry in entries)
    return writes


def size(item: Item) -> int:
    """Return an item's size in bytes. Source: "DynamoDB item sizes and formats" in its guide."""
    return sum(len(name) + _size(value) for name, value in item.items())


def intake_calls() -> int:
    """Return the intake's calls to AWS per callback, in a warm execution environment."""
    with _deployed("CallbackIntake", "callback_intake") as (intake, recorded):
        known = environment("CallbackIntake")
        aws.dynamodb(sdk.LONG_TIMEOUT).create_table(TableName=known["TABLE_NAME"], **TABLE)
        content = json.dumps({"token": TOKEN})
        name = known["CALLBACK_SECRET_ARN"]
        aws.secrets_manager(sdk.LONG_TIMEOUT).create_secret(Name=name, SecretString=content)
        for event in LIFE:
            recorded.clear()
            _require(intake(a_request(a_body(f"recording:{event}")), AContext()), statusCode=204)
        return len(recorded)


def put_events_calls() -> int:
    """Return the publisher's calls of PutEvents for EVENTS records in batches of the stream."""
    with _deployed("EventPublisher", "event_publisher") as (publisher, recorded):
        name = environment("EventPublisher")["EVENT_BUS_NAME"]
        aws.events(sdk.LONG_TIMEOUT).create_event_bus(Name=name)
        for batch in event_batches():
            _require(publisher(batch, AContext()), batchItemFailures=[])
        return recorded.count("PutEvents")


def event_batches() -> list[Mapping[str, Any]]:
    """Return EVENTS records that each cause an event, in batches of the table's stream."""
    size = properties("EventPublisher")["Events"]["TableStream"]["Properties"]["BatchSize"]
    return [
        {"Records": [_due(str(number)) for number in range(start, start + size)]}
        for start in range(0, EVENTS, size)
    ]


@contextmanager
def _deployed(function: str, folder: str) -> Iterator[tuple[Callable[..., Any], list[str]]]:
    """Yield a function's handler in the template's environment, and the list of its AWS calls."""
    with (
        sdk.moto(),
        sdk.moto_server() as url,
        pytest.MonkeyPatch.context() as patch,
        redirect_stdout(StringIO()),
    ):
        for name, value in (environment(function) | sdk.endpoints(url)).items():
            patch.setenv(name, value)
        app = importlib.import_module(f"roomkeeper.handlers.{folder}")
        yield app.handler, sdk.record_calls(patch)


def _require(response: Mapping[str, Any], **expected: Any) -> None:
    if response != expected:
        raise ValueError(f"The handler returned {response}, not {expected}.")


def _write(store: Store, name: str) -> None:
    started = json.loads((PROJECT / f"events/callbacks/recording-{LIFE[0]}.json").read_text())
    recording_id = started["recording_id"]
    if name == "confirmed":
        known = store.recordings.get(recording_id)
        if known is None or not store.recordings.confirm(known, NOON):
            raise ValueError("The recording could not be confirmed.")
        return
    if name == "deleted":
        store.recordings.mark_deleted(recording_id, "cleanup", NOON)
        return
    body = (PROJECT / f"events/callbacks/recording-{name}.json").read_bytes()
    parsed = json.loads(body) | {"recording_id": recording_id}
    store.apply(meetings.parse(json.dumps(parsed).encode()), NOON)


def _due(number: str) -> Mapping[str, Any]:
    item = {
        "pk": {"S": f"RECORDING#{number}"},
        "recording_id": {"S": number},
        "session_id": {"S": "session"},
        "room_id": {"S": "room"},
        "seen": {"SS": ["recording:started"]},
    }
    return a_record(item)


def _entry(names: Sequence[str], item: Item) -> tuple[str, ...] | None:
    if not all(name in item for name in names):
        return None
    return tuple(str(item[name]) for name in names)


def _size(value: Mapping[str, Any]) -> int:
    [(kind, content)] = value.items()
    if kind == "SS":
        return sum(map(len, content))
    return len(content) if kind == "S" else 1 + len(str(content)) // 2
