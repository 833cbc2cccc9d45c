"""HTTP requests to an API of Vonage, with retries and a total timeout."""

import codecs
import ssl
from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.auth import AuthBase

from roomkeeper.vonage.calls import Call
from roomkeeper.vonage.credentials import Credentials
from roomkeeper.vonage.errors import (
    InvalidResponse,
    Unavailable,
    UntrustedCertificate,
    VonageError,
)
from roomkeeper.vonage.responses import ReadError, Response, meetings_error, raise_for_status
from roomkeeper.vonage.retry import Deadline, RetryPolicy
from roomkeeper.vonage.time_limit import LimitedAdapter, limited_to

MAX_RESPONSE_BYTES = 32 * 1024 * 1024
"""The maximum size of a response body; a page of rooms has about a thousandth of it."""

POOL_SIZE = 32
"""The number of connections that are kept alive; more can be in use."""

_CHUNK_BYTES = 64 * 1024

_INCOMPLETE = "The response was incomplete at the total timeout"

_SHORTEST_READ = 0.001
"""Seconds. A socket with a timeout of 0 does not wait at all."""


class Transport:
    """A pool of connections to one API. Safe to use from many threads.

    `timeout` is in seconds, for a connection and for each read of a response. `read_error` reads
    the error bodies of the product.

    Raises:
        ValueError: `base_url` is not an http(s) URL, or has a user, query or fragment.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        *,
        timeout: float,
        retry: RetryPolicy,
        read_error: ReadError = meetings_error,
    ) -> None:
        self.base_url = _checked(base_url)
        self._read_error = read_error
        self._timeout = timeout
        self._retry = retry
        self._session = _Session(self.base_url)
        self._session.auth = _Authorization(credentials)
        self._session.headers.update({"Accept": "application/json", "User-Agent": "roomkeeper"})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, LimitedAdapter(pool_maxsize=POOL_SIZE))

    def close(self) -> None:
        """Close the connections that are kept alive."""
        self._session.close()

    def perform(self, call: Call, total_timeout: float) -> bytes:
        """Return the body of a 2xx response, without a byte order mark.

        429, 5xx and connection errors are retried until `total_timeout`, in seconds.

        Raises:
            VonageError: the request failed; at the total timeout, the last error with a response.
        """
        deadline = Deadline(total_timeout, self._retry.clock)
        return self._retry.run(lambda: self._attempt(call, deadline), deadline)

    def _attempt(self, call: Call, deadline: Deadline) -> bytes:
        if deadline.has_passed:
            raise Unavailable("There was no time left for the request", call.context)
        try:
            response = self._send(call, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as exc:
            raise _connection_error(call, exc) from exc
        return raise_for_status(call, response, datetime.now(UTC), self._read_error)

    def _send(self, call: Call, deadline: Deadline) -> Response:
        # urllib3's Timeout limits connection and response start together. requests accepts it,
        # although its type hints do not.
        timeout: Any = urllib3.Timeout(
            total=deadline.remaining(), connect=self._timeout, read=self._timeout
        )
        with (
            limited_to(deadline.remaining()) as limit,
            self._session.request(
                call.method,
                f"{self.base_url}{call.path}",
                params=call.query,
                json=call.body,
                timeout=timeout,
                stream=True,
            ) as response,
        ):
            body = self._read(call, response, deadline)
            if limit.is_over:
                raise requests.ReadTimeout(_INCOMPLETE)
            return Response(response.status_code, response.headers, body)

    def _read(self, call: Call, response: requests.Response, deadline: Deadline) -> bytes:
        """Return the body, read in chunks as they arrive, so that the deadline covers all of it."""
        body = bytearray()
        while chunk := self._read_chunk(response, deadline):
            body += chunk
            if deadline.has_passed:
                raise requests.ReadTimeout(_INCOMPLETE)
            if len(body) > MAX_RESPONSE_BYTES:
                description = f"The response has more than {MAX_RESPONSE_BYTES} bytes"
                raise InvalidResponse(description, call.context)
        return bytes(body).removeprefix(codecs.BOM_UTF8)

    def _read_chunk(self, response: requests.Response, deadline: Deadline) -> bytes:
        """Return the next part of the body, empty at its end; the read ends at the deadline.

        The socket is unknown if the server closes the connection after the response. Each read then
        has the timeout with which the response started.
        """
        connection = response.raw.connection
        if connection is not None and connection.sock is not None:
            seconds = min(self._timeout, deadline.remaining())
            connection.sock.settimeout(max(seconds, _SHORTEST_READ))
        chunk: bytes = response.raw.read1(_CHUNK_BYTES, decode_content=True)
        return chunk


class _Session(requests.Session):
    """A session without redirects, cookies and credentials from .netrc.

    The environment's proxy and CA bundle for `url` are looked up once, not for each request.
    """

    def __init__(self, url: str) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
        environment = self.merge_environment_settings(url, {}, None, None, None)
        self.proxies, self.verify = environment["proxies"], environment["verify"]
        self.trust_env = False

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        """Return None: credentials are sent only to the base URL's host."""
        return


class _Authorization(AuthBase):
    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers[self._credentials.header] = self._credentials.authorization()
        return request


def _checked(base_url: str) -> str:
    try:
        parts = urllib3.util.parse_url(base_url)
        is_valid = parts.scheme in {"http", "https"} and parts.host
    except urllib3.exceptions.LocationParseError:
        is_valid = False
    # The message leaves the URL out, since it may have a user and password.
    if not is_valid or parts.auth or parts.query is not None or parts.fragment is not None:
        raise ValueError(
            "The base URL must start with http:// or https:// and a host, and have no user, query "
            "or fragment."
        )
    return base_url.rstrip("/")


def _connection_error(call: Call, error: Exception) -> VonageError:
    """Return the exception for a request without a response, or with an undecodable one."""
    if isinstance(error, urllib3.exceptions.DecodeError):
        description = "The response is not in the encoding of its Content-Encoding header"
        return InvalidResponse(description, call.context)
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLCertVerificationError):
            description = f"The server's certificate is not trusted: {cause.verify_message}"
            return UntrustedCertificate(description, call.context)
    return Unavailable(f"No response: {type(error).__name__}", call.context)


def _causes(error: BaseException) -> list[BaseException]:
    """Return an exception and its causes, including those that urllib3 wraps as arguments."""
    found: list[BaseException] = []
    pending = [error]
    while pending:
        current = pending.pop()
        if any(current is each for each in found):
            continue
        found.append(current)
        wrapped = (current.__cause__, current.__context__, getattr(current, "reason", None))
        pending += [each for each in (*wrapped, *current.args) if isinstance(each, BaseException)]
    return found
