"""What can be made to go wrong, and when it does."""

import math
import random
from collections import deque
from typing import Annotated, Literal

import msgspec
from flask import Request, Response
from msgspec import Meta, Struct

from local.vonage.settings import HeaderValue, Seconds

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
"""Set in a request's environment to have its connection broken off instead of an answer."""


class Fault(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to the requests for an operation; `*` stands for every operation."""

    operation: Operation | Literal["*"]
    status: Annotated[int, Meta(ge=200, le=599)] | None = None
    """Answer with this status."""
    retry_after: Annotated[int, Meta(ge=0)] | HeaderValue | None = None
    """Send this as Retry-After: seconds, or a text such as an HTTP date."""
    location: HeaderValue | None = None
    """Send this as Location, for a redirect."""
    body: str | None = None
    """Send this text as HTML instead of the error body in JSON."""
    name: str = "EmulatedError"
    """The error's name in the body, as the service's form has it."""
    latency: Seconds = 0.0
    """Answer this much later."""
    reset: bool = False
    """Reset the connection instead of answering."""
    rate_limit: Annotated[int, Meta(ge=1)] | None = None
    """Answer 429 to what exceeds this number of requests in `per` seconds."""
    per: Annotated[float, Meta(gt=0)] = 1.0
    after: bool = False
    """Carry the operation out first, so that only its answer is lost."""
    times: Annotated[int, Meta(ge=1)] | None = None
    """Strike this often, then never again."""
    probability: Annotated[float, Meta(ge=0, le=1)] = 1.0
    seed: int = 0
    """Seeds the dice of `probability`."""

    @property
    def replaces_answer(self) -> bool:
        """Whether there is no proper answer; latency alone leaves it as it is."""
        return self.reset or self.status is not None

    def answer(self, request: Request) -> Response:
        """Return what is sent instead of the proper answer."""
        if self.reset:
            request.environ[RESET] = True
        status = self.status or 500
        response = Response(self._body(status), status, content_type="application/json")
        if self.body is not None:
            response.content_type = "text/html; charset=utf-8"
        if self.retry_after is not None:
            response.headers["Retry-After"] = str(self.retry_after)
        if self.location is not None:
            response.headers["Location"] = self.location
        return response

    def _body(self, status: int) -> bytes:
        if self.body is not None:
            return self.body.encode(errors="replace")
        if status == 429:
            return msgspec.json.encode({"title": "Too Many Requests", "detail": "Slow down"})
        return msgspec.json.encode(
            {"message": "A fault was switched on", "name": self.name, "status": status}
        )


class ArmedFault:
    """A fault that is switched on, with what it must remember to know when to strike."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._left = math.inf if fault.times is None else fault.times
        self._dice = random.Random(fault.seed)  # noqa: S311 - to be repeated, not to be secret
        self._served: deque[float] = deque()

    def strike(self, operation: str, now: float) -> Fault | None:
        """Return what happens to a request for `operation` at `now` (monotonic seconds), if any."""
        if self.fault.operation not in {"*", operation} or self._left < 1:
            return None
        if self.fault.rate_limit is not None:
            return self._limited(self.fault.rate_limit, now)
        if self._dice.random() >= self.fault.probability:
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
