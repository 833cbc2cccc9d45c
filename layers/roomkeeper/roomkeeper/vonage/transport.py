"""Calls over HTTP: sent, repeated while that is safe and there is time, and judged."""

from datetime import UTC, datetime
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from roomkeeper.vonage.answers import Answer, require_success
from roomkeeper.vonage.calls import Call
from roomkeeper.vonage.credentials import Credentials
from roomkeeper.vonage.errors import NotSent, Passing, Unavailable, UnexpectedAnswer
from roomkeeper.vonage.retries import Pace

LARGEST_ANSWER = 32 * 1024 * 1024
"""Bytes; a page of rooms has a thousandth of that."""

CONNECTIONS = 32
"""How many are kept open; more can be in use at once."""

_PIECE = 64 * 1024


class Transport:
    """A pool of connections to one Meetings API. Safe to use from many threads.

    `timeout` is the seconds to wait for a connection, and for each part of an answer.

    Raises:
        ValueError: `base_url` is not an http(s) URL without user, query and fragment.
    """

    def __init__(
        self, base_url: str, credentials: Credentials, *, timeout: float, pace: Pace
    ) -> None:
        self.base_url = _checked(base_url)
        self._timeout = timeout
        self._pace = pace
        self._session = _Session()
        self._session.auth = _Authorization(credentials)
        self._session.headers.update({"Accept": "application/json", "User-Agent": "roomkeeper"})
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))

    def close(self) -> None:
        """Close the connections that are kept open."""
        self._session.close()

    def perform(self, call: Call, budget: float) -> bytes:
        """Return the answer's body, tried for up to `budget` seconds in all.

        429, 5xx and connection errors are tried again; what is not repeatable only when it had no
        effect for sure.

        Raises:
            VonageError: it was not answered with success. When time is up, the last answer's error.
        """
        deadline = self._pace.monotonic() + budget
        failures: list[Passing] = []
        while True:
            try:
                return self._try(call, deadline)
            except Passing as problem:
                failures.append(problem)
            if failures[-1].may_have_acted and not call.repeatable:
                raise failures[-1]
            wait = self._pace.wait(len(failures), failures[-1].retry_after)
            if not self._has_slept(wait, deadline):
                raise _most_telling(failures)

    def _has_slept(self, seconds: float, deadline: float) -> bool:
        """Sleep if that leaves time for another try; return whether it does."""
        if self._pace.monotonic() + seconds < deadline:
            self._pace.sleep(seconds)
            return self._pace.monotonic() < deadline
        return False

    def _try(self, call: Call, deadline: float) -> bytes:
        left = deadline - self._pace.monotonic()
        if left <= 0:
            raise NotSent("There was no time left to ask", call.exchange)
        try:
            answer = self._exchange(call, left, deadline)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as problem:
            kind = Unavailable if _may_have_arrived(problem) else NotSent
            told = f"No answer: {type(problem).__name__}"
            raise kind(told, call.exchange) from problem
        return require_success(call, answer, datetime.now(UTC))

    def _exchange(self, call: Call, left: float, deadline: float) -> Answer:
        # requests takes urllib3's Timeout, of which its type hints do not know: a limit for both
        # the connection and the answer's beginning, which a pair of numbers cannot express.
        timeout: Any = urllib3.Timeout(total=left, connect=self._timeout, read=self._timeout)
        with self._session.request(
            call.method,
            f"{self.base_url}{call.path}",
            params=call.query,
            json=call.body,
            timeout=timeout,
            stream=True,
        ) as answer:
            return Answer(answer.status_code, answer.headers, self._read(call, answer, deadline))

    def _read(self, call: Call, answer: requests.Response, deadline: float) -> bytes:
        """Return the body, piece by piece as it arrives, so that a trickle cannot outlast us."""
        body = bytearray()
        while piece := answer.raw.read1(_PIECE, decode_content=True):
            body += piece
            if self._pace.monotonic() > deadline:
                raise requests.ReadTimeout("The answer was still arriving when time was up")
            if len(body) > LARGEST_ANSWER:
                told = f"The answer has more than {LARGEST_ANSWER} bytes"
                raise UnexpectedAnswer(told, call.exchange)
        return bytes(body)


class _Session(requests.Session):
    """A session that follows no redirect, takes no cookie, and reads no .netrc for credentials."""

    def __init__(self) -> None:
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))

    def get_redirect_target(self, resp: requests.Response) -> None:  # noqa: ARG002
        """Return no target: credentials go to the base URL's host alone."""
        return


class _Authorization(AuthBase):
    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._credentials.authorization()
        return request


def _checked(base_url: str) -> str:
    try:
        parts = urllib3.util.parse_url(base_url)
        sound = parts.scheme in {"http", "https"} and parts.host
    except urllib3.exceptions.LocationParseError:
        sound = False
    # The URL itself is left out of the message: a user and password may be in it.
    if not sound or parts.auth or parts.query is not None or parts.fragment is not None:
        raise ValueError(
            "The base URL must be like https://api-eu.vonage.com/beta/meetings: "
            "http or https, without user, query or fragment."
        )
    return base_url.rstrip("/")


def _may_have_arrived(problem: Exception) -> bool:
    """Whether the request may have been received: not when no connection was made."""
    if isinstance(problem, requests.ConnectTimeout):
        return False
    reason = getattr(problem.args[0], "reason", None) if problem.args else None
    return not isinstance(reason, urllib3.exceptions.NewConnectionError)


def _most_telling(failures: list[Passing]) -> Passing:
    """Return the last failure that was an answer; a try that time cut short says less than that."""
    chosen = next((each for each in reversed(failures) if each.status), failures[-1])
    chosen.add_note(f"Given up when time was up; tries: {len(failures)}.")
    return chosen
