"""`make items` shows recordings first, or the items of a recording, session or room."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local.testing.builders import (
    NOON,
    a_callback,
    a_recording_started,
    a_recording_uploaded,
    a_session_started,
)
from operations import items as items_command
from operations.items import items
from operations.selection import Selection
from operations.template import ROOT
from roomkeeper.callbacks import video
from roomkeeper.domain.rooms import Extension
from roomkeeper.store import Store
from roomkeeper.store.rooms import RoomStore
from roomkeeper.store.scans import ScanStore
from tests.support.operator_stack import AStack
from tests.unit.conftest import Table


@pytest.fixture
def full(table: Table) -> Table:
    """Two rooms with a session each, two recordings in the first one's, and an outbox item."""
    store = Store(table.client, table.name, session_days=9, event_days=9)
    for number in "12":
        about = {"session_id": f"session-{number}", "room_id": f"room-{number}"}
        store.apply(a_session_started(**about), NOON)
    for name in ("r1", "r2"):
        store.apply(a_recording_uploaded(recording_id=name, session_id="session-1"), NOON)
    store.apply(a_recording_uploaded(recording_id="r3", session_id="session-2"), NOON)
    store.apply(a_callback("room:expired", room_id="room-9"), NOON)
    extension = Extension(
        room_id="room-1",
        expires_at=NOON + timedelta(days=30),
        previous_expires_at=NOON,
        reason="a test",
    )
    RoomStore(table.client, table.name, event_days=9).record_intent(extension, datetime.now(UTC))
    return table


def keys(table: Table, limit: int = 50, **selected: str) -> list[str]:
    stack: Any = AStack(table.name)
    return [item["pk"] for item in items(stack, limit, Selection(**selected))]


def test_recordings_are_first_then_sessions_rooms_and_others(full: Table) -> None:
    *known, last = keys(full)
    assert known == [
        "RECORDING#r1",
        "RECORDING#r2",
        "RECORDING#r3",
        "SESSION#session-1",
        "SESSION#session-2",
        "ROOM#room-1",
    ]
    assert last.startswith("EVENT#")


def test_recordings_are_first_with_any_limit(full: Table) -> None:
    assert keys(full, limit=3) == ["RECORDING#r1", "RECORDING#r2", "RECORDING#r3"]


def test_a_recording_is_selected_also_before_its_start_is_known(table: Table) -> None:
    Store(table.client, table.name).apply(a_recording_started(recording_id="r"), NOON)
    assert keys(table, recording="r") == ["RECORDING#r"]


def test_a_session_is_selected_with_its_recordings(full: Table) -> None:
    expected = ["RECORDING#r1", "RECORDING#r2", "SESSION#session-1"]
    assert keys(full, session="session-1") == expected


def test_a_room_is_selected_with_its_sessions_and_recordings(full: Table) -> None:
    expected = ["RECORDING#r1", "RECORDING#r2", "SESSION#session-1", "ROOM#room-1"]
    assert keys(full, room="room-1") == expected


def test_unknown_ids_select_nothing(full: Table) -> None:
    assert keys(full, recording="x", session="y", room="z") == []


def test_more_items_than_one_batch_are_all_read(table: Table) -> None:
    store = Store(table.client, table.name)
    for number in range(101):
        store.apply(a_recording_uploaded(recording_id=f"{number:03}", session_id="s"), NOON)
    assert len(keys(table, limit=500, session="s")) == 101


def test_items_are_selected_by_product(full: Table) -> None:
    store = Store(full.client, full.name, event_days=9)
    for sample in ("archive_available", "session_notification"):
        store.apply(video.parse((ROOT / f"events/video_{sample}.json").read_bytes()), NOON)
    ScanStore(full.client, full.name).save("video", 9)
    of_video = keys(full, product="video")
    assert [key.partition("#")[0] for key in of_video] == ["RECORDING", "EVENT"]
    of_meetings = keys(full, product="meetings")
    assert len(of_meetings) == 7
    assert {*of_meetings, *of_video} == {key for key in keys(full) if "CHECKPOINT" not in key}
    assert keys(full, product="video", session="session-1") == []


def test_a_selection_without_items_says_so(
    table: Table, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(items_command, "deployed_stack", lambda _name: AStack(table.name))
    monkeypatch.setattr("sys.argv", ["items", "--recording", "unknown"])
    assert items_command.main() == 0
    printed = capsys.readouterr()
    assert (printed.out, printed.err) == ("", "No items were found.\n")
