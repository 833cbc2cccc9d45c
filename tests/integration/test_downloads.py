"""The downloader against a server that serves correctly, maliciously, or not at all."""

import gzip
import itertools
import select
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import pytest
import trustme

from roomkeeper.vonage.downloads import (
    Downloader,
    DownloadFailed,
    DownloadInterrupted,
    DownloadRefused,
    FileChanged,
    LinkExpired,
    RemoteFile,
    is_public,
)
from roomkeeper.vonage.retry import Deadline, RetryPolicy
from tests.integration.copying_support import (
    Fault,
    FileServer,
    Handler,
    RangeRequest,
    serving,
    some_bytes,
)

CONTENT = some_bytes(300_000)
SHORT_DELAYS = RetryPolicy(base_delay=0.001, max_delay=0.01)


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving(CONTENT) as server:
        yield server


@pytest.fixture
def downloader() -> Iterator[Downloader]:
    made = Downloader(allows_loopback=True, retry=SHORT_DELAYS, no_progress_timeout=60)
    yield made
    made.close()


def read(
    downloader: Downloader, files: FileServer, start: int = 0, end: int = len(CONTENT)
) -> bytes:
    into = bytearray(end - start)
    file = RemoteFile(size=len(CONTENT), etag='"etag-1"')
    with memoryview(into) as view:
        downloader.read(files.url, file, start, view, Deadline(30))
    return bytes(into)


def once(fault: Fault) -> Fault:
    """Return a fault that happens to the first request only."""
    pending = [fault]

    def respond(handler: Handler, request: RangeRequest) -> bool:
        with handler.files.lock:
            current = pending.pop() if pending else None
        return bool(current and current(handler, request))

    return respond


def test_size_and_etag_come_from_a_request_for_one_byte(
    downloader: Downloader, files: FileServer
) -> None:
    assert downloader.describe(files.url, Deadline(30)) == RemoteFile(
        size=len(CONTENT), etag='"etag-1"'
    )
    assert [(each.start, each.end) for each in files.requests] == [(0, 1)]


FOLDED = "\r\n ".join(["a" * 60_000] * 8)
"""More than an item of the table may have, on as many lines of one header."""


@pytest.mark.parametrize("etag", ["", "etag-1", 'W/"etag-1"', f'"{"a" * 2000}"', f'"{FOLDED}"'])
def test_a_file_without_a_strong_etag_of_limited_length_is_refused(
    etag: str, downloader: Downloader, files: FileServer
) -> None:
    """Its item would otherwise exceed the limit of the table, and its copy never end."""
    files.etag = etag
    with pytest.raises(DownloadRefused, match="ETag"):
        downloader.describe(files.url, Deadline(5))


def test_a_range_is_read_exactly(downloader: Downloader, files: FileServer) -> None:
    assert read(downloader, files, 1000, 250_000) == CONTENT[1000:250_000]


def test_only_the_range_and_the_etag_are_sent(
    downloader: Downloader, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    read(downloader, files)
    assert files.requests[0].headers == {
        "host": files.url.split("/")[2],
        "accept-encoding": "identity",
        "user-agent": "roomkeeper",
        "range": f"bytes=0-{len(CONTENT) - 1}",
        "if-match": '"etag-1"',
    }
    assert files.requests[0].path == "/archive.mp4?signature=secret"


def test_an_empty_file_has_no_bytes(downloader: Downloader, files: FileServer) -> None:
    files.content = b""
    assert downloader.describe(files.url, Deadline(30)).size == 0


def test_after_an_interruption_only_the_missing_bytes_are_requested(
    downloader: Downloader, files: FileServer
) -> None:
    def cut_off(handler: Handler, request: RangeRequest) -> bool:
        handler.start_body(request)
        handler.wfile.write(CONTENT[:100_000])
        handler.close_connection = True
        return True

    files.fault = once(cut_off)
    assert read(downloader, files) == CONTENT
    assert [each.start for each in files.requests] == [0, 100_000]


@pytest.mark.parametrize("status", [408, 429, 500, 503])
def test_a_failing_server_is_retried(
    status: int, downloader: Downloader, files: FileServer
) -> None:
    files.fault = once(lambda handler, _: handler.refuse(status))
    assert read(downloader, files) == CONTENT
    assert len(files.requests) == 2


def test_a_reset_connection_is_replaced(downloader: Downloader, files: FileServer) -> None:
    def reset(handler: Handler, _request: RangeRequest) -> bool:
        handler.connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
        )
        handler.close_connection = True
        return True

    files.fault = once(reset)
    assert read(downloader, files) == CONTENT


@pytest.mark.parametrize("part", ["head", "body"])
def test_a_response_in_single_slow_bytes_times_out(part: str, files: FileServer) -> None:
    """Bytes keep coming, so the socket's own timeout never ends it."""
    timed_out: list[bool] = []

    def trickle(handler: Handler, request: RangeRequest) -> bool:
        if part == "body":
            handler.start_body(request)
        waiting = Deadline(30)
        try:
            while not waiting.has_passed:
                handler.wfile.write(b"H")
                handler.connection.settimeout(0.02)
                try:
                    handler.connection.recv(1)
                except TimeoutError:
                    continue
                break
        except OSError:
            pass
        timed_out.append(waiting.has_passed)
        handler.close_connection = True
        return True

    files.fault = trickle
    downloader = Downloader(
        allows_loopback=True, retry=SHORT_DELAYS, attempt_timeout=0.3, no_progress_timeout=0.5
    )
    with pytest.raises(DownloadInterrupted):
        read(downloader, files)
    downloader.close()
    assert True not in timed_out


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Content_Encoding": "gzip"}, DownloadRefused),
        ({"Content_Encoding": "br"}, DownloadRefused),
        ({"Content_Length": "10"}, DownloadRefused),
        ({"Content_Length": "99999999999"}, DownloadRefused),
        ({"Content_Length": ""}, DownloadRefused),
        ({"Content_Length": "", "Transfer_Encoding": "chunked"}, DownloadRefused),
        ({"Content_Range": ""}, DownloadRefused),
        ({"Content_Range": "bytes 0-99/300000"}, DownloadRefused),
        ({"Content_Range": "bytes 0-299999/400000"}, FileChanged),
        ({"ETag": '"etag-2"'}, FileChanged),
        ({"ETag": ""}, FileChanged),
    ],
)
def test_a_response_that_is_not_the_range_is_refused(
    headers: dict[str, str],
    error: type[DownloadFailed],
    downloader: Downloader,
    files: FileServer,
) -> None:
    def respond(handler: Handler, request: RangeRequest) -> bool:
        handler.start_body(request, **headers)
        handler.wfile.write(gzip.compress(bytes(10_000_000)))
        return True

    files.fault = respond
    with pytest.raises(error):
        read(downloader, files)
    assert len(files.requests) == 1


def test_an_endless_body_is_read_to_the_end_of_the_range(
    downloader: Downloader, files: FileServer
) -> None:
    def endless(handler: Handler, request: RangeRequest) -> bool:
        handler.start_body(request)
        handler.wfile.write(CONTENT[request.start : request.end])
        handler.wfile.write(bytes(1_000_000))
        return True

    files.fault = once(endless)
    assert read(downloader, files) == CONTENT
    assert read(downloader, files, 5, 10) == CONTENT[5:10]


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (200, DownloadRefused),
        (301, DownloadRefused),
        (302, DownloadRefused),
        (307, DownloadRefused),
        (400, DownloadRefused),
        (401, LinkExpired),
        (403, LinkExpired),
        (404, LinkExpired),
        (410, LinkExpired),
        (412, FileChanged),
        (416, DownloadFailed),
    ],
)
def test_no_other_status_is_a_download(
    status: int, error: type[DownloadFailed], downloader: Downloader, files: FileServer
) -> None:
    location = "http://169.254.169.254/latest/meta-data/"
    files.fault = lambda handler, _: handler.refuse(status, Location=location, Content_Length="7")
    with pytest.raises(error):
        read(downloader, files)
    assert len(files.requests) == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:{port}/",
        "http://example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "https://",
        "https://user:password@example.com/",
        "https://example.com:port/",
        "https://exa mple.com/",
        "https://example.com/\r\nX: y",
        "https://127.0.0.1:{port}/",
        "https://localhost:{port}/",
        "https://[::1]:{port}/",
        "https://[::ffff:127.0.0.1]:{port}/",
        "https://169.254.169.254/latest/meta-data/",
        "https://10.0.0.1/",
        "https://0.0.0.0:{port}/",
        "https://2130706433:{port}/",
        f"https://{'a' * 64}.example/",
    ],
)
def test_only_https_to_public_addresses_is_allowed(url: str) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        listening.setblocking(False)
        target = url.replace("{port}", str(listening.getsockname()[1]))
        with pytest.raises(DownloadRefused):
            Downloader(retry=SHORT_DELAYS).describe(target, Deadline(5))
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_http_is_allowed_to_loopback_only_even_for_the_emulator(downloader: Downloader) -> None:
    with pytest.raises(DownloadRefused, match=r"169\.254\.169\.254"):
        downloader.describe("http://169.254.169.254/latest/meta-data/", Deadline(5))


def test_the_address_that_is_checked_is_the_one_that_is_connected_to(
    downloader: Downloader, files: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is resolved only once, so a second, different response has no effect."""
    lookups: list[str] = []
    genuine = socket.getaddrinfo

    def rebinding(host: str, *arguments: object, **more: object) -> object:
        if host == "recordings.example":
            lookups.append(host)
            host = "127.0.0.1" if len(lookups) == 1 else "169.254.169.254"
        return genuine(host, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    url = files.url.replace("127.0.0.1", "recordings.example")
    assert downloader.describe(url, Deadline(30)).size == len(CONTENT)
    assert len(lookups) == 1


def test_addresses_that_do_not_respond_take_no_longer_than_a_request_may(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A name may have many addresses, and a network may drop the packets to all of them."""
    timeouts: list[float] = []

    def addresses(_host: str, port: int, **_more: object) -> list[tuple[object, ...]]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.88.98.1", port))] * 20

    def drop(_address: object, timeout: float) -> socket.socket:
        timeouts.append(timeout)
        time.sleep(timeout)  # as a connection does that nobody responds to
        raise TimeoutError

    monkeypatch.setattr(socket, "getaddrinfo", addresses)
    monkeypatch.setattr(socket, "create_connection", drop)
    with pytest.raises(DownloadInterrupted):
        Downloader(retry=SHORT_DELAYS, stall_timeout=0.1).describe(
            "https://a.example/", Deadline(0.25)
        )
    assert sum(timeouts) <= 0.25


def test_a_handshake_takes_no_longer_than_a_request_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roomkeeper.vonage.downloads.is_public", lambda _: True)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
        began = time.monotonic()
        with pytest.raises(DownloadInterrupted):
            Downloader(retry=SHORT_DELAYS, stall_timeout=30).describe(url, Deadline(0.3))
    assert time.monotonic() - began < 20


def tls_for(name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return a client's context, and a server's with a certificate for `name` that it trusts."""
    authority = trustme.CA()
    client = ssl.create_default_context()
    authority.configure_trust(client)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server)
    return client, server


def test_a_certificate_for_another_host_is_refused_before_anything_is_sent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client, server = tls_for("other.example")
    monkeypatch.setattr("roomkeeper.vonage.downloads.is_public", lambda _: True)
    with serving(CONTENT, server) as files:
        url = files.url.replace("http:", "https:")
        with pytest.raises(DownloadRefused, match="certificate"):
            Downloader(tls=client, retry=SHORT_DELAYS).describe(url, Deadline(5))
    assert files.requests == []


def test_a_file_is_read_over_https(monkeypatch: pytest.MonkeyPatch) -> None:
    client, server = tls_for("127.0.0.1")
    monkeypatch.setattr("roomkeeper.vonage.downloads.is_public", lambda _: True)
    with serving(CONTENT, server) as files:
        files.url = files.url.replace("http:", "https:")
        downloader = Downloader(tls=client, retry=SHORT_DELAYS)
        assert read(downloader, files) == CONTENT
        downloader.close()


@pytest.mark.parametrize(
    "host",
    [
        "tokbox.com.archive2.s3.amazonaws.com",
        "tokbox.com.archive2.s3-eu-west-1.amazonaws.com",
        "tokbox.com.archive2.eu.s3.eu-west-1.amazonaws.com",
        "tokbox.com.archive2.s3.dualstack.eu-west-1.amazonaws.com",
        "tokbox.com.archive2.s3.cn-north-1.amazonaws.com.cn",
        "prod-meetings-recordings.s3.amazonaws.com",
    ],
)
def test_a_file_is_read_from_a_bucket_whose_name_has_dots(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """S3's certificate is for one label before its own name, which it does not always have."""
    certificate = f"*.{host[host.index('s3') :]}"
    with serving_as(host, certificate, monkeypatch) as (files, downloader):
        assert read(downloader, files) == CONTENT


@pytest.mark.parametrize(
    ("host", "certificate"),
    [
        ("tokbox.com.archive2.s3.amazonaws.com", "*.archive2.s3.eu-west-1.amazonaws.com"),
        ("tokbox.com.archive2.s3.amazonaws.com", "*.amazonaws.com"),
        ("a.b.s3.amazonaws.com.example", "*.s3.amazonaws.com.example"),
        ("a.b.s3.amazonaws.com.example", "*.s3.amazonaws.com"),
        ("a.b.s3-amazonaws.com", "*.s3-amazonaws.com"),
        ("a.b.s3.example", "*.s3.example"),
        ("a.b.xs3.amazonaws.com", "*.xs3.amazonaws.com"),
        ("s3.eu-west-1.amazonaws.com", "*.s3.eu-west-1.amazonaws.com"),
    ],
)
def test_only_a_bucket_of_s3_may_have_another_certificate(
    host: str, certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving_as(host, certificate, monkeypatch) as (files, downloader):
        with pytest.raises(DownloadRefused, match="certificate"):
            downloader.describe(files.url, Deadline(5))
        assert files.requests == []


@contextmanager
def serving_as(
    host: str, certificate: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[FileServer, Downloader]]:
    """Serve the file over https as `host`, with a certificate for another name."""
    client, server = tls_for(certificate)
    genuine = socket.getaddrinfo

    def resolved(name: str, *arguments: object, **more: object) -> object:
        return genuine("127.0.0.1" if name == host else name, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    monkeypatch.setattr("roomkeeper.vonage.downloads.is_public", lambda _: True)
    with serving(CONTENT, server) as files:
        files.url = files.url.replace("http://127.0.0.1", f"https://{host}")
        downloader = Downloader(tls=client, retry=SHORT_DELAYS)
        yield files, downloader
        downloader.close()


def test_a_connection_that_is_broken_between_two_reads_yields_no_ciphertext(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Encrypted bytes that have arrived by then must not become bytes of the file."""
    client, server = tls_for("127.0.0.1")
    monkeypatch.setattr("roomkeeper.vonage.downloads.is_public", lambda _: True)
    downloader = Downloader(tls=client, retry=SHORT_DELAYS)
    genuine, reads = ssl.SSLSocket.recv_into, itertools.count(1)

    def recv_into(receiving: ssl.SSLSocket, *arguments: Any) -> int:
        if not receiving.server_side and next(reads) == 5:
            assert receiving.pending() or select.select([receiving], [], [], 10)[0]
            [connection] = downloader._open
            connection._breaks_at = 0
            connection.break_if_due()
        return genuine(receiving, *arguments)

    monkeypatch.setattr(ssl.SSLSocket, "recv_into", recv_into)
    with serving(CONTENT, server) as files:
        files.url = files.url.replace("http:", "https:")
        assert read(downloader, files) == CONTENT
    downloader.close()


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "169.254.170.2",
        "100.64.0.1", "0.0.0.0", "255.255.255.255", "224.0.0.1", "192.0.2.1", "198.18.0.1",
        "::1", "::", "fe80::1", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1",
        "fec0::1", "::169.254.169.254", "::ffff:0:169.254.169.254", "64:ff9b:1::a9fe:a9fe",
        "::ffff:169.254.169.254", "::ffff:10.0.0.1", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1",
        "5f00::1",
    ],
)  # fmt: skip
def test_an_address_that_is_not_public_is_known(address: str) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize("address", ["52.216.1.1", "2600:1f18::1", "64:ff9b::34d8:101"])
def test_a_public_address_is_known(address: str) -> None:
    assert is_public(ip_address(address))
