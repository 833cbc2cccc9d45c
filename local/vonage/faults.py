"""Faults: configurable errors in responses, and when they occur."""

import base64
import math
import random
from collections import deque
from collections.abc import Callable, Mapping
from threading import Event
from typing import Annotated, Any, Literal

import msgspec
from flask import Request, Response
from msgspec import UNSET, Meta, Struct

from local.vonage.elements import ElementChange, change_elements
from local.vonage.settings import HeaderName, HeaderValue, Seconds
from local.vonage.wire import Body, Transfer, WireResponse

Operation = Literal[
    "create_room",
    "get_room",
    "list_rooms",
    "update_room",
    "delete_room",
    "list_recordings",
    "get_recording",
    "delete_recording",
    "list_archives",
    "get_archive",
    "start_archive",
    "stop_archive",
    "delete_archive",
    "set_storage",
    "download",
]
"""The operations of the Meetings API, of the Video API, and the download of a file."""

ErrorBody = Callable[[int, str], tuple[bytes, str]]
"""Returns an API's error body and its media type, for a status and a name or code."""

RESET = "vonage.reset"
"""A key in a request's environment that makes the server reset the connection."""

_WITHOUT_BODY = (204, 304)
"""Statuses whose responses have no body (RFC 9110, 6.4.1), unless the fault sets one."""


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change to the responses for an operation; `*` means all operations.

    A status or a body replaces the proper response. All other fields change the response, proper or
    replaced. At most one of `body`, `body_base64` and `body_json` can be set.

    Raises:
        ValueError: the fields contradict each other.
    """

    operation: Operation | Literal["*"]
    status: Annotated[int, Meta(ge=200, le=599)] | None = None
    """Respond with this status. With only a body, the status is 200."""
    body: str | None = None
    """Respond with this text, as HTML unless `content_type` is set."""
    body_base64: str | None = None
    """Respond with these bytes."""
    body_json: Any = UNSET
    """Respond with this JSON, which may be null."""
    name: str = "EmulatedError"
    """The error's name in the service's error body, used if no body is set."""
    content_type: HeaderValue | None = None
    headers: Mapping[HeaderName, HeaderValue] = {}
    """Headers to add, for example a Content-Encoding that does not match the body."""
    retry_after: Annotated[int, Meta(ge=0)] | HeaderValue | None = None
    """Send this as Retry-After: seconds, or a text such as an HTTP date."""
    location: HeaderValue | None = None
    """Send this Location, for a redirect."""
    encoding: Literal["utf-8-sig", "utf-16", "utf-16-le", "utf-32"] | None = None
    """Send text in this encoding; `utf-8-sig` adds a byte order mark. A body that is not UTF-8 is
    not changed."""
    elements: tuple[ElementChange, ...] = ()
    """Change single elements of a list."""
    truncate: Annotated[int, Meta(ge=1)] | None = None
    """Close the connection this many bytes before the end of the body."""
    cut_after: Annotated[int, Meta(ge=0)] | None = None
    """Close the connection after this many bytes of the body, or reset it with `reset`."""
    content_length: Annotated[int, Meta(ge=0)] | None = None
    """Send this Content-Length instead of the right one."""
    gzip: bool = False
    """Compress the body, with a Content-Encoding."""
    rate: Annotated[int, Meta(ge=1)] | None = None
    """Send at most this many bytes per second on each connection."""
    chunked: bool = False
    """Send the body in chunks, without a Content-Length."""
    endless: bool = False
    """Send endless white space after the body, in chunks."""
    trickle: Seconds = 0.0
    """Send single bytes with this delay between them, in seconds."""
    latency: Seconds = 0.0
    """Delay the response by this time."""
    reset: bool = False
    """Reset the connection instead of responding; with `cut_after`, in the middle of the body."""
    rate_limit: Annotated[int, Meta(ge=1)] | None = None
    """Respond 429 to requests above this number in `per` seconds."""
    per: Annotated[float, Meta(gt=0)] = 1.0
    after: bool = False
    """Carry out the operation first, so that only its response is lost."""
    times: Annotated[int, Meta(ge=1)] | None = None
    """Apply the fault only this many times."""
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    seed: int = 0
    """The seed of the random generator behind `probability`."""

    def __post_init__(self) -> None:
        given = (self.body is not None, self.body_base64 is not None, self.body_json is not UNSET)
        if sum(given) > 1:
            raise ValueError("Give one of body, body_base64 and body_json.")
        if self.endless and self.truncate:
            raise ValueError("An endless response has no end to truncate.")
        if self.truncate and self.cut_after is not None:
            raise ValueError("Give one of truncate and cut_after.")
        self._given_body()  # raises ValueError for invalid base64

    @property
    def changes_response(self) -> bool:
        """Whether a response is sent in a changed form."""
        length = (self.truncate, self.content_length is not None, self.cut_after is not None)
        wire = (self.encoding, self.chunked, self.endless, self.trickle, self.gzip, self.rate)
        return any((*length, *wire, self.elements, self._headers()))

    @property
    def replaces_response(self) -> bool:
        """Whether the proper response is not sent."""
        return self._resets_at_once or self.status is not None or self._given_body() is not None

    @property
    def _resets_at_once(self) -> bool:
        return self.reset and self.cut_after is None

    def respond(
        self,
        request: Request,
        proper: Callable[[], Response],
        stopping: Event,
        error: ErrorBody,
    ) -> Response:
        """Return the response to send.

        `proper` carries out the operation and returns its own response; `error` makes the body of a
        fault that sets only a status.
        """
        if self._resets_at_once:
            request.environ[RESET] = True
        if not self.replaces_response:
            return self._changed(proper(), stopping) if self.changes_response else proper()
        if self.after:
            proper()
        return self._changed(self._replacement(error), stopping)

    def _changed(self, response: Response, stopping: Event) -> WireResponse:
        body = self._body(response)
        has_body = response.status_code not in _WITHOUT_BODY
        headers = {**dict(response.headers), **self._headers()}
        return WireResponse(
            body,
            response.status_code,
            headers | ({"Content-Encoding": "gzip"} if self.gzip else {}),
            Transfer(
                declared=self._declared(body) if body.length or has_body else None,
                sent=self._sent(body),
                resets=self.reset,
                endless=self.endless,
                delay=self.trickle,
                rate=self.rate,
            ),
            stopping,
        )

    def _body(self, response: Response) -> Body:
        """Return the body; one that is generated while it is sent is never read as a whole."""
        if response.direct_passthrough:
            body = Body(response.iter_encoded(), response.content_length)
        else:
            content = response.get_data()
            if self.elements:
                content = change_elements(content, self.elements)
            body = Body.of(_encoded(content, self.encoding) if self.encoding else content)
        return body.compressed() if self.gzip else body

    def _declared(self, body: Body) -> int | None:
        """Return the Content-Length; None for chunks."""
        if self.content_length is not None:
            return self.content_length
        return None if self.chunked or self.endless else body.length

    def _sent(self, body: Body) -> int | None:
        """Return how many bytes are sent before the connection is closed; None for all."""
        if self.truncate:
            return max(0, (body.length or 0) - self.truncate)
        return self.cut_after

    def _headers(self) -> dict[str, str]:
        ours = {
            "Content-Type": self.content_type,
            "Retry-After": None if self.retry_after is None else str(self.retry_after),
            "Location": self.location,
        }
        return {name: value for name, value in ours.items() if value is not None} | dict(
            self.headers
        )

    def _replacement(self, error: ErrorBody) -> Response:
        body = self._given_body()
        status = self.status or (500 if body is None else 200)
        kind = "application/json" if self.body is None else "text/html; charset=utf-8"
        if body is None and status in _WITHOUT_BODY:
            body = b""
        elif body is None:
            body, kind = error(status, self.name)
        return Response(body, status, content_type=kind)

    def _given_body(self) -> bytes | None:
        if self.body is not None:
            return self.body.encode(errors="replace")
        if self.body_base64 is not None:
            return base64.b64decode(self.body_base64, validate=True)
        return None if self.body_json is UNSET else msgspec.json.encode(self.body_json)


def _encoded(body: bytes, encoding: str) -> bytes:
    try:
        return body.decode().encode(encoding)
    except UnicodeDecodeError:
        return body


class ArmedFault:
    """An active fault and the state that decides when it applies."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._left = math.inf if fault.times is None else fault.times
        self._random = random.Random(fault.seed)  # noqa: S311 - repeatable, not secret
        self._served: deque[float] = deque()

    def take(self, operation: str, now: float) -> Fault | None:
        """Return the fault if it applies to a request at `now` (monotonic seconds), else None.

        A fault that is returned counts towards `times`.
        """
        if self.fault.operation not in {"*", operation} or self._left < 1:
            return None
        if self.fault.rate_limit is not None:
            return self._limited(self.fault.rate_limit, now)
        if self._random.random() >= self.fault.probability:
            return None
        self._left -= 1
        return self.fault

    def _limited(self, limit: int, now: float) -> Fault | None:
        while self._served and self._served[0] <= now - self.fault.per:
            self._served.popleft()
        if len(self._served) < limit:
            self._served.append(now)
            return None
        wait = math.ceil(self._served[0] + self.fault.per - now)
        return msgspec.structs.replace(self.fault, status=429, retry_after=wait)
