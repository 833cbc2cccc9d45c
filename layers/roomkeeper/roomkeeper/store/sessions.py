"""The sessions of the Meetings API in the table."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from roomkeeper.store.items import SESSION
from roomkeeper.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class SessionStore:
    """The sessions in the table called `table`.

    `client` is a DynamoDB client of `roomkeeper.aws`.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def room_ids(self, session_ids: Iterable[str]) -> dict[str, str]:
        """Return the room id of each session that is in the table, by session id.

        A corrupt item is left out: it must not block the events of its recordings.

        Raises:
            StoreUnavailable: not all items could be read.
        """
        items = self._table.get_all(
            (SESSION + id_ for id_ in session_ids),
            ProjectionExpression="pk, room_id",
            ConsistentRead=True,  # otherwise the room of a session written just now is missed
        )
        return {
            item["pk"].removeprefix(SESSION): item["room_id"]
            for item in items
            if isinstance(item.get("room_id"), str)
        }
