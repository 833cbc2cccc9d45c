"""The emulator's faults, observed on the socket."""

import base64
import codecs
import socket
import ssl
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from local.vonage import VonageControl
from local.vonage.control import ControlError


@pytest.fixture
def api() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.auth = ("key", "secret")
        yield session


def raw(emulator: VonageControl, method: str, path: str) -> bytes:
    """Return all bytes of the response to a request, until the connection closes."""
    address = urlsplit(emulator.base)
    request = (
        f"{method} {urlsplit(emulator.api_url).path}{path} HTTP/1.1\r\nHost: x\r\n"
        "Authorization: Basic a2V5OnNlY3JldA==\r\n\r\n"
    )
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(request.encode())
        received = b""
        while part := connection.recv(65_536):
            received += part
    return received


@pytest.mark.parametrize("status", [200, 202, 302, 403, 404, 418, 503])
@pytest.mark.parametrize(
    ("fault", "content_type", "body"),
    [
        ({"body": "<h1>Hi</h1>"}, "text/html; charset=utf-8", b"<h1>Hi</h1>"),
        ({"body": "x", "content_type": "text/plain"}, "text/plain", b"x"),
        ({"body_base64": base64.b64encode(b"\x00\xff").decode()}, "application/json", b"\x00\xff"),
        ({"body_json": None}, "application/json", b"null"),
        ({"body_json": {"a": [1]}}, "application/json", b'{"a":[1]}'),
        ({"body": ""}, "text/html; charset=utf-8", b""),
        ({"body_json": [], "encoding": "utf-16-le"}, "application/json", b"[\x00]\x00"),
    ],
)
def test_any_status_has_any_body(
    emulator: VonageControl,
    api: requests.Session,
    status: int,
    fault: dict[str, Any],
    content_type: str,
    body: bytes,
) -> None:
    emulator.fault("get_room", status=status, **fault)
    response = api.get(f"{emulator.api_url}/rooms/x")
    assert (response.status_code, response.content) == (status, body)
    assert response.headers["Content-Type"] == content_type
    assert response.headers["Content-Length"] == str(len(body))


def test_a_body_without_a_status_is_a_success(
    emulator: VonageControl, api: requests.Session
) -> None:
    emulator.fault("delete_room", body_json="ok")
    assert api.delete(f"{emulator.api_url}/rooms/x").status_code == 200


def test_a_204_can_have_a_body_and_has_none_by_itself(emulator: VonageControl) -> None:
    emulator.fault("get_room", status=204, body="<h1>Hi</h1>", times=1)
    assert raw(emulator, "GET", "/rooms/x").endswith(b"\r\n\r\n<h1>Hi</h1>")
    emulator.fault("get_room", status=204)
    head, _, body = raw(emulator, "GET", "/rooms/x").partition(b"\r\n\r\n")
    assert (b"Content-Length" in head, body) == (False, b"")


def test_a_proper_response_can_be_changed(emulator: VonageControl, api: requests.Session) -> None:
    room = emulator.create_room(id="a")
    emulator.fault("get_room", encoding="utf-8-sig", headers={"X-Proxy": "1"}, content_type="a/b")
    response = api.get(f"{emulator.api_url}/rooms/a")
    assert response.content.startswith(codecs.BOM_UTF8 + b"{")
    assert (response.headers["X-Proxy"], response.headers["Content-Type"]) == ("1", "a/b")
    assert room["id"] in response.text
    missing = api.get(f"{emulator.api_url}/rooms/b")
    assert missing.status_code == 404
    assert missing.content.startswith(codecs.BOM_UTF8)


@pytest.mark.parametrize("chunked", [False, True])
def test_a_response_can_end_before_its_end(emulator: VonageControl, chunked: bool) -> None:
    emulator.fault("get_room", body="0123456789", truncate=4, chunked=chunked)
    head, _, body = raw(emulator, "GET", "/rooms/x").partition(b"\r\n\r\n")
    if chunked:
        assert (b"chunked" in head, body) == (True, b"6\r\n012345\r\n")
    else:
        assert (b"Content-Length: 10" in head, body) == (True, b"012345")


def test_a_response_can_be_chunked(emulator: VonageControl) -> None:
    emulator.fault("get_room", body="0123", chunked=True)
    assert raw(emulator, "GET", "/rooms/x").endswith(b"\r\n\r\n4\r\n0123\r\n0\r\n\r\n")


def test_a_response_can_be_endless(emulator: VonageControl, api: requests.Session) -> None:
    emulator.fault("list_rooms", endless=True)
    with api.get(f"{emulator.api_url}/rooms", stream=True) as response:
        blocks = response.iter_content(100_000)
        received = b"".join(next(blocks) for _ in range(20))
    assert received.startswith(b'{"page_size"')
    assert received.endswith(b" " * 100_000)


def test_a_response_can_trickle(emulator: VonageControl, api: requests.Session) -> None:
    emulator.fault("list_rooms", body="0123456789", trickle=0.001)
    response = api.get(f"{emulator.api_url}/rooms")
    assert response.content == b"0123456789"
    emulator.clear_faults()
    emulator.fault("list_rooms", body="0123456789", trickle=3600)
    with pytest.raises(requests.exceptions.ConnectionError):
        api.get(f"{emulator.api_url}/rooms", timeout=0.2)


def test_bytes_that_are_not_text_stay_as_they_are(
    emulator: VonageControl, api: requests.Session
) -> None:
    emulator.hold_meeting()
    recording_id = emulator.recordings()[0]["id"]
    emulator.fault("*", encoding="utf-16", elements=[{"element": 0, "value": 1}])
    assert api.delete(f"{emulator.api_url}/recordings/{recording_id}").status_code == 204
    emulator.clear_faults()
    emulator.fault("get_room", body_base64="/w==", encoding="utf-16")
    assert api.get(f"{emulator.api_url}/rooms/x").content == b"\xff"


def test_elements_can_be_invalid(emulator: VonageControl, api: requests.Session) -> None:
    emulator.add_rooms(4)
    ids = [room["id"] for room in emulator.rooms()]
    changes = [
        {"element": 0, "fields": {"metadata": {"team": "a"}, "expires_at": 5}},
        {"element": ids[1], "without": ["id"]},
        {"element": -2, "value": None},
        {"element": -1, "fields": {"id": ids[0]}},
        {"element": 4, "value": "beyond"},
        {"element": "unknown", "value": "none"},
    ]
    emulator.fault("*", elements=changes)
    for form in ("embedded", "list"):
        emulator.settings(page_form=form)
        found = api.get(f"{emulator.api_url}/rooms").json()["_embedded"]
        first, second, third, last = found["rooms"] if form == "embedded" else found
        assert (first["metadata"], first["expires_at"]) == ({"team": "a"}, 5)
        assert (second.get("id"), third, last["id"]) == (None, None, ids[0])
    assert "id" not in api.get(f"{emulator.api_url}/rooms/{ids[1]}").json()
    assert api.get(f"{emulator.api_url}/rooms/{ids[0]}").json()["metadata"] is None


def test_a_sessions_recordings_can_be_invalid(
    emulator: VonageControl, api: requests.Session
) -> None:
    made = emulator.add_recordings(2, per_session=2)
    emulator.fault("list_recordings", elements=[{"element": 1, "fields": {"status": 7}}])
    listed = api.get(f"{emulator.api_url}/sessions/{made['session_ids'][0]}/recordings").json()
    statuses = [each["status"] for each in listed["_embedded"]["recordings"]]
    assert statuses == ["uploaded", 7]


@pytest.mark.parametrize(
    ("list_end", "rooms", "pages"),
    [
        ("no_next", 6, [3, 3]),
        ("empty_page", 6, [3, 3, 0, 0, 0]),
        ("empty_page", 0, [0, 0, 0, 0, 0]),
        ("cut_short", 6, [3]),
        ("loop", 6, [3, 3, 3, 3, 3]),
    ],
)
def test_a_list_can_end_in_unusual_ways(
    emulator: VonageControl, api: requests.Session, list_end: str, rooms: int, pages: list[int]
) -> None:
    emulator.settings(list_end=list_end)
    if rooms:
        emulator.add_rooms(rooms)
    following = {"href": f"{emulator.api_url}/rooms?page_size=3"}
    counts: list[int] = []
    while following and len(counts) < 5:
        page = api.get(following["href"]).json()
        counts.append(len(page["_embedded"]["rooms"]))
        following = page["_links"].get("next")
    assert counts == pages


def test_https_is_self_signed_and_serves_the_same(emulator: VonageControl) -> None:
    emulator.create_room(id="a")
    url = f"{emulator.https_api_url()}/rooms/a"
    with pytest.raises(requests.exceptions.SSLError, match=r"self.signed certificate"):
        requests.get(url, auth=("key", "secret"), timeout=60)
    assert emulator.https_api_url() == url.removesuffix("/rooms/a")
    address = urlsplit(url)
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection((address.hostname, address.port), timeout=60) as connection,
        trusting.wrap_socket(connection) as secure,
    ):
        secure.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert secure.recv(15) == b"HTTP/1.1 200 OK"


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ({"body": "a", "body_json": None}, "one of body"),
        ({"body_base64": "a"}, "base64"),
        ({"body_base64": "%%%%"}, "base64"),
        ({"endless": True, "truncate": 1}, "no end"),
        ({"encoding": "ebcdic"}, "ebcdic"),
        ({"elements": [{"fields": {}}]}, "element"),
        ({"headers": {"A:": "b"}}, "headers"),
    ],
)
def test_an_invalid_fault_is_rejected(
    emulator: VonageControl, fault: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ControlError, match=complaint):
        emulator.fault("get_room", **fault)
