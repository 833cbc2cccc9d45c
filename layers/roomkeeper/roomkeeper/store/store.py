"""The parts of the table that callbacks change and that jobs work on."""

from datetime import datetime
from typing import TYPE_CHECKING

from roomkeeper.domain.observations import Observation, RecordingObservation, SessionObservation
from roomkeeper.store.outbox import Outbox
from roomkeeper.store.recordings import RecordingStore
from roomkeeper.store.scans import ScanStore
from roomkeeper.store.sessions import SessionStore
from roomkeeper.store.worklists import Worklists

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Store:
    """The table's recordings, sessions, outbox, worklists and scans, each an object of its own.

    Args:
        client: a DynamoDB client of `roomkeeper.aws`.
        table: the table's name.
        session_days: the days for which a session's item is kept.
        event_days: the days for which an outbox item is kept, to detect repeated callbacks.
        deleted_days: the days for which a recording's item is kept once the recording is deleted,
            failed, expired, missing at Vonage, or marked as never uploaded.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        session_days: int = 0,
        event_days: int = 0,
        deleted_days: int = 0,
    ) -> None:
        self.recordings = RecordingStore(client, table, deleted_days=deleted_days)
        self.sessions = SessionStore(client, table, session_days=session_days)
        self.outbox = Outbox(client, table, event_days=event_days)
        self.worklists = Worklists(client, table)
        self.scans = ScanStore(client, table)

    def apply(self, observation: Observation, now: datetime) -> bool:
        """Write a callback's observation, received at `now`; return False if it changes nothing.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown; the sender should retry.
        """
        if isinstance(observation, RecordingObservation):
            return self.recordings.apply(observation, now)
        if isinstance(observation, SessionObservation):
            return self.sessions.apply(observation, now)
        return self.outbox.add(observation, now)
