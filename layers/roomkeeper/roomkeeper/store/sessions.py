"""The sessions of the Meetings API in the table."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from roomkeeper.domain.observations import SessionObservation
from roomkeeper.store import updates
from roomkeeper.store.items import SESSION, build_update
from roomkeeper.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class SessionStore:
    """The sessions in the table called `table`; `client` is a DynamoDB client of `roomkeeper.aws`.

    `session_days` are the days for which a session's item is kept.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, session_days: int = 0) -> None:
        self._table = Table(client, table)
        self._session_time = timedelta(days=session_days)

    def apply(self, observation: SessionObservation, now: datetime) -> bool:
        """Write a callback's observation, received at `now`; return False if it changes nothing.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown; the sender should retry.
        """
        update = updates.session_update(observation, now, now + self._session_time)
        return self._table.update(**build_update(update))

    def room_ids(self, session_ids: Iterable[str]) -> dict[str, str]:
        """Return the room id of each session that is in the table, by session id.

        Raises:
            StoreUnavailable: not all items could be read.
        """
        items = self._table.get_all(
            (SESSION + id_ for id_ in session_ids),
            ProjectionExpression="session_id, room_id",
            ConsistentRead=True,  # otherwise the room of a session written just now is missed
        )
        return {item["session_id"]: item["room_id"] for item in items}
