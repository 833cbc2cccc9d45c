"""Correlation ids: log lines have the id of an event before the event exists."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from local.testing.builders import (
    NOON,
    PUBLISHED,
    RECORDING_ID,
    AContext,
    Image,
    a_callback,
    a_record,
    a_recording_started,
    a_recording_uploaded,
)
from local.testing.template import environment
from roomkeeper import store
from roomkeeper.domain import events
from roomkeeper.domain.observations import RecordingObservation
from roomkeeper.domain.recordings import WorklistEntry
from roomkeeper.domain.rooms import Extension
from roomkeeper.handlers import management_api as management
from roomkeeper.jobs.batch import Limits, deadline_in
from roomkeeper.jobs.cleanup import Cleanup, CleanupOptions
from roomkeeper.jobs.reconciliation import Reconciliation, ReconciliationOptions
from roomkeeper.jobs.runner import OptionsT, Run
from roomkeeper.store import RoomStore, Store, correlation
from tests.support.management import AVonage, a_recording_at_vonage, a_request_for
from tests.unit.conftest import Table

DELETE = "DELETE /recordings/{recording_id}"
REPUBLISH = "POST /recordings/{recording_id}/republish"


def due(table: Table, old: Image | None = None) -> events.Event:
    """Return the one event that a change of the table's only item causes."""
    [item] = table.items()
    [event] = store.events_due(a_record(item, old))
    return event


def a_run(options: OptionsT) -> Run[OptionsT]:
    limits = Limits(concurrency=1, per_second=1.0, deadline=deadline_in(60.0))
    return Run(options=options, dry_run=False, limits=limits, call_seconds=1.0, now=NOON)


def store_of(table: Table) -> Store:
    return Store(table.client, table.name, event_days=2, deleted_days=2)


@pytest.mark.parametrize("name", [*PUBLISHED, "archive:ready"])
def test_the_correlation_id_of_a_callback_is_the_id_of_its_event(name: str, table: Table) -> None:
    callback = a_callback(name)
    store_of(table).apply(callback, NOON)
    assert correlation.event_id_for_observation(callback) == due(table).metadata.event_id


def test_the_correlation_id_of_an_extension_is_the_id_of_its_event(table: Table) -> None:
    extension = Extension(
        room_id="room", previous_expires_at=NOON, expires_at=NOON + timedelta(1), reason="soon"
    )
    RoomStore(table.client, table.name, event_days=2).complete(extension, NOON)
    assert correlation.event_id_for_extension(extension) == due(table).metadata.event_id


def logged(caplog: pytest.LogCaptureFixture, message: str) -> str:
    """Return the correlation id of the one line with this message."""
    [line] = [vars(record) for record in caplog.records if record.message == message]
    return str(line["correlation_id"])


def test_a_cleanup_logs_the_id_of_the_following_event(
    table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    store_of(table).apply(a_recording_uploaded(), NOON)
    [before] = table.items()
    vonage: Any = AVonage(recordings={RECORDING_ID: a_recording_at_vonage()})
    job = Cleanup(
        a_run(CleanupOptions()), store_of(table), {"meetings": vonage}, retention=timedelta()
    )
    assert job.act(WorklistEntry("recording", RECORDING_ID, NOON)) == "deleted"
    assert logged(caplog, "recording deleted") == due(table, before).metadata.event_id


@pytest.mark.parametrize(
    ("found", "message"),
    [([a_recording_at_vonage(ended_at=NOON)], "missed callback recovered"), ([], "recording lost")],
)
def test_a_reconciliation_logs_the_id_of_the_following_event(
    found: list[RecordingObservation], message: str, table: Table, caplog: pytest.LogCaptureFixture
) -> None:
    store_of(table).apply(a_recording_started(), NOON)
    [before] = table.items()
    vonage: Any = AVonage(recordings={each.recording_id: each for each in found})
    job = Reconciliation(
        a_run(ReconciliationOptions()), store_of(table), {"meetings": vonage}, grace=timedelta()
    )
    job.act(WorklistEntry("recording", RECORDING_ID, NOON))
    assert logged(caplog, message) == due(table, before).metadata.event_id


@pytest.fixture
def managed(table: Table, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The environment of the management API, whose caches are empty before and afterwards."""
    for name, value in (environment("ManagementApi") | {"TABLE_NAME": table.name}).items():
        monkeypatch.setenv(name, value)
    for cached in (management._settings, management._dynamodb, management._s3, management._sqs):
        cached.cache_clear()
    yield
    for cached in (management._settings, management._dynamodb, management._s3, management._sqs):
        cached.cache_clear()


@pytest.mark.usefixtures("managed")
@pytest.mark.parametrize("route", [DELETE, REPUBLISH])
def test_a_management_call_logs_the_id_of_the_following_event(
    route: str, table: Table, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    vonage = AVonage(recordings={RECORDING_ID: a_recording_at_vonage()})
    monkeypatch.setattr(management, "_vonage", lambda: vonage.clients)
    store_of(table).apply(a_recording_uploaded(), NOON)
    [before] = table.items()

    management.handler(a_request_for(route, RECORDING_ID), AContext())

    [item] = [each for each in table.items() if each != before]
    [event] = store.events_due(a_record(item, before if route == DELETE else None))
    assert logged(caplog, "management call") == event.metadata.event_id


@pytest.mark.usefixtures("managed")
def test_a_call_without_a_change_logs_no_event_id(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(management, "_vonage", lambda: AVonage().clients)
    management.handler(a_request_for(DELETE, RECORDING_ID), AContext())
    [line] = [vars(r) for r in caplog.records if r.message == "management call"]
    assert (line["status"], "correlation_id" in line) == (404, False)
