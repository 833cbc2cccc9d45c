"""The Meetings API's response bodies, parsed into Roomkeeper's types. Pure.

Unknown fields are ignored; optional fields may be missing or null. Both published formats of a page
and of a room's availability are supported. A room is invalid only if a field that affects its
expiry is invalid. Display-only fields of another type are dropped.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import parse_qs

import msgspec
from msgspec import Meta, Raw, Struct

from roomkeeper.domain.observations import Listed, RecordingObservation
from roomkeeper.domain.rooms import Room
from roomkeeper.types import Id, Url, is_within_bounds

_EVENTS: Mapping[str, str] = {
    "stopped": "recording:ended",
    "uploaded": "recording:uploaded",
    "failed": "recording:failed",
}
"""The event that each status implies; any other status implies `recording:started`."""


@dataclass(frozen=True, slots=True)
class InvalidRoom:
    """An element of a page that is not a valid room, and the reason."""

    position: int
    """Its position on the page, from 1."""
    id: str | None
    """Its id as text, even if it is invalid; None without one."""
    reason: str

    def __str__(self) -> str:
        name = f"{self.id[:80]!r}" if self.id else f"{self.position} on the page"
        return f"Room {name} does not match the Meetings API reference: {self.reason}"


@dataclass(frozen=True, slots=True)
class RoomPage:
    """A page of rooms, each once, and the start of the next page."""

    rooms: Sequence[Room]
    next_start_id: str | None
    """The `start_id` of the next page; None on the last one."""
    total_items: int | None = None
    """The number of rooms on all pages; None if the response does not have it."""
    invalid: Sequence[InvalidRoom] = ()
    """The elements that are not valid rooms."""


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
    """A room; fields of type Raw are dropped if their content has another type."""

    id: Id
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


class Recording(Struct, rename={"links": "_links"}):
    """A recording as the API sends it. `status` is `started`, `paused`, `stopped` or `uploaded`."""

    id: Id
    session_id: Id
    status: str
    started_at: datetime | None = None
    ended_at: datetime | None = None
    links: _RecordingLinks | None = None


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


# Created once: creating a decoder costs more than using it.
_read_room = msgspec.json.Decoder(_Room).decode
_read_room_page = msgspec.json.Decoder(_RoomPage).decode
_read_recording = msgspec.json.Decoder(Recording).decode
_read_recordings = msgspec.json.Decoder(_SessionRecordings).decode

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OverflowError)
"""The exceptions that the functions below raise for an invalid body."""


def room(body: bytes | Raw) -> Room:
    """Return the room in `body`."""
    return _room(_read_room(body))


def room_page(body: bytes) -> RoomPage:
    """Return the page of rooms in `body`, in either published format.

    Invalid elements are listed separately, and do not affect the others.
    """
    page = _read_room_page(body)
    elements = page.embedded.rooms if isinstance(page.embedded, _Rooms) else page.embedded
    read = [_element(position, element) for position, element in enumerate(elements, 1)]
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


def _element(position: int, element: Raw) -> Room | InvalidRoom:
    try:
        return room(element)
    except UNREADABLE as exc:
        return InvalidRoom(position, id_of(element), str(exc)[:300])


def id_of(element: bytes | Raw) -> str | None:
    """Return an item's id as text, even if the rest is invalid; None without an id."""
    try:
        found = msgspec.json.decode(element, type=_Identified).id
    except UNREADABLE:
        return None
    return None if found is None else str(found) or None


def recording(body: bytes | Raw) -> Recording:
    """Return the recording in `body`."""
    return _read_recording(body)


def recordings(body: bytes) -> Listed:
    """Return the recordings in `body`. Invalid ones do not affect the others."""
    found: list[RecordingObservation] = []
    invalid: list[str] = []
    for raw in _read_recordings(body).embedded.recordings:
        try:
            found.append(observation(recording(raw)))
        except UNREADABLE as exc:
            invalid.append(f"recording {id_of(raw) or 'without an id'}: {exc}")
    return Listed(tuple(found), tuple(invalid))


def observation(found: Recording) -> RecordingObservation:
    """Return the latest stage of a recording that the API reports.

    Raises:
        msgspec.ValidationError: a time or the URL is missing, or a time is out of range.
    """
    event = _EVENTS.get(found.status, "recording:started")
    if event not in ("recording:ended", "recording:uploaded"):
        return RecordingObservation(
            event=event, product="meetings", recording_id=found.id, session_id=found.session_id
        )
    started_at, ended_at = _within_bounds(found, "started_at"), _within_bounds(found, "ended_at")
    url = _usable(_href(found.links.url)) if found.links else None
    if event == "recording:uploaded" and url is None:
        raise msgspec.ValidationError("its status is uploaded, but it has no valid https URL")
    return RecordingObservation(
        event=event,
        product="meetings",
        recording_id=found.id,
        session_id=found.session_id,
        started_at=started_at,
        ended_at=ended_at,
        duration=max(0, round((ended_at - started_at).total_seconds())),
        url=url if event == "recording:uploaded" else None,
    )


def _within_bounds(found: Recording, field: str) -> datetime:
    moment = _utc(getattr(found, field))
    if moment is None:
        raise msgspec.ValidationError(f"its status is {found.status}, but a time is missing")
    if not is_within_bounds(moment):
        raise msgspec.ValidationError(f"{field} is out of range: year {moment.year}")
    return moment


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


def _or_default(raw: Raw, value_type: Any, default: Any) -> Any:
    """Return the value of a display-only field; `default` if it has another type."""
    try:
        return msgspec.json.decode(raw, type=value_type)
    except UNREADABLE:
        return default


def _text(raw: Raw) -> str | None:
    """Return a text, or other JSON in compact form, in which markers are searched."""
    value = _or_default(raw, Any, bytes(raw).decode(errors="replace"))
    return value if value is None or isinstance(value, str) else _json(value)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _usable(url: str | None) -> str | None:
    """Return a download URL if it is valid by the rules for callbacks; None otherwise."""
    try:
        return msgspec.convert(url, Url | None)
    except msgspec.ValidationError:
        return None


def _is_available(wire: _Room) -> bool:
    """Return the availability in either format; True without one."""
    if wire.is_available is not None:
        return wire.is_available
    return wire.status != "unavailable"


def _href(link: _Link | None) -> str | None:
    return link.href if link else None


def _start_id(link: _Link | None) -> str | None:
    """Return the `start_id` in a link, which may be absolute or relative; None without one."""
    _, _, query = (_href(link) or "").partition("?")
    return parse_qs(query.partition("#")[0]).get("start_id", [None])[0]


def _utc(moment: datetime | None) -> datetime | None:
    """Return the time in UTC. A time without a zone is in UTC, as at Vonage."""
    if moment is None:
        return None
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
