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
from roomkeeper.vonage import NotServed, Unavailable
from roomkeeper.vonage.connect import Clients, NotConfigured
from roomkeeper.vonage.errors import RequestContext
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
    """Return the holder of the clients that the management API uses."""
    for name, value in (environment("ManagementApi") | {"TABLE_NAME": table.name}).items():
        monkeypatch.setenv(name, value)
    served = SimpleNamespace(clients=Clients(**untyped(apis)))
    monkeypatch.setattr(app, "_vonage", lambda: served.clients)
    return served


def untyped(in_place_of_clients: Any) -> Any:
    return in_place_of_clients


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
    assert {each: bool(api.calls) for each, api in apis.items()} == {
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
    route: str, apis: Any, management: SimpleNamespace
) -> None:
    management.clients = Clients(video=apis["video"])
    response = call(route, *(["room"] if "{" in route else []))
    assert (response.status, response.code) == (404, "rooms_not_served")
    assert response.message == (
        "There are no rooms: this stack serves the Video API, which has none."
    )


def test_rooms_without_credentials_are_not_configured(
    apis: Any, management: SimpleNamespace
) -> None:
    missing = {"meetings": NotConfigured("Store them with make configure.")}
    management.clients = Clients(video=apis["video"], unavailable=untyped(missing))
    response = call("GET /rooms")
    assert (response.status, response.code) == (503, "not_configured")


OUTAGE = Unavailable("The Meetings API is down", RequestContext("GET", "/it"))
NOT_STORED = NotConfigured("Store them with make configure.")


def broken(management: SimpleNamespace, apis: Any, failure: Exception) -> None:
    """Let the Meetings API fail, or be without credentials."""
    if isinstance(failure, NotConfigured):
        unavailable = untyped({"meetings": failure})
        management.clients = Clients(video=apis["video"], unavailable=unavailable)
    apis["meetings"].failure = failure


@pytest.mark.parametrize("failure", [OUTAGE, NOT_STORED])
@pytest.mark.parametrize("is_stored", [True, False])
def test_a_products_failure_does_not_hide_anothers_result(
    failure: Exception, is_stored: bool, apis: Any, store: Store, management: SimpleNamespace
) -> None:
    if is_stored:
        store.apply(a_recording("video"), NOON)
    broken(management, apis, failure)
    assert call(f"GET {RECORDING}", "of-video").body["product"] == "video"
    listed = call(f"GET {SESSION}", "session").body["recordings"]
    assert [each["recording_id"] for each in listed] == ["of-video"]
    assert call(f"DELETE {RECORDING}", "of-video").status == 204


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [(OUTAGE, 504, "vonage_unavailable"), (NOT_STORED, 503, "not_configured")],
)
@pytest.mark.parametrize("route", [f"GET {RECORDING}", f"DELETE {RECORDING}", f"GET {SESSION}"])
def test_a_recording_that_a_failing_product_may_have_is_not_reported_as_unknown(
    route: str, failure: Exception, status: int, code: str, apis: Any, management: SimpleNamespace
) -> None:
    broken(management, apis, failure)
    response = call(route, "unknown")
    assert (response.status, response.code) == (status, code)


def test_a_recording_of_a_product_without_credentials_is_still_shown_an_honest_error(
    apis: Any, store: Store, management: SimpleNamespace
) -> None:
    store.apply(a_recording("meetings"), NOON)
    broken(management, apis, NOT_STORED)
    response = call(f"GET {RECORDING}", "of-meetings")
    assert (response.status, response.code) == (503, "not_configured")


def test_a_recording_of_a_product_that_is_not_served_any_more_is_shown_from_the_table(
    apis: Any, store: Store, management: SimpleNamespace
) -> None:
    """A 503 would have callers try again for ever. Its copy, for instance, is still there."""
    store.apply(a_recording("meetings", started_at=NOON), NOON)
    management.clients = Clients(video=apis["video"])
    apis["video"].recordings.clear()
    shown = call(f"GET {RECORDING}", "of-meetings")
    assert (shown.status, shown.body["known_to"], shown.body["url"]) == (200, ["roomkeeper"], None)
    [listed] = call(f"GET {SESSION}", "session").body["recordings"]
    assert listed == shown.body
    assert call(f"GET {RECORDING}", "unknown").status == 404


@pytest.mark.parametrize("route", [f"DELETE {RECORDING}", f"POST {RECORDING}/republish"])
def test_a_change_of_a_recording_of_a_product_that_is_not_served_is_refused_for_good(
    route: str, apis: Any, store: Store, management: SimpleNamespace
) -> None:
    store.apply(a_recording("meetings"), NOON)
    management.clients = Clients(video=apis["video"])
    response = call(route, "of-meetings")
    assert (response.status, response.code) == (409, "product_not_served")
    assert "Products=both" in response.message


@pytest.mark.parametrize("product", PRODUCTS)
def test_the_responses_about_a_recording_name_its_product(
    product: Product, apis: Any, store: Store, management: SimpleNamespace
) -> None:
    store.apply(a_recording(product), NOON)
    of = f"of-{product}"
    assert call(f"PUT {RECORDING}/hold", of, body={"reason": "x"}).body["product"] == product
    assert call(f"POST {RECORDING}/republish", of).body["product"] == product


@pytest.mark.parametrize("is_stored", [True, False])
def test_a_deletion_reports_that_the_file_stays_in_its_owners_storage(
    is_stored: bool, apis: Any, store: Store, management: SimpleNamespace
) -> None:
    stored = a_recording("video", "stored")
    apis["video"].recordings = {"of-video": stored}
    if is_stored:
        store.apply(stored, NOON)
    assert call(f"DELETE {RECORDING}", "of-video").status == 204
    assert call(f"GET {RECORDING}", "of-video").body["file_kept"] is True
    deleted = store.recordings.get("of-video")
    assert deleted is not None
    assert deleted.file_kept


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
