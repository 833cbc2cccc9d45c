"""The facts that Vonage reports, in one form for all of its products. No I/O.

Callbacks and responses of Vonage's APIs are parsed into observations by the modules of their
product. All other modules use only observations.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Literal

from msgspec import Struct

Product = Literal["meetings", "video"]
"""Vonage's product: `meetings` is the Meetings API, `video` the Video API."""

DeletedBy = Literal["cleanup", "management", "vonage"]
"""The origin of a deletion. `vonage`: Roomkeeper found it deleted, and had not deleted it."""


class RecordingObservation(Struct, frozen=True, kw_only=True):
    """A stage in the life of a recording: `event` names it, the other fields are its facts.

    Facts are None if they are unknown; a `size` or `duration` of 0 counts as unknown. A later
    observation never makes a known fact unknown. The stages are started, ended, uploaded, stored,
    failed, expired and deleted: a pause is an Occurrence.
    """

    event: str
    """The name of the event that the stage causes, such as `recording:uploaded`."""
    product: Product
    recording_id: str
    session_id: str
    room_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    duration: int | None = None
    """Seconds."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    """The SHA-256 of the file in base64, if Vonage reports it."""
    reason: str | None = None
    """Vonage's reason for the end or the failure of the recording."""
    url: str | None = None
    """The download URL, a secret that expires."""
    expires_at: datetime | None = None
    """When Vonage deletes the file by itself."""

    def __repr__(self) -> str:
        # Without the URL: reprs get into logs and tracebacks.
        ids = f"recording_id={self.recording_id!r}, session_id={self.session_id!r}"
        return f"RecordingObservation(event={self.event!r}, product={self.product!r}, {ids})"


class SessionObservation(Struct, frozen=True, kw_only=True):
    """The start or the end of a session in a room of the Meetings API."""

    event: str
    product: Product
    session_id: str
    room_id: str
    started_at: datetime
    ended_at: datetime | None = None


class Occurrence(Struct, frozen=True, kw_only=True):
    """Something that happened once and changes no recording or session, such as a join.

    `data` is the data of its event. `identity` is the same text for each repetition of the same
    occurrence, and for nothing else.
    """

    event: str
    product: Product
    identity: str
    data: Struct


class Unrecognized(Struct, frozen=True, kw_only=True):
    """An authentic JSON object that is no known callback. It is stored, never rejected.

    A body of the Video API is stored without personal data and secrets, any other body completely.

    `name` is the name of its event if it has one. `reason` says why it was not recognized.
    """

    event: ClassVar[str] = "callback:unrecognized"
    product: Product
    name: str | None
    reason: str
    body: str


Observation = RecordingObservation | SessionObservation | Occurrence | Unrecognized


class Listed(Struct, frozen=True):
    """The recordings of one response of Vonage's API: the valid ones, and a message for each other.

    A message has the id of its recording if there is one. `unrecognized` recordings are valid, but
    have a status that Roomkeeper does not know.
    """

    found: Sequence[RecordingObservation]
    invalid: Sequence[str] = ()
    unrecognized: Sequence[str] = ()
    next_position: int = 0
    """The position after this page in a list of all recordings, for `all_since`."""
