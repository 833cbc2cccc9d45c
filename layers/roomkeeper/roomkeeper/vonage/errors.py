"""The exceptions of calls to the APIs of Vonage.

A success, a refusal and a 404 count only in Vonage's own format: a proxy, a captive portal or a
wrong base URL may return the same statuses. Every other response raises InvalidResponse.
"""

from dataclasses import dataclass
from typing import ClassVar

from roomkeeper.errors import RoomkeeperError


@dataclass(frozen=True, slots=True)
class RequestContext:
    """A request, and its response if there is one; `retry_after` is in seconds."""

    method: str
    path: str
    status: int | None = None
    name: str | None = None
    message: str | None = None
    retry_after: float | None = None


class VonageError(RoomkeeperError):
    """A call failed. The message names the request, the response and what to do.

    `method` and `path` are the request's. `status` is the response's, None without a response.
    `name` is Vonage's name for the error, None when the response has none. `message` is Vonage's
    text, credentials removed. `retry_after` is the wait in seconds that the response asks for.
    """

    advice: ClassVar[str] = "See the reference of Vonage's API."

    def __init__(self, description: str, context: RequestContext) -> None:
        super().__init__(f"{context.method} {context.path}: {description}. {self.advice}")
        self.method = context.method
        self.path = context.path
        self.status = context.status
        self.name = context.name
        self.message = context.message
        self.retry_after = context.retry_after

    @property
    def is_item_specific(self) -> bool:
        """True if Vonage refuses this item only, so that a batch should go on.

        False by default: a 401 is about the credentials, a 429 about the rate, and a response in
        another format says nothing about the item.
        """
        return False


class Refusal(VonageError):
    """Vonage itself refuses the request for this item."""

    @property
    def is_item_specific(self) -> bool:
        """True: other items may be accepted."""
        return True


class NotFound(VonageError):
    """The room, session or recording does not exist.

    It is a 404 with the name NotFoundError of the Meetings API, and a 400 or a 404 with a `code` of
    the Video API. The latter may also refuse the request itself: see `VideoClient`.
    """

    advice = "Check the id."


class InvalidId(NotFound):
    """No room, session or recording can have this id. No request was sent."""

    advice = "Pass the id exactly as Vonage returned it."


class NotUpdatable(Refusal):
    """400 BadRequestError: the room is an instant room, or is no longer available."""

    advice = "Only long-term rooms that are available can be updated."


class NotDeletable(Refusal):
    """403 or 409 in response to the deletion of a recording."""

    advice = "Ask Vonage why, and whether the credentials may delete recordings."


class NotStoppable(Refusal):
    """409 in response to the stop of a recording that is still in progress."""

    advice = "Ask Vonage why; an automatic archive ends with its session."


class Forbidden(Refusal):
    """403 in response to any request but a deletion."""

    advice = "Check that the credentials belong to the application that owns the item."


class BadRequest(Refusal):
    """Any other 4xx: the request is invalid, and Vonage will refuse it every time."""

    advice = "Correct the request; a retry does not help."


class Unauthorized(VonageError):
    """401, or a 403 of the Video API to a list: Vonage does not accept the credentials."""

    advice = "Check the credentials (make configure stores them)."


class InvalidResponse(VonageError):
    """A response that is not from Vonage's API: a redirect, HTML, or another JSON format."""

    advice = "Check that the base URL is that of Vonage's API, and check any proxy in between."


class InvalidRecording(InvalidResponse):
    """A response about the requested recording, with missing or invalid data."""

    advice = "Ask Vonage about this recording."

    @property
    def is_item_specific(self) -> bool:
        """True: Vonage responded, and other recordings may be valid."""
        return True


class UnrecognizedStatus(InvalidRecording):
    """A response about the requested recording, with a status that Roomkeeper does not know.

    Vonage may add statuses, so this is not a failure of the recording.
    """

    advice = "Keep the recording; a later version of Roomkeeper may know the status."


class UntrustedCertificate(VonageError):
    """The server's TLS certificate is not trusted. No request was sent, and there is no retry."""

    advice = (
        "Check that the base URL names the right host, and that a public certificate authority "
        "signed its certificate."
    )


class TransientError(VonageError):
    """A failure that may not occur at the next attempt."""


class RateLimited(TransientError):
    """429, still after all retries within the total timeout. The request had no effect."""

    advice = "Try again later, or with fewer concurrent requests."


class Unavailable(TransientError):
    """5xx, no connection or no response, still after all retries within the total timeout.

    The request may have taken effect.
    """

    advice = "Try again later; if it persists, check Vonage's status page and the base URL."
