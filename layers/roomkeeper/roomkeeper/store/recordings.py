"""Recordings, sessions and what is to be published, as the table keeps them."""

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
"""Where a recording belongs, by its worklist, once Vonage's API has returned it."""

_PAGE = 100
"""Entries of a worklist's shard that are read, and kept in memory, at once."""


class Store:
    """The table, in the domain's words.

    Args:
        client: a DynamoDB client of `roomkeeper.aws`.
        table: the table's name.
        session_days: how long a session's item is kept.
        event_days: how long an outbox item is kept, to know repeats by.
        deleted_days: how long the item of a recording is kept that is deleted, lost or was never
            uploaded.
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
        """Write what `callback` tells, heard at `now`; False when it tells nothing new.

        Raises:
            StoreUnavailable: nothing is known to be written, and the sender should try again.
        """
        return self._write(self._update_for(callback, now))

    def reconcile(self, callback: RecordingCallback, now: datetime) -> bool:
        """Write, as `apply` does, what no callback told, but Vonage did when it was asked.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        return self._write(updates.confirmed_update(callback, now))

    def worklist(self, worklist: Worklist, until: datetime) -> Iterator[WorklistEntry]:
        """Yield what is on a worklist since `until` or longer, oldest first, as it is read.

        The index may lag behind the table: look at the item before acting.

        Raises:
            StoreUnavailable: it could not be read on.
        """
        sources = [
            (entry for page in self._pages(shard, until, Limit=_PAGE) for entry in page["Items"])
            for shard in shards(worklist)
        ]
        for entry in heapq.merge(*sources, key=lambda entry: entry["since"]["S"]):
            yield _waiting(deserialize(entry))

    def worklist_length(self, worklist: Worklist, until: datetime) -> int:
        """Return how many `waiting` would yield.

        Raises:
            StoreUnavailable: it could not be read.
        """
        return sum(
            page["Count"]
            for shard in shards(worklist)
            for page in self._pages(shard, until, Select="COUNT")
        )

    def mark_missing(self, recording: Recording, now: datetime) -> bool:
        """Note that Vonage has no such recording, and ask no more; False when it is accounted for.

        The item leaves the table once its days are over, unless the recording is on hold.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        return self._give_up(
            recording,
            now,
            "missing_at",
            " ADD seen :lost, reconciled :lost",
            {":lost": {"SS": ["recording:lost"]}},
        )

    def mark_never_uploaded(self, recording: Recording, now: datetime) -> bool:
        """Note that no upload is expected any more, and ask no more; False if there was one.

        The item leaves the table once its days are over, unless the recording is on hold. An upload
        that is heard of until then counts as always.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        return self._give_up(recording, now, "never_uploaded_at")

    def _give_up(
        self,
        recording: Recording,
        now: datetime,
        moment: str,
        adds: str = "",
        values: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        ends = {} if recording.hold else {":ttl": serialize(self._forget_at(now))}
        return self._table.update(
            RECORDING + recording.recording_id,
            f"SET {moment} = if_not_exists({moment}, :at){', #ttl = :ttl' if ends else ''} "
            f"REMOVE worklist, since, attempts, queued_at{adds}",
            "attribute_exists(pk) AND attribute_not_exists(deleted_at) "
            "AND NOT contains(seen, :uploaded)",
            **({"ExpressionAttributeNames": {"#ttl": "ttl"}} if ends else {}),
            ExpressionAttributeValues={
                ":at": serialize(now),
                ":uploaded": {"S": "recording:uploaded"},
                **ends,
                **values,
            },
        )

    def confirm(self, recording: Recording, now: datetime) -> bool:
        """Note that Vonage's API has returned a recording; False when nothing had to be written.

        Cleanup handles confirmed recordings first: nobody can forge what Vonage's API returns. One
        that was deferred while its upload was awaited is back on its worklist.

        Raises:
            StoreUnavailable: nothing is known to be written.
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
        """Move an entry of a worklist to its deferred list; False when it has moved meanwhile.

        `delay` returns how long after `now` the next attempt is, given the number of failures so
        far. `confirmed` says that Vonage's API has just returned it. The stream shows the change,
        and no event follows from it, since `seen` stays as it is.

        Raises:
            StoreUnavailable: nothing is known to be written.
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
        """Return since when an entry is on its worklist, the time included that it was deferred.

        Raises:
            StoreUnavailable: it could not be read.
        """
        key = (RECORDING if entry.kind == "recording" else SESSION) + entry.id
        item = (self._table.get(key) or {}) if entry.is_deferred else {}
        return from_iso(item["queued_at"]) if "queued_at" in item else entry.since

    def mark_session_checked(
        self, session: WorklistEntry, confirmed_at: datetime | None = None
    ) -> bool:
        """Take a session off its worklist; False when it has come there anew since.

        `confirmed_at` is when Vonage's API returned its recordings; None if it knows no such
        session.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        confirmed = {":at": serialize(confirmed_at)} if confirmed_at else {}
        sets = "SET confirmed_at = if_not_exists(confirmed_at, :at) " if confirmed else ""
        return self._table.update(
            SESSION + session.id,
            f"{sets}REMOVE worklist, since, attempts, queued_at",
            "since = :since",
            ExpressionAttributeValues={":since": serialize(session.since), **confirmed},
        )

    def _pages(self, shard: str, until: datetime, **how: Any) -> Iterator[Any]:
        return self._table.pages(
            "worklist",
            "worklist = :shard AND since <= :until",
            ExpressionAttributeValues={":shard": {"S": shard}, ":until": serialize(until)},
            **how,
        )

    def recording(self, recording_id: str) -> Recording | None:
        """Return what is known of a recording; None when nothing is.

        Raises:
            StoreUnavailable: it could not be read.
            DamagedItem: its item is not as we write it.
        """
        item = self._table.get(RECORDING + recording_id)
        return read(RECORDING + recording_id, item, Recording) if item else None

    def recordings(self, recording_ids: Iterable[str]) -> dict[str, Recording]:
        """Return what is known of each of these recordings, by its id; nothing for the others.

        A damaged item is left out, with a word in the log: it must not hold up the others.

        Raises:
            StoreUnavailable: not all could be read.
        """
        items = self._table.get_all((RECORDING + id_ for id_ in recording_ids), ConsistentRead=True)
        known = filter(None, map(_valid_or_none, items))
        return {recording.recording_id: recording for recording in known}

    def recordings_in(self, session_id: str) -> list[str]:
        """Return the ids of a session's recordings, those that have told when they started.

        A recording of which only the start was heard has not: Vonage leaves the time out there.

        Raises:
            StoreUnavailable: not all could be read.
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
        """Note that a recording is deleted at Vonage; False when that is noted, or it is unknown.

        It leaves the worklist, and the table once its days are over. With its `session_id` one
        that was unknown is put on record for that time.

        Raises:
            StoreUnavailable: nothing is known to be written.
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
                ":ttl": serialize(self._forget_at(now)),
                ":seen": {"SS": ["recording:deleted"]},
            },
        )

    def hold(self, recording_id: str, reason: str, who: str, now: datetime) -> bool:
        """Protect a recording from cleanup, instead of a hold it may have; False when it is gone.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        hold = Hold(reason=reason, who=who, since=now)
        fields = {name: serialize(value) for name, value in msgspec.structs.asdict(hold).items()}
        return self._table.update(
            RECORDING + recording_id,
            "SET #hold = :hold REMOVE #ttl",
            "attribute_exists(pk) AND attribute_not_exists(deleted_at)",
            ExpressionAttributeNames={"#hold": "hold", "#ttl": "ttl"},
            ExpressionAttributeValues={":hold": {"M": fields}},
        )

    def release(self, recording_id: str) -> bool:
        """Lift a recording's hold, if it has one; False when the recording is unknown.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        return self._table.update(
            RECORDING + recording_id,
            "REMOVE #hold",
            "attribute_exists(pk)",
            ExpressionAttributeNames={"#hold": "hold"},
        )

    def republish(self, recording: Recording, now: datetime) -> str:
        """Put a recording's `recording:uploaded` into the outbox once more; return its event id.

        That is the id which the event had the first time. `recording` has the URL to be told.

        Raises:
            StoreUnavailable: nothing is known to be written.
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
        # A key of its own each time: it is a new item that the stream makes an event of.
        self._write(Update(key=event_key(uuid.uuid4().hex), set_if_absent=facts))
        return event_id

    def room_ids_by_session(self, session_ids: Iterable[str]) -> dict[str, str]:
        """Return the room of each of the sessions that has told it.

        Raises:
            StoreUnavailable: not all could be read.
        """
        items = self._table.get_all(
            (SESSION + id_ for id_ in session_ids),
            ProjectionExpression="session_id, room_id",
            ConsistentRead=True,  # else a session written just now, and with it the room, is missed
        )
        return {item["session_id"]: item["room_id"] for item in items}

    def _update_for(self, callback: Callback, now: datetime) -> Update:
        if isinstance(callback, RecordingCallback):
            return updates.recording_update(callback, now)
        if isinstance(callback, SessionCallback):
            return updates.session_update(callback, now, now + self._session_time)
        return updates.outbox_update(callback, now, now + self._event_time)

    def _forget_at(self, now: datetime) -> int:
        return int((now + self._deleted_time).timestamp())

    def _write(self, update: Update) -> bool:
        return self._table.update(**build_update(update))


def _valid_or_none(item: Mapping[str, Any]) -> Recording | None:
    try:
        return read(item["pk"], item, Recording)
    except CorruptItem as problem:
        logger.warning("%s", problem)
        return None


def _waiting(entry: Mapping[str, Any]) -> WorklistEntry:
    key, since, worklist = entry["pk"], from_iso(entry["since"]), entry["worklist"]
    if key.startswith(RECORDING):
        return WorklistEntry("recording", key.removeprefix(RECORDING), since, worklist)
    return WorklistEntry("session", key.removeprefix(SESSION), since, worklist)
