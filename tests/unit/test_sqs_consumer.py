"""The example of a queue's consumer: its totals, and how long it keeps event ids."""

import importlib.util
import json
import re
import tomllib
import uuid
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import boto3
import pytest
from moto import mock_aws

from local.testing.builders import sample
from local.testing.template import ROOT
from operations import sam
from operations.template import parameters

FILE = ROOT / "examples/sqs_consumer/consumer/app.py"
RETENTION = "EventArchiveRetentionDays"


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The consumer's module, with a table."""
    monkeypatch.setenv("TABLE_NAME", "totals")
    with mock_aws():
        boto3.client("dynamodb").create_table(
            TableName="totals",
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "pk", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}],
        )
        spec = importlib.util.spec_from_file_location("consumer", FILE)
        assert spec
        assert spec.loader
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def an_event(**data: Any) -> dict[str, Any]:
    """Return a `recording:uploaded` of the Video API with another id and these fields changed."""
    event = sample("published/recording-uploaded.json")
    event["detail"]["metadata"]["event_id"] = str(uuid.uuid4())
    event["detail"]["data"] |= data
    return event


def consume(consumer: ModuleType, *events: dict[str, Any]) -> None:
    messages = [{"messageId": str(uuid.uuid4()), "body": json.dumps(each)} for each in events]
    assert consumer.handler({"Records": messages}, None) == {"batchItemFailures": []}


def totals() -> dict[str, int]:
    """Return the recorded seconds by the key of their item."""
    items = boto3.client("dynamodb").scan(TableName="totals")["Items"]
    return {item["pk"]["S"]: int(item["seconds"]["N"]) for item in items if "seconds" in item}


def test_each_session_has_its_own_total_whether_it_has_a_room_or_not(consumer: ModuleType) -> None:
    in_room = {"product": "meetings", "session_id": "a", "room_id": "room"}
    one, more = an_event(session_id="b", duration=10), an_event(session_id="b", duration=5)
    consume(consumer, an_event(duration=38, **in_room), one, more)
    assert totals() == {"SESSION#a": 38, "SESSION#b": 15}


def test_a_repeated_event_counts_once(consumer: ModuleType) -> None:
    event = an_event(session_id="a", duration=38)
    consume(consumer, event, event)
    assert totals() == {"SESSION#a": 38}


def test_event_ids_outlive_the_archive_of_every_environment() -> None:
    [days] = re.findall(r"^ID_RETENTION = (\d+) \* 24 \* 3600$", FILE.read_text(), re.MULTILINE)
    described = tomllib.loads((ROOT / "samconfig.toml").read_text())
    names = [name for name in described if name != "version"]
    chosen = [sam.environment(name).parameters.get(RETENTION, "0") for name in names]
    assert int(days) > max(map(int, [parameters()[RETENTION].default, *chosen]))
