"""DynamoDB as the store uses it: a few operations on one table, failing in one way."""

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from roomkeeper.aws import AwsError, RetryPolicy
from roomkeeper.errors import RoomkeeperError
from roomkeeper.store.items import deserialize, key_of

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

_BATCH_GET_LIMIT = 100
_BATCH_GET_TRIES = 5
_BATCH_GET_PAUSE = 0.05
"""Half of what the first pause takes at most, in seconds; it doubles with every further one."""

_CONDITION_FAILED = "ConditionalCheckFailedException"

RETRY = RetryPolicy(max_attempts=3, timeout=2)
"""Of one operation, in the callback intake and the publisher."""

SHORT_RETRY = RetryPolicy(max_attempts=2, timeout=2)
"""Of one operation, where several in a row must end within an HTTP request's time."""


class StoreUnavailable(RoomkeeperError):
    """DynamoDB could not be reached or refused the call; whoever asked may try again."""


class Table:
    """The table called `name`. Every method raises StoreUnavailable when DynamoDB fails it."""

    def __init__(
        self, client: "DynamoDBClient", name: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._name = name
        self._sleep = sleep

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the item under `key` as it is now; None when there is none."""
        answer = self._ask(self._client.get_item, Key=key_of(key), ConsistentRead=True)
        return deserialize(answer["Item"]) if "Item" in answer else None

    def get_all(self, keys: Iterable[str], **how: Any) -> Iterator[dict[str, Any]]:
        """Yield the items that there are under `keys`, in no order; `how` as in BatchGetItem."""
        wanted = sorted(set(keys))
        for start in range(0, len(wanted), _BATCH_GET_LIMIT):
            yield from self._get_batch(wanted[start : start + _BATCH_GET_LIMIT], how)

    def pages(self, index: str, condition: str, **query: Any) -> Iterator[dict[str, Any]]:
        """Yield the pages of a query on an index, each read when it is wanted."""
        more: dict[str, Any] = {}
        while True:
            page = self._ask(
                self._client.query,
                IndexName=index,
                KeyConditionExpression=condition,
                **query,
                **more,
            )
            yield page
            if "LastEvaluatedKey" not in page:
                return
            more = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    def update(self, key: str, update: str, condition: str, **terms: Any) -> bool:
        """Change the item under `key`; return whether `condition` held."""
        return self._holds(
            self._client.update_item,
            Key=key_of(key),
            UpdateExpression=update,
            ConditionExpression=condition,
            **terms,
        )

    def put(self, key: str, item: Mapping[str, Any], **condition: Any) -> bool:
        """Put `item`, in DynamoDB's types, under `key`; return whether the condition held."""
        return self._holds(self._client.put_item, Item={**key_of(key), **item}, **condition)

    def delete(self, key: str, **condition: Any) -> bool:
        """Delete the item under `key`; return whether the condition held."""
        return self._holds(self._client.delete_item, Key=key_of(key), **condition)

    def _get_batch(self, keys: Sequence[str], how: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        pending: Any = {self._name: {"Keys": [key_of(key) for key in keys], **how}}
        for tried in range(_BATCH_GET_TRIES):
            if tried:
                self._sleep(random.uniform(0, _BATCH_GET_PAUSE * 2**tried))  # noqa: S311 - jitter
            answer = _answer(self._client.batch_get_item, RequestItems=pending)
            yield from map(deserialize, answer["Responses"].get(self._name, []))
            pending = answer["UnprocessedKeys"]
            if not pending:
                return
        raise StoreUnavailable("DynamoDB left items unread five times in a row: it throttles.")

    def _holds(self, operation: Callable[..., Any], **arguments: Any) -> bool:
        try:
            self._ask(operation, **arguments)
        except AwsError:  # the failed condition, which `_answer` lets through
            return False
        return True

    def _ask(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        return _answer(operation, TableName=self._name, **arguments)


def _answer(operation: Callable[..., Any], **arguments: Any) -> Any:
    try:
        return operation(**arguments)
    except AwsError as exc:
        if exc.code == _CONDITION_FAILED:
            raise
        raise StoreUnavailable(f"DynamoDB did not do as asked: {exc}") from exc
