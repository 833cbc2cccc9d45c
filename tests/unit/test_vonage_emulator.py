import base64
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from local.vonage import downloads, meetings, rooms
from local.vonage.access import is_authorized
from local.vonage.clock import moment
from local.vonage.deliveries import Attempt, Delivery
from local.vonage.faults import ArmedFault, Fault
from local.vonage.files import FILM
from local.vonage.meetings import Meeting, MeetingSending
from local.vonage.paging import Page
from local.vonage.recordings import new_session_id
from local.vonage.refusal import Refusal
from local.vonage.state import State
from tests.support.vonage_samples import SESSION_ID

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
PRIVATE_KEY = rsa.generate_private_key(65537, 2048)
TOMORROW = "2026-07-02T12:00:00.000Z"


def a_room(**fields: Any) -> rooms.Room:
    return rooms.created({"display_name": "Standup"} | fields, 1, NOON)


def a_long_term_room(**fields: Any) -> rooms.Room:
    return a_room(type="long_term", expires_at=TOMORROW, **fields)


# --- pages ----------------------------------------------------------------------------------------


def following(link: str, total: int, first: Page) -> Iterator[Page]:
    page = first
    while True:
        yield page
        href = page.links("http://rooms").get(link, {}).get("href")
        if href is None:
            return
        page = Page.requested(dict(parse_qsl(urlsplit(href).query)), total)


@given(st.integers(0, 200), st.integers(1, 30))
def test_next_links_lead_through_all_rooms_once(total: int, size: int) -> None:
    pages = following("next", total, Page.requested({"page_size": str(size)}, total))
    seen = [serial for page in pages for serial in range(page.first, page.stop)]
    assert seen == list(range(1, total + 1))


@given(st.integers(1, 200), st.integers(1, 30), st.data())
def test_prev_links_lead_back_through_all_before(total: int, size: int, data: Any) -> None:
    start = data.draw(st.integers(1, total))
    requested = Page.requested({"page_size": str(size), "start_id": str(start)}, total)
    pages = list(following("prev", total, requested))[1:]
    seen = [serial for page in reversed(pages) for serial in range(page.first, page.stop)]
    assert seen == list(range(1, start))


@given(st.integers(0, 60), st.integers(-5, 70), st.integers(-5, 70), st.integers(1, 70))
def test_start_is_inclusive_and_end_exclusive(total: int, start: int, end: int, size: int) -> None:
    query = {"start_id": str(start), "end_id": str(end), "page_size": str(size)}
    pages = following("next", total, Page.requested(query, total))
    seen = [serial for page in pages for serial in range(page.first, page.stop)]
    assert seen == [serial for serial in range(1, total + 1) if start <= serial < end]


@pytest.mark.parametrize("value", ["0", "-1", "x", "", "1e3", "9" * 400, "\u0661"])
def test_an_invalid_page_size_is_rejected(value: str) -> None:
    with pytest.raises(Refusal, match="page_size"):
        Page.requested({"page_size": value}, 5)


# --- rooms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        ({}, "display_name"),
        ({"display_name": ""}, "display_name"),
        ({"display_name": "x" * 201}, "display_name"),
        ({"display_name": "x", "type": "eternal"}, "eternal"),
        ({"display_name": "x", "metadata": "x" * 501}, "metadata"),
        ({"display_name": "x", "expires_at": TOMORROW}, "expires_at"),
        ({"display_name": "x", "type": "long_term"}, "expires_at"),
        ({"display_name": "x", "type": "long_term", "expires_at": "soon"}, "expires_at"),
        ({"display_name": "x", "type": "long_term", "expires_at": 5}, "expires_at"),
        (
            {"display_name": "x", "type": "long_term", "expires_at": "2026-07-01T12:00:00Z"},
            "expires_at",
        ),
        (
            {"display_name": "x", "type": "long_term", "expires_at": "2031-07-03T12:00:00Z"},
            "expires_at",
        ),
    ],
)
def test_a_room_that_breaks_a_rule_is_not_made(body: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Refusal, match=complaint) as caught:
        rooms.created(body, 1, NOON)
    assert (caught.value.status, caught.value.name) == (400, "InputValidationError")


def test_an_instant_room_lives_ten_minutes() -> None:
    room = a_room()
    assert room.is_available(NOON + timedelta(minutes=10) - SECOND)
    assert not room.is_available(NOON + timedelta(minutes=10))


def test_an_instant_room_exists_while_in_use_and_ten_minutes_after() -> None:
    used = rooms.entered(a_room())
    end = NOON + timedelta(hours=1)
    assert used.is_available(end)
    empty = rooms.left(used, end)
    assert empty.is_available(end + timedelta(minutes=10) - SECOND)
    assert not empty.is_available(end + timedelta(minutes=10))


def test_a_long_term_room_lives_until_it_expires_whoever_is_in_it() -> None:
    assert not rooms.entered(a_long_term_room()).is_available(NOON + timedelta(days=1))


def test_a_room_for_one_use_expires_after_the_session() -> None:
    room = rooms.left(rooms.entered(a_long_term_room(expire_after_use=True)), NOON + SECOND)
    assert room.expires_at == NOON + SECOND


def test_only_long_term_rooms_can_be_updated() -> None:
    with pytest.raises(Refusal, match="because of its type: temporary") as caught:
        rooms.updated(a_room(), {"update_details": {"expires_at": TOMORROW}}, NOON)
    assert (caught.value.status, caught.value.name) == (400, "BadRequestError")


@pytest.mark.parametrize(
    "body",
    [{}, {"update_details": {}}, {"update_details": None}, {"update_details": {"id": "x"}}],
)
def test_an_empty_update_is_rejected(body: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="update_details") as caught:
        rooms.updated(a_long_term_room(), body, NOON)
    assert caught.value.name == "InputValidationError"


def test_an_expired_room_cannot_be_restored() -> None:
    late = NOON + timedelta(days=2)
    change = {"update_details": {"expires_at": "2026-08-01T00:00:00Z"}}
    with pytest.raises(Refusal, match="state: unavailable"):
        rooms.updated(a_long_term_room(), change, late)


def test_unknown_fields_are_kept() -> None:
    room = rooms.updated(a_long_term_room(colour="red"), {"update_details": {"size": 3}}, NOON)
    shown = rooms.as_json(room, NOON, "is_available")
    assert (shown["colour"], shown["size"]) == ("red", 3)


def test_availability_is_shown_in_either_form() -> None:
    assert rooms.as_json(a_room(), NOON, "is_available")["is_available"] is True
    shown = rooms.as_json(a_room(), NOON + timedelta(days=1), "status")
    assert shown["status"] == "unavailable"
    assert "is_available" not in shown


@pytest.mark.parametrize(
    "text",
    [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59-14:00",
        "1969-12-31T23:59:59Z",
        "9000-01-01T00:00:00Z",
    ],
)
def test_a_time_out_of_range_is_rejected(text: str) -> None:
    with pytest.raises(Refusal, match="created_at"):
        moment(text, "created_at")


@given(st.text() | st.none() | st.integers() | st.datetimes().map(str))
def test_a_time_is_either_converted_to_utc_or_rejected(text: object) -> None:
    with suppress(Refusal):
        assert moment(text, "at").tzinfo is UTC


# --- download URLs --------------------------------------------------------------------------------


def query_of(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


@pytest.mark.parametrize("form", ["X-Amz", "Expires"])
@pytest.mark.parametrize(
    "base", ["http://127.0.0.1:8200", "https://prod-meetings-recordings.s3.amazonaws.com"]
)
def test_a_download_url_looks_like_the_published_ones(form: Any, base: str) -> None:
    for serial in range(200):
        url = downloads.signed_url(base, f"{serial:036}", NOON, 72_000, form)
        assert url.startswith(f"{base}/46339892/{serial:036}/archive.mp4?")
        assert 1200 <= len(url) <= 1500
        query = query_of(url)
        if form == "X-Amz":
            assert (query["X-Amz-Date"], query["X-Amz-Expires"]) == ("20260701T120000Z", "72000")
        else:
            assert int(query["Expires"]) == int(NOON.timestamp()) + 72_000


@pytest.mark.parametrize("form", ["X-Amz", "Expires"])
def test_a_download_url_works_until_it_expires(form: Any) -> None:
    query = query_of(downloads.signed_url("http://x", "7", NOON, 60, form))
    assert downloads.refusal("7", query, NOON + 59 * SECOND) is None
    assert downloads.refusal("7", query, NOON + 60 * SECOND) == (
        "AccessDenied",
        "Request has expired",
    )


@pytest.mark.parametrize("form", ["X-Amz", "Expires"])
def test_no_part_of_a_download_url_can_be_changed(form: Any) -> None:
    query = query_of(downloads.signed_url("http://x", "7", NOON, 60, form))
    for name in query:
        assert downloads.refusal("7", query | {name: query[name] + "0"}, NOON) is not None
        without = {key: value for key, value in query.items() if key != name}
        assert downloads.refusal("7", without, NOON) is not None
    assert downloads.refusal("8", query, NOON) is not None


@given(
    st.dictionaries(
        st.sampled_from(["Signature", "X-Amz-Signature", "Expires", "X-Amz-Date"]), st.text()
    )
)
def test_a_made_up_query_never_opens(query: dict[str, str]) -> None:
    assert downloads.refusal("7", query, NOON) is not None


def test_the_file_is_an_mp4() -> None:
    film = FILM
    assert film[4:8] == b"ftyp"
    assert {b"moov", b"mdat", b"avc1"} <= {*re.findall(rb"moov|mdat|avc1", film)}


# --- meetings -------------------------------------------------------------------------------------


@pytest.fixture
def state() -> State:
    return State("http://127.0.0.1:8200")


def events(bodies: list[dict[str, Any]]) -> list[str]:
    return [body["event"] for body in bodies]


def callbacks_of(state: State, **meeting: Any) -> list[dict[str, Any]]:
    wanted = Meeting(**meeting)
    session, bodies = meetings.begin(state, wanted)
    return bodies + meetings.finish(state, session, duration=wanted.duration, upload=wanted.upload)


def test_a_meeting_has_callbacks_from_its_start_to_the_upload(state: State) -> None:
    assert events(callbacks_of(state, recordings=2, participants=("Ada",))) == [
        "session:started",
        "session:participant:joined",
        *["recording:started"] * 2,
        *["recording:ended"] * 2,
        "session:participant:left",
        "session:ended",
        *["recording:uploaded"] * 2,
    ]


def test_times_are_those_of_the_meeting(state: State) -> None:
    bodies = callbacks_of(state, started_at="2026-07-01T12:00:00Z", duration=38)
    ended, session_ended = bodies[-5], bodies[-2]
    assert ended["started_at"] == "2026-07-01T12:00:02.000Z"
    assert (ended["ended_at"], ended["duration"]) == ("2026-07-01T12:00:40.000Z", 38)
    assert session_ended["ended_at"] == "2026-07-01T12:00:42.000Z"


def test_without_a_start_a_meeting_ends_now(state: State) -> None:
    ended_at = moment(callbacks_of(state, duration=600)[-2]["ended_at"], "ended_at")
    assert abs(ended_at - state.clock.now()) < timedelta(seconds=5)


def test_callbacks_can_be_lost_repeated_ordered_and_renamed(state: State) -> None:
    bodies = callbacks_of(state, participants=("Ada",))
    sending = MeetingSending(
        drop=frozenset({"session:started", "session:participant:left"}),
        repeat={"recording:uploaded": 1},
        order=("recording:uploaded", "session:ended"),
        rename={"recording:uploaded": "recording:ready"},
        room_id_in_recordings=True,
    )
    sent = meetings.arranged(state, bodies, sending)
    assert events(sent) == [
        "recording:ready",
        "recording:ready",
        "session:ended",
        "session:participant:joined",
        "recording:started",
        "recording:ended",
    ]
    assert all(body["room_id"] == bodies[0]["room_id"] for body in sent)


def test_the_same_seed_gives_the_same_order(state: State) -> None:
    bodies = callbacks_of(state, recordings=5)
    first, again, other = (
        meetings.arranged(state, bodies, MeetingSending(shuffle_seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again != other
    assert sorted(map(str, first)) == sorted(map(str, bodies))


def test_session_ids_are_of_the_published_kind() -> None:
    made = new_session_id(NOON)
    assert re.fullmatch(r"2_[A-Za-z0-9_-]+", made)
    assert made[:12] == SESSION_ID[:12]


# --- faults and deliveries ------------------------------------------------------------------------


def taken(fault: Fault, times: list[float]) -> list[bool]:
    armed = ArmedFault(fault)
    return [armed.take("get_room", at) is not None for at in times]


def test_a_fault_applies_to_its_operation_the_given_number_of_times() -> None:
    assert taken(Fault(operation="get_room", status=503, times=2), [0, 1, 2]) == [
        True,
        True,
        False,
    ]
    assert taken(Fault(operation="*", status=503), [0]) == [True]
    assert taken(Fault(operation="list_rooms", status=503), [0]) == [False]


def test_chance_is_seeded() -> None:
    def drawn(seed: int) -> list[bool]:
        return taken(Fault(operation="*", reset=True, probability=0.5, seed=seed), [0.0] * 200)

    assert drawn(1) == drawn(1) != drawn(2)
    assert 60 < sum(drawn(1)) < 140


def test_a_rate_limit_allows_a_number_of_requests_and_sends_retry_after() -> None:
    fault = Fault(operation="*", rate_limit=2, per=10)
    assert taken(fault, [0, 1, 2, 9.9, 10, 10.5]) == [False, False, True, True, False, True]
    armed = ArmedFault(fault)
    limited = [armed.take("get_room", at) for at in (0.0, 0.5, 3.2)][-1]
    assert limited is not None
    assert (limited.status, limited.retry_after) == (429, 7)


@pytest.mark.parametrize("header", ["a\r\nSet-Cookie: b", "\x00", "é"])
def test_a_fault_cannot_break_out_of_its_header(header: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"operation": "*", "retry_after": header}, Fault)


@pytest.mark.parametrize(
    ("status", "final", "acknowledged"),
    [
        (200, True, True),
        (204, True, True),
        (302, True, False),
        (400, True, False),
        (401, True, False),
        (429, False, False),
        (500, False, False),
        (503, False, False),
        (None, False, False),
    ],
)
def test_a_sender_tries_again_after_429_5xx_and_silence(
    status: int | None, final: bool, acknowledged: bool
) -> None:
    attempt = Attempt("now", status)
    assert (attempt.is_final, attempt.is_acknowledgement) == (final, acknowledged)
    assert Delivery({}, [Attempt("before", 500), attempt]).delivered is acknowledged


# --- access ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Basic",
        "Basic !!!",
        "Basic OnNlY3JldA==",
        "Basic a2V5Og==",
        "Basic /////w==",
        "Bearer",
        "Bearer x.y.z",
        "Digest abc",
    ],
)
def test_malformed_credentials_are_not_authorized(header: str | None) -> None:
    assert not is_authorized(header, None)


@pytest.mark.parametrize("header", ["Basic a2V5OnNlY3JldA==", "basic  a2V5OnNlY3JldA== "])
def test_key_and_secret_pass(header: str) -> None:
    assert is_authorized(header, None)


CLAIMS = {"application_id": "a", "iat": 1, "exp": 4_000_000_000, "jti": "j"}


def test_a_token_of_the_application_passes() -> None:
    token = jwt.encode(CLAIMS, PRIVATE_KEY, algorithm="RS256")
    assert is_authorized(f"Bearer {token}", PRIVATE_KEY.public_key())


@pytest.mark.parametrize("missing", CLAIMS)
def test_a_token_must_have_every_claim(missing: str) -> None:
    claims = {name: value for name, value in CLAIMS.items() if name != missing}
    token = jwt.encode(claims, PRIVATE_KEY, algorithm="RS256")
    assert not is_authorized(f"Bearer {token}", PRIVATE_KEY.public_key())
    assert is_authorized(f"Bearer {token}", None)


@pytest.mark.parametrize(
    "token",
    [
        jwt.encode(CLAIMS | {"exp": 2}, PRIVATE_KEY, algorithm="RS256"),
        jwt.encode(CLAIMS, "x" * 32, algorithm="HS256"),
        jwt.encode(CLAIMS, "", algorithm="none"),
    ],
    ids=["expired", "HS256", "none"],
)
def test_a_token_must_be_current_and_signed_by_the_private_key(token: str) -> None:
    assert not is_authorized(f"Bearer {token}", PRIVATE_KEY.public_key())


@given(
    st.text()
    | st.tuples(st.binary(), st.binary(), st.binary()).map(
        lambda parts: b".".join(map(base64.urlsafe_b64encode, parts)).decode()
    )
)
def test_no_header_is_an_error(header: str) -> None:
    for key in (None, PRIVATE_KEY.public_key()):
        assert is_authorized(f"Bearer {header}", key) in {True, False}
        assert is_authorized(header, key) in {True, False}
