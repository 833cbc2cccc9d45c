"""The events that a change to an item of the table causes. No I/O.

An event is due if its name is new in an item's `seen`, or if an outbox item is new. The same change
always causes the same events with the same ids, so consumers recognize duplicates by id.
"""

from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from roomkeeper.domain.copies import Copy
from roomkeeper.domain.events import (
    RECEIVED_AT,
    Data,
    Event,
    Metadata,
    Origin,
    RecordingCopied,
    RecordingDeleted,
    RecordingFailed,
    data_types,
    event_id,
)
from roomkeeper.domain.observations import DeletedBy
from roomkeeper.domain.recordings import Recording, Session

_OCCURRED_AT: Mapping[str, str] = {
    "recording:paused": "occurred_at",
    "recording:resumed": "occurred_at",
    "recording:ended": "ended_at",
    "recording:deleted": "deleted_at",
    "recording:lost": "missing_at",
    "session:started": "started_at",
    "session:ended": "ended_at",
    "session:participant:joined": "joined_at",
    "session:participant:left": "left_at",
    "session:stream:created": "created_at",
    "session:stream:destroyed": "destroyed_at",
}

_DELETION_ORIGIN: Mapping[DeletedBy, Origin] = {
    "cleanup": "cleanup",
    "management": "management",
    "vonage": "cleanup",  # the cleanup finds such recordings missing
}


def events_for_change(
    key: str, seen_before: frozenset[str], new: Recording | Session, changed_at: datetime
) -> list[Event]:
    """Return the events that are due because the item `key` changed to `new`.

    `seen_before` is `seen` before the change, empty for a new item. `changed_at` is when the table
    was changed, in whole seconds. It becomes `received_at` only if the item itself lacks that time.
    """
    names = new.seen - seen_before
    if isinstance(new, Recording) and new.copy is None:
        names -= {"recording:copied"}  # the copy was deleted since, and its location with it
    return [
        _event(
            key,
            name,
            _data(name, new),
            getattr(new, RECEIVED_AT[name]) or changed_at,
            _origin(name, new),
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
    # Outbox items of earlier versions have no product: all are of the Meetings API.
    fields = {"product": "meetings", **msgspec.json.decode(data)}
    origin: Origin = "extension" if name == "room:extended" else "callback"
    event = _event(key, name, msgspec.convert(fields, data_types[name]), received_at, origin)
    metadata = msgspec.to_builtins(event.metadata)
    return msgspec.structs.replace(
        event, metadata=msgspec.convert({**metadata, **metadata_overrides}, Metadata)
    )


def _event(key: str, name: str, data: Data, received_at: datetime, origin: Origin) -> Event:
    metadata = Metadata(
        event_id=event_id(key, name),
        occurred_at=getattr(data, _OCCURRED_AT.get(name, ""), None) or received_at,
        received_at=received_at,
        origin=origin,
    )
    return Event(name=name, metadata=metadata, data=data)


def _data(name: str, item: Recording | Session) -> Data:
    if name == "recording:copied" and isinstance(item, Recording) and item.copy:
        return _copied(item, item.copy)
    data = msgspec.convert(item, data_types[name], from_attributes=True)
    if isinstance(data, RecordingFailed) and isinstance(item, Recording):
        return msgspec.structs.replace(data, reason=item.failure_reason)
    if isinstance(data, RecordingDeleted) and isinstance(item, Recording):
        return msgspec.structs.replace(data, file_kept=item.keeps_file)
    return data


def _copied(recording: Recording, copy: Copy) -> RecordingCopied:
    return RecordingCopied(
        product=recording.product,
        recording_id=recording.recording_id,
        session_id=recording.session_id,
        room_id=recording.room_id,
        bucket=copy.bucket,
        key=copy.key,
        size=copy.size,
        sha256=copy.sha256 or "",
        version_id=copy.version_id,
    )


def _origin(name: str, item: Recording | Session) -> Origin:
    if name == "recording:copied":
        return "copying"
    if name in item.reconciled:
        return "reconciliation"
    if name == "recording:deleted" and isinstance(item, Recording) and item.deleted_by:
        return "callback" if item.deleted_received_at else _DELETION_ORIGIN[item.deleted_by]
    return "callback"
