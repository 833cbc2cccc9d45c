"""What can come of a call to the Meetings API other than what was wanted."""

from dataclasses import dataclass
from typing import ClassVar

from roomkeeper.errors import RoomkeeperError


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request, and what is known of the answer to it."""

    method: str
    path: str
    status: int | None = None
    name: str | None = None
    message: str | None = None
    retry_after: float | None = None


class VonageError(RoomkeeperError):
    """A call failed. The message says what was asked, what came back, and what to do.

    `method` and `path` are the request's; `status` is the answer's, None when there was none;
    `name` is the service's own name for the error, None when the service itself did not answer;
    `message` is the answer's text, without anything that could be a credential; `retry_after` is
    the seconds that the answer asked to wait, None when it did not.
    """

    advice: ClassVar[str] = "See the Meetings API reference."

    def __init__(self, problem: str, exchange: Exchange) -> None:
        super().__init__(f"{exchange.method} {exchange.path}: {problem}. {self.advice}")
        self.method = exchange.method
        self.path = exchange.path
        self.status = exchange.status
        self.name = exchange.name
        self.message = exchange.message
        self.retry_after = exchange.retry_after

    @property
    def is_the_items_own(self) -> bool:
        """Whether Vonage refuses this request and may take others.

        A 401 is about our credentials, a 404 may come of a wrong base URL, a 429 is about the rate.
        Without the form of Vonage's errors it may be a firewall, which refuses all: then a 4xx says
        nothing about the item, and neither does a 403 without Vonage's name for the error.
        """
        if self.status == 403:
            return self.name is not None
        is_refusal = self.status in range(400, 500) and self.status not in (401, 404, 429)
        return is_refusal and self.message is not None


class NotFound(VonageError):
    """404."""

    advice = "If nothing at all is found, check the base URL."

    @property
    def is_vonages_own(self) -> bool:
        """Whether the service says so itself; any other 404 may just mean a wrong base URL."""
        return self.name == "NotFoundError"

    def raise_unless_certain(self) -> None:
        """Return when there is no such thing for sure, by Vonage's own word; else raise this."""
        if not self.is_vonages_own:
            raise self


class UnusableId(NotFound):
    """No room, session or recording can have such an id. Nothing was sent."""

    advice = "Pass the id as Vonage gave it."

    def raise_unless_certain(self) -> None:
        """Return: it is certain without Vonage's word."""


class NotUpdatable(VonageError):
    """400 for a room that cannot be updated: an instant one, or one that is over."""

    advice = "Only long-term rooms that are available can be updated."


class NotDeletableYet(VonageError):
    """403 or 409, with Vonage's name for the error, at the deletion of a recording.

    It is usually not in status `uploaded`; GET tells.
    """

    advice = "Delete it after its recording:uploaded; GET tells its status."


class DeletionRefused(VonageError):
    """A recording in status `uploaded` that Vonage refuses to delete all the same."""

    advice = "Ask Vonage why, and whether the credentials may delete recordings."

    @property
    def is_the_items_own(self) -> bool:
        """Vonage said so about this recording, in its own form."""
        return True


class Unauthorized(VonageError):
    """401, or 403 where it does not mean NotDeletableYet."""

    advice = "Check the credentials, and that they are those of the application that owns this."

    @property
    def refuses_credentials(self) -> bool:
        """Whether it is the credentials that are not taken, for whatever they were shown."""
        return self.status == 401


class Refused(VonageError):
    """Any other 4xx: the request itself is wrong, and will be refused every time."""

    advice = "Correct the request; repeating it is of no use."


class UnexpectedAnswer(VonageError):
    """An answer that is no answer of the Meetings API: a redirect, or a body of another form."""

    advice = "Check that the base URL is that of a Meetings API."


class UnreadableRecording(UnexpectedAnswer):
    """An answer about the recording that was asked for, with data that is missing or invalid."""

    advice = "Ask Vonage about this recording."

    @property
    def is_the_items_own(self) -> bool:
        """Vonage answered, and other recordings may be as they should be."""
        return True


class Passing(VonageError):
    """A failure that may be over the next time.

    `may_have_acted` tells whether the request may have had its effect all the same.
    """

    may_have_acted: ClassVar[bool]


class RateLimited(Passing):
    """429, still after all retries that the time budget allowed. The request had no effect."""

    advice = "Try again later, or with fewer requests at once."
    may_have_acted = False


class Unavailable(Passing):
    """5xx, no connection or no answer, still after all retries that the time budget allowed."""

    advice = "Try again later; if it stays so, check Vonage's status page and the base URL."
    may_have_acted = True


class NotSent(Unavailable):
    """The request never left: no connection was made, or there was no time left."""

    may_have_acted = False
