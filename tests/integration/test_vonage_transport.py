"""The client against servers that violate HTTP or respond slowly."""

import codecs
import gzip
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
import trustme

from local.waiting import wait_until
from roomkeeper.vonage import (
    InvalidRecording,
    InvalidResponse,
    NotFound,
    RetryPolicy,
    Unavailable,
    UntrustedCertificate,
    transport,
)
from roomkeeper.vonage.meetings import MeetingsClient
from roomkeeper.vonage.retry import Deadline
from tests.integration.vonage_support import (
    KEY,
    SHORT_DELAYS,
    ReceivedRequest,
    Responder,
    Script,
    reply,
    scripted,
)
from tests.support.vonage_samples import RECORDING, ROOM, ROOM_ID, SESSION_ID, page

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ROOM_BODY = msgspec.json.encode(ROOM)


@contextmanager
def asking(
    respond: Responder, policy: RetryPolicy = SHORT_DELAYS, **options: float
) -> Iterator[tuple[Script, MeetingsClient]]:
    """Yield a server that responds like this, and a client of it."""
    times: Any = {"total_timeout": 5.0, "timeout": 2.0} | options
    with (
        scripted(respond) as script,
        MeetingsClient(script.url, KEY, retry=policy, **times) as client,
    ):
        yield script, client


def responding(status: int, body: bytes, **headers: str) -> Responder:
    return lambda handler, _request: reply(handler, status, body, **headers)


def test_requests_go_through_the_environments_proxy_unless_it_exempts_the_host(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with scripted(responding(200, ROOM_BODY)) as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        with MeetingsClient("http://vonage.invalid", KEY, retry=SHORT_DELAYS) as client:
            client.get_room(ROOM_ID)
        with asking(responding(200, ROOM_BODY)) as (script, client):
            client.get_room(ROOM_ID)
    assert [each.path for each in proxy.received] == [f"http://vonage.invalid/rooms/{ROOM_ID}"]
    assert len(script.received) == 1


def test_the_environments_certificate_authorities_are_trusted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    with (
        scripted(responding(200, ROOM_BODY), tls) as script,
        authority.cert_pem.tempfile() as trusted,
    ):
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", trusted)
        url = f"https://localhost:{urlsplit(script.url).port}"
        with MeetingsClient(url, KEY, retry=SHORT_DELAYS) as client:
            assert client.get_room(ROOM_ID).id == ROOM_ID


def test_every_operation_sends_the_documented_request() -> None:
    bodies = {
        "/rooms": page([ROOM], form="list"),
        f"/rooms/{ROOM_ID}": ROOM,
        f"/sessions/{SESSION_ID}/recordings": {"_embedded": {"recordings": [RECORDING]}},
        f"/recordings/{RECORDING['id']}": RECORDING,
    }

    def respond(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        if received.method == "DELETE":
            reply(handler, 204)
        else:
            reply(handler, 200, msgspec.json.encode(bodies[received.path.partition("?")[0]]))

    with asking(respond) as (script, client):
        room = client.get_room(ROOM_ID)
        assert room.expires_at is not None
        client.list_rooms()
        client.update_room_expiry(ROOM_ID, room.expires_at)
        client.delete_room(ROOM_ID)
        client.in_session(SESSION_ID)
        client.get(RECORDING["id"])
        client.delete(RECORDING["id"])
    assert [
        (each.method, each.path, msgspec.json.decode(each.body) if each.body else None)
        for each in script.received
    ] == [
        ("GET", f"/rooms/{ROOM_ID}", None),
        ("GET", "/rooms?page_size=20", None),
        (
            "PATCH",
            f"/rooms/{ROOM_ID}",
            {"update_details": {"expires_at": "2022-11-11T16:00:00.000Z"}},
        ),
        ("DELETE", f"/rooms/{ROOM_ID}", None),
        ("GET", f"/sessions/{SESSION_ID}/recordings", None),
        ("GET", f"/recordings/{RECORDING['id']}", None),
        ("DELETE", f"/recordings/{RECORDING['id']}", None),
    ]
    assert {each.headers["authorization"] for each in script.received} == {KEY.authorization()}


def test_a_compressed_response_is_read() -> None:
    packed = responding(200, gzip.compress(ROOM_BODY), Content_Encoding="gzip")
    with asking(packed) as (_script, client):
        assert client.get_room(ROOM_ID).id == ROOM_ID


@pytest.mark.parametrize("body", [b"", b"<html>It works!</html>", b"[]", b'{"id": 7}'])
def test_a_response_in_another_format_raises_invalid_response(body: bytes) -> None:
    with (
        asking(responding(200, body)) as (script, client),
        pytest.raises(InvalidResponse, match=f"^GET /rooms/{ROOM_ID}: The response does not match"),
    ):
        client.get_room(ROOM_ID)
    assert len(script.received) == 1


def test_a_slow_response_does_not_exceed_the_total_timeout() -> None:
    over = threading.Event()
    beats: list[int] = []

    def trickle(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while not over.wait(0.05) and len(beats) < 600:  # half a minute at most
            handler.wfile.write(b" ")
            beats.append(1)

    with asking(trickle, total_timeout=0.6) as (_script, client):
        began = time.monotonic()
        with pytest.raises(Unavailable, match="No response"):
            client.get_room(ROOM_ID)
        over.set()
        assert time.monotonic() - began < 10


def test_a_response_that_stalls_does_not_exceed_the_total_timeout() -> None:
    """Each read has the whole timeout of an attempt, so the last one has to be cut short."""
    over = threading.Event()

    def stall(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        handler.wfile.write(b" ")
        over.wait(0.8)
        handler.wfile.write(b" ")
        over.wait(10)

    with asking(stall, total_timeout=1.0, timeout=1.0) as (_script, client):
        began = time.monotonic()
        with pytest.raises(Unavailable, match="No response"):
            client.get_room(ROOM_ID)
        seconds = time.monotonic() - began
        over.set()
    assert seconds < 1.5


@pytest.mark.parametrize(
    ("start", "repeated"),
    [
        (b"", b"H"),
        (b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;", b"x"),
    ],
    ids=["status", "header", "interim responses", "chunk"],
)
@pytest.mark.parametrize("with_tls", [False, True])
def test_a_head_that_never_ends_does_not_exceed_the_total_timeout(
    start: bytes, repeated: bytes, with_tls: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Bytes keep coming, so the timeout of a read never ends it."""
    ended_by_client: list[bool] = []

    def trickle(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        waiting = Deadline(30)
        try:
            handler.wfile.write(start)
            while not waiting.has_passed:
                handler.wfile.write(repeated)
                time.sleep(0.01)  # unpaced bytes would soon exceed the limit of a line
        except OSError:
            pass
        ended_by_client.append(not waiting.has_passed)
        handler.close_connection = True

    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if with_tls else None
    if tls:
        authority = trustme.CA()
        authority.issue_cert("127.0.0.1").configure_cert(tls)
        authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "ca.pem"))
    with scripted(trickle, tls) as script:
        url = script.url.replace("http:", "https:") if tls else script.url
        with MeetingsClient(url, KEY, retry=SHORT_DELAYS, total_timeout=0.5) as client:
            with pytest.raises(Unavailable, match="No response"):
                client.get_room(ROOM_ID)
            assert wait_until(lambda: bool(ended_by_client), 40)
    assert False not in ended_by_client


def test_addresses_that_do_not_respond_share_the_total_timeout(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name may have many addresses, and a network may drop the packets to all of them."""
    timeouts: list[float] = []

    def addresses(_host: str, port: int, *_more: object, **_options: object) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))] * 8

    def drop(connecting: socket.socket, _address: object) -> None:
        timeouts.append(connecting.gettimeout() or 0)
        time.sleep(timeouts[-1])  # as a connection does that nobody responds to
        raise TimeoutError

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    monkeypatch.setattr(socket.socket, "connect", drop)
    client = MeetingsClient("http://a.example", KEY, retry=SHORT_DELAYS, total_timeout=0.4)
    with client, pytest.raises(Unavailable, match="No response"):
        client.get_room(ROOM_ID)
    assert len(timeouts) >= 8
    assert sum(timeouts) <= 0.41


def test_an_endless_response_is_aborted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_RESPONSE_BYTES", 100_000)
    with (
        asking(responding(200, b" " * 200_000)) as (_script, client),
        pytest.raises(InvalidResponse, match="more than 100000 bytes"),
    ):
        client.get_room(ROOM_ID)


def test_an_empty_page_that_links_to_itself_ends_the_list() -> None:
    link = "https://other.invalid/rooms?start_id=40"
    body = msgspec.json.encode(page([], form="embedded", next_link=link))
    with asking(responding(200, body)) as (_script, client):
        assert client.list_rooms("40").next_start_id is None
        assert client.list_rooms("20").next_start_id == "40"


def test_a_byte_order_mark_is_ignored_in_success_and_refusal() -> None:
    with asking(responding(200, codecs.BOM_UTF8 + ROOM_BODY)) as (_script, client):
        assert client.get_room(ROOM_ID).id == ROOM_ID
    absent = codecs.BOM_UTF8 + b'{"name": "NotFoundError", "message": "none"}'
    with asking(responding(404, absent)) as (_script, client), pytest.raises(NotFound):
        client.get_room(ROOM_ID)


@pytest.mark.parametrize("status", [200, 201, 202, 206])
@pytest.mark.parametrize("body", [b"<html>It works!</html>", b'{"status": "ok"}', ROOM_BODY])
def test_a_response_with_a_body_does_not_confirm_a_deletion(status: int, body: bytes) -> None:
    with asking(responding(status, body)) as (_script, client):
        for delete in (client.delete, client.delete_room):
            with pytest.raises(InvalidResponse, match="has a body"):
                delete("some-id")


@pytest.mark.parametrize("status", [200, 202, 204])
def test_a_response_without_a_body_confirms_a_deletion(status: int) -> None:
    with asking(responding(status, b"")) as (_script, client):
        assert client.delete("some-id") == "deleted"


def test_a_response_about_another_item_is_invalid() -> None:
    with asking(responding(200, ROOM_BODY)) as (_script, client):
        for ask in (client.get_room, lambda id_: client.update_room_expiry(id_, NOON)):
            with pytest.raises(InvalidResponse, match="has another id"):
                ask("another-room")


def test_an_untrusted_certificate_is_not_retried_and_named() -> None:
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    waits: list[float] = []
    with scripted(responding(200, ROOM_BODY), tls=server) as script:
        url = script.url.replace("http:", "https:")
        with (
            MeetingsClient(url, KEY, retry=RetryPolicy(sleep=waits.append)) as client,
            pytest.raises(UntrustedCertificate, match="certificate is not trusted"),
        ):
            client.get_room(ROOM_ID)
    assert (waits, script.received) == ([], [])


def test_an_incomplete_response_is_retried() -> None:
    def half_at_first(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(ROOM_BODY)))
        handler.end_headers()
        handler.wfile.write(ROOM_BODY if received.connection > 1 else ROOM_BODY[:50])
        handler.close_connection = True

    with asking(half_at_first) as (script, client):
        assert client.get_room(ROOM_ID).id == ROOM_ID
    assert [each.connection for each in script.received] == [1, 2]


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_response_that_claims_a_compression_which_it_lacks_is_invalid_at_once(
    encoding: str,
) -> None:
    claimed = responding(200, ROOM_BODY, Content_Encoding=encoding)
    with asking(claimed) as (script, client), pytest.raises(InvalidResponse, match="encoding"):
        client.get_room(ROOM_ID)
    assert len(script.received) == 1


def test_a_204_with_a_body_is_a_deletion_and_spoils_no_later_response() -> None:
    def respond(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        if received.method == "DELETE":
            reply(handler, 204, b"<html>It works!</html>")
        else:
            reply(handler, 200, ROOM_BODY)

    with asking(respond) as (_script, client):
        for _ in range(3):
            assert client.delete("some-id") == "deleted"
            assert client.get_room(ROOM_ID).id == ROOM_ID


def test_connections_are_kept_and_shared_by_threads() -> None:
    together = threading.Barrier(16)

    def all_at_once(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        together.wait(30)  # so that sixteen connections are in use at the same time
        reply(handler, 200, ROOM_BODY)

    with asking(all_at_once) as (script, client), ThreadPoolExecutor(16) as pool:
        for _ in range(3):
            list(pool.map(client.get_room, [ROOM_ID] * 16))
    assert len(script.received) == 48
    assert script.connections == 16


def test_a_connection_that_went_away_meanwhile_is_replaced() -> None:
    def close_after(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        reply(handler, 200, ROOM_BODY)
        handler.close_connection = True  # without a header that announces it

    with asking(close_after) as (script, client):
        for _ in range(5):
            client.get_room(ROOM_ID)
    assert script.connections == 5


def test_no_cookie_is_kept() -> None:
    cookie = responding(200, ROOM_BODY, Set_Cookie="session=1; Path=/")
    with asking(cookie) as (script, client):
        client.get_room(ROOM_ID)
        client.get_room(ROOM_ID)
    assert all("cookie" not in each.headers for each in script.received)


def test_a_netrc_does_not_replace_the_credentials(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with asking(responding(200, ROOM_BODY)) as (script, client):
        client.get_room(ROOM_ID)
    assert script.received[0].headers["authorization"] == KEY.authorization()


@pytest.mark.parametrize("location", ["/elsewhere", "http://[", "//other.invalid/", ""])
def test_no_redirect_is_followed_not_even_at_home(location: str) -> None:
    moved = responding(302, b"", Location=location)
    with (
        asking(moved) as (script, client),
        pytest.raises(InvalidResponse, match="Vonage returned 302"),
    ):
        client.get_room(ROOM_ID)
    assert len(script.received) == 1


def test_a_link_to_another_host_is_requested_from_the_base_url() -> None:
    def two_pages(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        link = None if "start_id" in received.path else "http://other.invalid/rooms?start_id=a%26b"
        reply(handler, 200, msgspec.json.encode(page([ROOM], form="list", next_link=link)))

    with asking(two_pages) as (script, client):
        assert client.list_rooms(client.list_rooms().next_start_id).next_start_id is None
    assert script.received[1].path == "/rooms?page_size=20&start_id=a%26b"


def test_delays_grow_until_the_total_timeout() -> None:
    now = 0.0
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        waits.append(seconds)
        now += seconds

    policy = RetryPolicy(
        base_delay=1, max_delay=8, sleep=sleep, clock=lambda: now, random=lambda: 1.0
    )
    with (
        asking(responding(503, b""), policy, total_timeout=20) as (script, client),
        pytest.raises(Unavailable),
    ):
        client.get_room(ROOM_ID)
    assert waits == [1, 2, 4, 8]  # another 8 s would exceed the 20 s
    assert len(script.received) == 5


def test_the_last_error_with_a_response_is_raised_at_the_total_timeout() -> None:
    over = threading.Event()

    def unavailable_then_silent(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        if len(script.received) > 2:
            over.wait(60)
        reply(handler, 503)

    with asking(unavailable_then_silent, total_timeout=3, timeout=20) as (script, client):
        with pytest.raises(Unavailable) as caught:
            client.get_room(ROOM_ID)
        over.set()
    assert caught.value.status == 503
    assert caught.value.__notes__ == ["Gave up at the total timeout; attempts: 3."]


def break_off(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
    handler.close_connection = True


@pytest.mark.parametrize(
    ("respond", "expected"), [(responding(503, b""), "returned 503"), (break_off, "No response")]
)
def test_the_error_before_a_delay_is_raised_when_time_runs_out_during_it(
    respond: Responder, expected: str
) -> None:
    now = 0.0

    def oversleep(_seconds: float) -> None:
        nonlocal now
        now += 100

    policy = RetryPolicy(sleep=oversleep, clock=lambda: now)
    with (
        asking(respond, policy, total_timeout=20) as (script, client),
        pytest.raises(Unavailable, match=expected),
    ):
        client.get_room(ROOM_ID)
    assert len(script.received) == 1


@pytest.mark.parametrize(
    "url",
    [
        "",
        "api-eu.vonage.com",
        "ftp://api-eu.vonage.com",
        "https://",
        "https://user:secret@api-eu.vonage.com",
        "https://api-eu.vonage.com/?key=secret",
        "https://api-eu.vonage.com/#secret",
        "http://[secret",
    ],
)
def test_an_invalid_base_url_is_rejected_by_the_constructor_and_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="base URL must start with") as caught:
        MeetingsClient(url, KEY)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [{"session_id": None}, {"status": 5}, {"started_at": "yesterday"}, {"session_id": "a/b"}],
)
def test_an_invalid_recording_is_item_specific(change: dict[str, Any]) -> None:
    body = msgspec.json.encode({**RECORDING, **change})
    with asking(responding(200, body)) as (_, client), pytest.raises(InvalidRecording) as caught:
        client.get(RECORDING["id"])
    assert caught.value.is_item_specific
    assert RECORDING["id"] in str(caught.value)


@pytest.mark.parametrize(
    "body", [b"<h1>Welcome</h1>", b"{}", b'{"id": "another", "status": 5}', b'{"id": null}', b"[]"]
)
def test_a_response_that_is_not_about_the_recording_is_not_item_specific(body: bytes) -> None:
    with asking(responding(200, body)) as (_, client), pytest.raises(InvalidResponse) as caught:
        client.get(RECORDING["id"])
    assert not caught.value.is_item_specific


def test_an_invalid_recording_in_a_list_is_logged_by_its_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    listed = [{**RECORDING, "id": "bad", "status": None}, RECORDING]
    body = msgspec.json.encode({"_embedded": {"recordings": listed}})
    with asking(responding(200, body)) as (_, client):
        found = client.in_session(SESSION_ID)
    assert found is not None
    assert len(found.found) == 1
    assert "recording bad: " in caplog.text
