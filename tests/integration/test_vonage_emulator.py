"""The emulator over HTTP, with any client."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from local.vonage import VonageControl
from local.vonage.control import ControlError
from tests.support.vonage_samples import RECORDING, ROOM, ROOM_2021, page

FRESH = {"display_name": "Standup"}


@pytest.fixture
def api() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.auth = ("key", "secret")
        yield session


def expires(**ahead: float) -> str:
    return (datetime.now(UTC) + timedelta(**ahead)).isoformat()


# --- the API --------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["/beta/meetings", "/v1/meetings"])
@pytest.mark.parametrize("path", ["/rooms", "/rooms/x", "/sessions/x/recordings", "/recordings/x"])
def test_without_credentials_nothing_is_shown(
    emulator: VonageControl, prefix: str, path: str
) -> None:
    response = requests.get(emulator.base + prefix + path, timeout=60)
    assert response.status_code == 401
    assert response.json() == {
        "title": "Unauthorized",
        "detail": "You did not provide correct credentials",
    }


def test_errors_have_the_published_bodies(emulator: VonageControl, api: requests.Session) -> None:
    missing = api.get(f"{emulator.api_url}/rooms/x")
    assert (missing.status_code, missing.json()) == (
        404,
        {"message": "Failed to find room with id: x", "name": "NotFoundError", "status": 404},
    )
    room_id = api.post(f"{emulator.api_url}/rooms", json=FRESH).json()["id"]
    change = {"update_details": {"expires_at": "2022-11-11T16:00:00.000Z"}}
    instant = api.patch(f"{emulator.api_url}/rooms/{room_id}", json=change)
    assert instant.json() == {
        "message": f"The room with id: {room_id} could not be updated because of its "
        "type: temporary",
        "name": "BadRequestError",
        "status": 400,
    }
    empty = api.patch(f"{emulator.api_url}/rooms/{room_id}", json={"update_details": {}})
    assert empty.json() == {
        "message": '"update_details" must have at least 1 key',
        "name": "InputValidationError",
        "status": 400,
    }


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/beta/meetings", 404),
        ("GET", "/beta/meetings/recordings", 404),
        ("GET", "/alpha/meetings/rooms", 404),
        ("PUT", "/beta/meetings/rooms/x", 405),
        ("DELETE", "/beta/meetings/rooms", 405),
    ],
)
def test_the_gateway_responds_to_unknown_paths(
    emulator: VonageControl, api: requests.Session, method: str, path: str, status: int
) -> None:
    response = api.request(method, emulator.base + path)
    assert response.status_code == status
    assert set(response.json()) == {"title", "detail"}


@pytest.mark.parametrize("form", ["is_available", "status"])
def test_a_room_has_every_published_field(
    emulator: VonageControl, api: requests.Session, form: str
) -> None:
    emulator.settings(room_form=form)
    made = api.post(f"{emulator.api_url}/rooms", json=FRESH)
    assert made.status_code == 201
    published = ROOM if form == "is_available" else ROOM_2021
    assert set(published) <= set(made.json())
    assert ("status" in made.json()) == (form == "status")
    assert set(made.json()["_links"]) == {"host_url", "guest_url"}
    assert made.json()["meeting_code"].isdigit()
    assert made.json()["created_at"].endswith("Z")
    assert api.get(f"{emulator.api_url}/rooms/{made.json()['id']}").json() == made.json()


@pytest.mark.parametrize("path", ["/rooms", "/rooms/"])
@pytest.mark.parametrize("form", ["embedded", "list"])
def test_a_page_has_either_published_form(
    emulator: VonageControl, api: requests.Session, form: str, path: str
) -> None:
    emulator.settings(page_form=form)
    ids = emulator.add_rooms(30)
    shown = api.get(emulator.api_url + path, params={"start_id": "11", "page_size": "10"}).json()
    sample = page([], form=form, next_link="x")
    assert set(sample) | {"total_items"} == set(shown)
    found = shown["_embedded"]["rooms"] if form == "embedded" else shown["_embedded"]
    assert [room["id"] for room in found] == ids[10:20]
    rooms = f"{emulator.api_url}/rooms?page_size=10"
    assert shown["_links"] == {
        "first": {"href": rooms},
        "self": {"href": f"{rooms}&start_id=11"},
        "prev": {"href": f"{rooms}&end_id=11"},
        "next": {"href": f"{rooms}&start_id=21"},
    }
    assert (shown["page_size"], shown["total_items"]) == (10, 30)


def test_the_last_page_has_no_next(emulator: VonageControl, api: requests.Session) -> None:
    emulator.add_rooms(20)
    shown = api.get(f"{emulator.api_url}/rooms").json()
    assert shown["page_size"] == 20
    assert set(shown["_links"]) == {"first", "self"}


def test_links_can_lack_their_scheme(emulator: VonageControl, api: requests.Session) -> None:
    emulator.settings(link_form="bare")
    shown = api.get(f"{emulator.base}/v1/meetings/rooms").json()
    host = emulator.base.removeprefix("http://")
    assert shown["_links"]["first"]["href"] == f"{host}/v1/meetings/rooms?page_size=20"


def test_a_deleted_room_is_still_shown_as_unavailable(
    emulator: VonageControl, api: requests.Session
) -> None:
    room_id = emulator.create_room(expires_at=expires(days=1))["id"]
    url = f"{emulator.api_url}/rooms/{room_id}"
    assert api.delete(url).status_code == 204
    assert api.get(url).json()["is_available"] is False
    assert api.delete(url).status_code == 404
    change = {"update_details": {"expires_at": expires(days=2)}}
    assert api.patch(url, json=change).status_code == 404


def test_recordings_are_shown_as_published(emulator: VonageControl, api: requests.Session) -> None:
    meeting = emulator.hold_meeting(recordings=2)
    listed = api.get(f"{emulator.api_url}/sessions/{meeting['session_id']}/recordings").json()
    assert [each["id"] for each in listed["_embedded"]["recordings"]] == meeting["recording_ids"]
    one = api.get(f"{emulator.api_url}/recordings/{meeting['recording_ids'][0]}").json()
    assert set(one) == set(RECORDING)
    assert one["status"] == "uploaded"
    assert set(one["_links"]) == {"url"}


@pytest.mark.parametrize("status", ["started", "paused", "stopped"])
def test_only_an_uploaded_recording_can_be_deleted(
    emulator: VonageControl, api: requests.Session, status: str
) -> None:
    recording_id = emulator.add_recordings(status=status)["recording_ids"][0]
    url = f"{emulator.api_url}/recordings/{recording_id}"
    assert api.delete(url).status_code == 403
    assert api.get(url).json()["status"] == status
    assert "url" not in api.get(url).json()["_links"]
    emulator.upload(recording_id)
    assert [api.delete(url).status_code for _ in range(2)] == [204, 404]


# --- downloads ------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["X-Amz", "Expires"])
def test_a_recording_can_be_downloaded_until_its_url_expires(
    emulator: VonageControl, api: requests.Session, form: str
) -> None:
    emulator.settings(url_form=form)
    meeting = emulator.hold_meeting()
    url = meeting["callbacks"][-1]["url"]
    film = requests.get(url, timeout=60)
    assert (film.status_code, film.headers["Content-Type"]) == (200, "video/mp4")
    assert film.content[4:8] == b"ftyp"
    part = requests.get(url, timeout=60, headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    emulator.advance_clock(72_001)
    late = requests.get(url, timeout=60)
    assert late.status_code == 403
    assert "<Message>Request has expired</Message>" in late.text
    fresh = api.get(f"{emulator.api_url}/recordings/{meeting['recording_ids'][0]}").json()
    assert requests.get(fresh["_links"]["url"]["href"], timeout=60).status_code == 200


def test_a_deleted_recording_cannot_be_downloaded(
    emulator: VonageControl, api: requests.Session
) -> None:
    meeting = emulator.hold_meeting()
    api.delete(f"{emulator.api_url}/recordings/{meeting['recording_ids'][0]}")
    gone = requests.get(meeting["callbacks"][-1]["url"], timeout=60)
    assert gone.status_code == 404
    assert "NoSuchKey" in gone.text


def test_the_log_of_requests_has_no_secrets(emulator: VonageControl, api: requests.Session) -> None:
    url = emulator.hold_meeting()["callbacks"][-1]["url"]
    requests.get(url, timeout=60)
    api.get(f"{emulator.api_url}/rooms?page_size=5")
    download, listing = emulator.requests()
    assert (download["operation"], download["query"]) == ("download", "")
    assert listing == {
        "method": "GET",
        "path": "/beta/meetings/rooms",
        "query": "page_size=5",
        "operation": "list_rooms",
        "range": None,
        "authorization": "Basic",
        "status": 200,
    }


# --- the control interface ------------------------------------------------------------------------


def test_a_room_can_be_added_in_any_state(emulator: VonageControl, api: requests.Session) -> None:
    long_ago = {"created_at": "2020-01-01T00:00:00Z", "expires_at": "2021-01-01T00:00:00Z"}
    emulator.create_room(id="old", type="long_term", **long_ago)
    emulator.create_room(id="gone", deleted=True)
    emulator.create_room(id="now")
    shown = {room["id"]: room for room in emulator.rooms()}
    assert [shown[name]["is_available"] for name in ("old", "gone", "now")] == [False, False, True]
    assert shown["old"]["created_at"] == "2020-01-01T00:00:00.000Z"
    assert shown["gone"]["deleted"]
    assert api.get(f"{emulator.api_url}/rooms/old").json()["expires_at"].startswith("2021-01-01")
    with pytest.raises(ControlError, match="409"):
        emulator.create_room(id="now")


def test_no_session_starts_in_an_expired_room(emulator: VonageControl) -> None:
    room_id = emulator.create_room()["id"]
    emulator.advance_clock(600)
    with pytest.raises(ControlError, match="not available"):
        emulator.hold_meeting(room_id)


def test_a_meeting_can_stay_ongoing(emulator: VonageControl, api: requests.Session) -> None:
    room_id = emulator.create_room()["id"]
    meeting = emulator.hold_meeting(room_id, ongoing=True)
    assert [body["event"] for body in meeting["callbacks"]] == [
        "session:started",
        *["session:participant:joined"] * 2,
        "recording:started",
    ]
    emulator.advance_clock(3600)
    url = f"{emulator.api_url}/rooms/{room_id}"
    assert api.get(url).json()["is_available"] is True
    ended = emulator.end_meeting(meeting["session_id"])
    uploaded = ended["callbacks"][-1]
    assert 3600 <= uploaded["duration"] < 3610
    emulator.advance_clock(595)
    assert api.get(url).json()["is_available"] is True
    emulator.advance_clock(10)
    assert api.get(url).json()["is_available"] is False
    with pytest.raises(ControlError, match="has ended"):
        emulator.end_meeting(meeting["session_id"])


def test_recordings_can_be_there_by_the_thousand(emulator: VonageControl) -> None:
    made = emulator.add_recordings(
        10_000, per_session=4, started_at="2025-01-01T00:00:00Z", ids=["first"]
    )
    assert len(set(made["recording_ids"])) == 10_000
    assert len(set(made["session_ids"])) == 2_500
    kept = emulator.recordings()
    assert len(kept) == 10_000
    assert kept[0]["id"] == "first"
    assert kept[0]["ended_at"] == "2025-01-01T00:00:38.000Z"


def test_recordings_can_be_added_to_a_session_of_a_given_id(
    emulator: VonageControl, api: requests.Session
) -> None:
    first = emulator.add_recordings(3, session_id="a-session", ids=["1", "2", "3", "4"])
    more = emulator.add_recordings(2, session_id="a-session")
    assert first["session_ids"] == more["session_ids"] == ["a-session"]
    assert first["room_id"] == more["room_id"]
    listed = api.get(f"{emulator.api_url}/sessions/a-session/recordings").json()
    assert [each["id"] for each in listed["_embedded"]["recordings"]] == [
        *("1", "2", "3", "4"),
        *more["recording_ids"],
    ]


@pytest.mark.parametrize(
    ("call", "complaint"),
    [
        (lambda e: e.fault("get_rooms", status=503), "get_rooms"),
        (lambda e: e.fault("get_room", statsu=503), "statsu"),
        (lambda e: e.settings(page_form="other"), "other"),
        (lambda e: e.hold_meeting(repeats={}), "repeats"),
        (lambda e: e.hold_meeting("no room"), "no room"),
        (lambda e: e.hold_meeting(started_at="soon"), "started_at"),
        (lambda e: e.callbacks_to("nowhere"), "url"),
        (lambda e: e.advance_clock(1e300), "seconds"),
    ],
)
def test_an_invalid_control_call_is_reported(
    emulator: VonageControl, call: Any, complaint: str
) -> None:
    with pytest.raises(ControlError, match=complaint):
        call(emulator)


def test_a_reset_removes_everything(emulator: VonageControl, api: requests.Session) -> None:
    emulator.hold_meeting()
    emulator.settings(page_form="list")
    emulator.fault("*", status=503)
    emulator.advance_clock(1e6)
    emulator.reset()
    assert emulator.rooms() == emulator.recordings() == emulator.deliveries() == []
    shown = api.get(f"{emulator.api_url}/rooms").json()
    assert shown["_embedded"] == {"rooms": []}


def test_the_emulator_prints_its_usage(emulator: VonageControl) -> None:
    guide = requests.get(emulator.base, timeout=60).text
    assert f"curl {emulator.base}/control/meetings -d" in guide


@pytest.mark.parametrize("id_", ["a%20b", "a%2Fb", "%C3%BC", "a%25", "..."])
def test_an_id_that_vonage_never_creates_is_rejected(
    emulator: VonageControl, api: requests.Session, id_: str
) -> None:
    response = api.get(f"{emulator.api_url}/recordings/{id_}")
    assert (response.status_code, response.json()["name"]) == (400, "InputValidationError")


def test_ids_can_be_rejected_by_prefix(emulator: VonageControl, api: requests.Session) -> None:
    [kept, refused] = emulator.add_recordings(2, ids=["kept", "refused"])["recording_ids"]
    emulator.settings(refused_ids="ref")
    asked = [api.get(f"{emulator.api_url}/recordings/{id_}") for id_ in (kept, refused)]
    assert [response.status_code for response in asked] == [200, 400]
