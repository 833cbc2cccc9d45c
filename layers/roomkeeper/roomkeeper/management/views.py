"""The response bodies of the management API. Pure."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal

import msgspec
from msgspec import Struct

from roomkeeper.domain.observations import DeletedBy, Product, RecordingObservation
from roomkeeper.domain.recordings import Hold, Recording, Status, furthest
from roomkeeper.domain.rooms import Room

CopyOutcome = Literal["kept", "deleted"]
"""The outcome of a deletion for the recording's copy."""

Source = Literal["vonage", "roomkeeper"]

_FACTS = (
    "product",
    "recording_id",
    "session_id",
    "room_id",
    "started_at",
    "ended_at",
    "duration",
    "uploaded_at",
    "hold",
    "deleted_at",
    "deleted_by",
    "size",
    "sha256",
    "expires_at",
)


class Rooms(Struct, frozen=True, kw_only=True):
    """A page of rooms, and the cursor of the next page; None on the last page."""

    rooms: Sequence[Room]
    next_cursor: str | None
    total_items: int | None
    """The number of rooms on all pages, if Vonage returns it."""
    invalid_rooms: int
    """The number of rooms of this page that could not be read, and are left out."""


class MadeCopy(Struct, frozen=True, kw_only=True):
    """A verified copy in the operator's bucket. `sha256` is in base64."""

    bucket: str
    key: str
    version_id: str | None
    size: int
    """Bytes."""
    sha256: str | None
    copied_at: datetime


class KnownRecording(Struct, frozen=True, kw_only=True):
    """A recording, merged from Vonage and the table; `status` is the more advanced of both."""

    product: Product
    recording_id: str
    session_id: str
    room_id: str | None
    known_to: Sequence[Source]
    status: Status
    started_at: datetime | None
    ended_at: datetime | None
    duration: int | None
    """Seconds."""
    url: str | None
    """The download URL, which is a secret; None if Vonage has no file, or none yet."""
    url_expires_at: datetime | None
    uploaded_at: datetime | None
    copy: MadeCopy | None
    """None as long as there is no verified copy."""
    hold: Hold | None
    deleted_at: datetime | None
    deleted_by: DeletedBy | None
    file_kept: bool
    """True if its file stays in its owner's storage, although it is deleted at Vonage."""
    size: int | None
    """Bytes."""
    sha256: str | None
    """The SHA-256 of the file in base64, if Vonage reports it."""
    expires_at: datetime | None
    """When Vonage deletes the file by itself."""


class RecordingHold(Hold, frozen=True, kw_only=True):
    """A recording's hold, with the product of the recording."""

    product: Product


class Recordings(Struct, frozen=True, kw_only=True):
    """A session's recordings, each once."""

    recordings: Sequence[KnownRecording]


class File(Struct, frozen=True, kw_only=True):
    """The file of a recording's copy. `url` is a secret that needs no credentials."""

    url: str
    url_expires_at: datetime
    size: int
    """Bytes."""
    sha256: str | None


class CopyRequest(Struct, frozen=True, kw_only=True):
    """The response to the request for a copy; `copy` is None as long as it is not made."""

    recording_id: str
    copy: MadeCopy | None


class Deletion(Struct, frozen=True, kw_only=True):
    """The response to the deletion of a recording that has a copy."""

    recording_id: str
    copy: CopyOutcome


class Republished(Struct, frozen=True, kw_only=True):
    """An event that is published again, with its original id."""

    product: Product
    event_id: str
    url_expires_at: datetime | None


def merge(
    stored: Recording | None, at_vonage: RecordingObservation | None, room_id: str | None
) -> KnownRecording:
    """Return a recording merged from `stored` and `at_vonage`; one may be None.

    The table's value of a field wins if it has one. The URL is always Vonage's, which is fresh.
    `room_id` is the session's room; it is used if the recording itself names no room.
    """
    converted = _to_recording(at_vonage) if at_vonage else None
    known = [each for each in (stored, converted) if each]
    facts: dict[str, Any] = {
        name: next((value for each in known if (value := getattr(each, name)) is not None), None)
        for name in _FACTS
    }
    facts["room_id"] = facts["room_id"] or room_id
    facts["file_kept"] = stored is not None and stored.keeps_file
    return KnownRecording(
        **facts,
        known_to=_sources(stored, at_vonage),
        copy=made_copy(stored),
        status=furthest(name for each in known for name in each.seen),
        url=converted.url if converted else None,
        url_expires_at=converted.url_expires_at if converted else None,
    )


def made_copy(recording: Recording | None) -> MadeCopy | None:
    """Return the verified copy of a recording; None if there is none."""
    if recording is None or recording.copy is None or recording.copied_at is None:
        return None
    return msgspec.convert(recording.copy, MadeCopy, from_attributes=True)


def _sources(stored: Recording | None, at_vonage: RecordingObservation | None) -> list[Source]:
    known: dict[Source, bool] = {"vonage": at_vonage is not None, "roomkeeper": stored is not None}
    return [source for source, is_known in known.items() if is_known]


def _to_recording(at_vonage: RecordingObservation) -> Recording:
    return Recording(
        product=at_vonage.product,
        recording_id=at_vonage.recording_id,
        session_id=at_vonage.session_id,
        room_id=at_vonage.room_id,
        seen=frozenset({at_vonage.event}),
        started_at=at_vonage.started_at,
        ended_at=at_vonage.ended_at,
        duration=at_vonage.duration,
        size=at_vonage.size,
        sha256=at_vonage.sha256,
        expires_at=at_vonage.expires_at,
        url=at_vonage.url,
    )
