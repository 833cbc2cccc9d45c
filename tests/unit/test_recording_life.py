"""The observations of a recording's life give the same item and events in any order."""

import itertools
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from local.testing.builders import (
    NOON,
    Image,
    a_record,
    a_recording_started,
    a_recording_uploaded,
)
from roomkeeper.domain import events
from roomkeeper.domain.copies import MIB, Copy
from roomkeeper.domain.observations import Observation, Occurrence, RecordingObservation
from roomkeeper.domain.recordings import Recording
from roomkeeper.management import views
from roomkeeper.store import Store, events_due
from tests.unit.conftest import PureTable, plain

KEY = "RECORDING#archive"
IDS = {"product": "video", "recording_id": "archive", "session_id": "session"}
MINUTE = timedelta(minutes=1)
STARTED = {"started_at": NOON}
ENDED = STARTED | {"ended_at": NOON + MINUTE, "duration": 60, "reason": "user initiated"}
EXPIRY = {"expires_at": NOON + timedelta(hours=72)}
TTL = int((NOON + timedelta(days=90)).timestamp())


def observed(name: str, **facts: Any) -> RecordingObservation:
    return RecordingObservation(event=f"recording:{name}", **IDS, **facts)  # type: ignore[arg-type]


def happened(name: str, minutes: int) -> Occurrence:
    """Return a pause, or the end of one."""
    moment = NOON + minutes * MINUTE
    data = events.RecordingPaused(**IDS, occurred_at=moment)  # type: ignore[arg-type]
    return Occurrence(
        event=f"recording:{name}", product="video", identity=f"archive {moment}", data=data
    )


BEGINNING = observed("started", **STARTED), observed("ended", size=0, **ENDED)
PAUSES = happened("paused", 1), happened("resumed", 2), happened("paused", 3)
AVAILABLE = observed("uploaded", size=5_000_000_000, url="https://a/b", **ENDED, **EXPIRY)
STORED = observed("stored", size=5_000_000_000, **ENDED)
FAILED = observed("failed", **STARTED | {"reason": "disk full"})
EXPIRED = observed("expired", duration=0, **STARTED, **EXPIRY)
DELETED = observed("deleted", **STARTED)

Life = tuple[Observation, ...]
LIVES: dict[str, Life] = {
    "uploaded": (*BEGINNING, AVAILABLE),
    "stored": (*BEGINNING, STORED),
    "uploaded and expired": (*BEGINNING, AVAILABLE, EXPIRED),
    "failed": (*BEGINNING, FAILED),
    "failed and expired": (*BEGINNING, FAILED, EXPIRED),
    "uploaded since the owner's storage failed": (BEGINNING[1], AVAILABLE, STORED, EXPIRED),
}


class WatchedClient:
    """A DynamoDB client that collects the events and the latest images of the stream."""

    def __init__(self, table: PureTable) -> None:
        self.published: list[str] = []
        self.images: dict[str, Image] = {}
        self._table = table

    def update_item(self, **arguments: Any) -> None:
        key = arguments["Key"]["pk"]["S"]
        old = self.images.get(key)
        new, _ = self._table.run("update_item", old, arguments)
        assert new is not None
        due = events_due(a_record(new, old))
        self.published += [f"{event.metadata.event_id} {event.name}" for event in due]
        self.images[key] = new

    def get_item(self, **arguments: Any) -> Any:
        item = self.images.get(arguments["Key"]["pk"]["S"])
        return self._table.run("get_item", item, arguments)[1]


def lived(table: PureTable, order: Sequence[Observation]) -> tuple[dict[str, Image], list[str]]:
    """Apply observations to new items; return the items, and all events in any order."""
    client: Any = WatchedClient(table)
    store = Store(client, table.name, event_days=30, deleted_days=90)
    for observation in order:
        store.apply(observation, NOON)
    return client.images, sorted(client.published)


def live(table: PureTable, order: Sequence[Observation]) -> tuple[dict[str, Image], list[str]]:
    """Do the same, and leave the items in the table."""
    images, published = lived(table, order)
    table.hold(images)
    return images, published


@pytest.fixture(scope="module")
def table(pure_table: PureTable) -> PureTable:
    return pure_table


@pytest.mark.parametrize("life", LIVES.values(), ids=LIVES)
def test_every_order_gives_the_same_item_and_events(life: Life, table: PureTable) -> None:
    expected = lived(table, life)
    assert len(expected[1]) == len(life)
    for order in itertools.permutations(life):
        assert lived(table, order) == expected, [each.event for each in order]


@settings(max_examples=30)
@given(st.data())
def test_pauses_and_repetitions_change_nothing_else(table: PureTable, data: st.DataObject) -> None:
    life = (*data.draw(st.sampled_from([*LIVES.values()])), *PAUSES)
    repeated = data.draw(st.lists(st.sampled_from(life), max_size=4))
    order = data.draw(st.permutations([*life, *repeated]))
    assert lived(table, order) == lived(table, life)


def the_recording(table: PureTable) -> Recording:
    found = Store(table.client, table.name).recordings.get("archive")
    assert found is not None
    return found


@pytest.mark.parametrize("end", [FAILED, EXPIRED])
@pytest.mark.parametrize("late", [*BEGINNING, AVAILABLE, STORED])
def test_a_closed_recording_is_on_no_jobs_worklist_and_expires_in_spite_of_late_callbacks(
    end: Observation, late: Observation, table: PureTable
) -> None:
    live(table, [end, late])
    item = table.plain_item(KEY)
    assert (item["worklist"].partition("#")[0], item["ttl"]) == ("closed", TTL)
    assert late.event in item["seen"]


@pytest.mark.parametrize("upload", [AVAILABLE, STORED])
def test_an_upload_after_a_loss_cancels_the_expiry(upload: Observation, table: PureTable) -> None:
    live(table, BEGINNING)
    store = Store(table.client, table.name, deleted_days=90)
    assert store.recordings.mark_missing(the_recording(table), NOON)
    assert table.plain_item(KEY)["ttl"] == TTL

    assert store.apply(upload, NOON)

    item = table.plain_item(KEY)
    assert (item["worklist"].partition("#")[0], item["ttl"]) == ("retained", None)


@pytest.mark.parametrize("late", [*BEGINNING, AVAILABLE, STORED, FAILED, EXPIRED])
def test_nothing_changes_a_deleted_recording(late: Observation, table: PureTable) -> None:
    deleted, _ = live(table, [BEGINNING[0], DELETED])
    assert live(table, [BEGINNING[0], DELETED, late])[0] == deleted
    item = table.plain_item(KEY)
    assert (item["deleted_by"], item["ttl"]) == ("vonage", TTL)
    assert "worklist" not in item


def test_the_file_of_a_stored_recording_is_kept_when_vonage_reports_the_deletion(
    table: PureTable,
) -> None:
    live(table, [*BEGINNING, STORED])
    before = table.item(KEY)
    live(table, [*BEGINNING, STORED, DELETED])
    after = table.item(KEY)
    assert after is not None
    [event] = events_due(a_record(after, before))
    assert '"file_kept":true' in event.detail()
    assert views.merge(the_recording(table), None, None).file_kept


def test_callbacks_of_one_product_do_not_change_recordings_of_the_other(
    table: PureTable,
) -> None:
    """Each product has its own credentials, so neither sender may speak for the other."""
    forged = {"recording_id": "archive", "url": "https://attacker.example.org/a.mp4"}
    video, _ = live(table, BEGINNING)
    assert live(table, [*BEGINNING, a_recording_uploaded(**forged)])[0] == video
    meetings, _ = live(table, [a_recording_started(recording_id="archive")])
    assert live(table, [a_recording_started(recording_id="archive"), AVAILABLE])[0] == meetings


def test_a_recording_of_an_earlier_version_is_one_of_the_meetings_api(table: PureTable) -> None:
    live(table, [a_recording_started(recording_id="archive")])
    item = table.item(KEY)
    assert item is not None
    table.hold({KEY: {name: value for name, value in item.items() if name != "product"}})
    store = Store(table.client, table.name)
    assert not store.apply(AVAILABLE, NOON)
    assert store.apply(a_recording_uploaded(recording_id="archive"), NOON)


def test_an_unknown_size_or_duration_hides_no_later_one(table: PureTable) -> None:
    live(table, [observed("ended", **ENDED | {"duration": 0, "size": 0}), AVAILABLE])
    assert (the_recording(table).duration, the_recording(table).size) == (60, 5_000_000_000)


def test_a_failure_has_a_reason_apart_from_that_of_the_end(table: PureTable) -> None:
    live(table, [*BEGINNING, FAILED])
    recording = the_recording(table)
    assert (recording.reason, recording.failure_reason) == ("user initiated", "disk full")


def test_a_recording_is_marked_as_expiring_once(table: PureTable) -> None:
    live(table, [*BEGINNING, AVAILABLE])
    store, recording = Store(table.client, table.name), the_recording(table)
    before = table.item(KEY)

    assert store.recordings.mark_expiring(recording.recording_id, NOON)
    assert not store.recordings.mark_expiring(recording.recording_id, NOON + MINUTE)

    after = table.item(KEY)
    assert after is not None
    [event] = events_due(a_record(after, before))
    assert (event.name, event.metadata.origin) == ("recording:expiring", "reconciliation")
    assert event.data.product == "video"
    assert the_recording(table).worklist == recording.worklist


@pytest.mark.parametrize("end", [FAILED, EXPIRED, DELETED])
def test_a_recording_without_a_file_is_not_marked_as_expiring(
    end: Observation, table: PureTable
) -> None:
    live(table, [*BEGINNING, AVAILABLE, end])
    store = Store(table.client, table.name)
    assert not store.recordings.mark_expiring(the_recording(table).recording_id, NOON)
    assert not store.recordings.mark_missing(the_recording(table), NOON)
    assert not store.recordings.mark_never_uploaded(the_recording(table), NOON)


@pytest.mark.parametrize("upload", [AVAILABLE, STORED])
def test_an_upload_that_vonages_api_returned_is_confirmed(
    upload: RecordingObservation, table: PureTable
) -> None:
    live(table, BEGINNING)
    assert Store(table.client, table.name).recordings.reconcile(upload, NOON)
    assert table.plain_item(KEY)["worklist"].startswith("confirmed#")


# --- with copies ----------------------------------------------------------------------------------

COPY = Copy(
    bucket="copies",
    key="recordings/archive.mp4",
    size=5_000_000_000,
    part_size=16 * MIB,
    source_etag='"1"',
    started_at=NOON,
    sha256="a hash",
    copied_at=NOON,
)
WITHOUT_FILE = {"recording:failed", "recording:expired", "recording:deleted"}
OF_CLEANUP = {"confirmed", "retained", "deferred_confirmed", "deferred_retained"}

Step = Observation | Literal["copy", "copy that is cut off"]
"""A step: an observation arrives, or a copy is attempted, completely or in part."""


def copied_life(table: PureTable, order: Sequence[Step]) -> tuple[dict[str, Any], list[str]]:
    """Take the steps in this order; after each, the cleanup may see only copied recordings."""
    client: Any = WatchedClient(table)
    store = Store(client, table.name, event_days=30, deleted_days=90, copies=True)
    for index, step in enumerate(order):
        if isinstance(step, str):
            come_to_copy(store, f"claim {index}", is_cut_off=step != "copy")
        else:
            store.apply(step, NOON)
        require_safety(store)
    return plain(client.images[KEY]), sorted(client.published)


def come_to_copy(store: Store, claim: str, *, is_cut_off: bool) -> None:
    """Make or start the recording's copy as the copier does, if Vonage has a file."""
    known = store.recordings.get("archive")
    if known is None or known.seen & WITHOUT_FILE or "recording:uploaded" not in known.seen:
        return
    if not known.lacks_copy:
        if "awaiting_copy" in (known.worklist or ""):
            store.copies.skip(known)
        return
    if not store.copies.claim("archive", claim, NOON + MINUTE, NOON):
        return
    store.copies.save("archive", claim, replace(COPY, copied_at=None))
    if not is_cut_off:
        store.copies.mark_copied(known, claim, COPY, None, NOON)
    store.copies.release("archive", claim)


def require_safety(store: Store) -> None:
    """Fail if the cleanup sees a recording without a copy, unless its owner has the file."""
    known = store.recordings.get("archive")
    if known and (known.worklist or "").partition("#")[0] in OF_CLEANUP:
        assert known.copied_at or "recording:stored" in known.seen


@st.composite
def copied_lives(draw: st.DrawFn, lives: Sequence[str]) -> tuple[Life, list[Step]]:
    life = LIVES[draw(st.sampled_from(lives))]
    repeated = draw(st.lists(st.sampled_from(life), max_size=3))
    copier: st.SearchStrategy[Step] = st.sampled_from(["copy", "copy that is cut off"])
    copying = draw(st.lists(copier, max_size=4))
    order: list[Step] = draw(st.permutations([*life, *repeated, *copying]))
    return life, order


@settings(max_examples=25)
@given(copied_lives(["uploaded"]))
def test_any_order_of_observations_and_copies_gives_the_same_item_and_events(
    table: PureTable, lived: tuple[Life, list[Step]]
) -> None:
    life, order = lived
    item, published = copied_life(table, [*order, "copy"])
    assert (item, published) == copied_life(table, [*life, "copy"])
    assert item["worklist"].startswith("confirmed#")
    assert sum("recording:copied" in each for each in published) == 1


@settings(max_examples=25)
@given(copied_lives(sorted(LIVES)))
def test_the_cleanup_never_sees_an_uncopied_recording_in_any_life(
    table: PureTable, lived: tuple[Life, list[Step]]
) -> None:
    _, order = lived
    item, published = copied_life(table, [*order, "copy"])
    assert sum("recording:copied" in each for each in published) == ("copied_at" in item)
    assert len(set(published)) == len(published)
