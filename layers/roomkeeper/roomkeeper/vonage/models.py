"""What the Meetings API answers, read into our own types. Pure.

Fields that are unknown here are ignored, optional ones may be missing or null. Both published forms
of a page and of a room's availability are understood.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs

import msgspec
from msgspec import Struct

from roomkeeper.callbacks import Id, Url
from roomkeeper.rooms import Room


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """A recording as Vonage describes it."""

    id: str
    session_id: str
    status: str
    """`started`, `paused`, `stopped` or `uploaded`."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    url: str | None = field(default=None, repr=False)
    """Where it can be downloaded: a secret that expires. None until it is uploaded."""


@dataclass(frozen=True, slots=True)
class SessionRecordings:
    """A session's recordings: those that could be read, and a message for each of the others."""

    found: Sequence[Recording]
    invalid: Sequence[str] = ()
    """A message for each recording that could not be read; it names the id if there is one."""


@dataclass(frozen=True, slots=True)
class RoomPage:
    """Some of the rooms, and where the next ones start."""

    rooms: Sequence[Room]
    next_start_id: str | None
    """What to pass as `start_id` for the next page; None on the last one."""
    total_items: int | None = None
    """How many rooms there are on all pages, when the answer tells."""


class _Link(Struct):
    href: str | None = None


class _RoomLinks(Struct):
    host_url: _Link | None = None
    guest_url: _Link | None = None


class _RecordingOptions(Struct):
    auto_record: bool | None = None


class _Room(Struct):
    id: str
    display_name: str | None = None
    type: str | None = None
    is_available: bool | None = None
    status: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    expire_after_use: bool | None = None
    recording_options: _RecordingOptions | None = None
    metadata: str | None = None
    meeting_code: str | None = None
    links: _RoomLinks | None = msgspec.field(name="_links", default=None)


class _RecordingLinks(Struct):
    url: _Link | None = None


class _Identified(Struct):
    id: Id


class _Recording(Struct):
    id: Id
    session_id: Id
    status: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    links: _RecordingLinks | None = msgspec.field(name="_links", default=None)


class _PageLinks(Struct):
    next: _Link | None = None


class _Rooms(Struct):
    rooms: list[_Room]


class _RoomPage(Struct):
    embedded: _Rooms | list[_Room] = msgspec.field(name="_embedded")
    links: _PageLinks | None = msgspec.field(name="_links", default=None)
    total_items: int | None = None


class _Recordings(Struct):
    recordings: list[msgspec.Raw]


class _SessionRecordings(Struct):
    embedded: _Recordings = msgspec.field(name="_embedded")


# Made once, since making a decoder costs more than using it.
_read_room = msgspec.json.Decoder(_Room).decode
_read_room_page = msgspec.json.Decoder(_RoomPage).decode
_read_recording = msgspec.json.Decoder(_Recording).decode
_read_recordings = msgspec.json.Decoder(_SessionRecordings).decode

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)
"""What the functions below raise for a body that is not what it should be."""


def room(body: bytes) -> Room:
    """Return the room that `body` describes."""
    return _room(_read_room(body))


def room_page(body: bytes) -> RoomPage:
    """Return the page of rooms that `body` holds, in either published form."""
    page = _read_room_page(body)
    found = page.embedded.rooms if isinstance(page.embedded, _Rooms) else page.embedded
    next_link = page.links.next if page.links else None
    return RoomPage([_room(each) for each in found], _start_id(next_link), page.total_items)


def recording(body: bytes | msgspec.Raw) -> Recording:
    """Return the recording that `body` describes."""
    return _recording(_read_recording(body))


def recordings(body: bytes) -> SessionRecordings:
    """Return the recordings that `body` lists. One that is invalid does not spoil the others."""
    found: list[Recording] = []
    invalid: list[str] = []
    for raw in _read_recordings(body).embedded.recordings:
        try:
            found.append(recording(raw))
        except UNREADABLE as problem:
            invalid.append(f"recording {recording_id(raw) or 'without an id'}: {problem}")
    return SessionRecordings(tuple(found), tuple(invalid))


def recording_id(body: bytes | msgspec.Raw) -> str | None:
    """Return the id of the recording that `body` describes, however invalid the rest is."""
    try:
        return msgspec.json.decode(body, type=_Identified).id
    except UNREADABLE:
        return None


def _room(wire: _Room) -> Room:
    links = wire.links or _RoomLinks()
    options = wire.recording_options or _RecordingOptions()
    return Room(
        id=wire.id,
        display_name=wire.display_name or "",
        type=wire.type or "instant",
        is_available=_is_available(wire),
        created_at=_utc(wire.created_at),
        expires_at=_utc(wire.expires_at),
        expire_after_use=bool(wire.expire_after_use),
        auto_record=bool(options.auto_record),
        metadata=wire.metadata,
        meeting_code=wire.meeting_code,
        guest_url=_href(links.guest_url),
        host_url=_href(links.host_url),
    )


def _recording(wire: _Recording) -> Recording:
    return Recording(
        id=wire.id,
        session_id=wire.session_id,
        status=wire.status,
        started_at=_utc(wire.started_at),
        ended_at=_utc(wire.ended_at),
        url=_usable(_href(wire.links.url)) if wire.links else None,
    )


def _usable(url: str | None) -> str | None:
    """Return a download URL by the rules for those in callbacks; None if it breaks one."""
    try:
        return msgspec.convert(url, Url | None)
    except msgspec.ValidationError:
        return None


def _is_available(wire: _Room) -> bool:
    """Return what either form says; a room that says nothing is taken to be there."""
    if wire.is_available is not None:
        return wire.is_available
    return wire.status != "unavailable"


def _href(link: _Link | None) -> str | None:
    return link.href if link else None


def _start_id(link: _Link | None) -> str | None:
    """Return the `start_id` in a link, which may be absolute, or lack scheme or host."""
    _, _, query = (_href(link) or "").partition("?")
    return parse_qs(query.partition("#")[0]).get("start_id", [None])[0]


def _utc(moment: datetime | None) -> datetime | None:
    """Return the moment in UTC, which is also what Vonage means by one without a zone."""
    if moment is None:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
