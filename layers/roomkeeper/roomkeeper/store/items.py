"""The form of items: keys, DynamoDB types, and the update that most writes use."""

import hashlib
import zlib
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from roomkeeper.errors import RoomkeeperError

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

RECORDING, SESSION, EVENT = "RECORDING#", "SESSION#", "EVENT#"
ROOM, CHECKPOINT = "ROOM#", "CHECKPOINT#"

DEFERRAL = ("attempts", "queued_at")
"""Attributes that an item has only while it is deferred."""

CLOSED = "closed_"
"""The prefix of attributes with the final worklist, its time, and the TTL of a closed recording.

A recording that has a copy, or is on hold, has the final TTL alone: its item stays as long as the
copy or the hold.

Vonage has no file of a closed recording, and late callbacks do not change that: their single write
keeps the final values by `if_not_exists`.
"""

Value = str | int | datetime | Sequence[str] | None
"""A value of an attribute, before it is serialized."""

SHARDS = 8
"""The number of shards of a worklist, which spread its writes over index partitions."""


class Update(Struct, frozen=True, kw_only=True):
    """The content of one UpdateItem.

    `set_if_absent` has attributes that are written only if absent, `set_always` those that are
    always written, `removed` those that are removed. `set_unless_closed` has those that are always
    written, but with the value of the attribute `closed_<name>` once the item has that. A value of
    None in it is written as DynamoDB's null. The name `seen` is added to the item's set. With
    `seen`, the write fails if that name was recorded before, or the item is marked deleted or of
    another product than the `product` in `set_if_absent`; without it, if the item exists.
    """

    key: str
    set_if_absent: Mapping[str, Any]
    set_always: Mapping[str, Any] = {}
    set_unless_closed: Mapping[str, Any] = {}
    removed: Sequence[str] = ()
    seen: str | None = None
    reconciled: bool = False


def build_update(update: Update) -> dict[str, Any]:
    """Return the arguments of `Table.update`."""
    facts = {name: value for name, value in update.set_if_absent.items() if value is not None}
    written = {**facts, **update.set_always, **update.set_unless_closed}
    values = serialize_all({f":{name}": value for name, value in written.items()})
    expression, names = _expression(
        tuple(facts),
        tuple(update.set_always),
        tuple(update.set_unless_closed),
        tuple(update.removed),
    )
    condition = "attribute_not_exists(pk)"
    if update.seen is not None:
        expression += " ADD seen :seen" + (", reconciled :seen" if update.reconciled else "")
        condition = f"{_UNCHANGED} AND {_OF_PRODUCT[facts['product']]}"
        values |= {":seen": {"SS": [update.seen]}, ":name": {"S": update.seen}}
    return {
        "key": update.key,
        "update": expression,
        "condition": condition,
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
    }


_UNCHANGED = "attribute_not_exists(deleted_at) AND NOT contains(seen, :name)"

_OF_PRODUCT = {
    "meetings": "(attribute_not_exists(#product) OR #product = :product)",
    "video": "(attribute_not_exists(pk) OR #product = :product)",
}
"""The condition that an item is new, or of this product. Older items without one are of meetings.

A caller with the credentials of one product must not change the recordings of the other.
"""

Names = tuple[str, ...]


@lru_cache(maxsize=256)  # updates for the same event mostly have the same names
def _expression(
    if_absent: Names, always: Names, unless_closed: Names, removed: Names
) -> tuple[str, Mapping[str, str]]:
    """Return the update expression for attributes with these names, and their placeholders.

    All names have placeholders, as any of them may be a reserved word of DynamoDB.
    """
    sets = [f"#{name} = if_not_exists(#{name}, :{name})" for name in if_absent]
    sets += [f"#{name} = :{name}" for name in always]
    sets += [f"#{name} = if_not_exists({CLOSED}{name}, :{name})" for name in unless_closed]
    expression = "SET " + ", ".join(sets)
    if removed:
        expression += " REMOVE " + ", ".join([f"#{name}" for name in removed])
    names = (*if_absent, *always, *unless_closed, *removed)
    return expression, {f"#{name}": name for name in names}


class CorruptItem(RoomkeeperError):
    """An item is not in the form that Roomkeeper writes, for example after a manual change."""

    @property
    def is_item_specific(self) -> bool:
        """True: other items may be valid."""
        return True


ItemT = TypeVar("ItemT", bound=Struct)


def read(key: str, item: Mapping[str, Any], item_type: type[ItemT]) -> ItemT:
    """Return the item under `key` as an object of type `item_type`.

    Raises:
        CorruptItem: an attribute is missing or invalid. The message names the item and attribute.
    """
    try:
        return msgspec.convert(item, item_type)
    except msgspec.ValidationError as exc:
        raise CorruptItem(f"The item {key} is corrupt: {exc}. Correct it in the table.") from None


def key_of(key: str) -> dict[str, Any]:
    """Return a key in the form of DynamoDB's API."""
    return {"pk": {"S": key}}


def event_key(content: str) -> str:
    """Return the key of an outbox item, a hash of its content."""
    return EVENT + hashlib.sha256(content.encode()).hexdigest()


def shard_of(id_: str) -> int:
    """Return the shard of a worklist for an id."""
    return zlib.crc32(id_.encode()) % SHARDS


def shards(worklist: str) -> list[str]:
    """Return the names of all shards of a worklist."""
    return [f"{worklist}#{shard}" for shard in range(SHARDS)]


def serialize_nested(value: Any) -> "AttributeValueTypeDef":
    """Return a value that msgspec.to_builtins returned, in DynamoDB's types."""
    match value:
        case Mapping():
            return {"M": {name: serialize_nested(each) for name, each in value.items()}}
        case list() | tuple():
            return {"L": [serialize_nested(each) for each in value]}
        case _:
            return serialize(value)


def serialize(value: Value) -> "AttributeValueTypeDef":
    """Return a value in DynamoDB's types, by the rules of `serialize_all`."""
    return serialize_all({"value": value})["value"]


def serialize_all(values: Mapping[str, Value]) -> "dict[str, AttributeValueTypeDef]":
    """Return values in DynamoDB's types, by the same names; a sequence becomes a string set."""
    serialized: dict[str, AttributeValueTypeDef] = {}
    for name, value in values.items():
        if isinstance(value, str):
            serialized[name] = {"S": value}
        elif value is None:
            serialized[name] = {"NULL": True}
        elif isinstance(value, datetime):
            # As `times.iso`, without a call for each: a callback's write has six times.
            utc = value.astimezone(UTC).replace(tzinfo=None)
            serialized[name] = {"S": utc.isoformat(timespec="milliseconds") + "Z"}
        elif isinstance(value, int):
            serialized[name] = {"N": str(value)}
        else:
            serialized[name] = {"SS": value}
    return serialized


def deserialize(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return an item with Python values for DynamoDB's types."""
    return {name: _deserialize(value) for name, value in item.items()}


def _deserialize(typed_value: Mapping[str, Any]) -> Any:
    [(type_name, value)] = typed_value.items()
    if type_name == "M":
        return deserialize(value)
    if type_name == "L":
        return [_deserialize(each) for each in value]
    if type_name == "NULL":
        return None
    if type_name == "N":
        return int(value) if value.isdecimal() else float(value)
    return value
