"""Published events: which events a change to an item causes, and their content. No I/O.

An event is due if its name is new in an item's `seen`, or if an outbox item is new. The same change
always causes the same events with the same ids, so consumers recognize duplicates by id.
"""

import uuid
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Annotated, Any, Literal, Protocol

import msgspec
from msgspec import Meta, Struct

from roomkeeper.domain.recordings import DeletedBy
from roomkeeper.types import Moment, Seconds

# Less strict than callback ids: the table may have items from before those were restricted.
Id = Annotated[str, Meta(pattern=r"^[^/\\]*[^./\\][^/\\]*$", max_length=256)]

SOURCE = "roomkeeper"
VERSION: Literal["1"] = "1"

_NAMESPACE = uuid.UUID("5f0c1b86-3c0e-5d9c-9d0a-1f6f5c9f7a51")

Origin = Literal["callback", "management", "cleanup", "reconciliation", "extension"]
"""The source of an event: a callback, a management API caller, or a scheduled job."""


class RecordingStarted(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A recording has started. `room_id` is absent if no callback named the session's room."""

    recording_id: Id
    session_id: Id
    room_id: Id | None = None


class RecordingEnded(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording has ended and is being processed. `duration` is in seconds."""

    started_at: Moment | None = None
    ended_at: Moment | None = None
    duration: Seconds | None = None


class RecordingUploaded(RecordingEnded, frozen=True, kw_only=True, omit_defaults=True):
    """A recording can be downloaded. Its `url` is a secret and expires at `url_expires_at`."""

    url: str
    url_expires_at: Moment | None = None


class RecordingDeleted(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording was deleted at Vonage. `deleted_by` is `vonage` if it was gone already."""

    deleted_at: Moment
    deleted_by: DeletedBy


class RecordingLost(RecordingStarted, frozen=True, kw_only=True, omit_defaults=True):
    """A recording is missing at Vonage, and no callback ever announced its upload."""

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
    """A participant joined or left a session. Names are left out because they are personal data."""

    participant_id: Id
    session_id: Id
    room_id: Id
    type: str | None = None
    is_host: bool | None = None


class RoomExpired(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A room has expired for good."""

    room_id: Id
    room_type: str | None = None
    expires_at: Moment | None = None
    created_at: Moment | None = None


class RoomExtended(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A room was extended to `expires_at` by the operator's policy, for the given `reason`."""

    room_id: Id
    previous_expires_at: Moment
    expires_at: Moment
    reason: str


class Unrecognized(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An authentic callback that is not recognized. The table's item `key` has its body."""

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
"""The type of `data` for each detail-type."""

_OCCURRED_AT: Mapping[str, str] = {
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
"""For each event, the attribute of its item with the time when its cause was received."""

_DELETION_ORIGIN: Mapping[DeletedBy, Origin] = {
    "cleanup": "cleanup",
    "management": "management",
    "vonage": "cleanup",  # the cleanup finds such recordings missing
}


class Metadata(Struct, frozen=True, kw_only=True):
    """The metadata of every event: its id for deduplication, its times and its origin.

    `occurred_at` is the time that Vonage reports. Where Vonage reports none, it equals
    `received_at`, the time when this stack received the cause, by its own clock.
    """

    event_id: Annotated[str, Meta(extra_json_schema={"format": "uuid"})]
    version: Literal["1"] = VERSION
    occurred_at: Moment
    received_at: Moment
    origin: Origin = "callback"


class Event(Struct, frozen=True, kw_only=True):
    """One event for the bus: `name` becomes the detail-type, `metadata` and `data` the detail."""

    name: str
    metadata: Metadata
    data: Struct

    def detail(self) -> str:
        """Return the event's detail as JSON."""
        return msgspec.json.encode({"metadata": self.metadata, "data": self.data}).decode()

    @property
    def session_lacking_room(self) -> str | None:
        """The id of the session whose room this event lacks; None if no room is missing."""
        if isinstance(self.data, RecordingStarted) and self.data.room_id is None:
            return self.data.session_id
        return None

    def in_room(self, room_id: str) -> "Event":
        """Return a copy of the event with the room's id."""
        return msgspec.structs.replace(
            self, data=msgspec.structs.replace(self.data, room_id=room_id)
        )


class Seen(Protocol):
    """A recording or session, as far as its events are concerned."""

    @property
    def seen(self) -> frozenset[str]:
        """The names of its events so far."""

    @property
    def reconciled(self) -> frozenset[str]:
        """The names among `seen` that come from Vonage's API instead of a callback."""


def events_for_change(key: str, old: Seen | None, new: Seen, changed_at: datetime) -> list[Event]:
    """Return the events that are due because the item `key` changed from `old` to `new`.

    `old` is None for a new item. `changed_at` is when the table was changed, in whole seconds. It
    becomes `received_at` only if the item itself lacks that time.
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
    """Return the event of a new outbox item. `data` is JSON.

    `metadata_overrides` replaces metadata, for example when the item republishes an older event.
    """
    event = _event(key, name, msgspec.json.decode(data, type=data_types[name]), received_at)
    metadata = msgspec.to_builtins(event.metadata)
    return msgspec.structs.replace(
        event, metadata=msgspec.convert({**metadata, **metadata_overrides}, Metadata)
    )


def event_id(key: str, name: str) -> str:
    """Return the id of the event `name` of the item `key`. The same input gives the same id."""
    return str(uuid.uuid5(_NAMESPACE, f"{key} {name}"))


def _event(
    key: str, name: str, data: Struct, received_at: datetime, *, reconciled: bool = False
) -> Event:
    metadata = Metadata(
        event_id=event_id(key, name),
        occurred_at=getattr(data, _OCCURRED_AT.get(name, ""), None) or received_at,
        received_at=received_at,
        origin="reconciliation" if reconciled else _origin(data),
    )
    return Event(name=name, metadata=metadata, data=data)


def _origin(data: Struct) -> Origin:
    if isinstance(data, RecordingDeleted):
        return _DELETION_ORIGIN[data.deleted_by]
    return "extension" if isinstance(data, RoomExtended) else "callback"
