"""Rooms as the Meetings API keeps them: their rules and their JSON. Pure.

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
"""An instant room lives this long until somebody joins, and again after the last one leaves."""

LONGEST_LIFE = timedelta(days=5 * 365 + 1)

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
_NOT_THEIRS_TO_SET = frozenset(
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
    """What the fields that a client may set must be; others are kept as they come."""

    display_name: Annotated[str, Meta(min_length=1, max_length=200)] = "-"
    metadata: Annotated[str, Meta(max_length=500)] | None = None
    type: Literal["instant", "long_term"] = "instant"
    recording_options: _RecordingOptions | None = None
    expire_after_use: bool = False
    callback_urls: _CallbackUrls | None = None


@dataclass(frozen=True, slots=True)
class Room:
    """A room; `serial` is its place in listings, `details` is what its owner may set."""

    serial: int
    id: str
    type: str
    created_at: datetime
    expires_at: datetime
    details: Json
    meeting_code: str
    sessions: int = 0
    """How many sessions are going on in it."""
    expired: bool = False
    """Whether its expiry has been taken notice of: such a room cannot come back."""
    deleted: bool = False

    @property
    def alive(self) -> bool:
        """Whether it was neither deleted nor found expired."""
        return not (self.deleted or self.expired)

    def is_due(self, now: datetime) -> bool:
        """Whether its time is up. An instant room in which somebody is does not expire."""
        in_use = self.type == "instant" and self.sessions > 0
        return not in_use and self.expires_at <= now

    def is_available(self, now: datetime) -> bool:
        """Whether a session can start in it."""
        return self.alive and not self.is_due(now)

    def callback_url(self, kind: str) -> str | None:
        """Return the URL that this room's own callbacks of `kind` go to, if it has one."""
        return (self.details.get("callback_urls") or {}).get(f"{kind}_callback_url")


def created(body: Json, serial: int, now: datetime) -> Room:
    """Return the room that the `body` of POST /rooms asks for.

    Raises:
        Refusal: it breaks a rule.
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


def placed(fields: Json, serial: int, now: datetime) -> Room:
    """Return a room in any state at all, for tests: what is not given is made up.

    A room that is placed expired has been so for long: nothing tells of it any more.
    """
    _check(fields)
    made_at = moment(fields["created_at"], "created_at") if "created_at" in fields else now
    expires_at = moment(fields["expires_at"], "expires_at") if "expires_at" in fields else None
    kind = fields.get("type", "long_term" if expires_at else "instant")
    if expires_at is None:
        expires_at = made_at + (INSTANT_LIFE if kind == "instant" else timedelta(days=30))
    body = {"display_name": "Room", **fields, "type": kind}
    gone = bool(body.pop("deleted", False))
    room = _room(body, serial, made_at, expires_at, id=str(fields.get("id") or uuid.uuid4()))
    return replace(room, expired=expires_at <= now, deleted=gone)


def updated(room: Room, body: Json, now: datetime) -> Room:
    """Return `room` as the `body` of PATCH /rooms/{id} wants it.

    Raises:
        Refusal: nothing is to be updated, a rule is broken, or the room cannot be updated.
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
    """Return the room as it is once it was deleted."""
    return replace(room, deleted=True)


def entered(room: Room) -> Room:
    """Return the room with one more session going on in it."""
    return replace(room, sessions=room.sessions + 1)


def left(room: Room, at: datetime) -> Room:
    """Return the room as it is after everybody left a session of it."""
    expires_at = room.expires_at
    if room.type == "instant":
        expires_at = max(expires_at, at + INSTANT_LIFE)
    elif room.details.get("expire_after_use"):
        expires_at = min(expires_at, at)
    return replace(room, sessions=room.sessions - 1, expires_at=expires_at)


def as_json(room: Room, now: datetime, form: RoomForm) -> dict[str, Any]:
    """Return the room as the API shows it; its availability in the newer or the 2021 `form`."""
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
    """Return the callback that tells of the room's expiry."""
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
    return {key: value for key, value in body.items() if key not in _NOT_THEIRS_TO_SET}


def _check(body: Json) -> None:
    try:
        msgspec.convert(body, _Rules)
    except msgspec.ValidationError as exc:
        raise invalid(str(exc)) from exc


def _future(text: object, now: datetime) -> datetime:
    expires_at = moment(text, "expires_at")
    if not now < expires_at <= now + LONGEST_LIFE:
        raise invalid('"expires_at" must be in the future and at most five years away')
    return expires_at


def _require_updatable(room: Room, now: datetime) -> None:
    because = None
    if room.type == "instant":
        because = "type: temporary"  # the word Vonage's own answer uses for instant rooms
    elif not room.is_available(now):
        because = "state: unavailable"
    if because:
        raise bad_request(
            f"The room with id: {room.id} could not be updated because of its {because}"
        )
