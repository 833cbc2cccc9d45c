"""How things are written into items: keys, types, and the one form that most writes have."""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from roomkeeper.errors import RoomkeeperError
from roomkeeper.times import iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

RECORDING, SESSION, EVENT = "RECORDING#", "SESSION#", "EVENT#"
ROOM, CHECKPOINT = "ROOM#", "CHECKPOINT#"

DEFERRAL = ("attempts", "queued_at")
"""Attributes of an item while it is deferred."""

SHARDS = 8
"""Parts of a worklist, so that no one index partition takes every write."""


class Update(Struct, frozen=True, kw_only=True):
    """One UpdateItem to be: `facts` hold unless known already, `state` always, `seen` is added.

    Without a name in `seen` it makes a new item or none; with one, nothing when the name is there.
    The attributes in `removed` are removed.
    """

    key: str
    set_if_absent: Mapping[str, Any]
    set_always: Mapping[str, Any] = {}
    removed: Sequence[str] = ()
    seen: str | None = None
    reconciled: bool = False


def build_update(update: Update) -> dict[str, Any]:
    """Return what `Table.update` takes. Every name has an alias, as any may be a reserved word."""
    facts = {name: value for name, value in update.set_if_absent.items() if value is not None}
    names = {f"#{name}": name for name in [*facts, *update.set_always, *update.removed]}
    values = {
        f":{name}": serialize(value) for name, value in [*facts.items(), *update.set_always.items()]
    }
    sets = [f"#{name} = if_not_exists(#{name}, :{name})" for name in facts]
    sets += [f"#{name} = :{name}" for name in update.set_always]
    sets_and_adds = "SET " + ", ".join(sets)
    if update.removed:
        sets_and_adds += " REMOVE " + ", ".join(f"#{name}" for name in update.removed)
    condition = "attribute_not_exists(pk)"
    if update.seen is not None:
        sets_and_adds += " ADD seen :seen" + (", reconciled :seen" if update.reconciled else "")
        condition = "attribute_not_exists(deleted_at) AND NOT contains(seen, :name)"
        values |= {":seen": {"SS": [update.seen]}, ":name": {"S": update.seen}}
    return {
        "key": update.key,
        "update": sets_and_adds,
        "condition": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


class CorruptItem(RoomkeeperError):
    """An item that is not as we write it: somebody else has changed it by hand."""

    @property
    def is_item_specific(self) -> bool:
        """Others are as they should be."""
        return True


Kind = TypeVar("Kind", bound=Struct)


def read(key: str, item: Mapping[str, Any], kind: type[Kind]) -> Kind:
    """Return what the item under `key` says, of this `kind`.

    Raises:
        DamagedItem: it does not say what it must. The message names the item and the attribute.
    """
    try:
        return msgspec.convert(item, kind)
    except msgspec.ValidationError as problem:
        raise CorruptItem(f"The item {key} is damaged: {problem}. Mend it in the table.") from None


def key_of(key: str) -> dict[str, Any]:
    """Return a key as DynamoDB takes it."""
    return {"pk": {"S": key}}


def event_key(content: str) -> str:
    """Return the key of an outbox item: the same for the same content."""
    return EVENT + hashlib.sha256(content.encode()).hexdigest()


def shard_of(id_: str) -> int:
    """Return which part of a worklist something belongs to."""
    return zlib.crc32(id_.encode()) % SHARDS


def shards(worklist: str) -> list[str]:
    """Return every part of a worklist."""
    return [f"{worklist}#{shard}" for shard in range(SHARDS)]


def serialize(value: str | int | datetime | Sequence[str]) -> "AttributeValueTypeDef":
    """Return a value in DynamoDB's types; a sequence becomes a set of texts."""
    if isinstance(value, datetime):
        return {"S": iso(value)}
    if not isinstance(value, str | int):
        return {"SS": value}
    return {"N": str(value)} if isinstance(value, int) else {"S": value}


def deserialize(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item without DynamoDB's types."""
    return {name: _deserialize(value) for name, value in item.items()}


def _deserialize(value_in_type: Mapping[str, Any]) -> Any:
    [(kind, value)] = value_in_type.items()
    if kind == "M":
        return deserialize(value)
    if kind == "N":
        return int(value) if value.isdecimal() else float(value)
    return value
