"""The outbox: items that each cause one event, and change no recording or session."""

import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import msgspec

from roomkeeper.domain import events
from roomkeeper.domain.recordings import Recording
from roomkeeper.store import correlation
from roomkeeper.store.items import Update, build_update, event_key
from roomkeeper.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Outbox:
    """The outbox in the table called `table`; `client` is a DynamoDB client of `roomkeeper.aws`.

    `event_days` are the days for which an item is kept.
    """

    def __init__(self, client: "DynamoDBClient", table: str, *, event_days: int) -> None:
        self._table = Table(client, table)
        self._event_time = timedelta(days=event_days)

    def republish(self, recording: Recording, now: datetime) -> str:
        """Put a recording's `recording:uploaded` into the outbox again; return its event id.

        The id is the same as the first time. The event gets the URL of `recording`.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        name = "recording:uploaded"
        data = msgspec.convert(recording, events.RecordingUploaded, from_attributes=True)
        event_id = correlation.event_id_for_recording(recording.recording_id, name)
        occurred_at = recording.uploaded_at or now
        metadata_overrides = {
            "event_id": event_id,
            "occurred_at": occurred_at,
            "origin": "management",
        }
        facts = {
            "event": name,
            "detail": msgspec.json.encode(data).decode(),
            "metadata": msgspec.json.encode(metadata_overrides).decode(),
            "received_at": now,
            "ttl": int((now + self._event_time).timestamp()),
        }
        # A new key each time: only a new outbox item causes an event.
        update = Update(key=event_key(uuid.uuid4().hex), set_if_absent=facts)
        self._table.update(**build_update(update))
        return event_id
