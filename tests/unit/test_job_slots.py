"""Once an item is finished at Vonage, the next item may call Vonage while the first is stored."""

import threading
from collections.abc import Iterable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from local.testing.builders import NOON
from roomkeeper.domain.observations import RecordingObservation
from roomkeeper.domain.rooms import Extension, ExtensionPolicy
from roomkeeper.jobs.batch import Limits, deadline_in
from roomkeeper.jobs.cleanup import Cleanup, CleanupOptions
from roomkeeper.jobs.reconciliation import Reconciliation, ReconciliationOptions
from roomkeeper.jobs.room_extension import RoomExtension
from roomkeeper.jobs.runner import Options, OptionsT, Run
from roomkeeper.store import RoomStore, Store
from roomkeeper.vonage.meetings import RoomPage
from tests.support.management import AVonage, a_recording_at_vonage, a_room
from tests.unit.conftest import Table

IDS = ("first", "second")


def a_run(options: OptionsT) -> Run[OptionsT]:
    limits = Limits(concurrency=1, per_second=1000.0, deadline=deadline_in(60.0))
    return Run(options=options, dry_run=False, limits=limits, call_seconds=1.0, now=NOON)


def a_recording(recording_id: str, event: str) -> RecordingObservation:
    return RecordingObservation(
        event=event, product="meetings", recording_id=recording_id, session_id="session"
    )


class Meeting:
    """Makes the writes of all items wait for each other."""

    def __init__(self, items: Iterable[str]) -> None:
        self._barrier = threading.Barrier(len(tuple(items)), timeout=60)

    def before(self, write: Any) -> Any:
        """Return `write`, which waits first."""

        def waiting(*arguments: Any, **named: Any) -> Any:
            self._barrier.wait()
            return write(*arguments, **named)

        return waiting


@pytest.fixture
def store(table: Table) -> Store:
    return Store(table.client, table.name, event_days=2, deleted_days=2)


def test_a_cleanup_deletes_the_next_recording_while_one_is_marked(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    vonage: Any = AVonage()
    for recording_id in IDS:
        store.apply(a_recording(recording_id, "recording:uploaded"), NOON)
        vonage.recordings[recording_id] = a_recording(recording_id, "recording:uploaded")
    waiting = Meeting(IDS).before(store.recordings.mark_deleted)
    monkeypatch.setattr(store.recordings, "mark_deleted", waiting)

    job = Cleanup(a_run(CleanupOptions()), store, {"meetings": vonage}, retention=timedelta())

    assert job.run().counts["deleted"] == 2


def test_a_reconciliation_asks_about_the_next_recording_while_one_is_stored(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    vonage: Any = AVonage()
    vonage.all_since = lambda *_: iter(())
    for recording_id in IDS:
        store.apply(a_recording(recording_id, "recording:started"), NOON)
        vonage.recordings[recording_id] = a_recording_at_vonage(recording_id=recording_id)
    waiting = Meeting(IDS).before(store.recordings.reconcile)
    monkeypatch.setattr(store.recordings, "reconcile", waiting)

    job = Reconciliation(
        a_run(ReconciliationOptions()), store, {"meetings": vonage}, grace=timedelta()
    )

    assert job.run().counts["recovered"] == 2


def test_a_room_extension_extends_the_next_room_while_one_is_completed(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = RoomStore(table.client, table.name, event_days=2)
    known = [a_room(id=room_id, expires_at=NOON + timedelta(days=1)) for room_id in IDS]
    vonage: Any = SimpleNamespace(
        list_rooms=lambda *_: RoomPage(known, None, len(known)),
        update_room_expiry=lambda *_: None,
    )
    completed: list[Extension] = []
    waiting = Meeting(IDS).before(lambda extension, _now: completed.append(extension))
    monkeypatch.setattr(rooms, "complete", waiting)
    policy = ExtensionPolicy(
        within=timedelta(days=7),
        extend_to=timedelta(days=30),
        selection="all",
        keep_marker="keep",
        let_expire_marker="let-expire",
        used_within=None,
        expire_after_use=False,
    )

    report = RoomExtension(a_run(Options()), rooms, vonage, policy=policy).run()

    assert report.counts["extended"] == 2
    assert {each.room_id for each in completed} == set(IDS)
