"""The recordings, sessions and outbox items in the table."""

import heapq
import logging
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from roomkeeper.callbacks.meetings import Callback, RecordingCallback, SessionCallback
from roomkeeper.domain import events
from roomkeeper.domain.recordings import (
    DEFERRED,
    DeletedBy,
    Hold,
    Recording,
    Worklist,
    WorklistEntry,
)
from roomkeeper.store import correlation, updates
from roomkeeper.store.items import (
    DEFERRAL,
    RECORDING,
    SESSION,
    CorruptItem,
    Update,
    build_update,
    deserialize,
    event_key,
    read,
    serialize,
    shards,
)
from roomkeeper.store.table import Table
from roomkeeper.times import from_iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

logger = logging.getLogger(__name__)

_IF_CONFIRMED = {
    "retained": "confirmed",
    "deferred_retained": "deferred_confirmed",
    "deferred_awaiting_upload": "awaiting_upload",
}
"""The worklist to which a recording moves from each worklist, once it is confirmed."""

_PAGE = 100
"""Entries in one page of a worklist's shard; one page of each shard is in memory."""


class Store:
    """The recordings, sessions and outbox items in the table.

    Args:
        client: a DynamoDB client of `roomkeeper.aws`.
        table: the table's name.
        session_days: the days for which a session's item is kept.
        event_days: the days for which an outbox item is kept, to detect repeated callbacks.
        deleted_days: the days for which a recording's item is kept once the recording is deleted,
            missing at Vonage, or marked as never uploaded.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        session_days: int = 0,
        event_days: int = 0,
        deleted_days: int = 0,
    ) -> None:
        self._table = Table(client, table)
        self._session_time = timedelta(days=session_days)
        self._event_time = timedelta(days=event_days)
        self._deleted_time = timedelta(days=deleted_days)

    def apply(self, callback: Callback, now: datetime) -> bool:
        """Write `callback`, received at `now`; return False if it changes nothing.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown; the sender should retry.
        """
        return self._write(self._update_for(callback, now))

    def reconcile(self, callback: RecordingCallback, now: datetime) -> bool:
        """Write a recording that Vonage's API returned, as `apply` does for a callback.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        return self._write(updates.confirmed_update(callback, now))

    def worklist(self, worklist: Worklist, until: datetime) -> Iterator[WorklistEntry]:
        """Yield the entries that were queued on a worklist at `until` or before, oldest first.

        Pages are read as needed. The index is eventually consistent: check the item before acting.

        Raises:
            StoreUnavailable: a page could not be read.
        """
        sources = [
            (entry for page in self._pages(shard, until, Limit=_PAGE) for entry in page["Items"])
            for shard in shards(worklist)
        ]
        for entry in heapq.merge(*sources, key=lambda entry: entry["since"]["S"]):
            yield _entry(deserialize(entry))

    def worklist_length(self, worklist: Worklist, until: datetime) -> int:
        """Return the number of entries that `worklist` would yield.

        Raises:
            StoreUnavailable: the worklist could not be read.
        """
        return sum(
            page["Count"]
            for shard in shards(worklist)
            for page in self._pages(shard, until, Select="COUNT")
        )

    def mark_missing(self, recording: Recording, now: datetime) -> bool:
        """Mark a recording as missing at Vonage, and take it off its worklist.

        Returns False if it is uploaded or deleted. The item expires after `deleted_days`, unless
        the recording is on hold.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        return self._close(
            recording,
            now,
            "missing_at",
            " ADD seen :lost, reconciled :lost",
            {":lost": {"SS": ["recording:lost"]}},
        )

    def mark_never_uploaded(self, recording: Recording, now: datetime) -> bool:
        """Mark a recording as never uploaded, and take it off its worklist.

        Returns False if it is uploaded or deleted. The item expires after `deleted_days`, unless
        the recording is on hold. Until then, a `recording:uploaded` has its usual effect.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        return self._close(recording, now, "never_uploaded_at")

    def _close(
        self,
        recording: Recording,
        now: datetime,
        timestamp: str,
        adds: str = "",
        values: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        ttl = {} if recording.hold else {":ttl": serialize(self._expires_at(now))}
        return self._table.update(
            RECORDING + recording.recording_id,
            f"SET {timestamp} = if_not_exists({timestamp}, :at){', #ttl = :ttl' if ttl else ''} "
            f"REMOVE worklist, since, attempts, queued_at{adds}",
            "attribute_exists(pk) AND attribute_not_exists(deleted_at) "
            "AND NOT contains(seen, :uploaded)",
            **({"ExpressionAttributeNames": {"#ttl": "ttl"}} if ttl else {}),
            ExpressionAttributeValues={
                ":at": serialize(now),
                ":uploaded": {"S": "recording:uploaded"},
                **ttl,
                **values,
            },
        )

    def confirm(self, recording: Recording, now: datetime) -> bool:
        """Mark a recording as returned by Vonage's API; return False if nothing was written.

        Cleanup handles confirmed recordings first: a forged callback cannot confirm one. A
        recording that was deferred while it awaited its upload returns to its worklist.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        name, _, shard = (recording.worklist or "").partition("#")
        if name not in _IF_CONFIRMED and recording.confirmed_at:
            return False
        sets, removes = "SET confirmed_at = if_not_exists(confirmed_at, :at)", ""
        condition, values = "attribute_exists(pk)", {":at": serialize(now)}
        if name in _IF_CONFIRMED:
            sets, condition = f"{sets}, worklist = :to", "worklist = :from"
            values[":from"] = serialize(f"{name}#{shard}")
            values[":to"] = serialize(f"{_IF_CONFIRMED[name]}#{shard}")
        if name == "deferred_awaiting_upload" and recording.queued_at:
            sets, removes = f"{sets}, since = :queued", f" REMOVE {', '.join(DEFERRAL)}"
            values[":queued"] = serialize(recording.queued_at)
        return self._table.update(
            RECORDING + recording.recording_id,
            sets + removes,
            condition,
            ExpressionAttributeValues=values,
        )

    def defer(
        self,
        entry: WorklistEntry,
        now: datetime,
        delay: Callable[[int], timedelta],
        *,
        confirmed: bool,
    ) -> bool:
        """Move an entry of a worklist to the deferred list; return False if it moved meanwhile.

        `delay` returns the time from `now` to the next attempt, given the number of failures so
        far. `confirmed` is True if Vonage's API has just returned the recording. The change causes
        no event, since `seen` does not change.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        key = (RECORDING if entry.kind == "recording" else SESSION) + entry.id
        item = self._table.get(key) or {}
        attempts, queued_at = 1, entry.since
        target = entry.worklist if entry.is_deferred else DEFERRED + entry.worklist
        if entry.is_deferred:
            attempts += int(item.get("attempts", 0))
            queued_at = item.get("queued_at", queued_at)
        sets = "worklist = :to, since = :next, attempts = :attempts, queued_at = :queued"
        values = {
            ":from": serialize(entry.worklist),
            ":since": serialize(entry.since),
            ":next": serialize(now + delay(attempts)),
            ":attempts": serialize(attempts),
            ":queued": serialize(queued_at),
        }
        if confirmed:
            name, _, shard = target.partition("#")
            target = f"{_IF_CONFIRMED.get(name, name)}#{shard}"
            sets += ", confirmed_at = if_not_exists(confirmed_at, :at)"
            values[":at"] = serialize(now)
        return self._table.update(
            key,
            f"SET {sets}",
            "worklist = :from AND since = :since",
            ExpressionAttributeValues={**values, ":to": serialize(target)},
        )

    def queued_at(self, entry: WorklistEntry) -> datetime:
        """Return when an entry was queued on its worklist, before any deferral.

        Raises:
            StoreUnavailable: the item could not be read.
        """
        key = (RECORDING if entry.kind == "recording" else SESSION) + entry.id
        item = (self._table.get(key) or {}) if entry.is_deferred else {}
        return from_iso(item["queued_at"]) if "queued_at" in item else entry.since

    def mark_session_checked(
        self, session: WorklistEntry, confirmed_at: datetime | None = None
    ) -> bool:
        """Take a session off its worklist; return False if it was queued again meanwhile.

        `confirmed_at` is the time at which Vonage's API returned its recordings; None if Vonage
        does not have the session.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        confirmed = {":at": serialize(confirmed_at)} if confirmed_at else {}
        sets = "SET confirmed_at = if_not_exists(confirmed_at, :at) " if confirmed else ""
        return self._table.update(
            SESSION + session.id,
            f"{sets}REMOVE worklist, since, attempts, queued_at",
            "since = :since",
            ExpressionAttributeValues={":since": serialize(session.since), **confirmed},
        )

    def _pages(self, shard: str, until: datetime, **query: Any) -> Iterator[Any]:
        return self._table.pages(
            "worklist",
            "worklist = :shard AND since <= :until",
            ExpressionAttributeValues={":shard": {"S": shard}, ":until": serialize(until)},
            **query,
        )

    def recording(self, recording_id: str) -> Recording | None:
        """Return the recording; None if it is not in the table.

        Raises:
            StoreUnavailable: the item could not be read.
            CorruptItem: the item has a missing or invalid attribute.
        """
        item = self._table.get(RECORDING + recording_id)
        return read(RECORDING + recording_id, item, Recording) if item else None

    def recordings(self, recording_ids: Iterable[str]) -> dict[str, Recording]:
        """Return the recordings that are in the table, by id.

        A corrupt item is logged and left out, so that it does not block the others.

        Raises:
            StoreUnavailable: not all items could be read.
        """
        items = self._table.get_all((RECORDING + id_ for id_ in recording_ids), ConsistentRead=True)
        known = filter(None, map(_valid_or_none, items))
        return {recording.recording_id: recording for recording in known}

    def recordings_in(self, session_id: str) -> list[str]:
        """Return the ids of the session's recordings whose start time is known.

        `recording:started` carries no time, so recordings known only from it are missing.

        Raises:
            StoreUnavailable: not all pages could be read.
        """
        pages = self._table.pages(
            "by_session",
            "session_id = :session_id",
            ExpressionAttributeValues={":session_id": {"S": session_id}},
        )
        keys = [item["pk"]["S"] for page in pages for item in page["Items"]]
        return [key.removeprefix(RECORDING) for key in keys if key.startswith(RECORDING)]

    def mark_deleted(
        self, recording_id: str, by: DeletedBy, now: datetime, *, session_id: str | None = None
    ) -> bool:
        """Mark a recording as deleted at Vonage, and take it off its worklist.

        Returns False if it is marked already, or is not in the table. The item expires after
        `deleted_days`. With `session_id`, a recording that is not in the table is added.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        identity, values = "", {}
        condition = "attribute_exists(pk) AND attribute_not_exists(deleted_at)"
        if session_id is not None:
            condition = "attribute_not_exists(deleted_at)"
            identity = ", recording_id = :id, session_id = if_not_exists(session_id, :session)"
            values = {":id": serialize(recording_id), ":session": serialize(session_id)}
        return self._table.update(
            RECORDING + recording_id,
            f"SET deleted_at = :at, deleted_by = :by, #ttl = :ttl{identity} "
            "REMOVE worklist, since, attempts, queued_at ADD seen :seen",
            condition,
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={
                **values,
                ":at": serialize(now),
                ":by": serialize(by),
                ":ttl": serialize(self._expires_at(now)),
                ":seen": {"SS": ["recording:deleted"]},
            },
        )

    def hold(self, recording_id: str, reason: str, requested_by: str, now: datetime) -> bool:
        """Put a recording on hold, replacing an earlier hold; return False if it is deleted.

        Returns False also if the recording is not in the table.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        hold = Hold(reason=reason, requested_by=requested_by, since=now)
        fields = {name: serialize(value) for name, value in msgspec.structs.asdict(hold).items()}
        return self._table.update(
            RECORDING + recording_id,
            "SET #hold = :hold REMOVE #ttl",
            "attribute_exists(pk) AND attribute_not_exists(deleted_at)",
            ExpressionAttributeNames={"#hold": "hold", "#ttl": "ttl"},
            ExpressionAttributeValues={":hold": {"M": fields}},
        )

    def release(self, recording_id: str) -> bool:
        """Remove a recording's hold, if any; return False if the recording is not in the table.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        return self._table.update(
            RECORDING + recording_id,
            "REMOVE #hold",
            "attribute_exists(pk)",
            ExpressionAttributeNames={"#hold": "hold"},
        )

    def republish(self, recording: Recording, now: datetime) -> str:
        """Put a recording's `recording:uploaded` into the outbox again; return its event id.

        The id is the same as the first time. The event gets the URL of `recording`.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        name = "recording:uploaded"
        data = msgspec.convert(recording, events.RecordingUploaded, from_attributes=True)
        event_id = correlation.event_id_for_recording(recording.recording_id, name)
        occurred_at = recording.uploaded_at or now
        metadata_overrides = {
            "event_id": event_id,
            "occurred_at": occurred_at,
            "origin": "management",
        }
        facts = {
            "event": name,
            "detail": msgspec.json.encode(data).decode(),
            "metadata": msgspec.json.encode(metadata_overrides).decode(),
            "received_at": now,
            "ttl": int((now + self._event_time).timestamp()),
        }
        # A new key each time: only a new outbox item causes an event.
        self._write(Update(key=event_key(uuid.uuid4().hex), set_if_absent=facts))
        return event_id

    def room_ids_by_session(self, session_ids: Iterable[str]) -> dict[str, str]:
        """Return the room id of each session that is in the table, by session id.

        Raises:
            StoreUnavailable: not all items could be read.
        """
        items = self._table.get_all(
            (SESSION + id_ for id_ in session_ids),
            ProjectionExpression="session_id, room_id",
            ConsistentRead=True,  # or the room of a session written just now is missed
        )
        return {item["session_id"]: item["room_id"] for item in items}

    def _update_for(self, callback: Callback, now: datetime) -> Update:
        if isinstance(callback, RecordingCallback):
            return updates.recording_update(callback, now)
        if isinstance(callback, SessionCallback):
            return updates.session_update(callback, now, now + self._session_time)
        return updates.outbox_update(callback, now, now + self._event_time)

    def _expires_at(self, now: datetime) -> int:
        return int((now + self._deleted_time).timestamp())

    def _write(self, update: Update) -> bool:
        return self._table.update(**build_update(update))


def _valid_or_none(item: Mapping[str, Any]) -> Recording | None:
    try:
        return read(item["pk"], item, Recording)
    except CorruptItem as exc:
        logger.warning("%s", exc)
        return None


def _entry(entry: Mapping[str, Any]) -> WorklistEntry:
    key, since, worklist = entry["pk"], from_iso(entry["since"]), entry["worklist"]
    if key.startswith(RECORDING):
        return WorklistEntry("recording", key.removeprefix(RECORDING), since, worklist)
    return WorklistEntry("session", key.removeprefix(SESSION), since, worklist)
