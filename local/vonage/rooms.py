"""Rooms of the Meetings API: their rules and their JSON. Pure.

Source: Vonage's Meetings API reference, "Rooms", and its guide "Meeting room management".
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from local.vonage.clock import moment
from local.vonage.refusal import bad_request, invalid
from roomkeeper.times import iso

Json = Mapping[str, Any]
RoomForm = Literal["is_available", "status"]

INSTANT_LIFE = timedelta(minutes=10)
"""An instant room exists this long if nobody joins, and again after the last participant leaves."""

MAX_LIFETIME = timedelta(days=5 * 365 + 1)

_DEFAULTS: Json = {
    "metadata": None,
    "recording_options": {"auto_record": False, "record_only_owner": False},
    "expire_after_use": False,
    "theme_id": None,
    "initial_join_options": {"microphone_state": "default"},
    "join_approval_level": "none",
    "ui_settings": {"language": "default"},
    "available_features": {"is_recording_available": True, "is_chat_available": True},
}
_READ_ONLY = frozenset(
    {"id", "type", "expires_at", "created_at", "is_available", "status", "meeting_code", "_links"}
)


class _RecordingOptions(Struct):
    auto_record: bool = False
    record_only_owner: bool = False


class _CallbackUrls(Struct):
    rooms_callback_url: str | None = None
    sessions_callback_url: str | None = None
    recordings_callback_url: str | None = None


class _Rules(Struct):
    """Validation rules for fields that a client may set; other fields are stored unchecked."""

    display_name: Annotated[str, Meta(min_length=1, max_length=200)] = "-"
    metadata: Annotated[str, Meta(max_length=500)] | None = None
    type: Literal["instant", "long_term"] = "instant"
    recording_options: _RecordingOptions | None = None
    expire_after_use: bool = False
    callback_urls: _CallbackUrls | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """A room; `serial` is its position in lists, `details` are the fields that clients may set."""

    serial: int
    id: str
    type: str
    created_at: datetime
    expires_at: datetime
    details: Json
    meeting_code: str
    sessions: int = 0
    """The number of ongoing sessions in it."""
    expired: bool = False
    """Whether the emulator has processed its expiry. This is final."""
    deleted: bool = False

    @property
    def alive(self) -> bool:
        """Whether it is neither deleted nor expired."""
        return not (self.deleted or self.expired)

    def is_due(self, now: datetime) -> bool:
        """Return whether it expires by `now`. An instant room in use does not expire."""
        in_use = self.type == "instant" and self.sessions > 0
        return not in_use and self.expires_at <= now

    def is_available(self, now: datetime) -> bool:
        """Return whether a session can start in it."""
        return self.alive and not self.is_due(now)

    def callback_url(self, kind: str) -> str | None:
        """Return the room's own callback URL for `kind`, if it has one."""
        return (self.details.get("callback_urls") or {}).get(f"{kind}_callback_url")


def created(body: Json, serial: int, now: datetime) -> Room:
    """Return the room that the `body` of POST /rooms describes.

    Raises:
        Refusal: a field is invalid.
    """
    _check(body)
    if "display_name" not in body:
        raise invalid('"display_name" is required')
    if body.get("type", "instant") == "instant":
        if "expires_at" in body:
            raise invalid('"expires_at" is not allowed for a room of type instant')
        return _room(body, serial, now, now + INSTANT_LIFE)
    if "expires_at" not in body:
        raise invalid('"expires_at" is required for a room of type long_term')
    return _room(body, serial, now, _future(body["expires_at"], now))


def added(fields: Json, serial: int, now: datetime) -> Room:
    """Return a room in any state, for tests. Missing fields get default values.

    No callback is sent for a room that is expired from the start.
    """
    _check(fields)
    created_at = moment(fields["created_at"], "created_at") if "created_at" in fields else now
    expires_at = moment(fields["expires_at"], "expires_at") if "expires_at" in fields else None
    kind = fields.get("type", "long_term" if expires_at else "instant")
    if expires_at is None:
        expires_at = created_at + (INSTANT_LIFE if kind == "instant" else timedelta(days=30))
    body = {"display_name": "Room", **fields, "type": kind}
    is_deleted = bool(body.pop("deleted", False))
    room = _room(body, serial, created_at, expires_at, id=str(fields.get("id") or uuid.uuid4()))
    return replace(room, expired=expires_at <= now, deleted=is_deleted)


def updated(room: Room, body: Json, now: datetime) -> Room:
    """Return `room` with the changes in the `body` of PATCH /rooms/{id}.

    Raises:
        Refusal: there are no changes, a field is invalid, or the room cannot be updated.
    """
    wanted = body.get("update_details")
    if not isinstance(wanted, dict):
        raise invalid('"update_details" is required and must be of type object')
    expires_at = {key: wanted[key] for key in ("expires_at",) if key in wanted}
    details = _details(wanted)
    if not (expires_at or details):
        raise invalid('"update_details" must have at least 1 key')
    _check(wanted)
    _require_updatable(room, now)
    if expires_at:
        room = replace(room, expires_at=_future(wanted["expires_at"], now))
    return replace(room, details={**room.details, **details})


def deleted(room: Room, _now: datetime) -> Room:
    """Return the room marked as deleted."""
    return replace(room, deleted=True)


def entered(room: Room) -> Room:
    """Return the room with one more ongoing session."""
    return replace(room, sessions=room.sessions + 1)


def left(room: Room, at: datetime) -> Room:
    """Return the room after a session ended `at` a time."""
    expires_at = room.expires_at
    if room.type == "instant":
        expires_at = max(expires_at, at + INSTANT_LIFE)
    elif room.details.get("expire_after_use"):
        expires_at = min(expires_at, at)
    return replace(room, sessions=room.sessions - 1, expires_at=expires_at)


def as_json(room: Room, now: datetime, form: RoomForm) -> dict[str, Any]:
    """Return the room as the API returns it, with its availability in the new or 2021 `form`."""
    available = room.is_available(now)
    code = room.meeting_code
    host = f"https://meetings.vonage.com/?room_token={code}&participant_token=host-{code}"
    guest = f"https://meetings.vonage.com/{code}"
    return {
        **room.details,
        "id": room.id,
        "type": room.type,
        "created_at": iso(room.created_at),
        "expires_at": iso(room.expires_at),
        "meeting_code": code,
        **(
            {"is_available": available}
            if form == "is_available"
            else {"status": "available" if available else "unavailable"}
        ),
        "_links": {"host_url": {"href": host}, "guest_url": {"href": guest}},
    }


def expired_callback(room: Room) -> dict[str, Any]:
    """Return the callback of the room's expiry."""
    return {
        "event": "room:expired",
        "room_id": room.id,
        "room_type": room.type,
        "expires_at": iso(room.expires_at),
        "created_at": iso(room.created_at),
    }


def _room(
    body: Json,
    serial: int,
    now: datetime,
    expires_at: datetime,
    *,
    id: str | None = None,  # noqa: A002
) -> Room:
    return Room(
        serial=serial,
        id=id or str(uuid.uuid4()),
        type=body.get("type", "instant"),
        created_at=now,
        expires_at=expires_at,
        details={**_DEFAULTS, **_details(body)},
        meeting_code=str(uuid.uuid4().int)[:9],
    )


def _details(body: Json) -> dict[str, Any]:
    return {key: value for key, value in body.items() if key not in _READ_ONLY}


def _check(body: Json) -> None:
    try:
        msgspec.convert(body, _Rules)
    except msgspec.ValidationError as exc:
        raise invalid(str(exc)) from exc


def _future(text: object, now: datetime) -> datetime:
    expires_at = moment(text, "expires_at")
    if not now < expires_at <= now + MAX_LIFETIME:
        raise invalid('"expires_at" must be in the future and at most five years away')
    return expires_at


def _require_updatable(room: Room, now: datetime) -> None:
    reason = None
    if room.type == "instant":
        reason = "type: temporary"  # Vonage's word for instant rooms in this error
    elif not room.is_available(now):
        reason = "state: unavailable"
    if reason:
        raise bad_request(
            f"The room with id: {room.id} could not be updated because of its {reason}"
        )
