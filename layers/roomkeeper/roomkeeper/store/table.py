"""The DynamoDB operations that the store uses, on one table, with one exception for failures."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from roomkeeper.aws import AwsError
from roomkeeper.errors import RoomkeeperError
from roomkeeper.store.items import deserialize, key_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH_GET_LIMIT = 100
_BATCH_GET_ATTEMPTS = 5
_BATCH_GET_DELAY = 0.05
"""Half of the maximum delay before the second attempt, in seconds; it doubles with each attempt."""


class StoreUnavailable(RoomkeeperError):
    """DynamoDB could not be reached, or it refused the call; a later attempt may succeed."""


class Table:
    """The table called `name`. Every method raises StoreUnavailable if DynamoDB fails."""

    def __init__(
        self, client: "DynamoDBClient", name: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._name = name
        self._sleep = sleep

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the item under `key` by a consistent read; None if there is none."""
        response = _read(
            self._client.get_item, TableName=self._name, Key=key_of(key), ConsistentRead=True
        )
        return deserialize(response["Item"]) if "Item" in response else None

    def get_all(self, keys: Iterable[str], **options: Any) -> Iterator[dict[str, Any]]:
        """Yield the existing items under `keys`, in no order; `options` are BatchGetItem's."""
        unique = sorted(set(keys))
        for start in range(0, len(unique), _BATCH_GET_LIMIT):
            yield from self._get_batch(unique[start : start + _BATCH_GET_LIMIT], options)

    def pages(self, index: str, condition: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield the pages of a query on an index; each is read only when it is needed."""
        next_page: dict[str, Any] = {}
        while True:
            page = _read(
                self._client.query,
                TableName=self._name,
                IndexName=index,
                KeyConditionExpression=condition,
                **query,
                **next_page,
            )
            yield page
            if "LastEvaluatedKey" not in page:
                return
            next_page = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def update(self, key: str, update: str, condition: str, **arguments: Any) -> bool:
        """Update the item under `key`; return False if `condition` is not met."""
        return self._write(
            self._client.update_item,
            Key=key_of(key),
            UpdateExpression=update,
            ConditionExpression=condition,
            **arguments,
        )

    def put(self, key: str, item: Mapping[str, Any], **condition: Any) -> bool:
        """Put `item`, serialized, under `key`; return False if the condition is not met."""
        return self._write(self._client.put_item, Item={**key_of(key), **item}, **condition)

    def delete(self, key: str, **condition: Any) -> bool:
        """Delete the item under `key`; return False if the condition is not met."""
        return self._write(self._client.delete_item, Key=key_of(key), **condition)

    def _write(self, operation: Callable[..., Any], **arguments: Any) -> bool:
        """Make a write; return False if its condition is not met, so that nothing is written."""
        try:
            operation(TableName=self._name, **arguments)
        except AwsError as exc:
            if exc.code == "ConditionalCheckFailedException":
                return False
            raise _unavailable(exc) from exc
        return True

    def _get_batch(
        self, keys: Sequence[str], options: Mapping[str, Any]
    ) -> Iterator[dict[str, Any]]:
        pending: Any = {self._name: {"Keys": [key_of(key) for key in keys], **options}}
        for attempt in range(_BATCH_GET_ATTEMPTS):
            if attempt:
                self._sleep(random.uniform(0, _BATCH_GET_DELAY * 2**attempt))  # noqa: S311 - jitter
            response = _read(self._client.batch_get_item, RequestItems=pending)
            yield from map(deserialize, response["Responses"].get(self._name, []))
            pending = response["UnprocessedKeys"]
            if not pending:
                return
        raise StoreUnavailable(
            f"DynamoDB throttles: it left items unread in {_BATCH_GET_ATTEMPTS} attempts."
        )


def _read(operation: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return operation(**arguments)
    except AwsError as exc:
        raise _unavailable(exc) from exc


def _unavailable(cause: AwsError) -> StoreUnavailable:
    return StoreUnavailable(f"A call to DynamoDB failed: {cause}")
