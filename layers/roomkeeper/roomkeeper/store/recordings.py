"""Recordings, sessions and what is to be published, as the table keeps them."""

import heapq
import logging
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from roomkeeper import events
from roomkeeper.callbacks import Callback, RecordingCallback, SessionCallback
from roomkeeper.recordings import DeletedBy, Hold, Recording, Waiting, Worklist
from roomkeeper.store import correlation, updates
from roomkeeper.store.items import (
    RECORDING,
    SESSION,
    DamagedItem,
    Update,
    event_key,
    expression,
    plain,
    read,
    shards,
    typed,
)
from roomkeeper.store.table import Table
from roomkeeper.times import from_iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

logger = logging.getLogger(__name__)

_PAGE = 100
"""Entries of a worklist's shard that are read, and kept in memory, at once."""


class Store:
    """The table, in the domain's words.

    Args:
        client: a DynamoDB client, as `connect` makes it.
        table: the table's name.
        session_days: how long a session's item is kept.
        event_days: how long an outbox item is kept, to know repeats by.
        deleted_days: how long a deleted recording's item is kept.
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
        update = updates.recording_update(callback, now)
        return self._write(msgspec.structs.replace(update, reconciled=True))

    def waiting(self, worklist: Worklist, until: datetime) -> Iterator[Waiting]:
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
            yield _waiting(plain(entry))

    def count_waiting(self, worklist: Worklist, until: datetime) -> int:
        """Return how many `waiting` would yield.

        Raises:
            StoreUnavailable: it could not be read.
        """
        return sum(
            page["Count"]
            for shard in shards(worklist)
            for page in self._pages(shard, until, Select="COUNT")
        )

    def mark_lost(self, recording_id: str, now: datetime) -> bool:
        """Note that Vonage has no such recording, and ask no more; False when it is accounted for.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        return self._table.update(
            RECORDING + recording_id,
            "SET missing_at = if_not_exists(missing_at, :at) "
            "REMOVE worklist, since ADD seen :lost, reconciled :lost",
            "attribute_exists(pk) AND attribute_not_exists(deleted_at) "
            "AND NOT contains(seen, :uploaded)",
            ExpressionAttributeValues={
                ":at": typed(now),
                ":lost": {"SS": ["recording:lost"]},
                ":uploaded": {"S": "recording:uploaded"},
            },
        )

    def settle_session(self, session: Waiting) -> bool:
        """Take a session off its worklist; False when it has come there anew since.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        return self._table.update(
            SESSION + session.id,
            "REMOVE worklist, since",
            "since = :since",
            ExpressionAttributeValues={":since": typed(session.since)},
        )

    def _pages(self, shard: str, until: datetime, **how: Any) -> Iterator[Any]:
        return self._table.pages(
            "worklist",
            "worklist = :shard AND since <= :until",
            ExpressionAttributeValues={":shard": {"S": shard}, ":until": typed(until)},
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
        known = filter(None, map(_sound, items))
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
            values = {":id": typed(recording_id), ":session": typed(session_id)}
        return self._table.update(
            RECORDING + recording_id,
            f"SET deleted_at = :at, deleted_by = :by, #ttl = :ttl{identity} "
            "REMOVE worklist, since ADD seen :seen",
            condition,
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={
                **values,
                ":at": typed(now),
                ":by": typed(by),
                ":ttl": typed(int((now + self._deleted_time).timestamp())),
                ":seen": {"SS": ["recording:deleted"]},
            },
        )

    def hold(self, recording_id: str, reason: str, who: str, now: datetime) -> bool:
        """Protect a recording from cleanup, instead of a hold it may have; False when it is gone.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        hold = Hold(reason=reason, who=who, since=now)
        fields = {name: typed(value) for name, value in msgspec.structs.asdict(hold).items()}
        return self._table.update(
            RECORDING + recording_id,
            "SET #hold = :hold",
            "attribute_exists(pk) AND attribute_not_exists(deleted_at)",
            ExpressionAttributeNames={"#hold": "hold"},
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

    def send_again(self, recording: Recording, now: datetime) -> str:
        """Put a recording's `recording:uploaded` into the outbox once more; return its event id.

        That is the id which the event had the first time. `recording` has the URL to be told.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        name = "recording:uploaded"
        data = msgspec.convert(recording, events.RecordingUploaded, from_attributes=True)
        event_id = correlation.about_recording(recording.recording_id, name)
        occurred_at = recording.uploaded_at or now
        said = {"event_id": event_id, "occurred_at": occurred_at, "origin": "management"}
        facts = {
            "event": name,
            "detail": msgspec.json.encode(data).decode(),
            "metadata": msgspec.json.encode(said).decode(),
            "received_at": now,
            "ttl": int((now + self._event_time).timestamp()),
        }
        # A key of its own each time: it is a new item that the stream makes an event of.
        self._write(Update(key=event_key(uuid.uuid4().hex), facts=facts))
        return event_id

    def rooms_of(self, session_ids: Iterable[str]) -> dict[str, str]:
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

    def _write(self, update: Update) -> bool:
        return self._table.update(**expression(update))


def _sound(item: Mapping[str, Any]) -> Recording | None:
    try:
        return read(item["pk"], item, Recording)
    except DamagedItem as problem:
        logger.warning("%s", problem)
        return None


def _waiting(entry: Mapping[str, Any]) -> Waiting:
    key, since = entry["pk"], from_iso(entry["since"])
    if key.startswith(RECORDING):
        return Waiting("recording", key.removeprefix(RECORDING), since)
    return Waiting("session", key.removeprefix(SESSION), since)
