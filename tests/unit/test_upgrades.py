"""Every version reads the items and keeps the event contract of the first one: docs/upgrading.md.

tests/version_1/ has items as that version wrote them, with the events that each causes, and the
schemas of its events. These files never change, except that a later version may add items.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from local.testing.builders import NOON, a_record, a_recording_uploaded
from local.testing.template import ROOT
from roomkeeper.domain import events
from roomkeeper.domain.recordings import Recording
from roomkeeper.store import Checkpoint, InterruptedExtension, RoomStore, Store, events_due
from tests.unit.conftest import Table
from tools.event_schemas import schemas

Written = Mapping[str, Any]

ITEMS: list[Written] = json.loads((ROOT / "tests/version_1/items.json").read_text())
PROMISED: Mapping[str, Any] = json.loads((ROOT / "tests/version_1/events.json").read_text())


def named(written: Written) -> str:
    return str(written["what"])


def key(written: Written) -> str:
    return str(written["item"]["pk"]["S"])


def written(what: str) -> Written:
    [found] = [each for each in ITEMS if each["what"] == what]
    return found


RECORDINGS = [each for each in ITEMS if key(each).startswith("RECORDING#")]


@pytest.mark.parametrize("written", ITEMS, ids=named)
def test_an_old_item_makes_the_same_events_due_with_the_same_ids(written: Written) -> None:
    due = events_due(a_record(written["item"]))

    assert [event.name for event in due] == [event["name"] for event in written["due"]]
    for event, promised in zip(due, written["due"], strict=True):
        detail = json.loads(event.detail())
        for part in ("metadata", "data"):
            assert detail[part].items() >= promised["detail"][part].items()


@pytest.mark.parametrize("written", RECORDINGS, ids=named)
def test_an_old_recording_is_read_with_all_attributes(written: Written, table: Table) -> None:
    table.put(written["item"])
    recording = Store(table.client, table.name).recordings.get(
        key(written).removeprefix("RECORDING#")
    )

    assert isinstance(recording, Recording)
    assert sorted(recording.seen) == written["item"]["seen"]["SS"]
    assert (recording.hold is not None) == ("hold" in written["item"])


def test_later_callbacks_update_an_old_recording(table: Table) -> None:
    table.put(written("recording:started")["item"])
    store = Store(table.client, table.name)

    assert store.apply(a_recording_uploaded(), NOON)

    recording = store.recordings.get(key(written("recording:started")).removeprefix("RECORDING#"))
    assert recording is not None
    assert recording.status == "uploaded"


def test_an_old_extension_and_checkpoint_are_read(table: Table) -> None:
    pending, reached = written("extension begun"), written("checkpoint")
    for each in (pending, reached):
        table.put(each["item"])
    rooms = RoomStore(table.client, table.name, event_days=30)

    extension = rooms.extension(key(pending).removeprefix("ROOM#"))
    checkpoint = rooms.checkpoint(key(reached).removeprefix("CHECKPOINT#"))

    assert isinstance(extension, InterruptedExtension)
    assert checkpoint == Checkpoint(start_id="40", scanned=40, failed=frozenset({"a-room"}))


def test_every_event_of_the_first_version_has_its_schema_and_an_item() -> None:
    # A later version that adds an event adds its schema and an item here.
    assert {name.replace(":", "-") for name in events.data_types} == {*PROMISED}
    assert {*events.data_types} == {event["name"] for each in ITEMS for event in each["due"]}


def fields() -> Iterator[tuple[str, str, str]]:
    """Yield the event, part and name of each field in the first version's schemas."""
    for event, parts in PROMISED.items():
        for part, described in parts.items():
            for field in described["properties"]:
                yield event, part, field


def test_the_contract_of_events_only_grows() -> None:
    current = schemas()
    promised = [*fields()]
    assert promised
    for event, part, field in promised:
        then, now = PROMISED[event][part], current[f"{event}.json"]["$defs"][part]
        assert field in now["properties"], f"{event}: {part}.{field} is gone"
        assert_compatible(then["properties"][field], now["properties"][field], f"{event}: {field}")
        assert field in now["required"] or field not in then["required"], (
            f"{event}: {part}.{field} is no longer required"
        )


def assert_compatible(then: Mapping[str, Any], now: Mapping[str, Any], name: str) -> None:
    """Fail unless a field is the same as before, except for further values of an enum."""
    assert {*then.get("enum", [])} <= {*now.get("enum", [])}, f"{name} lacks a value"
    assert {k: v for k, v in then.items() if k != "enum"} == {
        k: v for k, v in now.items() if k != "enum"
    }, f"{name} has changed"
