"""The events that follow from the records of the table's stream."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Struct

from roomkeeper.domain.changes import events_for_change, from_outbox
from roomkeeper.domain.events import Event
from roomkeeper.domain.recordings import Recording, Session, Worklist
from roomkeeper.store.items import EVENT, RECORDING, SESSION, deserialize
from roomkeeper.times import from_iso

_AWAITING_COPY: tuple[Worklist, ...] = ("awaiting_copy", "deferred_awaiting_copy")


def events_due(record: Mapping[str, Any]) -> list[Event]:
    """Return the events that follow from a record of the table's stream, ordered by name.

    Records that the event source's filter (template.yaml) drops cause no event here either, because
    a redrive reads the stream without that filter.

    Raises:
        KeyError, ValueError: this table cannot produce such a record.
    """
    change = record["dynamodb"]
    key = change["Keys"]["pk"]["S"]
    if record["eventName"] == "REMOVE" or not key.startswith((RECORDING, SESSION, EVENT)):
        return []
    if key.startswith(EVENT) and record["eventName"] != "INSERT":
        return []
    changed_at = datetime.fromtimestamp(change["ApproximateCreationDateTime"], UTC)
    new = deserialize(change["NewImage"])
    if key.startswith(EVENT):
        return [_from_outbox(key, new, changed_at)]
    seen_before = _seen(deserialize(change.get("OldImage", {})))
    if msgspec.convert(new, _Item).seen <= seen_before:
        return []  # even if the item is corrupt, before or after the change
    item_type: type[Recording | Session] = Recording if key.startswith(RECORDING) else Session
    return events_for_change(key, seen_before, msgspec.convert(new, item_type), changed_at)


class _Item(Struct):
    """The part of a recording or session that decides which events are due."""

    seen: frozenset[str]


def _seen(old: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the events before a change; none if there was no item, or no such set."""
    try:
        return msgspec.convert(old, _Item).seen
    except msgspec.ValidationError:
        return frozenset()


def lost_uncopied(record: Mapping[str, Any]) -> str | None:
    """Return the id of the recording that awaited its copy until this record, and never gets one.

    Its file failed, expired or was deleted at Vonage. None for all other records.

    Raises:
        ValueError: this table cannot produce such a record.
    """
    change = record["dynamodb"]
    before = change.get("OldImage", {}).get("worklist", {}).get("S", "")
    if record["eventName"] != "MODIFY" or not before.startswith(_AWAITING_COPY):
        return None
    if not events_due(record):  # a loss has an event; without one, the item may be corrupt
        return None
    new = msgspec.convert(deserialize(change["NewImage"]), Recording)
    is_lost = new.status in ("failed", "expired") or new.deleted_by == "vonage"
    return new.recording_id if is_lost and new.lacks_copy else None


def _from_outbox(key: str, item: Mapping[str, Any], changed_at: datetime) -> Event:
    received_at = from_iso(item["received_at"]) if "received_at" in item else changed_at
    overrides = msgspec.json.decode(item.get("metadata", "{}"))
    return from_outbox(key, item["event"], item["detail"], received_at, overrides)
