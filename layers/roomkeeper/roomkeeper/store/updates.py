"""The update of an item for each callback."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct

from roomkeeper.callbacks.meetings import (
    OutboxCallback,
    RecordingCallback,
    RecordingUploaded,
    SessionCallback,
    SessionEnded,
    Unrecognized,
)
from roomkeeper.domain import events
from roomkeeper.domain.recordings import url_expiry
from roomkeeper.store.items import DEFERRAL, RECORDING, SESSION, Update, event_key, shard_of


def key_of(callback: RecordingCallback | SessionCallback | OutboxCallback) -> str:
    """Return the key of the item that a callback updates."""
    if isinstance(callback, RecordingCallback):
        return RECORDING + callback.recording_id
    if isinstance(callback, SessionCallback):
        return SESSION + callback.session_id
    if isinstance(callback, Unrecognized):
        return event_key(callback.body)
    return event_key(callback.event + msgspec.json.encode(callback).decode())


def recording_update(callback: RecordingCallback, now: datetime) -> Update:
    """Return the update of a recording's item for its callback, received at `now`."""
    facts = msgspec.structs.asdict(callback)
    facts |= {"received_at": now, events.RECEIVED_AT[callback.event]: now}
    shard = shard_of(callback.recording_id)
    if not isinstance(callback, RecordingUploaded):
        facts |= {"worklist": f"awaiting_upload#{shard}", "since": now}
        return Update(key=key_of(callback), set_if_absent=facts, seen=callback.event)
    facts |= {"url_expires_at": url_expiry(callback.url)}
    state = {"worklist": f"retained#{shard}", "since": now}
    # If the recording was deferred or marked as never uploaded, it has these attributes.
    removed = (*DEFERRAL, "ttl")
    return Update(
        key=key_of(callback),
        set_if_absent=facts,
        set_always=state,
        removed=removed,
        seen=callback.event,
    )


def confirmed_update(callback: RecordingCallback, now: datetime) -> Update:
    """Return the same update for a recording that Vonage's API returned, marked as confirmed."""
    update = recording_update(callback, now)
    facts, state = (
        {**update.set_if_absent, "confirmed_at": now},
        dict(update.set_always),
    )
    if isinstance(callback, RecordingUploaded):
        state["worklist"] = f"confirmed#{shard_of(callback.recording_id)}"
    return msgspec.structs.replace(update, set_if_absent=facts, set_always=state, reconciled=True)


def session_update(callback: SessionCallback, now: datetime, until: datetime) -> Update:
    """Return the update of a session's item for its callback, received at `now`; TTL `until`."""
    facts = msgspec.structs.asdict(callback) | {"ttl": int(until.timestamp())}
    facts |= {"received_at": now, events.RECEIVED_AT[callback.event]: now}
    # Only sessions have used_at, so only they are in the index by_room. A start in the future would
    # count as a use of the room until then.
    facts |= {"used_at": min(callback.started_at, now)}
    state: Mapping[str, Any] = {}
    removed: tuple[str, ...] = ()
    shard = shard_of(callback.session_id)
    if isinstance(callback, SessionEnded):
        state = {"worklist": f"ended_session#{shard}", "since": now}
        removed = DEFERRAL
    else:
        facts |= {"worklist": f"open_session#{shard}", "since": now}
    return Update(
        key=key_of(callback),
        set_if_absent=facts,
        set_always=state,
        removed=removed,
        seen=callback.event,
    )


def outbox_update(callback: OutboxCallback, now: datetime, until: datetime) -> Update:
    """Return the outbox item for a callback that updates no recording or session; TTL `until`."""
    key = key_of(callback)
    if isinstance(callback, Unrecognized):
        data: Struct = events.Unrecognized(
            key=key, reason=callback.reason, name=callback.name and callback.name[:128]
        )
        facts: dict[str, Any] = {"body": callback.body}
    else:
        data, facts = callback, {}
    facts |= {"event": callback.event, "detail": msgspec.json.encode(data).decode()}
    facts |= {"received_at": now, "ttl": int(until.timestamp())}
    return Update(key=key, set_if_absent=facts)
