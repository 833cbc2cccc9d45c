"""`make smoke` checks a stack, names the failed step, and removes everything it created."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
import requests

from local.testing.builders import a_recording_uploaded
from operations import smoke
from operations.smoke import StepFailed
from roomkeeper.callbacks import authenticity, meetings
from roomkeeper.store import Store
from tests.support.operator_stack import BUS, AStack, Refusing
from tests.unit.conftest import Table

MARKER = "smoke-0a1b2c3d"


class Deployed:
    """A fake stack that stores a callback and publishes its event."""

    def __init__(self, table: Table) -> None:
        self.store = Store(table.client, table.name, event_days=9)
        self.status, self.stores, self.events_missed = 204, True, 0
        self.posted: list[Any] = []

    def post(self, url: str, data: bytes, headers: Any, timeout: float) -> requests.Response:
        assert url == "https://api.example/callbacks/a-token"
        assert timeout <= 30
        self.posted.append((data, headers))
        if self.status == 204 and self.stores:
            self.store.apply(meetings.parse(data), datetime.now(UTC))
        if len(self.posted) > self.events_missed:
            self.publish(json.loads(data)["room_id"])
        response = requests.Response()
        response.status_code, response._content = self.status, b"no\x1b"
        return response

    def publish(self, room_id: str) -> None:
        detail = json.dumps({"data": {"room_id": room_id}, "metadata": {}})
        entry: Any = {"Source": "roomkeeper", "DetailType": "room:expired", "Detail": detail}
        entry["EventBusName"] = BUS
        boto3.client("events").put_events(Entries=[entry])


@pytest.fixture
def stack(moto: None, table: Table) -> Iterator[AStack]:
    boto3.client("events").create_event_bus(Name=BUS)
    yield AStack(table.name)
    assert boto3.client("events").list_rules(EventBusName=BUS)["Rules"] == []
    assert "QueueUrls" not in boto3.client("sqs").list_queues()
    boto3.client("events").delete_event_bus(Name=BUS)


@pytest.fixture
def deployed(table: Table, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    made = Deployed(table)
    monkeypatch.setattr(requests, "post", made.post)
    monkeypatch.setattr(smoke, "ATTEMPT_SECONDS", 1)
    return made


def run(stack: Any) -> None:
    smoke.run(stack, MARKER)


def test_a_stack_that_works_passes_and_keeps_only_what_it_had(
    stack: AStack, deployed: Deployed, table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.store.apply(a_recording_uploaded(), datetime.now(UTC))
    before = table.items()
    run(stack)
    assert table.items() == before
    steps = [line[:4] for line in capsys.readouterr().out.splitlines()]
    assert steps == ["ok  "] * 6


def test_its_item_is_on_no_worklist_and_has_a_ttl(table: Table) -> None:
    """No job processes the item, and its TTL removes it if the command is killed."""
    store = Store(table.client, table.name, event_days=9)
    body = smoke.callback_body(f"{MARKER}-1")
    assert store.apply(meetings.parse(body), datetime.now(UTC))
    [item] = table.items()
    assert item["pk"] == {"S": smoke.key_of(body)}
    assert "ttl" in item
    assert not {"worklist", "since", "session_id", "room_id", "used_at"} & item.keys()
    assert MARKER in item["detail"]["S"]


def test_an_event_that_a_new_rule_misses_is_followed_by_another_callback(
    stack: AStack, deployed: Deployed, table: Table
) -> None:
    deployed.events_missed = 2
    run(stack)
    assert len(deployed.posted) == 3
    assert table.items() == []


def test_a_rejected_callback_is_reported_with_its_response(
    stack: AStack, deployed: Deployed
) -> None:
    deployed.status = 401
    with pytest.raises(StepFailed, match=r"post a callback \(204\): the stack responded 401: no"):
        run(stack)


def test_a_callback_that_is_not_stored_is_named(stack: AStack, deployed: Deployed) -> None:
    deployed.stores = False
    with pytest.raises(StepFailed, match=r"find its item in the table: .*no item EVENT#"):
        run(stack)


def test_an_event_that_never_arrives_is_named_and_everything_removed(
    stack: AStack, deployed: Deployed, table: Table
) -> None:
    deployed.events_missed = 99
    with pytest.raises(StepFailed, match="receive its event: none arrived"):
        run(stack)
    assert len(deployed.posted) == smoke.ATTEMPTS
    assert table.items() == []


def test_another_rooms_event_does_not_count(stack: AStack, deployed: Deployed) -> None:
    deployed.publish = lambda room_id: Deployed.publish(deployed, f"x-{room_id}")  # type: ignore[method-assign]
    with pytest.raises(StepFailed, match="none arrived"):
        run(stack)


def test_a_missing_permission_is_named_with_its_step(stack: AStack, deployed: Deployed) -> None:
    stack._clients["dynamodb"] = Refusing()
    with pytest.raises(StepFailed, match="find its item in the table: These AWS credentials lack"):
        run(stack)


def test_an_unreachable_url_is_reported_without_its_token(
    stack: AStack, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str, **_options: Any) -> Any:
        raise requests.ConnectionError(f"cannot connect to {url}")

    monkeypatch.setattr(requests, "post", refuse)
    with pytest.raises(StepFailed, match=r"cannot be reached \(ConnectionError\)$"):
        run(stack)


def test_where_signatures_alone_let_in_the_callback_is_signed(
    stack: AStack, deployed: Deployed
) -> None:
    stack.parameters = {"CallbackAcceptedCredentials": "signature", "CallbackExpectedApiKey": "abc"}
    run(stack)
    [(body, headers)] = deployed.posted
    rules = authenticity.SignatureRules(
        max_age=timedelta(hours=25), expected_claims={"api_key": "abc"}
    )
    authenticity.require_authentic(
        body,
        token=None,
        authorization=headers["Authorization"],
        tokens=[],
        signature_secrets=[stack.secret["signature_secret"]],
        rules=rules,
    )


def test_failure_is_the_exit_code_and_one_line(
    stack: AStack,
    deployed: Deployed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    deployed.status = 503
    monkeypatch.setattr(smoke, "deployed_stack", lambda _name: stack)
    monkeypatch.setattr("sys.argv", ["smoke"])
    assert smoke.main() == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.match(r"FAIL post a callback \(204\): the stack responded 503: no\\x1b$", last)
