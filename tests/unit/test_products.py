"""The jobs and the management API use the API of a recording's own product."""

from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from local.testing.builders import NOON
from local.testing.template import environment
from roomkeeper.domain.observations import Product, RecordingObservation
from roomkeeper.domain.recordings import WorklistEntry
from roomkeeper.handlers import management_api as app
from roomkeeper.jobs.batch import Limits, deadline_in
from roomkeeper.jobs.cleanup import Cleanup, CleanupOptions
from roomkeeper.jobs.reconciliation import Reconciliation, ReconciliationOptions
from roomkeeper.jobs.runner import OptionsT, Run
from roomkeeper.store import Store
from roomkeeper.vonage import NotServed
from roomkeeper.vonage.connect import Clients
from roomkeeper.vonage.meetings import MeetingsClient
from tests.support.management import AVonage, call
from tests.unit.conftest import Table

RECORDING = "/recordings/{recording_id}"
SESSION = "/sessions/{session_id}/recordings"


@dataclass
class AVideoApi(AVonage):
    """An in-memory Video API."""

    product: ClassVar[Product] = "video"
    recordings: dict[str, RecordingObservation] = field(default_factory=dict)


def a_recording(product: Product, event: str = "uploaded", **facts: Any) -> RecordingObservation:
    return RecordingObservation(
        event=f"recording:{event}",
        product=product,
        recording_id=f"of-{product}",
        session_id="session",
        url="https://a/b",
        **facts,
    )


@pytest.fixture
def apis() -> dict[Product, AVonage]:
    """Both products, each with one uploaded recording of the same session."""
    made = AVonage(), AVideoApi()
    for api in made:
        api.recordings = {f"of-{api.product}": a_recording(api.product)}
    return {api.product: api for api in made}


@pytest.fixture
def store(table: Table) -> Store:
    return Store(table.client, table.name, event_days=2, deleted_days=2)


@pytest.fixture
def management(
    apis: dict[Product, AVonage], table: Table, monkeypatch: pytest.MonkeyPatch
) -> SimpleNamespace:
    """Return the clients that the management API uses."""
    for name, value in (environment("ManagementApi") | {"TABLE_NAME": table.name}).items():
        monkeypatch.setenv(name, value)
    clients = SimpleNamespace(meetings=apis["meetings"], recordings=apis)
    monkeypatch.setattr(app, "_vonage", lambda: clients)
    return clients


def a_run(options: OptionsT) -> Run[OptionsT]:
    limits = Limits(concurrency=1, per_second=100.0, deadline=deadline_in(60.0))
    return Run(options=options, dry_run=False, limits=limits, call_seconds=1.0, now=NOON)


PRODUCTS: tuple[Product, ...] = "meetings", "video"


@pytest.mark.parametrize("product", PRODUCTS)
def test_cleanup_deletes_at_the_recordings_product(
    product: Product, apis: Any, store: Store
) -> None:
    store.apply(a_recording(product), NOON)
    entry = WorklistEntry("recording", f"of-{product}", NOON)
    assert Cleanup(a_run(CleanupOptions()), store, apis, retention=timedelta()).act(entry) == (
        "deleted"
    )
    assert {each: bool(api.changes) for each, api in apis.items()} == {
        each: each == product for each in PRODUCTS
    }


@pytest.mark.parametrize("product", PRODUCTS)
def test_reconciliation_asks_the_recordings_product(
    product: Product, apis: Any, store: Store
) -> None:
    store.apply(a_recording(product, "started"), NOON)
    entry = WorklistEntry("recording", f"of-{product}", NOON)
    job = Reconciliation(a_run(ReconciliationOptions()), store, apis, grace=timedelta())
    assert job.act(entry) == "recovered"
    assert {each: bool(api.asked) for each, api in apis.items()} == {
        each: each == product for each in PRODUCTS
    }


def test_a_recording_of_a_product_that_is_not_served_is_deferred(apis: Any, store: Store) -> None:
    store.apply(a_recording("video"), NOON)
    del apis["video"]
    [entry] = store.worklists.read("retained", NOON)
    job = Cleanup(a_run(CleanupOptions()), store, apis, retention=timedelta())
    with pytest.raises(NotServed, match="no access to the product video"):
        job.act(entry)
    assert store.worklists.count("deferred_retained", NOON + timedelta(days=2)) == 1


@pytest.mark.parametrize("is_stored", [True, False])
@pytest.mark.parametrize("product", PRODUCTS)
def test_the_management_api_finds_and_deletes_recordings_of_each_product(
    product: Product, is_stored: bool, apis: Any, store: Store, management: SimpleNamespace
) -> None:
    if is_stored:
        store.apply(a_recording(product), NOON)
    shown = call(f"GET {RECORDING}", f"of-{product}").body
    assert (shown["product"], shown["url"]) == (product, "https://a/b")
    assert call(f"DELETE {RECORDING}", f"of-{product}").status == 204
    assert apis[product].recordings == {}
    deleted = store.recordings.get(f"of-{product}")
    assert deleted is not None
    assert (deleted.product, deleted.status) == (product, "deleted")


def test_the_list_of_a_session_has_the_recordings_of_all_products(
    management: SimpleNamespace,
) -> None:
    listed = call(f"GET {SESSION}", "session").body["recordings"]
    assert {(each["product"], each["recording_id"]) for each in listed} == {
        ("meetings", "of-meetings"),
        ("video", "of-video"),
    }


@pytest.mark.parametrize("route", ["GET /rooms", "GET /rooms/{room_id}", "DELETE /rooms/{room_id}"])
def test_without_the_meetings_api_there_are_no_rooms(
    route: str, management: SimpleNamespace
) -> None:
    management.meetings = None
    answer = call(route, *(["room"] if "{" in route else []))
    assert (answer.status, answer.code) == (404, "no_rooms")
    assert answer.message == "There are no rooms: only the Meetings API has them."


def test_the_clients_of_the_products_are_closed_together() -> None:
    closed: list[str] = []
    client: Any = SimpleNamespace(product="meetings", close=lambda: closed.append("meetings"))
    with Clients(meetings=client) as clients:
        assert clients.recordings == {"meetings": client}
        assert not closed
    assert closed == ["meetings"]


def test_a_product_that_is_not_served_has_no_api() -> None:
    assert Clients().recordings == {}
    assert MeetingsClient.product == "meetings"
