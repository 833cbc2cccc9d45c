"""The single write that stores a callback."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from roomkeeper.domain.observations import Observation, RecordingObservation, SessionObservation
from roomkeeper.store import updates
from roomkeeper.store.items import Update, build_update
from roomkeeper.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class CallbackStore:
    """Writes what callbacks report.

    Args:
        client: a DynamoDB client of `roomkeeper.aws`.
        table: the table's name.
        session_days: the days for which a session's item is kept.
        event_days: the days for which an outbox item is kept, to detect repeated callbacks.
        deleted_days: the days for which a recording's item is kept once the recording is deleted,
            failed, expired, missing at Vonage, or marked as never uploaded.
        copies: whether recordings are copied, so that uploaded ones await their copy.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        session_days: int = 0,
        event_days: int = 0,
        deleted_days: int = 0,
        copies: bool = False,
    ) -> None:
        self._table = Table(client, table)
        self._session_time = timedelta(days=session_days)
        self._event_time = timedelta(days=event_days)
        self._deleted_time = timedelta(days=deleted_days)
        self._copies = copies

    def apply(self, observation: Observation, now: datetime) -> bool:
        """Write a callback's observation, received at `now`; return False if it changes nothing.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown; the sender should retry.
        """
        return self._table.update(**build_update(self._update(observation, now)))

    def _update(self, observation: Observation, now: datetime) -> Update:
        if isinstance(observation, RecordingObservation):
            ttl = int((now + self._deleted_time).timestamp())
            return updates.recording_update(observation, now, ttl, copies=self._copies)
        if isinstance(observation, SessionObservation):
            return updates.session_update(observation, now, now + self._session_time)
        return updates.outbox_update(observation, now, now + self._event_time)
