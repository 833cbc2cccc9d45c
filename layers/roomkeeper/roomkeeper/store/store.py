"""The parts of the table that callbacks change and that jobs work on."""

from typing import TYPE_CHECKING

from roomkeeper.store.copies import CopyStore
from roomkeeper.store.observations import CallbackStore
from roomkeeper.store.outbox import Outbox
from roomkeeper.store.recordings import RecordingStore
from roomkeeper.store.scans import ScanStore
from roomkeeper.store.sessions import SessionStore
from roomkeeper.store.worklists import Worklists

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Store(CallbackStore):
    """The table's recordings, copies, sessions, outbox, worklists and scans, an object each.

    It also writes the observations of callbacks; the arguments are those of CallbackStore.
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
        super().__init__(
            client,
            table,
            session_days=session_days,
            event_days=event_days,
            deleted_days=deleted_days,
            copies=copies,
        )
        self.recordings = RecordingStore(client, table, deleted_days=deleted_days, copies=copies)
        self.copies = CopyStore(client, table)
        self.sessions = SessionStore(client, table)
        self.outbox = Outbox(client, table, event_days=event_days)
        self.worklists = Worklists(client, table)
        self.scans = ScanStore(client, table)
