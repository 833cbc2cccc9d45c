"""What we publish: the events that a change to an item makes due, and how each is written. Pure.

An event is due exactly when its name is new among what an item has `seen`, or when an item of the
outbox is new. The same change always gives the same events, with the same ids, so that a repeat
anywhere in the pipeline can be told by its id.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta, Struct

from roomkeeper.callbacks.meetings import Moment, Seconds
from roomkeeper.domain.recordings import DeletedBy

# Wider than the ids that callbacks may have: the table may hold items of before that was narrowed.
Id = Annotated[str, Meta(pattern=r"^[^/\\]*[^./\\][^/\\]*$", max_length=256)]

SOURCE = "roomkeeper"
VERSION: Literal["1"] = "1"

_NAMESPACE = uuid.UUID("5f0c1b86-3c0e-5d9c-9d0a-1f6f5c9f7a51")

Origin = Literal["callback", "management", "cleanup", "reconciliation", "extension"]
"""Who made it known: Vonage by a callback, a caller of the management API, or a scheduled job."""


class RecordingStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recording has begun. `room_id` is absent when the session never told its room."""

    recording_id: Id
    session_id: Id
    room_id: Id | None = None


class RecordingEnded(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording has ended and is being processed. `duration` is in seconds."""

    started_at: Moment | None = None
    ended_at: Moment | None = None
    duration: Seconds | None = None


class RecordingUploaded(RecordingEnded, frozen=True, kw_only=True, omit_defaults=True):
    """A recording can be downloaded. Its `url` is a secret, and dead after `url_expires_at`."""

    url: str
    url_expires_at: Moment | None = None


class RecordingDeleted(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording is deleted at Vonage; `deleted_by` is `vonage` when it was gone there already."""

    deleted_at: Moment
    deleted_by: DeletedBy


class RecordingLost(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording was found missing at Vonage, and its upload was never told."""

    missing_at: Moment


class SessionStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A session has started in a room."""

    session_id: Id
    room_id: Id
    started_at: Moment


class SessionEnded(SessionStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A session has ended."""

    ended_at: Moment


class Participant(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody joined or left a session. Names are left out: they are personal data."""

    participant_id: Id
    session_id: Id
    room_id: Id
    type: str | None = None
    is_host: bool | None = None


class RoomExpired(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A room is gone for good."""

    room_id: Id
    room_type: str | None = None
    expires_at: Moment | None = None
    created_at: Moment | None = None


class RoomExtended(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A room lives on until `expires_at`, by the operator's policy; `reason` is why it is due."""

    room_id: Id
    previous_expires_at: Moment
    expires_at: Moment
    reason: str


class Unrecognized(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An authentic callback that could not be understood; the table's item `key` has its body."""

    key: str
    reason: str
    name: Annotated[str, Meta(max_length=128)] | None = None


data_types: Mapping[str, type[Struct]] = {
    "recording:started": RecordingStarted,
    "recording:ended": RecordingEnded,
    "recording:uploaded": RecordingUploaded,
    "recording:deleted": RecordingDeleted,
    "recording:lost": RecordingLost,
    "session:started": SessionStarted,
    "session:ended": SessionEnded,
    "session:participant:joined": Participant,
    "session:participant:left": Participant,
    "room:expired": RoomExpired,
    "room:extended": RoomExtended,
    "callback:unrecognized": Unrecognized,
}
"""What `data` holds, for each detail-type."""

_occurred: Mapping[str, str] = {
    "recording:ended": "ended_at",
    "recording:deleted": "deleted_at",
    "recording:lost": "missing_at",
    "session:started": "started_at",
    "session:ended": "ended_at",
}

RECEIVED_AT: Mapping[str, str] = {
    "recording:started": "started_received_at",
    "recording:ended": "ended_received_at",
    "recording:uploaded": "uploaded_at",
    "recording:deleted": "deleted_at",
    "recording:lost": "missing_at",
    "session:started": "started_received_at",
    "session:ended": "ended_received_at",
}
"""The attribute of a recording or session that says when each event's cause was received."""

_deletions_origin: Mapping[DeletedBy, Origin] = {
    "cleanup": "cleanup",
    "management": "management",
    "vonage": "cleanup",  # which is what finds out
}


class Metadata(Struct, frozen=True, kw_only=True):
    """What every event has: the id to drop repeats by, and when and how it came to be.

    `occurred_at` is when it happened, by Vonage's clock where Vonage tells it; else it is
    `received_at`, which is when this stack received it, by its own clock.
    """

    event_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    version: Literal["1"] = VERSION
    occurred_at: Moment
    received_at: Moment
    origin: Origin = "callback"


class Event(Struct, frozen=True, kw_only=True):
    """One entry for the bus: `name` becomes the detail-type, the rest the detail."""

    name: str
    metadata: Metadata
    data: Struct

    def detail(self) -> str:
        """Return the event's detail, as JSON."""
        return msgspec.json.encode({"metadata": self.metadata, "data": self.data}).decode()

    @property
    def session_lacking_room(self) -> str | None:
        """The session whose room this event would name if its callback had told it."""
        if isinstance(self.data, RecordingStarted) and self.data.room_id is None:
            return self.data.session_id
        return None

    def in_room(self, room_id: str) -> "Event":
        """Return the same event, naming the room."""
        return msgspec.structs.replace(
            self, data=msgspec.structs.replace(self.data, room_id=room_id)
        )


class Seen(Protocol):
    """A recording or a session: facts, and the names of what has happened."""

    @property
    def seen(self) -> frozenset[str]:
        """The names."""

    @property
    def reconciled(self) -> frozenset[str]:
        """Those of the names that no callback told."""


def events_for_change(key: str, old: Seen | None, new: Seen, changed_at: datetime) -> list[Event]:
    """Return the events that became due when the item under `key` changed from `old` to `new`.

    `old` is None for a new item. `changed_at` is when the table took the change, in whole seconds:
    it is `received_at` only where the item does not have that time itself.
    """
    names = new.seen - (old.seen if old else frozenset())
    return [
        _event(
            key,
            name,
            msgspec.convert(new, data_types[name], from_attributes=True),
            getattr(new, RECEIVED_AT[name]) or changed_at,
            reconciled=name in new.reconciled,
        )
        for name in sorted(names)
    ]


def from_outbox(
    key: str,
    name: str,
    data: bytes | str,
    received_at: datetime,
    metadata_overrides: Mapping[str, Any] = MappingProxyType({}),
) -> Event:
    """Return the event that a new outbox item carries, its `data` being JSON.

    `said` is the metadata that the item itself knows better, as does one that sends an event again.
    """
    event = _event(key, name, msgspec.json.decode(data, type=data_types[name]), received_at)
    known = msgspec.to_builtins(event.metadata)
    return msgspec.structs.replace(
        event, metadata=msgspec.convert({**known, **metadata_overrides}, Metadata)
    )


def event_id(key: str, name: str) -> str:
    """Return the id of the event `name` of the item under `key`: always the same."""
    return str(uuid.uuid5(_NAMESPACE, f"{key} {name}"))


def _event(
    key: str, name: str, data: Struct, received_at: datetime, *, reconciled: bool = False
) -> Event:
    metadata = Metadata(
        event_id=event_id(key, name),
        occurred_at=getattr(data, _occurred.get(name, ""), None) or received_at,
        received_at=received_at,
        origin="reconciliation" if reconciled else _origin(data),
    )
    return Event(name=name, metadata=metadata, data=data)


def _origin(data: Struct) -> Origin:
    if isinstance(data, RecordingDeleted):
        return _deletions_origin[data.deleted_by]
    return "extension" if isinstance(data, RoomExtended) else "callback"
