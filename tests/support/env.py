"""A pytest plugin with a test environment: the template's table in moto and an emulated Vonage."""

import functools
import gc
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import botocore.session
import pytest
from hypothesis import HealthCheck, configuration, settings
from msgspec import Struct

from local.testing import sdk
from local.testing.builders import instant_retries
from local.testing.template import NAMESPACE, ROOT, table_definition
from local.vonage.control import VonageControl
from local.vonage.server import served
from roomkeeper.aws import sdk as aws
from roomkeeper.callbacks.meetings import parse
from roomkeeper.domain.observations import Observation
from roomkeeper.store import Store
from roomkeeper.vonage import ApiKey
from roomkeeper.vonage.meetings import MeetingsClient

# The duration of an example depends on the load of the machine.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tests")
configuration.set_hypothesis_home_dir(ROOT / "build/hypothesis")

# Powertools reads these when a function is imported. The template sets them for every function.
os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "test")
os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", NAMESPACE)

# moto drops boto3's session for each test. Without a common loader, the first client of each
# session would parse botocore's data again, which takes 60 ms.
_SESSIONS: Any = botocore.session
_SESSIONS.create_loader = functools.cache(_SESSIONS.create_loader)

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
TABLE = "table"


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """Let collections of garbage skip what is imported by now, a tenth of the tests' CPU time."""
    gc.collect()
    gc.freeze()


class Env(Struct, frozen=True):
    """A store, the emulated Vonage's controls, and a client of it."""

    store: Store
    client: MeetingsClient
    vonage: VonageControl
    dynamodb: Any

    def receive(self, body: bytes | dict[str, Any], at: datetime = NOW) -> Observation:
        """Store a callback as received at that time."""
        callback = parse(body if isinstance(body, bytes) else json_bytes(body))
        self.store.apply(callback, at)
        return callback

    def receive_all(self, bodies: list[dict[str, Any]], at: datetime = NOW, *but: str) -> None:
        """Store callbacks, except for the events named in `but`."""
        for body in bodies:
            if body["event"] not in but:
                self.receive(body, at)

    def item(self, key: str) -> dict[str, Any]:
        """Return an item in DynamoDB's JSON."""
        item: dict[str, Any] = self.dynamodb.get_item(TableName=TABLE, Key={"pk": {"S": key}})[
            "Item"
        ]
        return item

    def uploaded(self, count: int, at: datetime) -> list[str]:
        """Add recordings to Vonage and store their upload callbacks, one second apart; return ids.

        The first is received at `at`.
        """
        made = self.vonage.add_recordings(count)
        for index, recording_id in enumerate(made["recording_ids"]):
            self.receive(an_upload(recording_id), at + timedelta(seconds=index))
        ids: list[str] = made["recording_ids"]
        return ids

    def left_at_vonage(self) -> set[str]:
        """Return the ids of the recordings that Vonage still has."""
        return {each["id"] for each in self.vonage.recordings() if not each["deleted"]}

    def requested(self, method: str) -> list[str]:
        """Return the paths of the requests with that method that Vonage received."""
        return [each["path"] for each in self.vonage.requests() if each["method"] == method]


def json_bytes(body: dict[str, Any]) -> bytes:
    return json.dumps(body).encode()


def an_upload(recording_id: str, session_id: str = "a-session") -> dict[str, Any]:
    """Return the body of a `recording:uploaded` callback."""
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
    """One emulated Vonage for the whole test run."""
    with served(0, "127.0.0.1", None) as base:
        yield VonageControl(base)


def a_client(emulator: VonageControl) -> MeetingsClient:
    """Return a client of the emulated Vonage whose retries take no time."""
    return MeetingsClient(
        emulator.api_url,
        ApiKey("key", "secret"),
        total_timeout=20.0,
        timeout=20.0,
        retry=instant_retries(),
    )


@pytest.fixture(scope="session")
def dynamodb_client() -> Any:
    """A client for all tests: making one takes longer than most tests. Its calls need moto."""
    with sdk.moto():
        return aws.dynamodb(sdk.LONG_TIMEOUT)


@pytest.fixture
def env(emulator: VonageControl, dynamodb_client: Any) -> Iterator[Env]:
    """An empty table and an emulated Vonage without rooms or recordings."""
    emulator.reset()
    client = a_client(emulator)
    with sdk.moto(), client:
        dynamodb_client.create_table(TableName=TABLE, **table_definition())
        store = Store(dynamodb_client, TABLE, session_days=400, event_days=30, deleted_days=90)
        yield Env(store, client, emulator, dynamodb_client)
