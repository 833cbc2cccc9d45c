"""The rooms' part of the table: last uses, extensions from begin to end, a walk's checkpoint."""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from roomkeeper.domain import events
from roomkeeper.domain.rooms import Extension
from roomkeeper.store.correlation import extension_key
from roomkeeper.store.items import CHECKPOINT, ROOM, read, serialize, shard_of, shards
from roomkeeper.store.table import Table
from roomkeeper.times import from_iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class InterruptedExtension(Extension, frozen=True, kw_only=True):
    """An extension that a run set out to make; `since` is when."""

    since: datetime


class Checkpoint(Struct, frozen=True, kw_only=True):
    """How far a walk through all rooms has come, for the next run to go on from there.

    `start_id` is where the first page starts that is not handled (None: at the very beginning),
    `walked` how many rooms came before it, `failed` those on that page that were tried in vain.
    """

    start_id: str | None = None
    walked: int = 0
    failed: frozenset[str] = frozenset()


class RoomStore:
    """The rooms' part of the table: last uses, extensions from begin to end, a walk's checkpoint.

    An extension is noted before Vonage is asked for it, and told of afterwards, so that one whose
    run is cut off in between is found again. Every method raises StoreUnavailable when DynamoDB
    cannot be reached or refuses.

    Args:
        client: a DynamoDB client, as `connect` makes it.
        table: the table's name.
        event_days: how long an outbox item is kept, and the note of an extension begun.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, event_days: int) -> None:
        self._table = Table(client, table)
        self._event_time = timedelta(days=event_days)

    def last_used(self, room_id: str) -> datetime | None:
        """Return when the last session started in the room, as far as sessions are remembered."""
        pages = self._table.pages(
            "by_room",
            "room_id = :room",
            ExpressionAttributeValues={":room": {"S": room_id}},
            ScanIndexForward=False,
            Limit=1,
        )
        return next((from_iso(item["used_at"]["S"]) for item in next(pages)["Items"]), None)

    def record_intent(self, extension: Extension, now: datetime) -> None:
        """Note that the room is about to be extended, instead of an earlier such note."""
        fields = msgspec.structs.asdict(extension) | {
            "worklist": f"extension#{shard_of(extension.room_id)}",
            "since": now,
            "ttl": self._until(now),
        }
        self._put(ROOM + extension.room_id, fields)

    def pending_extensions(self, before: datetime) -> Iterator[str]:
        """Yield the ids of the rooms whose extension was begun before that time and not ended."""
        for shard in shards("extension"):
            pages = self._table.pages(
                "worklist",
                "worklist = :shard AND since < :before",
                ExpressionAttributeValues={":shard": {"S": shard}, ":before": serialize(before)},
            )
            for page in pages:
                yield from (item["pk"]["S"].removeprefix(ROOM) for item in page["Items"])

    def extension(self, room_id: str) -> InterruptedExtension | None:
        """Return the room's extension that was begun and not ended, if there is one."""
        item = self._table.get(ROOM + room_id)
        return read(ROOM + room_id, item, InterruptedExtension) if item else None

    def complete(self, extension: Extension, now: datetime) -> None:
        """Put what was done at Vonage into the outbox, once for each new expiry, and end it."""
        fields = {
            "event": "room:extended",
            "detail": msgspec.json.encode(_told(extension)).decode(),
            "received_at": now,
            "ttl": self._until(now),
        }
        key = extension_key(extension)
        self._put(key, fields, ConditionExpression="attribute_not_exists(pk)")
        self.discard(extension)

    def discard(self, extension: Extension) -> None:
        """End an extension, unless another one of the same room was begun meanwhile."""
        self._table.delete(
            ROOM + extension.room_id,
            ConditionExpression="expires_at = :mine",
            ExpressionAttributeValues={":mine": serialize(extension.expires_at)},
        )

    def checkpoint(self, walk: str) -> Checkpoint | None:
        """Return how far that walk has come; None when it begins anew."""
        item = self._table.get(CHECKPOINT + walk)
        return read(CHECKPOINT + walk, item, Checkpoint) if item else None

    def save_checkpoint(self, walk: str, reached: Checkpoint | None) -> None:
        """Note how far that walk has come; None when the next run is to begin anew."""
        key = CHECKPOINT + walk
        if reached is None:
            self._table.delete(key)
        else:
            fields = msgspec.to_builtins(reached)
            self._put(key, {name: value for name, value in fields.items() if value})

    def _put(self, key: str, fields: Mapping[str, Any], **condition: str) -> None:
        self._table.put(
            key, {name: serialize(value) for name, value in fields.items()}, **condition
        )

    def _until(self, now: datetime) -> int:
        return int((now + self._event_time).timestamp())


def _told(extension: Extension) -> events.RoomExtended:
    return msgspec.convert(extension, events.RoomExtended, from_attributes=True)
