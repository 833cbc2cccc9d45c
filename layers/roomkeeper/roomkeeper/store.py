"""The table in DynamoDB: the only module that knows its keys, attributes and expressions.

Every write is one conditional UpdateItem. Facts are first-writer-wins, what has happened is a set
that only grows, and a name that is in the set already changes nothing, so callbacks may be applied
in any order and any number of times. The table's stream, not the writer, makes events of it.

Source: "Update expressions" and "Reading and processing a stream" in the DynamoDB guide.
"""

import hashlib
import heapq
import uuid
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import boto3
import msgspec
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from roomkeeper import events
from roomkeeper.callbacks import (
    Callback,
    RecordingCallback,
    RecordingUploaded,
    SessionCallback,
    SessionEnded,
    Unrecognized,
)
from roomkeeper.errors import RoomkeeperError
from roomkeeper.events import from_outbox
from roomkeeper.recordings import (
    DeletedBy,
    Hold,
    Recording,
    Session,
    Waiting,
    Worklist,
    url_expiry,
)
from roomkeeper.rooms import Extension
from roomkeeper.times import from_iso, iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

SHARDS = 8
"""Parts of the worklist, so that no one index partition takes every write."""

_RECORDING, _SESSION, _EVENT = "RECORDING#", "SESSION#", "EVENT#"
_ROOM, _CHECKPOINT = "ROOM#", "CHECKPOINT#"
_BATCH_GET_LIMIT = 100
_PAGE = 100
"""Entries of a worklist's shard that are read, and kept in memory, at once."""

# A whole write, retries included, stays well below the intake's timeout.
_SDK = Config(
    connect_timeout=1,
    read_timeout=2,
    retries={"mode": "standard", "total_max_attempts": 3},
)


class StoreUnavailable(RoomkeeperError):
    """DynamoDB could not be reached or refused the call; whoever asked may try again."""


class _Update(Struct, frozen=True, kw_only=True):
    """One UpdateItem to be: `facts` hold unless known already, `state` always, `seen` is added."""

    key: str
    facts: Mapping[str, Any]
    state: Mapping[str, Any] = {}
    seen: str | None = None
    reconciled: bool = False


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
        self._client = client
        self._table = table
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
        update = _recording_update(callback, now)
        return self._write(msgspec.structs.replace(update, reconciled=True))

    def waiting(self, worklist: Worklist, until: datetime) -> Iterator[Waiting]:
        """Yield what is on a worklist since `until` or longer, oldest first, as it is read.

        The index may lag behind the table: look at the item before acting.

        Raises:
            StoreUnavailable: it could not be read on.
        """
        shards = [
            (entry for page in self._pages(shard, until, Limit=_PAGE) for entry in page["Items"])
            for shard in _shards(worklist)
        ]
        for entry in heapq.merge(*shards, key=lambda entry: entry["since"]["S"]):
            yield _waiting(_plain_item(entry))

    def count_waiting(self, worklist: Worklist, until: datetime) -> int:
        """Return how many `waiting` would yield.

        Raises:
            StoreUnavailable: it could not be read.
        """
        return sum(
            page["Count"]
            for shard in _shards(worklist)
            for page in self._pages(shard, until, Select="COUNT")
        )

    def mark_lost(self, recording_id: str, now: datetime) -> bool:
        """Note that Vonage has no such recording, and ask no more; False when it is accounted for.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        return self._change(
            recording_id,
            "SET missing_at = if_not_exists(missing_at, :at) "
            "REMOVE worklist, since ADD seen :lost, reconciled :lost",
            "attribute_exists(pk) AND attribute_not_exists(deleted_at) "
            "AND NOT contains(seen, :uploaded)",
            ExpressionAttributeValues={
                ":at": _typed(now),
                ":lost": {"SS": ["recording:lost"]},
                ":uploaded": {"S": "recording:uploaded"},
            },
        )

    def settle_session(self, session: Waiting) -> bool:
        """Take a session off its worklist; False when it has come there anew since.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        return self._update_item(
            Key={"pk": {"S": _SESSION + session.id}},
            UpdateExpression="REMOVE worklist, since",
            ConditionExpression="since = :since",
            ExpressionAttributeValues={":since": _typed(session.since)},
        )

    def _pages(self, shard: str, until: datetime, **terms: Any) -> Iterator[Any]:
        query: dict[str, Any] = {
            "TableName": self._table,
            "IndexName": "worklist",
            "KeyConditionExpression": "worklist = :shard AND since <= :until",
            "ExpressionAttributeValues": {":shard": {"S": shard}, ":until": _typed(until)},
            **terms,
        }
        while True:
            try:
                page = self._client.query(**query)
            except (ClientError, BotoCoreError) as problem:
                raise StoreUnavailable(
                    f"DynamoDB did not return the worklist: {problem}"
                ) from problem
            yield page
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]

    def recording(self, recording_id: str) -> Recording | None:
        """Return what is known of a recording; None when nothing is.

        Raises:
            StoreUnavailable: it could not be read.
        """
        try:
            answer = self._client.get_item(
                TableName=self._table,
                Key={"pk": {"S": _RECORDING + recording_id}},
                ConsistentRead=True,
            )
        except (ClientError, BotoCoreError) as problem:
            raise StoreUnavailable(f"DynamoDB did not return the item: {problem}") from problem
        item = answer.get("Item")
        return msgspec.convert(_plain_item(item), Recording) if item else None

    def recordings(self, recording_ids: Iterable[str]) -> dict[str, Recording]:
        """Return what is known of each of these recordings, by its id; nothing for the others.

        Raises:
            StoreUnavailable: not all could be read.
        """
        items = self._get_all((_RECORDING + id_ for id_ in recording_ids), ConsistentRead=True)
        return {item["recording_id"]: msgspec.convert(item, Recording) for item in items}

    def recordings_in(self, session_id: str) -> list[str]:
        """Return the ids of a session's recordings, those that have told when they started.

        A recording of which only the start was heard has not: Vonage leaves the time out there.

        Raises:
            StoreUnavailable: not all could be read.
        """
        pages = self._client.get_paginator("query").paginate(
            TableName=self._table,
            IndexName="by_session",
            KeyConditionExpression="session_id = :session_id",
            ExpressionAttributeValues={":session_id": {"S": session_id}},
        )
        try:
            keys = [item["pk"]["S"] for page in pages for item in page["Items"]]
        except (ClientError, BotoCoreError) as problem:
            raise StoreUnavailable(f"DynamoDB did not return the keys: {problem}") from problem
        return [key.removeprefix(_RECORDING) for key in keys if key.startswith(_RECORDING)]

    def mark_deleted(self, recording_id: str, by: DeletedBy, now: datetime) -> bool:
        """Note that a recording is deleted at Vonage; False when that is noted, or it is unknown.

        It leaves the worklist, and the table once its days are over.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        return self._change(
            recording_id,
            "SET deleted_at = :at, deleted_by = :by, #ttl = :ttl "
            "REMOVE worklist, since ADD seen :seen",
            "attribute_exists(pk) AND attribute_not_exists(deleted_at)",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={
                ":at": _typed(now),
                ":by": _typed(by),
                ":ttl": _typed(int((now + self._deleted_time).timestamp())),
                ":seen": {"SS": ["recording:deleted"]},
            },
        )

    def hold(self, recording_id: str, reason: str, who: str, now: datetime) -> bool:
        """Protect a recording from cleanup, instead of a hold it may have; False when it is gone.

        Raises:
            StoreUnavailable: nothing is known to be written.
        """
        hold = Hold(reason=reason, who=who, since=now)
        fields = {name: _typed(value) for name, value in msgspec.structs.asdict(hold).items()}
        return self._change(
            recording_id,
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
        return self._change(
            recording_id,
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
        event_id = events.event_id(_RECORDING + recording.recording_id, name)
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
        self._write(_Update(key=_event_key(uuid.uuid4().hex), facts=facts))
        return event_id

    def rooms_of(self, session_ids: Iterable[str]) -> dict[str, str]:
        """Return the room of each of the sessions that has told it.

        Raises:
            StoreUnavailable: not all could be read.
        """
        items = self._get_all(
            (_SESSION + id_ for id_ in session_ids), ProjectionExpression="session_id, room_id"
        )
        return {item["session_id"]: item["room_id"] for item in items}

    def _get_all(self, keys: Iterable[str], **how: Any) -> Iterator[dict[str, Any]]:
        wanted = sorted(set(keys))
        for start in range(0, len(wanted), _BATCH_GET_LIMIT):
            yield from self._get_batch(wanted[start : start + _BATCH_GET_LIMIT], how)

    def _get_batch(self, keys: Sequence[str], how: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        pending: Any = {self._table: {"Keys": [{"pk": {"S": key}} for key in keys], **how}}
        for _ in range(5):
            try:
                answer = self._client.batch_get_item(RequestItems=pending)
            except (ClientError, BotoCoreError) as problem:
                raise StoreUnavailable(f"DynamoDB did not return items: {problem}") from problem
            yield from map(_plain_item, answer["Responses"].get(self._table, []))
            pending = answer["UnprocessedKeys"]
            if not pending:
                return
        raise StoreUnavailable("DynamoDB left items unread five times in a row: it throttles.")

    def _update_for(self, callback: Callback, now: datetime) -> _Update:
        if isinstance(callback, RecordingCallback):
            return _recording_update(callback, now)
        if isinstance(callback, SessionCallback):
            return _session_update(callback, now, now + self._session_time)
        return _outbox_update(callback, now, now + self._event_time)

    def _change(self, recording_id: str, update: str, condition: str, **terms: Any) -> bool:
        """Change a recording as `update` says; False when `condition` does not hold."""
        return self._update_item(
            Key={"pk": {"S": _RECORDING + recording_id}},
            UpdateExpression=update,
            ConditionExpression=condition,
            **terms,
        )

    def _write(self, update: _Update) -> bool:
        return self._update_item(**_expression(update))

    def _update_item(self, **arguments: Any) -> bool:
        """Do an UpdateItem; return whether its condition held."""
        try:
            self._client.update_item(TableName=self._table, **arguments)
        except self._client.exceptions.ConditionalCheckFailedException:
            return False
        except (ClientError, BotoCoreError) as problem:
            raise StoreUnavailable(f"DynamoDB did not take the write: {problem}") from problem
        return True


class BegunExtension(Extension, frozen=True, kw_only=True):
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
        self._client = client
        self._table = table
        self._event_time = timedelta(days=event_days)

    def last_used(self, room_id: str) -> datetime | None:
        """Return when the last session started in the room, as far as sessions are remembered."""
        answer = self._ask(
            self._client.query,
            IndexName="by_room",
            KeyConditionExpression="room_id = :room",
            ExpressionAttributeValues={":room": {"S": room_id}},
            ScanIndexForward=False,
            Limit=1,
        )
        return next((from_iso(item["used_at"]["S"]) for item in answer["Items"]), None)

    def begin(self, extension: Extension, now: datetime) -> None:
        """Note that the room is about to be extended, instead of an earlier such note."""
        fields = msgspec.structs.asdict(extension) | {
            "worklist": f"extension#{_shard(extension.room_id)}",
            "since": now,
            "ttl": self._until(now),
        }
        self._put(_ROOM + extension.room_id, fields)

    def begun(self, before: datetime) -> Iterator[str]:
        """Yield the ids of the rooms whose extension was begun before that time and not ended."""
        for shard in range(SHARDS):
            yield from self._begun_in(f"extension#{shard}", before)

    def extension(self, room_id: str) -> BegunExtension | None:
        """Return the room's extension that was begun and not ended, if there is one."""
        answer = self._ask(
            self._client.get_item, Key={"pk": {"S": _ROOM + room_id}}, ConsistentRead=True
        )
        item = answer.get("Item")
        return msgspec.convert(_plain_item(item), BegunExtension) if item else None

    def complete(self, extension: Extension, now: datetime) -> None:
        """Put what was done at Vonage into the outbox, once for each new expiry, and end it."""
        event = f"room:extended {extension.room_id} {iso(extension.expires_at)}"
        fields = {
            "event": "room:extended",
            "detail": msgspec.json.encode(_told(extension)).decode(),
            "received_at": now,
            "ttl": self._until(now),
        }
        self._put(_event_key(event), fields, ConditionExpression="attribute_not_exists(pk)")
        self.drop(extension)

    def drop(self, extension: Extension) -> None:
        """End an extension, unless another one of the same room was begun meanwhile."""
        self._ask(
            self._client.delete_item,
            Key={"pk": {"S": _ROOM + extension.room_id}},
            ConditionExpression="expires_at = :mine",
            ExpressionAttributeValues={":mine": _typed(extension.expires_at)},
        )

    def checkpoint(self, walk: str) -> Checkpoint | None:
        """Return how far that walk has come; None when it begins anew."""
        answer = self._ask(
            self._client.get_item, Key={"pk": {"S": _CHECKPOINT + walk}}, ConsistentRead=True
        )
        item = answer.get("Item")
        return msgspec.convert(_plain_item(item), Checkpoint) if item else None

    def save_checkpoint(self, walk: str, reached: Checkpoint | None) -> None:
        """Note how far that walk has come; None when the next run is to begin anew."""
        key = _CHECKPOINT + walk
        if reached is None:
            self._ask(self._client.delete_item, Key={"pk": {"S": key}})
        else:
            fields = msgspec.to_builtins(reached)
            self._put(key, {name: value for name, value in fields.items() if value})

    def _begun_in(self, worklist: str, before: datetime) -> Iterator[str]:
        more: dict[str, Any] = {}
        while True:
            answer = self._ask(
                self._client.query,
                IndexName="worklist",
                KeyConditionExpression="worklist = :worklist AND since < :before",
                ExpressionAttributeValues={
                    ":worklist": {"S": worklist},
                    ":before": _typed(before),
                },
                **more,
            )
            yield from (item["pk"]["S"].removeprefix(_ROOM) for item in answer["Items"])
            if "LastEvaluatedKey" not in answer:
                return
            more = {"ExclusiveStartKey": answer["LastEvaluatedKey"]}

    def _put(self, key: str, fields: Mapping[str, Any], **condition: str) -> None:
        item = {name: _typed(value) for name, value in fields.items()}
        self._ask(self._client.put_item, Item={"pk": {"S": key}, **item}, **condition)

    def _ask(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        """Return an operation's answer; None when its condition does not hold."""
        try:
            return operation(TableName=self._table, **arguments)
        except self._client.exceptions.ConditionalCheckFailedException:
            return None
        except (ClientError, BotoCoreError) as problem:
            raise StoreUnavailable(f"DynamoDB did not do as asked: {problem}") from problem

    def _until(self, now: datetime) -> int:
        return int((now + self._event_time).timestamp())


def _told(extension: Extension) -> events.RoomExtended:
    return msgspec.convert(extension, events.RoomExtended, from_attributes=True)


def connect() -> "DynamoDBClient":
    """Return a DynamoDB client with the timeouts and retries that the functions live by."""
    return boto3.client("dynamodb", config=_SDK)


def events_due(record: Mapping[str, Any]) -> list[events.Event]:
    """Return the events that a record of the table's stream makes due, in the order of their names.

    Raises:
        KeyError, ValueError: the record is not one that this table can produce.
    """
    change = record["dynamodb"]
    key = change["Keys"]["pk"]["S"]
    if record["eventName"] == "REMOVE" or not key.startswith((_RECORDING, _SESSION, _EVENT)):
        return []
    changed_at = datetime.fromtimestamp(change["ApproximateCreationDateTime"], UTC)
    new = _plain_item(change["NewImage"])
    old = _plain_item(change.get("OldImage", {}))
    if key.startswith(_EVENT):
        said = msgspec.json.decode(new.get("metadata", "{}"))
        return [] if old else [from_outbox(key, new["event"], new["detail"], changed_at, said)]
    kind: type[Recording | Session] = Recording if key.startswith(_RECORDING) else Session
    before = msgspec.convert(old, kind) if old else None
    return events.newly_seen(key, before, msgspec.convert(new, kind), changed_at)


def _recording_update(callback: RecordingCallback, now: datetime) -> _Update:
    facts = msgspec.structs.asdict(callback)
    shard = _shard(callback.recording_id)
    if isinstance(callback, RecordingUploaded):
        facts |= {"url_expires_at": url_expiry(callback.url), "uploaded_at": now}
        state = {"worklist": f"retained#{shard}", "since": now}
    else:
        facts |= {"worklist": f"awaiting_upload#{shard}", "since": now}
        state = {}
    return _Update(
        key=_RECORDING + callback.recording_id, facts=facts, state=state, seen=callback.event
    )


def _session_update(callback: SessionCallback, now: datetime, until: datetime) -> _Update:
    facts = msgspec.structs.asdict(callback) | {"ttl": int(until.timestamp())}
    facts |= {"used_at": callback.started_at}  # only sessions have it, so only they are in by_room
    state: Mapping[str, Any] = {}
    shard = _shard(callback.session_id)
    if isinstance(callback, SessionEnded):
        state = {"worklist": f"ended_session#{shard}", "since": now}
    else:
        facts |= {"worklist": f"open_session#{shard}", "since": now}
    return _Update(
        key=_SESSION + callback.session_id, facts=facts, state=state, seen=callback.event
    )


def _outbox_update(callback: Any, now: datetime, until: datetime) -> _Update:
    if isinstance(callback, Unrecognized):
        key = _event_key(callback.body)
        data: Struct = events.Unrecognized(
            key=key, reason=callback.reason, name=callback.name and callback.name[:128]
        )
        facts: dict[str, Any] = {"body": callback.body}
    else:
        data, facts = callback, {}
        key = _event_key(callback.event + msgspec.json.encode(callback).decode())
    facts |= {"event": callback.event, "detail": msgspec.json.encode(data).decode()}
    facts |= {"received_at": now, "ttl": int(until.timestamp())}
    return _Update(key=key, facts=facts)


def _event_key(content: str) -> str:
    return _EVENT + hashlib.sha256(content.encode()).hexdigest()


def _shards(worklist: Worklist) -> list[str]:
    return [f"{worklist}#{shard}" for shard in range(SHARDS)]


def _waiting(entry: Mapping[str, Any]) -> Waiting:
    key, since = entry["pk"], from_iso(entry["since"])
    if key.startswith(_RECORDING):
        return Waiting("recording", key.removeprefix(_RECORDING), since)
    return Waiting("session", key.removeprefix(_SESSION), since)


def _shard(id_: str) -> int:
    return zlib.crc32(id_.encode()) % SHARDS


def _expression(update: _Update) -> dict[str, Any]:
    """Return UpdateItem's arguments. Every name is aliased, as any may be a reserved word."""
    facts = {name: value for name, value in update.facts.items() if value is not None}
    names = {f"#{name}": name for name in [*facts, *update.state]}
    values = {f":{name}": _typed(value) for name, value in [*facts.items(), *update.state.items()]}
    sets = [f"#{name} = if_not_exists(#{name}, :{name})" for name in facts]
    sets += [f"#{name} = :{name}" for name in update.state]
    expression = "SET " + ", ".join(sets)
    condition = "attribute_not_exists(pk)"
    if update.seen is not None:
        expression += " ADD seen :seen" + (", reconciled :seen" if update.reconciled else "")
        condition = "attribute_not_exists(deleted_at) AND NOT contains(seen, :name)"
        values |= {":seen": {"SS": [update.seen]}, ":name": {"S": update.seen}}
    return {
        "Key": {"pk": {"S": update.key}},
        "UpdateExpression": expression,
        "ConditionExpression": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


def _typed(value: str | int | datetime | Sequence[str]) -> "AttributeValueTypeDef":
    if isinstance(value, datetime):
        return {"S": iso(value)}
    if not isinstance(value, str | int):
        return {"SS": value}
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


def _plain_item(item: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(value) for name, value in item.items()}


def _plain(typed: Mapping[str, Any]) -> Any:
    [(kind, value)] = typed.items()
    if kind == "M":
        return _plain_item(value)
    return int(value) if kind == "N" else value
