"""The table in memory, made from the template, and an emulated Vonage, as a pytest plugin."""

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Struct

from local.testing import sdk
from local.testing.builders import instant_retries
from local.testing.template import NAMESPACE, table_definition
from local.vonage.control import VonageControl
from local.vonage.server import served
from roomkeeper.aws import sdk as aws
from roomkeeper.callbacks.meetings import Callback, parse
from roomkeeper.store import Store
from roomkeeper.vonage import ApiKey, VonageClient

# Powertools reads these when a function is imported; every function has them from the template.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "test")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", NAMESPACE)

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
TABLE = "books"


class Books(Struct, frozen=True):
    """A store, a client of the emulated Vonage, and that one's controls."""

    store: Store
    client: VonageClient
    vonage: VonageControl
    dynamodb: Any

    def hear(self, body: bytes | dict[str, Any], at: datetime = NOW) -> Callback:
        """Apply a callback as heard at that time."""
        callback = parse(body if isinstance(body, bytes) else json_bytes(body))
        self.store.apply(callback, at)
        return callback

    def hear_all(self, bodies: list[dict[str, Any]], at: datetime = NOW, *but: str) -> None:
        """Apply callbacks except for the events that are named."""
        for body in bodies:
            if body["event"] not in but:
                self.hear(body, at)

    def item(self, key: str) -> dict[str, Any]:
        """Return an item as DynamoDB writes it."""
        item: dict[str, Any] = self.dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": key}})[
            "Item"
        ]
        return item

    def uploaded(self, count: int, at: datetime) -> list[str]:
        """Have Vonage hold recordings whose upload was heard of at that time, one a second."""
        made = self.vonage.add_recordings(count)
        for place, recording_id in enumerate(made["recording_ids"]):
            self.hear(an_upload(recording_id), at + timedelta(seconds=place))
        ids: list[str] = made["recording_ids"]
        return ids

    def left_at_vonage(self) -> set[str]:
        """Return the ids of the recordings that Vonage still has."""
        return {each["id"] for each in self.vonage.recordings() if not each["deleted"]}

    def asked(self, method: str) -> list[str]:
        """Return the paths of the requests with that method that Vonage has had."""
        return [each["path"] for each in self.vonage.requests() if each["method"] == method]


def json_bytes(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def an_upload(recording_id: str, session_id: str = "a-session") -> dict[str, Any]:
    """Return a callback that tells of an upload."""
    return {
        "event": "recording:uploaded",
        "recording_id": recording_id,
        "session_id": session_id,
        "started_at": "2026-05-01T12:00:00Z",
        "ended_at": "2026-05-01T12:00:38Z",
        "duration": 38,
        "url": "https://recordings.example/archive.mp4?Expires=1",
    }


@pytest.fixture(scope="session")
def emulator() -> Iterator[VonageControl]:
    """An emulated Vonage for the whole run."""
    with served(0, "127.0.0.1", None) as base:
        yield VonageControl(base)


@pytest.fixture
def books(emulator: VonageControl) -> Iterator[Books]:
    """An empty table and an emulated Vonage that knows nothing yet."""
    emulator.reset()
    client = VonageClient(
        emulator.api_url,
        ApiKey("key", "secret"),
        total_timeout=20.0,
        timeout=20.0,
        retry=instant_retries(),
    )
    with sdk.moto(), client:
        dynamodb = aws.dynamodb(sdk.PATIENT)
        dynamodb.create_table(TableName=TABLE, **table_definition())
        store = Store(dynamodb, TABLE, session_days=400, event_days=30, deleted_days=90)
        yield Books(store, client, emulator, dynamodb)
