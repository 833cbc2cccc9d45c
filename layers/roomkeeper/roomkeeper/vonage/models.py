"""What the Meetings API answers, read into our own types. Pure.

Fields that are unknown here are ignored, optional ones may be missing or null. Both published forms
of a page and of a room's availability are understood. A room is invalid only if a field that
decides about its expiry is: of another type, a field that is only shown is dropped.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta, Raw, Struct

from roomkeeper.callbacks.meetings import Id, Url
from roomkeeper.domain.rooms import Room
from roomkeeper.vonage.calls import path
from roomkeeper.vonage.errors import InvalidId


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
class InvalidRoom:
    """An element of a page that cannot be read as a room, and the reason."""

    place: int
    """Its place on the page, from 1."""
    id: str | None
    """Its id as text, even if that is invalid; None without one."""
    reason: str

    def __str__(self) -> str:
        name = f"{self.id[:80]!r}" if self.id else f"{self.place} on the page"
        return f"Room {name} is not as the Meetings API describes it: {self.reason}"


@dataclass(frozen=True, slots=True)
class RoomPage:
    """Some of the rooms, and where the next ones start. Each room is there once."""

    rooms: Sequence[Room]
    next_start_id: str | None
    """What to pass as `start_id` for the next page; None on the last one."""
    total_items: int | None = None
    """How many rooms there are on all pages, when the answer tells."""
    invalid: Sequence[InvalidRoom] = ()
    """The elements that cannot be read as rooms."""


_NULL = Raw(b"null")

_Count = Annotated[int, Meta(ge=0, le=2**53)]


class _Link(Struct):
    href: str | None = None


class _RoomLinks(Struct):
    host_url: Raw = _NULL
    guest_url: Raw = _NULL


class _RecordingOptions(Struct):
    auto_record: bool | None = None


class _Room(Struct):
    """A room; the fields that are Raw decide nothing if they are of another type."""

    id: str
    type: str | None = None
    is_available: bool | None = None
    status: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    expire_after_use: bool | None = None
    display_name: Raw = _NULL
    recording_options: Raw = _NULL
    metadata: Raw = _NULL
    meeting_code: Raw = _NULL
    links: Raw = msgspec.field(name="_links", default=_NULL)


class _Identified(Struct):
    id: str | int | float | None = None


class _RecordingLinks(Struct):
    url: _Link | None = None


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
    rooms: list[Raw]


class _RoomPage(Struct):
    embedded: _Rooms | list[Raw] = msgspec.field(name="_embedded")
    links: _PageLinks | None = msgspec.field(name="_links", default=None)
    total_items: Raw = _NULL


class _Recordings(Struct):
    recordings: list[Raw]


class _SessionRecordings(Struct):
    embedded: _Recordings = msgspec.field(name="_embedded")


# Made once, since making a decoder costs more than using it.
_read_room = msgspec.json.Decoder(_Room).decode
_read_room_page = msgspec.json.Decoder(_RoomPage).decode
_read_recording = msgspec.json.Decoder(_Recording).decode
_read_recordings = msgspec.json.Decoder(_SessionRecordings).decode

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)
"""What the functions below raise for a body that is not what it should be."""


def room(body: bytes | Raw) -> Room:
    """Return the room that `body` describes."""
    return _room(_read_room(body))


def room_page(body: bytes) -> RoomPage:
    """Return the page of rooms that `body` holds, in either published form.

    An element that is no valid room does not spoil the others.
    """
    page = _read_room_page(body)
    elements = page.embedded.rooms if isinstance(page.embedded, _Rooms) else page.embedded
    read = [_element(place, element) for place, element in enumerate(elements, 1)]
    next_link = page.links.next if page.links else None
    return RoomPage(
        _each_once(each for each in read if isinstance(each, Room)),
        _start_id(next_link),
        _or_default(page.total_items, _Count, None),
        [each for each in read if isinstance(each, InvalidRoom)],
    )


def _each_once(rooms: Iterable[Room]) -> list[Room]:
    found: dict[str, Room] = {}
    for each in rooms:
        found.setdefault(each.id, each)
    return list(found.values())


def _element(place: int, element: Raw) -> Room | InvalidRoom:
    try:
        found = room(element)
        path("GET", "rooms", found.id)
    except UNREADABLE as error:
        return InvalidRoom(place, id_of(element), str(error)[:300])
    except InvalidId:
        return InvalidRoom(place, id_of(element), "its id cannot be part of a URL")
    return found


def id_of(element: bytes | Raw) -> str | None:
    """Return an item's id as text, a number's too, however invalid the rest is; None without."""
    try:
        found = msgspec.json.decode(element, type=_Identified).id
    except UNREADABLE:
        return None
    return None if found is None else str(found) or None


def recording(body: bytes | Raw) -> Recording:
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
            invalid.append(f"recording {id_of(raw) or 'without an id'}: {problem}")
    return SessionRecordings(tuple(found), tuple(invalid))


def _room(wire: _Room) -> Room:
    links = _or_default(wire.links, _RoomLinks, _RoomLinks())
    options = _or_default(wire.recording_options, _RecordingOptions, _RecordingOptions())
    return Room(
        id=wire.id,
        display_name=_or_default(wire.display_name, str, ""),
        type=wire.type or "instant",
        is_available=_is_available(wire),
        created_at=_utc(wire.created_at),
        expires_at=_utc(wire.expires_at),
        expire_after_use=bool(wire.expire_after_use),
        auto_record=bool(options.auto_record),
        metadata=_text(wire.metadata),
        meeting_code=_or_default(wire.meeting_code, str, None),
        guest_url=_href(_or_default(links.guest_url, _Link, None)),
        host_url=_href(_or_default(links.host_url, _Link, None)),
    )


def _or_default(raw: Raw, kind: Any, default: Any) -> Any:
    """Return the value of a field that decides nothing; the default if it is of another type."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except UNREADABLE:
        return default


def _text(raw: Raw) -> str | None:
    """Return a text, or any other JSON as it is written compactly: markers are searched in it."""
    value = _or_default(raw, Any, bytes(raw).decode(errors="replace"))
    return value if value is None or isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


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
