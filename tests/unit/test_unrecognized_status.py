"""A recording in a status that is not known here is kept, and counted. It is no failure."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from local.testing.builders import NOON
from local.testing.template import environment
from roomkeeper.domain.observations import RecordingObservation
from roomkeeper.handlers import management_api as app
from roomkeeper.jobs.batch import Limits, deadline_in
from roomkeeper.jobs.reconciliation import UPLOAD_TIMEOUT, Reconciliation, ReconciliationOptions
from roomkeeper.jobs.report import Report
from roomkeeper.jobs.runner import Run
from roomkeeper.store import Store
from roomkeeper.vonage import UnrecognizedStatus
from roomkeeper.vonage.errors import RequestContext
from tests.support.management import AVonage, call
from tests.unit.conftest import Table

RECORDING_ID = "of-a-new-kind"
ROUTE = "GET /recordings/{recording_id}"


class WithNewStatus(AVonage):
    """A Vonage whose recordings are all in a status that is not known."""

    def all_since(self, *_: object) -> Any:
        return iter(())

    def get(self, recording_id: str) -> RecordingObservation | None:
        raise UnrecognizedStatus("melted", RequestContext("GET", f"/recordings/{recording_id}"))


@pytest.fixture
def store(table: Table) -> Store:
    """A table with one recording of which only the start is known."""
    store = Store(table.client, table.name, event_days=2, deleted_days=2)
    started = RecordingObservation(
        event="recording:started",
        product="meetings",
        recording_id=RECORDING_ID,
        session_id="session",
    )
    store.apply(started, NOON)
    return store


def reconcile(store: Store, now: datetime) -> Report:
    limits = Limits(concurrency=1, per_second=100.0, deadline=deadline_in(60.0))
    run = Run(
        options=ReconciliationOptions(), dry_run=False, limits=limits, call_seconds=1.0, now=now
    )
    vonage: Any = WithNewStatus()
    return Reconciliation(run, store, {"meetings": vonage}, grace=timedelta(hours=1)).run()


def test_a_reconciliation_waits_for_it(store: Store) -> None:
    report = reconcile(store, NOON + timedelta(days=1))

    counts = {name: report.counts[name] for name in ("waiting", "unrecognized", "deferred")}
    assert counts == {"waiting": 1, "unrecognized": 1, "deferred": 0}
    report.summary.raise_if_failed()
    known = store.recordings.get(RECORDING_ID)
    assert known is not None
    assert known.status == "started"


def test_a_reconciliation_gives_it_up_as_one_whose_upload_never_comes(store: Store) -> None:
    report = reconcile(store, NOON + UPLOAD_TIMEOUT + timedelta(days=1))

    assert report.counts["never_uploaded"] == 1
    report.summary.raise_if_failed()


@pytest.fixture
def _at_vonage(table: Table, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (environment("ManagementApi") | {"TABLE_NAME": table.name}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(app, "_vonage", lambda: WithNewStatus().clients)


@pytest.mark.usefixtures("_at_vonage", "store")
def test_the_management_api_returns_what_the_table_has() -> None:
    response = call(ROUTE, RECORDING_ID)

    assert (response.status, response.body["recording_id"]) == (200, RECORDING_ID)


@pytest.mark.usefixtures("_at_vonage")
def test_the_management_api_names_the_status_if_the_table_has_nothing() -> None:
    response = call(ROUTE, RECORDING_ID)

    assert (response.status, response.code) == (502, "vonage_invalid_response")
    assert "melted" in response.message
