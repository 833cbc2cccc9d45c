from datetime import timedelta
from typing import Any

import pytest

from local.testing.builders import (
    NOON,
    RECORDING_ID,
    SESSION_ID,
    a_record,
    a_recording_ended,
    a_recording_started,
    a_recording_uploaded,
)
from roomkeeper.domain.events import Event
from roomkeeper.domain.observations import DeletedBy
from roomkeeper.domain.recordings import Hold
from roomkeeper.store import CorruptItem, Store, events_due
from roomkeeper.times import iso
from tests.unit.conftest import Table

RECORDING = f"RECORDING#{RECORDING_ID}"
HOUR = timedelta(hours=1)
A_HOLD = Hold(reason="court case 7", requested_by="legal", since=NOON)


@pytest.fixture
def store(table: Table) -> Store:
    store = Store(table.client, table.name, session_days=400, event_days=30, deleted_days=90)
    store.apply(a_recording_uploaded(), NOON)
    return store


def events_of(table: Table, before: object) -> list[Event]:
    """Return the events that the change from `before` to the table's current item causes."""
    new = table.item(RECORDING)
    assert new is not None
    return events_due(a_record(new, before))  # type: ignore[arg-type]


# --- deletion -------------------------------------------------------------------------------------


def test_a_deleted_recording_leaves_its_worklist_and_gets_a_ttl(store: Store, table: Table) -> None:
    before = table.plain_item(RECORDING)

    assert store.recordings.mark_deleted(RECORDING_ID, "cleanup", NOON + HOUR)

    after = table.plain_item(RECORDING)
    assert after == {
        **{name: before[name] for name in before if name not in {"worklist", "since"}},
        "seen": ["recording:deleted", "recording:uploaded"],
        "deleted_at": iso(NOON + HOUR),
        "deleted_by": "cleanup",
        "ttl": int((NOON + HOUR + timedelta(days=90)).timestamp()),
    }
    recording = store.recordings.get(RECORDING_ID)
    assert recording is not None
    assert recording.status == "deleted"


def test_the_first_deleted_by_is_kept(store: Store, table: Table) -> None:
    assert store.recordings.mark_deleted(RECORDING_ID, "management", NOON)
    marked = table.item(RECORDING)

    assert not store.recordings.mark_deleted(RECORDING_ID, "cleanup", NOON + HOUR)

    assert table.item(RECORDING) == marked


def test_the_deletion_of_an_unknown_recording_writes_nothing(store: Store, table: Table) -> None:
    assert not store.recordings.mark_deleted("unknown", "cleanup", NOON)
    assert len(table.items()) == 1


@pytest.mark.parametrize("late", [a_recording_started, a_recording_ended], ids=["started", "ended"])
def test_a_late_callback_does_not_change_a_deleted_recording(
    store: Store, table: Table, late: object
) -> None:
    store.recordings.mark_deleted(RECORDING_ID, "cleanup", NOON)
    marked = table.item(RECORDING)

    assert not store.apply(late(), NOON + HOUR)  # type: ignore[operator]

    assert table.item(RECORDING) == marked


@pytest.mark.parametrize(
    ("by", "origin"),
    [("cleanup", "cleanup"), ("management", "management"), ("vonage", "cleanup")],
)
def test_a_deletion_is_published_with_deleted_by_and_deleted_at(
    store: Store, table: Table, by: DeletedBy, origin: str
) -> None:
    before = table.item(RECORDING)
    store.recordings.mark_deleted(RECORDING_ID, by, NOON + HOUR)

    [event] = events_of(table, before)

    assert event.name == "recording:deleted"
    assert event.metadata.origin == origin
    assert event.metadata.occurred_at == NOON + HOUR
    assert event.session_lacking_room == SESSION_ID
    assert f'"deleted_by":"{by}"' in event.detail()
    assert "url" not in event.detail()


# --- holds ----------------------------------------------------------------------------------------


def test_a_hold_has_a_reason_a_name_and_a_time_and_causes_no_event(
    store: Store, table: Table
) -> None:
    before = table.item(RECORDING)

    assert store.recordings.hold(RECORDING_ID, "court case 7", "legal", NOON)

    recording = store.recordings.get(RECORDING_ID)
    assert recording is not None
    assert recording.hold == A_HOLD
    assert events_of(table, before) == []


def test_a_recording_on_hold_is_still_on_the_worklist(store: Store, table: Table) -> None:
    worklist = table.plain_item(RECORDING)["worklist"]
    store.recordings.hold(RECORDING_ID, "court case 7", "legal", NOON)
    assert table.keys_in("worklist", "worklist", worklist) == [RECORDING]


@pytest.mark.parametrize("mark", ["mark_missing", "mark_never_uploaded"])
def test_a_hold_that_was_set_after_a_recording_was_read_keeps_its_item(
    mark: str, store: Store, table: Table
) -> None:
    store.apply(a_recording_started(recording_id="r"), NOON)
    read_before = store.recordings.get("r")
    store.recordings.hold("r", "court case 7", "legal", NOON)
    assert getattr(store.recordings, mark)(read_before, NOON)
    assert table.plain_item("RECORDING#r").get("ttl") is None
    on_hold = store.recordings.get("r")
    assert on_hold is not None
    assert store.recordings.release(on_hold, 7)
    assert table.plain_item("RECORDING#r")["ttl"] == 7


def test_a_new_hold_replaces_the_earlier_one(store: Store) -> None:
    store.recordings.hold(RECORDING_ID, "court case 6", "somebody", NOON - HOUR)
    store.recordings.hold(RECORDING_ID, "court case 7", "legal", NOON)
    assert getattr(store.recordings.get(RECORDING_ID), "hold", None) == A_HOLD


def test_a_release_restores_the_recording(store: Store, table: Table) -> None:
    before = dict(table.plain_item(RECORDING))
    store.recordings.hold(RECORDING_ID, "court case 7", "legal", NOON)

    recording = store.recordings.get(RECORDING_ID)
    assert recording is not None
    assert store.recordings.release(recording, ttl=1)
    assert not store.recordings.release(recording, ttl=1)

    assert table.plain_item(RECORDING) | {"ttl": None} == before


def test_an_unknown_or_deleted_recording_cannot_be_put_on_hold(store: Store, table: Table) -> None:
    store.recordings.mark_deleted(RECORDING_ID, "cleanup", NOON)
    before = table.items()

    assert not store.recordings.hold("unknown", "court case 7", "legal", NOON)
    assert not store.recordings.hold(RECORDING_ID, "court case 7", "legal", NOON)

    assert table.items() == before


@pytest.mark.parametrize("damage", [{"duration": {"N": "1.5"}}, {"hold": {"S": "x"}}])
def test_a_corrupt_item_is_named_and_does_not_block_others(
    store: Store, table: Table, damage: dict[str, Any]
) -> None:
    store.apply(a_recording_uploaded(recording_id="sound"), NOON)
    store.apply(a_recording_uploaded(recording_id="damaged"), NOON)
    table.put({**(table.item("RECORDING#damaged") or {}), **damage})

    assert set(store.recordings.get_many(["sound", "damaged"])) == {"sound"}
    with pytest.raises(CorruptItem, match="RECORDING#damaged"):
        store.recordings.get("damaged")
