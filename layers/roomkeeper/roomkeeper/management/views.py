"""What the management API shows. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from msgspec import Struct

from roomkeeper.domain.recordings import DeletedBy, Hold, Recording, Status, furthest, url_expiry
from roomkeeper.domain.rooms import Room
from roomkeeper.vonage.models import Recording as VonageRecording

Source = Literal["vonage", "roomkeeper"]

_MEANS: Mapping[str, str] = {"stopped": "recording:ended", "uploaded": "recording:uploaded"}
"""What has happened to a recording of that status at Vonage; any other means that it started."""

_FACTS = (
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
)


class Rooms(Struct, frozen=True, kw_only=True):
    """Some of the rooms, and the `cursor` to ask for the next ones with; None on the last page."""

    rooms: Sequence[Room]
    next_cursor: str | None
    total_items: int | None
    """How many rooms there are in all, when Vonage tells."""
    invalid_rooms: int
    """How many rooms of the page could not be read, and are left out."""


class KnownRecording(Struct, frozen=True, kw_only=True):
    """A recording as Vonage and we know it together; `status` is the furthest that either tells."""

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
    """Where to download it: a secret. None when Vonage does not have it, or not yet."""
    url_expires_at: datetime | None
    uploaded_at: datetime | None
    hold: Hold | None
    deleted_at: datetime | None
    deleted_by: DeletedBy | None


class Recordings(Struct, frozen=True, kw_only=True):
    """A session's recordings, each once."""

    recordings: Sequence[KnownRecording]


class Republished(Struct, frozen=True, kw_only=True):
    """An event that is sent again, under the id that it had the first time."""

    event_id: str
    url_expires_at: datetime | None


def merge(
    ours: Recording | None, theirs: VonageRecording | None, room_id: str | None
) -> KnownRecording:
    """Return what our table and Vonage tell of a recording that at least one of them knows.

    What we heard first counts, as in the table; only the URL is always Vonage's, being fresh.
    `room_id` is its session's room, for when the recording itself does not tell it.
    """
    heard = _in_our_words(theirs) if theirs else None
    known = [each for each in (ours, heard) if each]
    facts: dict[str, Any] = {
        name: next((value for each in known if (value := getattr(each, name)) is not None), None)
        for name in _FACTS
    }
    facts["room_id"] = facts["room_id"] or room_id
    return KnownRecording(
        **facts,
        known_to=_knowers(ours, theirs),
        status=furthest(name for each in known for name in each.seen),
        url=heard.url if heard else None,
        url_expires_at=heard.url_expires_at if heard else None,
    )


def _knowers(ours: Recording | None, theirs: VonageRecording | None) -> list[Source]:
    knows: dict[Source, bool] = {"vonage": theirs is not None, "roomkeeper": ours is not None}
    return [knower for knower, it_does in knows.items() if it_does]


def _in_our_words(theirs: VonageRecording) -> Recording:
    return Recording(
        recording_id=theirs.id,
        session_id=theirs.session_id,
        seen=frozenset({_MEANS.get(theirs.status, "recording:started")}),
        started_at=theirs.started_at,
        ended_at=theirs.ended_at,
        url=theirs.url,
        url_expires_at=url_expiry(theirs.url) if theirs.url else None,
    )
