"""Downloads of recordings' files, in ranges, from URLs that only Vonage's API provides.

The standard library's HTTP client fits better than `requests` here: it follows no redirects, sends
no credentials or cookies, decodes nothing, ignores proxy settings, reads into an existing buffer,
and lets its caller choose the address to connect to.
"""

import http.client
import ipaddress
import math
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import ClassVar
from urllib.parse import urlsplit

import certifi
from msgspec import Struct

from roomkeeper.vonage.errors import RequestContext, TransientError, VonageError
from roomkeeper.vonage.retry import Deadline, RetryPolicy
from roomkeeper.vonage.time_limit import shut_down

STALL_TIMEOUT = 10.0
"""The timeout in seconds for connecting, and for each read."""

ATTEMPT_TIMEOUT = 30.0
"""The timeout of a request in seconds, so that a slow response cannot block a copy."""

NO_PROGRESS_TIMEOUT = 60.0
MIN_PROGRESS = 256 * 1024
"""The download of a range fails if fewer bytes than this arrive within that many seconds."""

RETRIES = RetryPolicy(base_delay=0.2, max_delay=5)

CONTEXT = RequestContext("GET", "the recording's file")


class DownloadFailed(VonageError):
    """The file cannot be downloaded as it is; a retry would not help."""

    advice: ClassVar[str] = "Ask Vonage about this recording."

    @property
    def is_item_specific(self) -> bool:
        """True: other files may be valid."""
        return True


class DownloadRefused(DownloadFailed):
    """The URL, its address or the response is not acceptable, such as a redirect."""


class FileChanged(DownloadFailed):
    """The file has changed since its first parts were read."""


class LinkExpired(DownloadFailed):
    """The response is 401, 403, 404 or 410: the URL has expired, and a fresh one may work."""


class DownloadInterrupted(TransientError):
    """No response, a failing server, or a response that was cut off or too slow."""

    advice = "Try again later."

    @property
    def is_item_specific(self) -> bool:
        """True: other files may be available."""
        return True


class RemoteFile(Struct, frozen=True, kw_only=True):
    """A file at a URL: its size in bytes, and the ETag of its content."""

    size: int
    etag: str


class Downloader:
    """Reads ranges of files; each thread that calls it has a connection of its own.

    Only https to public addresses is allowed. `allows_loopback` also allows http to this machine,
    for the emulator. Never set it on AWS, where Lambda's own API listens on loopback.
    """

    def __init__(
        self,
        *,
        allows_loopback: bool = False,
        stall_timeout: float = STALL_TIMEOUT,
        attempt_timeout: float = ATTEMPT_TIMEOUT,
        no_progress_timeout: float = NO_PROGRESS_TIMEOUT,
        retry: RetryPolicy = RETRIES,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._allows_loopback = allows_loopback
        self._stall_timeout = stall_timeout
        self._attempt_timeout = attempt_timeout
        self._no_progress_timeout = no_progress_timeout
        self._retry = retry
        self._tls = tls or ssl.create_default_context(cafile=certifi.where())
        self._local = threading.local()
        self._lock = threading.Lock()
        self._open: set[_Connection] = set()
        self._closing = threading.Event()

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            closed, self._open = self._open, set()
            self._closing.set()
        for connection in closed:
            connection.close()

    def describe(self, url: str, deadline: Deadline) -> RemoteFile:
        """Return size and ETag of the file at `url`; 0 bytes for an empty one.

        Raises:
            DownloadFailed: the URL or the response is not acceptable, or the link has expired.
            DownloadInterrupted: the deadline passed; it is the last attempt's failure.
        """
        return self._retry.run(lambda: self._describe(url, deadline), deadline)

    def read(
        self, url: str, file: RemoteFile, start: int, into: memoryview, deadline: Deadline
    ) -> None:
        """Fill `into` with the bytes of the file from the offset `start` on.

        After an interruption, only the bytes that have not arrived are requested.

        Raises:
            FileChanged: the content has another ETag or size.
            DownloadFailed: the URL or the response is not acceptable, or the link has expired.
            DownloadInterrupted: the deadline passed; it is the last attempt's failure.
        """
        progress = _Progress(start, into)
        while len(progress.rest):
            self._read_some(url, file, progress, deadline)

    def _read_some(
        self, url: str, file: RemoteFile, progress: "_Progress", deadline: Deadline
    ) -> None:
        """Read to the end of the range, or at least MIN_PROGRESS bytes until the next timeout."""
        before = progress.position
        soon = Deadline(min(deadline.remaining(), self._no_progress_timeout), self._retry.clock)
        try:
            self._retry.run(lambda: self._read(url, file, progress, soon), soon)
        except DownloadInterrupted:
            if progress.position - before < MIN_PROGRESS or deadline.has_passed:
                raise

    def _describe(self, url: str, deadline: Deadline) -> RemoteFile:
        with self._response(url, {"Range": "bytes=0-0"}, deadline) as response:
            if response.status == 416 or (response.status == 200 and response.length == 0):
                return RemoteFile(size=0, etag="")
            _check_partial(response, 0, 1)
            etag = response.headers.get("ETag", "")
            if not _STRONG_ETAG.fullmatch(etag):
                raise DownloadRefused(
                    "The response has no strong ETag, by which a change of the file is noticed",
                    CONTEXT,
                )
            response.read(1)
            return RemoteFile(size=_total(response), etag=etag)

    def _read(self, url: str, file: RemoteFile, progress: "_Progress", deadline: Deadline) -> None:
        start, length = progress.position, len(progress.rest)
        headers = {"Range": f"bytes={start}-{start + length - 1}", "If-Match": file.etag}
        with self._response(url, headers, deadline) as response:
            _check_same(response, file)
            _check_partial(response, start, length)
            while len(progress.rest):
                count = response.readinto(progress.rest[:_READ_BYTES])
                progress.advance(count)
                if not count:
                    raise DownloadInterrupted("The response was cut off", CONTEXT)

    @contextmanager
    def _response(
        self, url: str, headers: Mapping[str, str], deadline: Deadline
    ) -> Iterator[http.client.HTTPResponse]:
        """Yield the response; keep the connection only if the response was read to its end."""
        seconds = min(deadline.remaining(), self._attempt_timeout)
        if seconds <= 0:
            raise DownloadInterrupted("There was no time left for the request", CONTEXT)
        connection, target = self._connection(url)
        finished = False
        try:
            with connection.limited_to(seconds):
                connection.request("GET", target, headers={**_HEADERS, **headers})
                with connection.getresponse() as response:
                    _check_status(response)
                    yield response
                    finished = response.isclosed()
        except ssl.SSLCertVerificationError as exc:
            raise DownloadRefused(f"Untrusted certificate: {exc.verify_message}", CONTEXT) from exc
        except (OSError, http.client.HTTPException) as exc:
            raise DownloadInterrupted(f"No response: {type(exc).__name__}", CONTEXT) from exc
        finally:
            if not finished:
                connection.close()

    def _connection(self, url: str) -> tuple["_Connection", str]:
        """Return this thread's connection to the URL's host, and the target of the request."""
        address = _parsed(url, self._allows_loopback)
        kept: _Connection | None = getattr(self._local, "connection", None)
        if kept is None or kept.address != address:
            if kept is not None:
                kept.close()
            tls = self._tls if address.is_https else None
            kept = self._local.connection = _Connection(address, tls, self._stall_timeout)
        self._watch(kept)
        parts = urlsplit(url)
        return kept, f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}"

    def _watch(self, connection: "_Connection") -> None:
        """Register a connection: `close` closes it, and a thread breaks it if it is too slow."""
        with self._lock:
            if not self._open:
                self._closing = threading.Event()
                watch = (self._closing,)
                threading.Thread(target=self._break_slow_ones, args=watch, daemon=True).start()
            self._open.add(connection)

    def _break_slow_ones(self, closing: threading.Event) -> None:
        while not closing.wait(_WATCH_INTERVAL):
            with self._lock:
                watched = list(self._open)
            for each in watched:
                each.break_if_due()


_STRONG_ETAG = re.compile(r'"[!#-~]{0,1024}"')
"""Source: RFC 9110, section 8.8.3. It becomes a part of the recording's item, so it is limited."""

_WATCH_INTERVAL = 0.1  # seconds

_READ_BYTES = 1024 * 1024

_HEADERS = {"Accept-Encoding": "identity", "User-Agent": "roomkeeper"}


class _Progress:
    """The rest of the buffer that is not filled yet, and its position in the file, in bytes."""

    def __init__(self, position: int, rest: memoryview) -> None:
        self.position = position
        self.rest = rest

    def advance(self, count: int) -> None:
        self.position += count
        self.rest = self.rest[count:]


class _Address(Struct, frozen=True):
    """The host and port of a URL, and whether it is https or http to this machine."""

    host: str
    port: int
    is_https: bool


class _Connection(http.client.HTTPConnection):
    """A connection to an address that is checked after the name was resolved.

    It uses the checked address itself, so that a second, different response of the name server has
    no effect (DNS rebinding).
    """

    def __init__(self, address: _Address, tls: ssl.SSLContext | None, timeout: float) -> None:
        super().__init__(address.host, address.port, timeout=timeout)
        self.default_port = 443 if address.is_https else 80
        self.address = address
        self._tls = tls
        self._stall_timeout = timeout
        self._breaks_at = math.inf

    def connect(self) -> None:
        """Connect to the first of the host's addresses that responds.

        Raises:
            DownloadRefused: one of the host's addresses is not allowed. Nothing was sent.
        """
        connected = self._first_connected(_allowed_addresses(self.address))
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = connected
        if self._tls is not None:
            connected.settimeout(max(0.001, self._next_timeout()))  # for the whole handshake
            name = _name_on_certificate(self.host)
            self.sock = self._tls.wrap_socket(connected, server_hostname=name)
        self.sock.settimeout(self._stall_timeout)

    def _first_connected(self, addresses: list[str]) -> socket.socket:
        """Return a socket to the first address that responds within the request's time limit."""
        failure: OSError = TimeoutError("No address responded in time")
        for each in addresses:
            timeout = self._next_timeout()
            if timeout <= 0:
                break
            try:
                return socket.create_connection((each, self.address.port), timeout)
            except OSError as exc:
                failure = exc
        raise failure

    def _next_timeout(self) -> float:
        return min(self._stall_timeout, self._breaks_at - time.monotonic())

    @contextmanager
    def limited_to(self, seconds: float) -> Iterator[None]:
        """Break the connection after `seconds`: a socket's timeout applies to each read only."""
        self._breaks_at = time.monotonic() + seconds
        try:
            yield
        finally:
            self._breaks_at = math.inf

    def break_if_due(self) -> None:
        """Shut the connection down after its time limit; its reader then gets the end of data."""
        current = self.sock
        if current is not None and time.monotonic() >= self._breaks_at:
            shut_down(current)


def _name_on_certificate(host: str) -> str:
    """Return the name that the certificate of `host` must be valid for.

    S3's certificates have a wildcard for one label before S3's own name, so they are not valid for
    a bucket with dots in its name, as Vonage's `tokbox.com.archive2`. Its dots are then replaced,
    since the certificate of any bucket proves that the server is S3's.

    Source: "Virtual hosting of general purpose buckets" in the Amazon S3 user guide.
    """
    found = _BUCKET_WITH_DOTS.fullmatch(host)
    return f"{found['bucket'].replace('.', '-')}.{found['s3']}" if found else host


_BUCKET_WITH_DOTS = re.compile(
    r"(?P<bucket>[a-z0-9-]+(?:\.[a-z0-9-]+)+)"
    r"\.(?P<s3>s3(?:[.-][a-z0-9-]+){0,2}\.amazonaws\.com(?:\.cn)?)"
)


def _parsed(url: str, allows_loopback: bool) -> _Address:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise DownloadRefused("The URL is invalid", CONTEXT) from exc
    if not host or "@" in parts.netloc or not _PRINTABLE.fullmatch(url):
        raise DownloadRefused("The URL is invalid, or has a user", CONTEXT)
    if parts.scheme == "https":
        return _Address(host, port or 443, True)
    if parts.scheme == "http" and allows_loopback:
        return _Address(host, port or 80, False)
    raise DownloadRefused("The URL is not https", CONTEXT)


_PRINTABLE = re.compile(r"[!-~]+")


def _allowed_addresses(address: _Address) -> list[str]:
    """Return the host's IP addresses if all are allowed; otherwise raise DownloadRefused."""
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except UnicodeError as exc:
        raise DownloadRefused("The URL has an invalid host", CONTEXT) from exc
    resolved = [str(each[4][0]) for each in found]
    for each in resolved:
        ip = ipaddress.ip_address(each.partition("%")[0])
        if not (is_public(ip) if address.is_https else ip.is_loopback):
            raise DownloadRefused(f"The host's address {each} is not allowed", CONTEXT)
    return resolved


def is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Return whether an address, and any IPv4 address that it carries, is on the public internet.

    IPv6 addresses that carry an IPv4 address (mapped, NAT64, 6to4) reach that address.
    """
    if isinstance(address, ipaddress.IPv6Address):
        embedded = address.ipv4_mapped or address.sixtofour
        if address in _NAT64:
            embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if embedded is not None:
            return is_public(embedded)
        if address not in _GLOBAL_UNICAST:
            return False
    return address.is_global and not address.is_multicast


_NAT64 = ipaddress.ip_network("64:ff9b::/96")

_GLOBAL_UNICAST = ipaddress.ip_network("2000::/3")
"""All IPv6 addresses of the internet. Python counts some others as global, too, such as site-local
ones. Source: IANA, "Internet Protocol Version 6 Address Space"."""


def _check_status(response: http.client.HTTPResponse) -> None:
    status = response.status
    context = RequestContext(CONTEXT.method, CONTEXT.path, status)
    if status in {206, 416} or (status == 200 and response.length == 0):
        return  # of an empty file: a request for its first byte gets 416 or an empty 200
    if status == 412:
        raise FileChanged("The file changed", context)
    if status in {401, 403, 404, 410}:
        raise LinkExpired(f"The link has expired (status {status})", context)
    if status in {408, 429} or status >= 500:
        raise DownloadInterrupted(f"The server failed (status {status})", context)
    if 300 <= status < 400:
        raise DownloadRefused("The response is a redirect, which is not followed", context)
    raise DownloadRefused(f"The response is not the requested range (status {status})", context)


def _check_same(response: http.client.HTTPResponse, file: RemoteFile) -> None:
    etag = response.headers.get("ETag")
    if etag != file.etag or _total(response) != file.size:
        raise FileChanged("The file changed", CONTEXT)


def _check_partial(response: http.client.HTTPResponse, start: int, length: int) -> None:
    """Raise DownloadRefused unless the body is exactly the requested range, uncompressed.

    A body without Content-Length could be endless, so it is refused.
    """
    wanted = f"bytes {start}-{start + length - 1}/"
    if not response.headers.get("Content-Range", "").startswith(wanted):
        raise DownloadRefused("The response has another range than requested", CONTEXT)
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise DownloadRefused("The response is compressed, although that was not allowed", CONTEXT)
    if response.length != length:
        raise DownloadRefused("The response has another length than requested", CONTEXT)


def _total(response: http.client.HTTPResponse) -> int:
    """Return the size of the whole file, from the response's Content-Range."""
    found = re.fullmatch(
        r"bytes (?:\*|[0-9]+-[0-9]+)/([0-9]{1,19})", response.headers.get("Content-Range", "")
    )
    if found is None:
        raise DownloadRefused("The response lacks the size of the file", CONTEXT)
    return int(found[1])
