"""The client against the emulator, over HTTP."""

import email.utils
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local import vonage
from local.vonage import VonageControl
from roomkeeper.domain.rooms import Room
from roomkeeper.times import iso
from roomkeeper.vonage import (
    ApiKey,
    ApplicationKey,
    BadRequest,
    InvalidId,
    InvalidResponse,
    NotDeletable,
    NotFound,
    NotUpdatable,
    RateLimited,
    Unauthorized,
    Unavailable,
    VonageError,
)
from roomkeeper.vonage.meetings import MeetingsClient
from tests.integration.vonage_support import KEY, SHORT_DELAYS, statuses

WEEK = timedelta(days=7)


def ids_in(client: MeetingsClient, session_id: str) -> list[str]:
    """Return the ids of the session's recordings."""
    listed = client.in_session(session_id)
    assert listed is not None
    return [each.recording_id for each in listed.found]


def all_rooms(client: MeetingsClient, page_size: int = 20) -> list[Room]:
    page = client.list_rooms(page_size=page_size)
    rooms = [*page.rooms]
    while page.next_start_id is not None:
        page = client.list_rooms(page.next_start_id, page_size)
        rooms += page.rooms
    return rooms


def add_room(emulator: VonageControl, **fields: Any) -> str:
    """Add a long-term room; return its id."""
    defaults = {"display_name": "Standup", "type": "long_term", "expires_at": iso(in_a_week())}
    room_id: str = emulator.create_room(**defaults | fields)["id"]
    return room_id


def in_a_week() -> datetime:
    return (datetime.now(UTC) + WEEK).replace(microsecond=0)


# --- the nine operations --------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/beta/meetings", "/v1/meetings", "/v1/meetings/"])
def test_a_room_is_found_extended_and_deleted(emulator: VonageControl, prefix: str) -> None:
    with MeetingsClient(emulator.base + prefix, KEY) as client:
        expires_at = in_a_week()
        made = client.get_room(add_room(emulator, metadata="daily", expires_at=iso(expires_at)))
        assert (made.display_name, made.metadata) == ("Standup", "daily")
        assert made.is_long_term
        assert made.expires_at == expires_at
        extended = client.update_room_expiry(made.id, expires_at + WEEK)
        assert extended.expires_at == expires_at + WEEK
        client.delete_room(made.id)
        assert not client.get_room(made.id).is_available


def test_recordings_are_listed_fetched_and_deleted(
    emulator: VonageControl, client: MeetingsClient
) -> None:
    meeting = emulator.hold_meeting(recordings=2)
    assert ids_in(client, meeting["session_id"]) == meeting["recording_ids"]
    first_id, second_id = meeting["recording_ids"]
    first, download = client.get(first_id), client.download(first_id)
    assert first is not None
    assert (first.event, first.session_id) == ("recording:uploaded", meeting["session_id"])
    assert download is not None
    assert download.url.startswith("http")
    assert client.delete(first_id) == "deleted"
    assert (client.get(first_id), client.download(first_id)) == (None, None)
    assert ids_in(client, meeting["session_id"]) == [second_id]
    assert [each["deleted"] for each in emulator.recordings()] == [True, False]


@pytest.mark.parametrize("page_form", ["embedded", "list"])
@pytest.mark.parametrize("link_form", ["absolute", "bare"])
@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 21])
def test_every_room_is_listed_once_and_in_order(
    emulator: VonageControl, client: MeetingsClient, page_form: str, link_form: str, count: int
) -> None:
    emulator.settings(page_form=page_form, link_form=link_form)
    ids = emulator.add_rooms(count, display_name="Room") if count else []
    assert [room.id for room in all_rooms(client, page_size=7)] == ids
    assert len(statuses(emulator, "list_rooms")) == max(1, -(-count // 7))


def test_a_page_can_be_requested_by_its_cursor(
    emulator: VonageControl, client: MeetingsClient
) -> None:
    ids = emulator.add_rooms(5)
    first = client.list_rooms(page_size=3)
    assert (len(first.rooms), first.total_items) == (3, 5)
    second = client.list_rooms(first.next_start_id, page_size=3)
    assert [room.id for room in second.rooms] == ids[3:]
    assert second.next_start_id is None


def test_both_formats_of_availability_are_parsed(
    emulator: VonageControl, client: MeetingsClient
) -> None:
    room = client.get_room(emulator.create_room(display_name="Soon gone")["id"])
    emulator.settings(room_form="status")
    assert client.get_room(room.id).is_available
    emulator.advance_clock(601)
    assert not client.get_room(room.id).is_available


# --- credentials ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def keys() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return private.decode(), public.decode()


def test_a_token_is_verified_by_the_public_key(keys: tuple[str, str]) -> None:
    private, public = keys
    with vonage.running(public_key=public) as control:
        bearer = ApplicationKey("app", private)
        with MeetingsClient(control.api_url, bearer) as client:
            assert all_rooms(client) == []
        late = ApplicationKey("app", private, lambda: time.time() - 1000)
        with MeetingsClient(control.api_url, late) as client, pytest.raises(Unauthorized) as caught:
            client.list_rooms()
        assert caught.value.status == 401
        assert [each["authorization"] for each in control.requests()] == ["Bearer", "Bearer"]


def test_a_token_of_another_key_is_not(keys: tuple[str, str]) -> None:
    stranger = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    with vonage.running(public_key=keys[1]) as control:
        other = ApplicationKey("app", stranger.decode())
        with MeetingsClient(control.api_url, other) as client, pytest.raises(Unauthorized):
            client.get_room("any")


def test_empty_credentials_are_refused_once(emulator: VonageControl) -> None:
    nobody = MeetingsClient(emulator.api_url, ApiKey("", ""))
    with nobody, pytest.raises(Unauthorized) as caught:
        nobody.get_room("any")
    assert caught.value.message == "Unauthorized: You did not provide correct credentials"
    assert statuses(emulator, "get_room") == [401]


# --- refusals, which are not retried --------------------------------------------------------------


def refusals(emulator: VonageControl) -> dict[str, Any]:
    instant = emulator.create_room(display_name="Instant")["id"]
    long_term = add_room(emulator)
    return {"instant": instant, "long_term": long_term}


GONE = (NotFound, 404, "NotFoundError")
INVALID = (BadRequest, 400, "InputValidationError")


@pytest.mark.parametrize(
    ("operation", "ask", "expected"),
    [
        ("get_room", lambda c, _: c.get_room("none"), GONE),
        ("delete_room", lambda c, _: c.delete_room("none"), GONE),
        ("update_room", lambda c, _: c.update_room_expiry("none", in_a_week()), GONE),
        (
            "update_room",
            lambda c, ids: c.update_room_expiry(ids["instant"], in_a_week()),
            (NotUpdatable, 400, "BadRequestError"),
        ),
        (
            "update_room",
            lambda c, ids: c.update_room_expiry(ids["long_term"], in_a_week() - 2 * WEEK),
            INVALID,
        ),
    ],
)
def test_a_refusal_raises_its_own_error_and_is_not_retried(
    emulator: VonageControl,
    client: MeetingsClient,
    operation: str,
    ask: Callable[[MeetingsClient, dict[str, Any]], object],
    expected: tuple[type[VonageError], int, str],
) -> None:
    kind, status, name = expected
    ids = refusals(emulator)
    before = len(statuses(emulator, operation))
    with pytest.raises(kind) as caught:
        ask(client, ids)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.name) == (status, name)
    assert statuses(emulator, operation)[before:] == [status]


def test_a_wrong_base_url_does_not_count_as_a_missing_room(emulator: VonageControl) -> None:
    astray = MeetingsClient(f"{emulator.base}/v2/meetings", KEY)
    with astray, pytest.raises(InvalidResponse, match="base URL") as caught:
        astray.get_room("any")
    assert caught.value.status == 404


def test_a_recording_can_be_deleted_once_it_is_uploaded(
    emulator: VonageControl, client: MeetingsClient
) -> None:
    recording_id = emulator.hold_meeting(upload=False)["recording_ids"][0]
    assert client.download(recording_id) is None
    assert client.delete(recording_id) == "not_yet"
    emulator.upload(recording_id)
    assert client.delete(recording_id) == "deleted"
    assert client.delete(recording_id) == "already_deleted"
    assert client.get(recording_id) is None


def test_an_unknown_session_and_recording_are_none(client: MeetingsClient) -> None:
    assert (client.get("none"), client.in_session("none")) == (None, None)


def test_the_meetings_api_has_no_list_of_all_recordings(
    emulator: VonageControl, client: MeetingsClient
) -> None:
    emulator.hold_meeting()
    assert list(client.all_since(datetime(2020, 1, 1, tzinfo=UTC))) == []


def test_a_time_without_a_zone_raises_a_value_error(client: MeetingsClient) -> None:
    naive = datetime(2030, 1, 1)
    with pytest.raises(ValueError, match="no time zone"):
        client.update_room_expiry("x", naive)


# --- what passes is tried again -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ({"status": 500}, 500),
        ({"status": 502, "body": "<html>Bad Gateway</html>"}, 502),
        ({"status": 503, "retry_after": 0}, 503),
        ({"status": 429}, 429),
        ({"reset": True}, None),
        ({"truncate": 10}, 200),
        ({"truncate": 10, "chunked": True}, 200),
        ({"body": "", "truncate": 1, "chunked": True}, 200),
    ],
)
def test_a_passing_failure_is_ridden_out(
    emulator: VonageControl, client: MeetingsClient, fault: dict[str, Any], seen: int | None
) -> None:
    room_id = add_room(emulator)
    emulator.fault("get_room", times=3, **fault)
    assert client.get_room(room_id).id == room_id
    assert statuses(emulator, "get_room") == [seen, seen, seen, 200]


def test_a_slow_response_times_out_and_is_retried(emulator: VonageControl) -> None:
    emulator.fault("list_rooms", latency=60, times=1)
    with MeetingsClient(
        emulator.api_url, KEY, total_timeout=50, timeout=1, retry=SHORT_DELAYS
    ) as client:
        began = time.monotonic()
        assert all_rooms(client) == []
    assert time.monotonic() - began >= 1


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_respected(
    emulator: VonageControl, client: MeetingsClient, form: str
) -> None:
    until = datetime.now(UTC) + timedelta(seconds=2)
    header = 1 if form == "seconds" else email.utils.format_datetime(until, usegmt=True)
    emulator.fault("list_rooms", status=429, retry_after=header, times=1)
    began = time.monotonic()
    assert all_rooms(client) == []
    # A date has whole seconds: two from now is at least one.
    assert time.monotonic() - began >= 0.99


def test_a_delay_beyond_the_total_timeout_is_not_started(
    emulator: VonageControl, client: MeetingsClient
) -> None:
    emulator.fault("get_room", status=429, retry_after=3600)
    began = time.monotonic()
    with pytest.raises(RateLimited) as caught:
        client.get_room("any")
    assert time.monotonic() - began < 10
    assert caught.value.retry_after == 3600
    assert statuses(emulator, "get_room") == [429]


@pytest.mark.parametrize("fault", [{"status": 503}, {"reset": True}, {"latency": 30}])
def test_no_retry_starts_after_the_total_timeout(
    emulator: VonageControl, fault: dict[str, Any]
) -> None:
    emulator.fault("get_room", **fault)
    began = time.monotonic()
    brief = MeetingsClient(emulator.api_url, KEY, total_timeout=2, retry=SHORT_DELAYS)
    with brief as client, pytest.raises(Unavailable) as caught:
        client.get_room("any")
    assert 0.3 < time.monotonic() - began < 25
    assert caught.value.status == fault.get("status")
    assert any("Gave up" in note for note in caught.value.__notes__)


def test_no_request_is_sent_without_time(emulator: VonageControl) -> None:
    late = MeetingsClient(emulator.api_url, KEY, total_timeout=0, retry=SHORT_DELAYS)
    with late, pytest.raises(Unavailable, match="no time left"):
        late.get_room("any")
    assert statuses(emulator, "get_room") == []


def test_a_rate_limit_is_kept_by_waiting(emulator: VonageControl, client: MeetingsClient) -> None:
    emulator.fault("list_rooms", rate_limit=5, per=1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: all_rooms(client), range(10)))
    shown = statuses(emulator, "list_rooms")
    assert shown.count(200) == 10
    assert 429 in shown


def test_many_threads_get_through_a_bad_time(
    emulator: VonageControl, client: MeetingsClient
) -> None:
    ids = emulator.add_rooms(40)
    emulator.fault("get_room", status=503, probability=0.2, seed=1)
    emulator.fault("get_room", reset=True, probability=0.1, seed=2)
    emulator.fault("get_room", status=429, retry_after=0, probability=0.1, seed=3)
    with ThreadPoolExecutor(16) as pool:
        found: list[Room] = list(pool.map(client.get_room, ids * 5))
    assert [room.id for room in found] == ids * 5


# --- doing it twice -------------------------------------------------------------------------------


def test_a_room_deletion_whose_response_was_lost_is_not_found(
    emulator: VonageControl, client: MeetingsClient
) -> None:
    room_id = emulator.hold_meeting()["room_id"]
    emulator.fault("delete_room", reset=True, after=True, times=1)
    with pytest.raises(NotFound):
        client.delete_room(room_id)
    assert statuses(emulator, "delete_room") == [None, 404]


def test_a_recording_deletion_whose_response_was_lost_is_already_done(
    emulator: VonageControl, client: MeetingsClient
) -> None:
    recording_id = emulator.hold_meeting()["recording_ids"][0]
    emulator.fault("delete_recording", reset=True, after=True, times=1)
    assert client.delete(recording_id) == "already_deleted"
    assert statuses(emulator, "delete_recording") == [None, 404]


# --- Vonage's own form only -----------------------------------------------------------------------

HTML = "<html><body>Sign in to the network</body></html>"


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 451])
@pytest.mark.parametrize("operation", ["delete_recording", "delete_room", "get_recording"])
def test_a_refusal_in_another_form_is_an_invalid_response(
    emulator: VonageControl, client: MeetingsClient, operation: str, status: int
) -> None:
    meeting = emulator.hold_meeting()
    target = meeting["room_id"] if operation == "delete_room" else meeting["recording_ids"][0]
    emulator.fault(operation, status=status, body=HTML)
    ask: Mapping[str, Callable[[str], object]] = {
        "delete_recording": client.delete,
        "delete_room": client.delete_room,
        "get_recording": client.get,
    }
    with pytest.raises(InvalidResponse) as caught:
        ask[operation](target)
    assert not caught.value.is_item_specific


@pytest.mark.parametrize("status", [403, 404, 409])
def test_a_refused_deletion_of_an_uploaded_recording_is_a_failure(
    emulator: VonageControl, client: MeetingsClient, status: int
) -> None:
    recording_id = emulator.hold_meeting()["recording_ids"][0]
    name = "NotFoundError" if status == 404 else "ForbiddenError"
    emulator.fault("delete_recording", status=status, name=name)
    with pytest.raises(NotDeletable, match="refuses to delete") as caught:
        client.delete(recording_id)
    assert caught.value.is_item_specific


@pytest.mark.parametrize("status", [403, 404, 409])
def test_each_status_of_a_refused_deletion_means_not_yet_before_the_upload(
    emulator: VonageControl, client: MeetingsClient, status: int
) -> None:
    recording_id = emulator.hold_meeting(upload=False)["recording_ids"][0]
    name = "NotFoundError" if status == 404 else "ForbiddenError"
    emulator.fault("delete_recording", status=status, name=name)
    assert client.delete(recording_id) == "not_yet"


# --- what must not happen -------------------------------------------------------------------------


def test_a_redirect_is_not_followed_with_the_credentials(
    emulator: VonageControl, client: MeetingsClient
) -> None:
    with vonage.running() as elsewhere:
        location = f"{elsewhere.api_url}/rooms?token=hidden"
        for status in (301, 302, 303, 307, 308):
            emulator.clear_faults()
            emulator.fault("get_room", status=status, location=location)
            with pytest.raises(InvalidResponse) as caught:
                client.get_room("any")
            assert caught.value.status == status
            assert "hidden" not in str(caught.value)
        assert elsewhere.requests() == []


NASTY = st.text(alphabet=st.sampled_from("ab/\\?#.%2fF&=+ ~:@"), min_size=1, max_size=12)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NASTY)
def test_an_id_never_addresses_another_item(
    emulator: VonageControl, client: MeetingsClient, room_id: str
) -> None:
    emulator.reset()
    decoy = emulator.hold_meeting()
    for ask in (client.get_room, client.delete_room):
        with pytest.raises((NotFound, BadRequest)):
            ask(room_id)
    asked = emulator.requests()
    assert {each["operation"] for each in asked} <= {"get_room", "delete_room"}
    assert {each["query"] for each in asked} <= {""}
    assert not any(room["deleted"] for room in emulator.rooms())
    assert client.download(decoy["recording_ids"][0]) is not None


@pytest.mark.parametrize("room_id", ["a-b_c~d.e", "46201502", "a+b=", "..a"])
def test_ids_in_vonages_formats_are_found(
    emulator: VonageControl, client: MeetingsClient, room_id: str
) -> None:
    emulator.create_room(id=room_id, display_name="The one")
    assert client.get_room(room_id).display_name == "The one"


@pytest.mark.parametrize("ask", ["get_room", "delete_room", "delete"])
@pytest.mark.parametrize("bad", ["", "..", "../rooms", "..\\rooms", "a/../.."])
def test_an_id_that_could_lead_elsewhere_is_not_even_sent(
    emulator: VonageControl, client: MeetingsClient, ask: str, bad: str
) -> None:
    with pytest.raises(InvalidId):
        getattr(client, ask)(bad)
    assert (client.get(bad), client.in_session(bad)) == (None, None)
    assert emulator.requests() == []


def test_errors_and_reprs_keep_secrets(emulator: VonageControl) -> None:
    emulator.fault("get_room", reset=True)
    brief = MeetingsClient(emulator.api_url, KEY, total_timeout=0.2, retry=SHORT_DELAYS)
    with brief as client, pytest.raises(Unavailable) as caught:
        client.get_room("any")
    cause: BaseException | None = caught.value
    texts = [repr(client), repr(KEY)]
    while cause is not None:
        texts.append(f"{cause!r} {cause}")
        cause = cause.__cause__ or cause.__context__
    assert KEY.secret not in " ".join(texts)
    assert KEY.authorization().split()[1] not in " ".join(texts)
