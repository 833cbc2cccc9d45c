"""Random input to every route of the emulator is rejected without a 5xx or a traceback."""

import http.client
import json
import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from local import vonage
from local.vonage import VonageControl
from local.vonage.access import is_authorized
from local.vonage.recordings import ACCOUNT
from local.vonage.sender import Sender, Watch
from local.vonage.server import application
from local.vonage.state import State
from local.vonage.video.projects import APPLICATION_ID
from tests.support.video import unified_token

PREFIXES = ("/beta/meetings", "/v1/meetings")
ROOM, SESSION, RECORDING = "a room", "a session", "a recording"


def routes() -> list[tuple[str, str]]:
    """Return method and path pattern of every route except the bulk routes."""
    state = State("http://127.0.0.1")
    sender = Sender(state)
    app = application(state, sender, Watch(state, sender), None, lambda: "")
    sender.close()
    return sorted(
        (method, rule.rule)
        for rule in app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    )


ROUTES = routes()


@pytest.fixture(scope="module")
def target() -> Iterator[VonageControl]:
    with vonage.running() as control:
        yield control


def test_the_routes_are_all_known() -> None:
    meetings, video, control, others = 8 * len(PREFIXES), 6, 33, 2
    assert len(ROUTES) == meetings + video + control + others


def in_path(part: str, id_: str) -> str:
    """Return the part of a path for that of a route; accounts and file names are always valid."""
    valid = {"project_id>": APPLICATION_ID, "account>": ACCOUNT, "name>": "archive.mp4"}
    parameter = part.rpartition(":")[2]
    if not part.startswith("<") or ("any(" not in part and parameter == "name>"):
        return quote(id_, safe="") if part.startswith("<") else part
    return valid.get(parameter) or quote(id_, safe="")


ids = st.sampled_from([ROOM, SESSION, RECORDING, "..", ".", "%", "\x00"]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=20
)
paths = st.sampled_from(ROUTES).flatmap(
    lambda route: st.tuples(
        st.just(route[0]),
        st.lists(ids, min_size=1, max_size=1).map(
            lambda drawn: "/".join(in_path(part, drawn[0]) for part in route[1].split("/"))
        ),
    )
)
FIELDS = [
    *("display_name", "type", "expires_at", "metadata", "recording_options", "callback_urls"),
    *("expire_after_use", "update_details", "id", "created_at", "deleted", "event", "room_id"),
    *("session_id", "kinds", "headers", "participants", "recordings", "repeat", "drop"),
    *("order", "shuffle_seed", "started_at", "duration", "rename", "delay", "ongoing", "upload"),
    *("operation", "status", "retry_after", "probability", "seconds", "page_form", "fields", "url"),
    *("count", "per_session", "ids", "senders", "duplicates", "seed"),
    *("sessionId", "environment", "archives", "pauses", "lives", "rotation", "manual", "outcome"),
    *("size", "step", "reason", "target", "scenario", "remaining", "replace_content", "frozen"),
    *("type", "config", "fallback", "outputMode", "streamMode", "name", "callbacks"),
]
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 5)
    | st.integers()
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from(
        [
            *(ROOM, SESSION, RECORDING, "long_term", "instant", "list", "rooms"),
            *("classic", "available", "stopped", "pause", "process", "S3", "none", "manual"),
            "http://127.0.0.1:1/refused",
            *("2030-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"),
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=5)
    ),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from(FIELDS), values, max_size=5)
bodies = (
    objects.map(lambda body: json.dumps(body).encode())
    | values.map(lambda body: json.dumps(body).encode())
    | st.binary(max_size=200)
    | st.sampled_from([b"", b"[" * 50_000, b'{"a":' * 50_000, b'{"metadata": "\\ud800"}'])
)
queries = st.dictionaries(
    st.sampled_from(
        [
            *("page_size", "start_id", "end_id", "offset", "count", "sessionId", "session_id"),
            *("Expires", "Signature", "X-Amz-Date", "X-Amz-Expires", "X-Amz-Signature"),
        ]
    ),
    st.integers().map(str) | st.text(st.characters(exclude_categories=["Cs"]), max_size=10),
    max_size=3,
).map(lambda query: "&".join(f"{name}={quote(value)}" for name, value in query.items()))
header_text = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=30)
headers = st.dictionaries(
    st.sampled_from(
        [
            *("Content-Type", "Accept", "Range", "If-Range", "If-None-Match", "Host", "Cookie"),
            *("X-Forwarded-For", "Expect", "If-Modified-Since", "Accept-Encoding"),
        ]
    ),
    header_text | st.sampled_from(["bytes=0-", "bytes=9-1", "bytes=-0", "bytes=0-0,5-9", "*"]),
    max_size=3,
)
BEARER = "a valid token of the Video API"
authorizations = st.sampled_from(["Basic a2V5OnNlY3JldA==", BEARER]) | header_text | st.none()


def prepare(target: VonageControl) -> None:
    """Add a room and recordings as targets; all callbacks are rejected at once."""
    target.reset()
    target.settings(attempts=1, timeout=0.5)
    target.create_room(id=ROOM)
    target.add_recordings(room_id=ROOM, session_id=SESSION, ids=[RECORDING])
    target.video.play_session(session_id=SESSION, ongoing=True)
    target.video.add_archives(ids=[RECORDING, ROOM], session_id=SESSION)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(paths, queries, bodies, headers, authorizations)
@example(("GET", "/beta/meetings/rooms"), "page_size=" + "9" * 4300, b"", {}, "Basic YTpi")
@example(("POST", "/control/rooms"), "", b'{"id": "\\ud800"}', {}, None)
def test_invalid_requests_are_rejected(
    target: VonageControl,
    capfd: pytest.CaptureFixture[str],
    route: tuple[str, str],
    query: str,
    body: bytes,
    header: dict[str, str],
    authorization: str | None,
) -> None:
    method, path = route
    # Input that would make the test wait for an hour, or add a million rooms, is left out.
    assume(not re.search(rb'delay|"count": \d{4}', body))
    prepare(target)
    if authorization == BEARER:
        authorization = f"Bearer {unified_token(target)}"
    sent = header | ({"Authorization": authorization} if authorization is not None else {})
    status, response = exchange(target, method, f"{path}?{query}", body, sent)
    assert 200 <= status < 500, response
    if status >= 400 and "archive.mp4" not in path and response:
        assert isinstance(json.loads(response), dict)
    if path.startswith(PREFIXES) and not is_authorized(authorization, None):
        assert status in {401, 404, 405}
    assert capfd.readouterr() == ("", "")


def exchange(
    target: VonageControl, method: str, path: str, body: bytes, header: dict[str, str]
) -> tuple[int, bytes]:
    host, _, port = target.base.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=20)
    try:
        connection.request(method, path, body, header)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


RAW: dict[str, bytes] = {
    "no HTTP": b"hello\r\n\r\n",
    "no path": b"GET\r\n\r\n",
    "a whole URL": b"GET http://[ HTTP/1.1\r\n\r\n",
    "two slashes": b"GET //[x HTTP/1.1\r\n\r\n",
    "bytes in the path": b"GET /beta/meetings/rooms/\xff\xfe%ff HTTP/1.1\r\n\r\n",
    "a NUL": b"GET /beta/meetings/rooms/%00 HTTP/1.1\r\n\r\n",
    "an unknown method": b"BREW /beta/meetings/rooms HTTP/1.1\r\n\r\n",
    "no length": b"POST /beta/meetings/rooms HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    "a negative length": b"POST /control/rooms HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
    "an enormous length": b"POST /control/rooms HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n{}",
    "bad chunks": b"POST /control/rooms HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    "a negative chunk": b"POST /control/rooms HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\n",
    "bytes in a header": b"GET /beta/meetings/rooms HTTP/1.1\r\nAuthorization: Basic \xff\r\n\r\n",
    "a strange host": b"GET / HTTP/1.1\r\nHost: ]:x/?#\r\n\r\n",
    "an expectation": b"GET / HTTP/1.1\r\nExpect: 100-continue\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    "a long line": b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW)
def test_invalid_http_is_rejected(
    target: VonageControl, capfd: pytest.CaptureFixture[str], raw: bytes
) -> None:
    prepare(target)
    host, _, port = target.base.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=20) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        response = b"".join(iter(lambda: connection.recv(65536), b""))
    status_line = response.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n").split(b"\r\n")[0]
    assert response
    assert not status_line.startswith(b"HTTP/1.1 5"), response
    assert capfd.readouterr() == ("", "")
    assert target.rooms()[0]["id"] == ROOM
    everything: list[Any] = [target.recordings(), target.requests(), target.deliveries()]
    assert all(isinstance(each, list) for each in everything)
