"""The operations on recordings that every product of Vonage offers."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal, Protocol

from msgspec import Struct

from roomkeeper.domain.observations import Listed, Product, RecordingObservation
from roomkeeper.errors import RoomkeeperError

DeletionOutcome = Literal["deleted", "already_deleted", "not_yet"]


class Download(Struct, frozen=True, kw_only=True):
    """A fresh download of a recording's file."""

    url: str
    """A secret. It expires after minutes or a day, depending on the product."""
    size: int | None = None
    """Bytes, if Vonage reports them."""
    sha256: str | None = None
    """The SHA-256 of the file in base64, if Vonage reports it."""


class RecordingsApi(Protocol):
    """The recordings of one product.

    None and the outcomes of a deletion are certain: only responses in Vonage's own format count.
    Every operation raises a VonageError when it fails.
    """

    @property
    def product(self) -> Product:
        """The product."""

    def get(self, recording_id: str) -> RecordingObservation | None:
        """Return the latest state of a recording; None if Vonage does not have it.

        Raises:
            UnrecognizedStatus: Roomkeeper does not know its status.
        """

    def in_session(self, session_id: str) -> Listed | None:
        """Return the recordings of a session; None if Vonage does not have the session."""

    def all_since(self, moment: datetime, position: int = 0) -> Iterator[Listed]:
        """Yield pages of the recordings that started at `moment` or later, newest first.

        The next page is read while the caller works on one. `position` is the `next_position` of an
        earlier page, where the list continues. New recordings move all others to greater positions,
        so a recording may be repeated. The Meetings API has no such list, so nothing is yielded for
        it.
        """

    def delete(self, recording_id: str) -> DeletionOutcome:
        """Delete a recording. "not_yet" means that its file is not ready yet."""

    def download(self, recording_id: str) -> Download | None:
        """Return a fresh download of a recording's file; None if Vonage has no file to download."""

    def close(self) -> None:
        """Close the connections that are kept alive."""


class NotServed(RoomkeeperError):
    """A recording is of a product that the stack does not serve, or has no credentials for."""

    @property
    def is_item_specific(self) -> bool:
        """True: recordings of other products are served."""
        return True
