"""The number of items on each worklist of the jobs, and the oldest item."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, get_args

from msgspec import Struct

from operations.stack import Stack
from roomkeeper.domain.recordings import Worklist
from roomkeeper.store import items
from roomkeeper.times import from_iso

_DESCRIPTIONS = {
    "awaiting_upload": "recordings that wait for their upload",
    "awaiting_copy": "recordings that wait for their copy",
    "retained": "recordings whose retention has begun, known from callbacks only",
    "confirmed": "recordings whose retention has begun, returned by Vonage's API",
    "open_session": "sessions whose end is not known",
    "ended_session": "ended sessions to check at Vonage",
    "extension": "room extensions that were interrupted",
}

_NAMES = {*get_args(Worklist), "extension"}

WORKLISTS = {name: text for name, text in _DESCRIPTIONS.items() if name in _NAMES}
"""The worklists of the table's index `worklist`, and the items on each of them."""

MAX_PAGES = 5
"""The most pages to count per shard, 1 MB each (DynamoDB Developer Guide, "Query"): 8,000 items or
more. A full count of a large index would be expensive."""


class Length(Struct, frozen=True):
    """The number of items on a worklist (a minimum unless `is_exact`), and the oldest's time."""

    count: int = 0
    oldest: datetime | None = None
    is_exact: bool = True


def lengths(stack: Stack) -> dict[str, Length]:
    """Return the current length of each worklist, and of each with deferred items, by name."""
    return {name: length(stack, name) for name in sorted(_NAMES)}


def length(stack: Stack, worklist: str) -> Length:
    """Return the current length of a worklist."""
    table = _Index(stack)
    shards = [_shard(table, shard) for shard in items.shards(worklist)]
    return Length(
        sum(each.count for each in shards),
        min((each.oldest for each in shards if each.oldest), default=None),
        all(each.is_exact for each in shards),
    )


def _shard(index: "_Index", shard: str) -> Length:
    first = next(index.pages(shard, Limit=1))["Items"]
    if not first:
        return Length()
    count = 0
    for number, page in enumerate(index.pages(shard, Select="COUNT"), 1):
        count += page["Count"]
        if number == MAX_PAGES:
            break
    return Length(count, from_iso(first[0]["since"]["S"]), "LastEvaluatedKey" not in page)


class _Index:
    """The table's index of worklists."""

    def __init__(self, stack: Stack) -> None:
        self._client = stack.client("dynamodb")
        self._table = stack.outputs["TableName"]

    def pages(self, shard: str, **how: Any) -> Iterator[Any]:
        """Yield the pages of a query for a shard's entries, oldest first; at least one page."""
        query = {
            "TableName": self._table,
            "IndexName": "worklist",
            "KeyConditionExpression": "worklist = :shard",
            "ExpressionAttributeValues": {":shard": {"S": shard}},
            **how,
        }
        while True:
            page = self._client.query(**query)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
