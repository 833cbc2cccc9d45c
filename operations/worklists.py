"""The number of items on each worklist of the jobs, and the oldest item."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from msgspec import Struct

from operations.stack import Stack
from roomkeeper.store import items
from roomkeeper.times import from_iso

WORKLISTS = {
    "awaiting_upload": "recordings that wait for their upload",
    "retained": "recordings that are uploaded, until cleanup deletes them",
    "open_session": "sessions whose end is not known",
    "ended_session": "ended sessions to check at Vonage",
    "extension": "room extensions that were interrupted",
}
"""The worklists of the table's index `worklist`, and the items on each of them."""

MAX_PAGES = 5
"""The most pages to count per shard, 1 MB each (DynamoDB Developer Guide, "Query"): 8,000 items or
more. A full count of a large index would be expensive."""


class Length(Struct, frozen=True):
    """The number of items on a worklist (a minimum unless `is_exact`), and the oldest's time."""

    count: int = 0
    oldest: datetime | None = None
    is_exact: bool = True


def length(stack: Stack, worklist: str) -> Length:
    """Return the current length of a worklist."""
    shards = [_shard(stack, shard) for shard in items.shards(worklist)]
    return Length(
        sum(each.count for each in shards),
        min((each.oldest for each in shards if each.oldest), default=None),
        all(each.is_exact for each in shards),
    )


def _shard(stack: Stack, shard: str) -> Length:
    first = next(_pages(stack, shard, Limit=1))["Items"]
    if not first:
        return Length()
    count = 0
    for number, page in enumerate(_pages(stack, shard, Select="COUNT"), 1):
        count += page["Count"]
        if number == MAX_PAGES:
            break
    return Length(count, from_iso(first[0]["since"]["S"]), "LastEvaluatedKey" not in page)


def _pages(stack: Stack, shard: str, **how: Any) -> Iterator[Any]:
    """Yield the pages of a query for a shard's entries, oldest first; at least one page."""
    query = {
        "TableName": stack.outputs["TableName"],
        "IndexName": "worklist",
        "KeyConditionExpression": "worklist = :shard",
        "ExpressionAttributeValues": {":shard": {"S": shard}},
        **how,
    }
    dynamodb = stack.client("dynamodb")
    while True:
        page = dynamodb.query(**query)
        yield page
        if "LastEvaluatedKey" not in page:
            return
        query["ExclusiveStartKey"] = page["LastEvaluatedKey"]
