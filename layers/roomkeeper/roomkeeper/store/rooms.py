"""The rooms' part of the table: last uses, extensions, and the checkpoint of a room scan."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from roomkeeper.domain import events
from roomkeeper.domain.rooms import Extension
from roomkeeper.store.correlation import extension_key
from roomkeeper.store.items import (
    CHECKPOINT,
    ROOM,
    deserialize,
    read,
    serialize,
    serialize_all,
    shard_of,
    shards,
)
from roomkeeper.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class _Use(Struct, frozen=True):
    """An entry of the index of the rooms' uses."""

    used_at: datetime


class InterruptedExtension(Extension, frozen=True, kw_only=True):
    """An extension that a run started and did not complete; `since` is its start."""

    since: datetime


class Checkpoint(Struct, frozen=True, kw_only=True):
    """The progress of a scan of all rooms, from which the next run continues.

    `start_id` is the start of the first page that is not handled; None is the first page. `scanned`
    is the number of rooms before it. `failed` has the ids of the rooms on it that failed.
    """

    start_id: str | None = None
    scanned: int = 0
    failed: frozenset[str] = frozenset()


class RoomStore:
    """The rooms' part of the table: last uses, extensions, and the checkpoint of a room scan.

    An extension is recorded before the call to Vonage and completed afterwards, so that a later run
    finds one that was interrupted in between. Every method raises StoreUnavailable if DynamoDB
    cannot be reached, or refuses the call.

    Args:
        client: a DynamoDB client of `roomkeeper.aws`.
        table: the table's name.
        event_days: the days for which outbox items and pending extensions are kept.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, event_days: int) -> None:
        self._table = Table(client, table)
        self._event_time = timedelta(days=event_days)

    def last_used(self, room_id: str) -> datetime | None:
        """Return the start of the room's last session in the table; None without one.

        Raises:
            CorruptItem: the session has no valid time.
        """
        pages = self._table.pages(
            "by_room",
            "room_id = :room",
            ExpressionAttributeValues={":room": {"S": room_id}},
            ScanIndexForward=False,
            Limit=1,
        )
        last = next(iter(next(pages)["Items"]), None)
        return read(last["pk"]["S"], deserialize(last), _Use).used_at if last else None

    def record_intent(self, extension: Extension, now: datetime) -> None:
        """Record that the room is about to be extended; replaces an earlier such record."""
        fields = msgspec.structs.asdict(extension) | {
            "worklist": f"extension#{shard_of(extension.room_id)}",
            "since": now,
            "ttl": self._until(now),
        }
        self._put(ROOM + extension.room_id, fields)

    def pending_extensions(self, before: datetime) -> Iterator[str]:
        """Yield the ids of rooms with an extension started before `before` and not completed."""
        for shard in shards("extension"):
            pages = self._table.pages(
                "worklist",
                "worklist = :shard AND since < :before",
                ExpressionAttributeValues={":shard": {"S": shard}, ":before": serialize(before)},
            )
            for page in pages:
                yield from (item["pk"]["S"].removeprefix(ROOM) for item in page["Items"])

    def extension(self, room_id: str) -> InterruptedExtension | None:
        """Return the room's started but not completed extension; None without one."""
        item = self._table.get(ROOM + room_id)
        return read(ROOM + room_id, item, InterruptedExtension) if item else None

    def complete(self, extension: Extension, now: datetime) -> None:
        """Put `room:extended` into the outbox, once for each change; remove the record."""
        data = events.RoomExtended(
            product="meetings",
            room_id=extension.room_id,
            previous_expires_at=extension.previous_expires_at,
            expires_at=extension.expires_at,
            reason=extension.reason,
        )
        fields = {
            "event": "room:extended",
            "detail": msgspec.json.encode(data).decode(),
            "received_at": now,
            "ttl": self._until(now),
        }
        key = extension_key(extension)
        self._put(key, fields, ConditionExpression="attribute_not_exists(pk)")
        self.discard(extension)

    def discard(self, extension: Extension) -> None:
        """Remove the record of an extension, unless one with another expiry replaced it."""
        self._table.delete(
            ROOM + extension.room_id,
            ConditionExpression="expires_at = :expiry",
            ExpressionAttributeValues={":expiry": serialize(extension.expires_at)},
        )

    def checkpoint(self, scan: str) -> Checkpoint | None:
        """Return the progress of the scan called `scan`; None if it starts from the beginning."""
        item = self._table.get(CHECKPOINT + scan)
        return read(CHECKPOINT + scan, item, Checkpoint) if item else None

    def save_checkpoint(self, scan: str, checkpoint: Checkpoint | None) -> None:
        """Save the progress of the scan called `scan`; None restarts it at the next run."""
        key = CHECKPOINT + scan
        if checkpoint is None:
            self._table.delete(key)
        else:
            fields = msgspec.to_builtins(checkpoint)
            self._put(key, {name: value for name, value in fields.items() if value})

    def _put(self, key: str, fields: Mapping[str, Any], **condition: str) -> None:
        self._table.put(key, serialize_all(fields), **condition)

    def _until(self, now: datetime) -> int:
        return int((now + self._event_time).timestamp())
