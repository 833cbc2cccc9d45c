"""The progress of scans of Vonage's lists of recordings."""

from typing import TYPE_CHECKING

from roomkeeper.domain.observations import Product
from roomkeeper.store.items import CHECKPOINT, serialize
from roomkeeper.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class ScanStore:
    """The position of the scan of each product's list of all recordings.

    `client` is a DynamoDB client of `roomkeeper.aws`, `table` the table's name. Every method raises
    StoreUnavailable if DynamoDB cannot be reached, or refuses the call.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def position(self, product: Product) -> int:
        """Return the position where an interrupted scan continues; 0 is the start of the list."""
        item = self._table.get(_key(product)) or {}
        return int(item.get("next_position", 0))

    def save(self, product: Product, position: int) -> None:
        """Save the position where the next run continues; 0 is the start of the list."""
        self._table.update(
            _key(product),
            "SET next_position = :position",
            "attribute_not_exists(next_position) OR next_position <> :position",
            ExpressionAttributeValues={":position": serialize(position)},
        )


def _key(product: Product) -> str:
    return f"{CHECKPOINT}recordings#{product}"
