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
from local.vonage.wire import WireResponse

Operation = Literal[
    "create_room",
    "get_room",
    "list_rooms",
    "update_room",
    "delete_room",
    "list_recordings",
    "get_recording",
    "delete_recording",
    "download",
]

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
    chunked: bool = False
    """Send the body in chunks, without a Content-Length."""
    endless: bool = False
    """Send endless white space after the body, in chunks."""
    trickle: Seconds = 0.0
    """Send single bytes with this pause between them."""
    latency: Seconds = 0.0
    """Delay the response by this time."""
    reset: bool = False
    """Reset the connection instead of responding."""
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
        self._given_body()  # raises ValueError for invalid base64

    @property
    def changes_response(self) -> bool:
        """Whether a response is sent in a changed form."""
        wire = (self.encoding, self.truncate, self.chunked, self.endless, self.trickle)
        return any((*wire, self.elements, self._headers()))

    @property
    def replaces_response(self) -> bool:
        """Whether the proper response is not sent."""
        return self.reset or self.status is not None or self._given_body() is not None

    def respond(
        self, request: Request, proper: Callable[[], Response], stopping: Event
    ) -> Response:
        """Return the response to send; `proper` carries out the operation and returns its own."""
        if self.reset:
            request.environ[RESET] = True
        if not self.replaces_response:
            return self._changed(proper(), stopping) if self.changes_response else proper()
        if self.after:
            proper()
        return self._changed(self._replacement(), stopping)

    def _changed(self, response: Response, stopping: Event) -> WireResponse:
        body = self._body(response.get_data())
        is_chunked = self.chunked or self.endless
        has_body = response.status_code not in _WITHOUT_BODY
        return WireResponse(
            body[: -self.truncate] if self.truncate else body,
            response.status_code,
            {**dict(response.headers), **self._headers()},
            declared=None if is_chunked or not (body or has_body) else len(body),
            cut_off=self.truncate is not None,
            endless=self.endless,
            pause=self.trickle,
            stopping=stopping,
        )

    def _body(self, body: bytes) -> bytes:
        if self.elements:
            body = change_elements(body, self.elements)
        return _encoded(body, self.encoding) if self.encoding else body

    def _headers(self) -> dict[str, str]:
        ours = {
            "Content-Type": self.content_type,
            "Retry-After": None if self.retry_after is None else str(self.retry_after),
            "Location": self.location,
        }
        return {name: value for name, value in ours.items() if value is not None} | dict(
            self.headers
        )

    def _replacement(self) -> Response:
        given = self._given_body()
        status = self.status or (500 if given is None else 200)
        body = self._error_body(status) if given is None else given
        kind = "application/json" if self.body is None else "text/html; charset=utf-8"
        return Response(body, status, content_type=kind)

    def _given_body(self) -> bytes | None:
        if self.body is not None:
            return self.body.encode(errors="replace")
        if self.body_base64 is not None:
            return base64.b64decode(self.body_base64, validate=True)
        return None if self.body_json is UNSET else msgspec.json.encode(self.body_json)

    def _error_body(self, status: int) -> bytes:
        if status in _WITHOUT_BODY:
            return b""
        if status == 429:
            return msgspec.json.encode({"title": "Too Many Requests", "detail": "Slow down"})
        return msgspec.json.encode(
            {"message": "A fault was switched on", "name": self.name, "status": status}
        )


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

    def strike(self, operation: str, now: float) -> Fault | None:
        """Return the fault if it applies to a request at `now` (monotonic seconds), else None."""
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
