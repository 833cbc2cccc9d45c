"""The client against the emulator, over HTTP."""

import email.utils
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local import vonage
from local.vonage import VonageControl
from roomkeeper.rooms import Room
from roomkeeper.vonage import (
    ApiKey,
    ApplicationKey,
    NotDeletableYet,
    NotFound,
    NotSent,
    NotUpdatable,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    UnusableId,
    VonageClient,
    VonageError,
)
from tests.integration.vonage_support import BRISK, KEY, statuses

WEEK = timedelta(days=7)


def in_a_week() -> datetime:
    return (datetime.now(UTC) + WEEK).replace(microsecond=0)


# --- the nine operations --------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/beta/meetings", "/v1/meetings", "/v1/meetings/"])
def test_a_room_is_created_found_extended_and_deleted(emulator: VonageControl, prefix: str) -> None:
    with VonageClient(emulator.base + prefix, KEY) as client:
        expires_at = in_a_week()
        made = client.create_room(
            "Standup", expires_at=expires_at, metadata="daily", auto_record=True
        )
        assert (made.display_name, made.metadata, made.auto_record) == ("Standup", "daily", True)
        assert made.is_long_term
        assert made.expires_at == expires_at
        assert client.get_room(made.id) == made
        extended = client.update_room_expiry(made.id, expires_at + WEEK)
        assert extended.expires_at == expires_at + WEEK
        client.delete_room(made.id)
        assert not client.get_room(made.id).is_available


def test_an_instant_room_is_the_default(client: VonageClient) -> None:
    room = client.create_room("Now")
    assert room.type == "instant"
    assert room.created_at is not None
    assert room.expires_at == room.created_at + timedelta(minutes=10)


def test_recordings_are_listed_fetched_and_deleted(
    emulator: VonageControl, client: VonageClient
) -> None:
    meeting = emulator.hold_meeting(recordings=2)
    listed = client.list_recordings(meeting["session_id"]).found
    assert [each.id for each in listed] == meeting["recording_ids"]
    first = client.get_recording(listed[0].id)
    assert (first.status, first.session_id) == ("uploaded", meeting["session_id"])
    assert first.url is not None
    client.delete_recording(first.id)
    assert [each.id for each in client.list_recordings(meeting["session_id"]).found] == [
        listed[1].id
    ]
    assert [each["deleted"] for each in emulator.recordings()] == [True, False]


@pytest.mark.parametrize("page_form", ["embedded", "list"])
@pytest.mark.parametrize("link_form", ["absolute", "bare"])
@pytest.mark.parametrize("count", [0, 1, 6, 7, 8, 21])
def test_every_room_is_listed_once_and_in_order(
    emulator: VonageControl, client: VonageClient, page_form: str, link_form: str, count: int
) -> None:
    emulator.settings(page_form=page_form, link_form=link_form)
    ids = emulator.add_rooms(count, display_name="Room") if count else []
    assert [room.id for room in client.list_rooms(page_size=7)] == ids
    assert len(statuses(emulator, "list_rooms")) == max(1, -(-count // 7))


def test_pages_are_fetched_only_when_they_are_needed(
    emulator: VonageControl, client: VonageClient
) -> None:
    emulator.add_rooms(30)
    assert len(list(islice(client.list_rooms(page_size=10), 10))) == 10
    assert len(statuses(emulator, "list_rooms")) == 1


def test_a_page_can_be_asked_for_by_its_cursor(
    emulator: VonageControl, client: VonageClient
) -> None:
    ids = emulator.add_rooms(5)
    first = client.get_rooms_page(page_size=3)
    assert (len(first.rooms), first.total_items) == (3, 5)
    second = client.get_rooms_page(first.next_start_id, page_size=3)
    assert [room.id for room in second.rooms] == ids[3:]
    assert second.next_start_id is None


def test_both_ways_to_tell_availability_are_understood(
    emulator: VonageControl, client: VonageClient
) -> None:
    room = client.create_room("Soon gone")
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


def test_a_token_is_taken_by_who_has_the_public_key(keys: tuple[str, str]) -> None:
    private, public = keys
    with vonage.running(public_key=public) as control:
        bearer = ApplicationKey("app", private)
        with VonageClient(control.api_url, bearer) as client:
            assert list(client.list_rooms()) == []
        late = ApplicationKey("app", private, lambda: time.time() - 1000)
        with VonageClient(control.api_url, late) as client, pytest.raises(Unauthorized) as caught:
            next(client.list_rooms())
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
        with VonageClient(control.api_url, other) as client, pytest.raises(Unauthorized):
            client.get_room("any")


def test_empty_credentials_are_refused_once(emulator: VonageControl) -> None:
    nobody = VonageClient(emulator.api_url, ApiKey("", ""))
    with nobody, pytest.raises(Unauthorized) as caught:
        nobody.get_room("any")
    assert caught.value.message == "Unauthorized: You did not provide correct credentials"
    assert statuses(emulator, "get_room") == [401]


# --- refusals, none of which is tried again -------------------------------------------------------


def refusals(client: VonageClient, emulator: VonageControl) -> dict[str, Any]:
    instant = client.create_room("Instant").id
    long_term = client.create_room("Long", expires_at=in_a_week()).id
    waiting = emulator.hold_meeting(upload=False)["recording_ids"][0]
    return {"instant": instant, "long_term": long_term, "waiting": waiting}


GONE = (NotFound, 404, "NotFoundError")
INVALID = (Refused, 400, "InputValidationError")


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
        ("create_room", lambda c, _: c.create_room("x" * 201), INVALID),
        ("list_recordings", lambda c, _: c.list_recordings("none"), GONE),
        ("get_recording", lambda c, _: c.get_recording("none"), GONE),
        (
            "delete_recording",
            lambda c, ids: c.delete_recording(ids["waiting"]),
            (NotDeletableYet, 403, "ForbiddenError"),
        ),
        ("delete_recording", lambda c, _: c.delete_recording("none"), GONE),
    ],
)
def test_a_refusal_is_told_by_its_kind_and_final(
    emulator: VonageControl,
    client: VonageClient,
    operation: str,
    ask: Callable[[VonageClient, dict[str, Any]], object],
    expected: tuple[type[VonageError], int, str],
) -> None:
    kind, status, name = expected
    ids = refusals(client, emulator)
    before = len(statuses(emulator, operation))
    with pytest.raises(kind) as caught:
        ask(client, ids)
    assert type(caught.value) is kind
    assert (caught.value.status, caught.value.name) == (status, name)
    assert statuses(emulator, operation)[before:] == [status]


def test_a_wrong_base_url_is_not_taken_for_a_missing_room(emulator: VonageControl) -> None:
    astray = VonageClient(f"{emulator.base}/v2/meetings", KEY)
    with astray, pytest.raises(NotFound) as caught:
        astray.get_room("any")
    assert not caught.value.is_vonages_own


def test_a_recording_can_be_deleted_once_it_is_uploaded(
    emulator: VonageControl, client: VonageClient
) -> None:
    recording_id = emulator.hold_meeting(upload=False)["recording_ids"][0]
    assert client.get_recording(recording_id).url is None
    with pytest.raises(NotDeletableYet):
        client.delete_recording(recording_id)
    emulator.upload(recording_id)
    client.delete_recording(recording_id)
    with pytest.raises(NotFound):
        client.get_recording(recording_id)


def test_a_time_without_a_zone_is_a_mistake_of_ours(client: VonageClient) -> None:
    naive = datetime(2030, 1, 1)
    with pytest.raises(ValueError, match="no zone"):
        client.update_room_expiry("x", naive)
    with pytest.raises(ValueError, match="no zone"):
        client.create_room("x", expires_at=naive)


# --- what passes is tried again -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ({"status": 500}, 500),
        ({"status": 502, "body": "<html>Bad Gateway</html>"}, 502),
        ({"status": 503, "retry_after": 0}, 503),
        ({"status": 429}, 429),
        ({"reset": True}, None),
    ],
)
def test_a_passing_failure_is_ridden_out(
    emulator: VonageControl, client: VonageClient, fault: dict[str, Any], seen: int | None
) -> None:
    room = client.create_room("Standup")
    emulator.fault("get_room", times=3, **fault)
    assert client.get_room(room.id) == room
    assert statuses(emulator, "get_room") == [seen, seen, seen, 200]


def test_a_slow_answer_is_given_up_and_asked_for_again(emulator: VonageControl) -> None:
    emulator.fault("list_rooms", latency=30, times=1)
    with VonageClient(emulator.api_url, KEY, budget=15, timeout=0.3, pace=BRISK) as client:
        began = time.monotonic()
        assert list(client.list_rooms()) == []
    assert 0.3 <= time.monotonic() - began < 15


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_respected(emulator: VonageControl, client: VonageClient, form: str) -> None:
    until = datetime.now(UTC) + timedelta(seconds=2)
    told = 1 if form == "seconds" else email.utils.format_datetime(until, usegmt=True)
    emulator.fault("list_rooms", status=429, retry_after=told, times=1)
    began = time.monotonic()
    assert list(client.list_rooms()) == []
    # A date has whole seconds: two from now is at least one.
    assert time.monotonic() - began >= 0.99


def test_a_wait_beyond_the_budget_is_not_begun(
    emulator: VonageControl, client: VonageClient
) -> None:
    emulator.fault("get_room", status=429, retry_after=3600)
    began = time.monotonic()
    with pytest.raises(RateLimited) as caught:
        client.get_room("any")
    assert time.monotonic() - began < 10
    assert caught.value.retry_after == 3600
    assert statuses(emulator, "get_room") == [429]


@pytest.mark.parametrize("fault", [{"status": 503}, {"reset": True}, {"latency": 30}])
def test_the_budget_is_the_end_of_it(
    emulator: VonageControl, client: VonageClient, fault: dict[str, Any]
) -> None:
    emulator.fault("get_room", **fault)
    began = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        client.within(0.7).get_room("any")
    assert 0.3 < time.monotonic() - began < 10
    assert caught.value.status == fault.get("status")
    assert any("Given up" in note for note in caught.value.__notes__)


def test_without_time_nothing_is_asked(emulator: VonageControl, client: VonageClient) -> None:
    with pytest.raises(NotSent, match="no time left"):
        client.within(0).get_room("any")
    assert statuses(emulator, "get_room") == []


def test_a_rate_limit_is_kept_by_waiting(emulator: VonageControl, client: VonageClient) -> None:
    emulator.fault("list_rooms", rate_limit=5, per=1)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: list(client.list_rooms()), range(10)))
    answered = statuses(emulator, "list_rooms")
    assert answered.count(200) == 10
    assert 429 in answered


def test_many_threads_get_through_a_bad_time(emulator: VonageControl, client: VonageClient) -> None:
    ids = emulator.add_rooms(40)
    emulator.fault("get_room", status=503, probability=0.2, seed=1)
    emulator.fault("get_room", reset=True, probability=0.1, seed=2)
    emulator.fault("get_room", status=429, retry_after=0, probability=0.1, seed=3)
    with ThreadPoolExecutor(16) as pool:
        found: list[Room] = list(pool.map(client.get_room, ids * 5))
    assert [room.id for room in found] == ids * 5


# --- doing it twice -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", [{"reset": True}, {"status": 503}, {"status": 500}])
def test_a_room_is_never_created_twice(
    emulator: VonageControl, client: VonageClient, fault: dict[str, Any]
) -> None:
    emulator.fault("create_room", after=True, **fault)
    with pytest.raises(Unavailable) as caught:
        client.create_room("Once")
    assert caught.value.may_have_acted
    assert len(emulator.rooms()) == 1


def test_a_room_that_was_not_created_for_sure_is_tried_again(
    emulator: VonageControl, client: VonageClient
) -> None:
    emulator.fault("create_room", status=429, times=2)
    client.create_room("Once")
    assert len(emulator.rooms()) == 1
    assert statuses(emulator, "create_room") == [429, 429, 201]


def test_without_a_connection_even_creating_is_tried_again() -> None:
    with vonage.running() as control:
        gone = control.api_url
    client = VonageClient(gone, KEY, budget=1, pace=BRISK)
    with client, pytest.raises(NotSent) as caught:
        client.create_room("Once")
    assert not caught.value.may_have_acted
    assert "tries: 1." not in caught.value.__notes__[0]


@pytest.mark.parametrize("operation", ["delete_room", "delete_recording"])
def test_a_deletion_whose_answer_was_lost_is_found_done(
    emulator: VonageControl, client: VonageClient, operation: str
) -> None:
    meeting = emulator.hold_meeting()
    target = meeting["room_id" if operation == "delete_room" else "recording_ids"]
    emulator.fault(operation, reset=True, after=True, times=1)
    with pytest.raises(NotFound) as caught:
        getattr(client, operation)(target if isinstance(target, str) else target[0])
    assert caught.value.is_vonages_own
    assert statuses(emulator, operation) == [None, 404]


# --- what must not happen -------------------------------------------------------------------------


def test_a_redirect_takes_the_credentials_nowhere(
    emulator: VonageControl, client: VonageClient
) -> None:
    with vonage.running() as elsewhere:
        location = f"{elsewhere.api_url}/rooms?token=hidden"
        for status in (301, 302, 303, 307, 308):
            emulator.clear_faults()
            emulator.fault("get_room", status=status, location=location)
            with pytest.raises(UnexpectedAnswer) as caught:
                client.get_room("any")
            assert caught.value.status == status
            assert "hidden" not in str(caught.value)
        assert elsewhere.requests() == []


NASTY = st.text(alphabet=st.sampled_from("ab/\\?#.%2fF&=+ ~:@"), min_size=1, max_size=12)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(NASTY)
def test_whatever_an_id_is_made_of_it_leads_to_nothing_else(
    emulator: VonageControl, client: VonageClient, room_id: str
) -> None:
    emulator.reset()
    decoy = emulator.hold_meeting()
    for ask in (client.get_room, client.delete_room):
        with pytest.raises((NotFound, Refused)):
            ask(room_id)
    asked = emulator.requests()
    assert {each["operation"] for each in asked} <= {"get_room", "delete_room"}
    assert {each["query"] for each in asked} <= {""}
    assert not any(room["deleted"] for room in emulator.rooms())
    assert client.get_recording(decoy["recording_ids"][0]).status == "uploaded"


@pytest.mark.parametrize("room_id", ["a-b_c~d.e", "46201502", "a+b=", "..a"])
def test_ids_of_the_kinds_that_vonage_makes_are_found(
    emulator: VonageControl, client: VonageClient, room_id: str
) -> None:
    emulator.create_room(id=room_id, display_name="The one")
    assert client.get_room(room_id).display_name == "The one"


@pytest.mark.parametrize(
    "ask", ["get_room", "delete_room", "list_recordings", "get_recording", "delete_recording"]
)
@pytest.mark.parametrize("bad", ["", "..", "../rooms", "..\\rooms", "a/../.."])
def test_an_id_that_could_lead_elsewhere_is_not_even_sent(
    emulator: VonageControl, client: VonageClient, ask: str, bad: str
) -> None:
    with pytest.raises(UnusableId):
        getattr(client, ask)(bad)
    assert emulator.requests() == []


def test_errors_and_reprs_keep_secrets(emulator: VonageControl, client: VonageClient) -> None:
    emulator.fault("get_room", reset=True)
    with pytest.raises(Unavailable) as caught:
        client.within(0.2).get_room("any")
    problem: BaseException | None = caught.value
    texts = [repr(client), repr(KEY)]
    while problem is not None:
        texts.append(f"{problem!r} {problem}")
        problem = problem.__cause__ or problem.__context__
    assert KEY.secret not in " ".join(texts)
    assert KEY.authorization().split()[1] not in " ".join(texts)
