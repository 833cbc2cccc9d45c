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
from operations.products import NAMES
from operations.smoke import StepFailed
from roomkeeper.callbacks import authenticity
from roomkeeper.domain.observations import Product
from roomkeeper.store import Store, observations
from tests.support.operator_stack import BUS, AStack, Refusing
from tests.unit.conftest import Table

MARKER = "smoke-0a1b2c3d"


class Deployed:
    """A fake stack that stores a callback and publishes its event."""

    def __init__(self, table: Table, product: Product) -> None:
        self.product = product
        self.marked = smoke.MARKED[product]
        self.store = Store(table.client, table.name, event_days=9)
        self.status, self.stores, self.events_missed = 204, True, 0
        self.last_segment = "/a-token"
        self.posted: list[Any] = []

    def post(self, url: str, data: bytes, headers: Any, timeout: float) -> requests.Response:
        assert url == f"https://api.example{NAMES[self.product].path}{self.last_segment}"
        assert timeout <= 30
        self.posted.append((data, headers))
        if self.status == 204 and self.stores:
            self.store.apply(self.marked.parse(data), datetime.now(UTC))
        if len(self.posted) > self.events_missed:
            fields = json.loads(data)
            self.publish(fields.get("room_id") or fields["sessionId"])
        response = requests.Response()
        response.status_code, response._content = self.status, b"no\x1b"
        return response

    def publish(self, id_: str) -> None:
        detail = json.dumps({"data": {self.marked.id_field: id_}, "metadata": {}})
        entry: Any = {"Source": "roomkeeper", "DetailType": self.marked.event, "Detail": detail}
        entry["EventBusName"] = BUS
        boto3.client("events").put_events(Entries=[entry])


@pytest.fixture
def stack(moto: None, table: Table) -> Iterator[AStack]:
    boto3.client("events").create_event_bus(Name=BUS)
    yield AStack(table.name)
    assert boto3.client("events").list_rules(EventBusName=BUS)["Rules"] == []
    assert "QueueUrls" not in boto3.client("sqs").list_queues()
    boto3.client("events").delete_event_bus(Name=BUS)


@pytest.fixture(params=["meetings", "video"])
def product(request: pytest.FixtureRequest) -> Product:
    found: Product = request.param
    return found


@pytest.fixture
def deployed(table: Table, product: Product, monkeypatch: pytest.MonkeyPatch) -> Deployed:
    made = Deployed(table, product)
    monkeypatch.setattr(requests, "post", made.post)
    monkeypatch.setattr(smoke, "ATTEMPTS", 2)
    monkeypatch.setattr(smoke, "ATTEMPT_SECONDS", 1)
    return made


def run(stack: Any, product: Product) -> None:
    smoke.run(stack, product, MARKER)


def test_a_stack_that_works_passes_and_keeps_only_what_it_had(
    stack: AStack, deployed: Deployed, table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    deployed.store.apply(a_recording_uploaded(), datetime.now(UTC))
    before = table.items()
    run(stack, deployed.product)
    assert table.items() == before
    steps = [line[:4] for line in capsys.readouterr().out.splitlines()]
    assert steps == ["ok  "] * 6


def test_its_item_is_on_no_worklist_and_has_a_ttl(table: Table, product: Product) -> None:
    """No job processes the item, and its TTL removes it if the command is killed."""
    store = Store(table.client, table.name, event_days=9)
    marked = smoke.MARKED[product]
    callback = marked.parse(marked.body(f"{MARKER}-1"))
    assert store.apply(callback, datetime.now(UTC))
    [item] = table.items()
    assert item["pk"] == {"S": observations.key_of(callback)}
    assert "ttl" in item
    assert not {"worklist", "since", "session_id", "room_id", "used_at"} & item.keys()
    assert MARKER in item["detail"]["S"]


def test_an_event_that_a_new_rule_misses_is_followed_by_another_callback(
    stack: AStack, deployed: Deployed, table: Table
) -> None:
    deployed.events_missed = 1
    run(stack, deployed.product)
    assert len(deployed.posted) == 2
    assert table.items() == []


def test_a_rejected_callback_is_reported_with_its_response(
    stack: AStack, deployed: Deployed
) -> None:
    deployed.status = 401
    with pytest.raises(StepFailed, match=r"post a callback \(204\): the stack responded 401: no"):
        run(stack, deployed.product)


def test_a_callback_that_is_not_stored_is_named(stack: AStack, deployed: Deployed) -> None:
    deployed.stores = False
    with pytest.raises(StepFailed, match=r"find its item in the table: .*no item EVENT#"):
        run(stack, deployed.product)


def test_an_event_that_never_arrives_is_named_and_everything_removed(
    stack: AStack, deployed: Deployed, table: Table
) -> None:
    deployed.events_missed = 99
    with pytest.raises(StepFailed, match="receive its event: none arrived"):
        run(stack, deployed.product)
    assert len(deployed.posted) == smoke.ATTEMPTS
    assert table.items() == []


def test_another_rooms_event_does_not_count(stack: AStack, deployed: Deployed) -> None:
    deployed.publish = lambda id_: Deployed.publish(deployed, f"x-{id_}")  # type: ignore[method-assign]
    with pytest.raises(StepFailed, match="none arrived"):
        run(stack, deployed.product)


def test_a_missing_permission_is_named_with_its_step(stack: AStack, deployed: Deployed) -> None:
    stack._clients["dynamodb"] = Refusing()
    with pytest.raises(StepFailed, match="find its item in the table: These AWS credentials lack"):
        run(stack, deployed.product)


def test_an_unreachable_url_is_reported_without_its_token(
    stack: AStack, deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(url: str, **_options: Any) -> Any:
        raise requests.ConnectionError(f"cannot connect to {url}")

    monkeypatch.setattr(requests, "post", refuse)
    with pytest.raises(StepFailed, match=r"cannot be reached \(ConnectionError\)$"):
        run(stack, deployed.product)


def test_the_callback_is_signed_if_only_signatures_are_accepted(
    stack: AStack, deployed: Deployed, product: Product
) -> None:
    stack.parameters = {"CallbackAcceptedCredentials": "signature", "CallbackExpectedApiKey": "abc"}
    if product == "video":
        stack.secret = {"token": "a-token", "signature_secrets": ["a-signature-secret", "another"]}
    run(stack, deployed.product)
    [(body, headers)] = deployed.posted
    rules = authenticity.SignatureRules(
        max_age=timedelta(hours=25), expected_claims={"api_key": "abc"}
    )
    authenticity.require_authentic(
        body,
        token=None,
        authorization=headers["Authorization"],
        tokens=[],
        signature_secrets=["a-signature-secret"],
        rules=rules,
    )


def test_the_callback_is_signed_if_the_token_was_removed(
    stack: AStack, deployed: Deployed, product: Product
) -> None:
    stack.parameters = {"CallbackAcceptedCredentials": "token-or-signature"}
    stack.secret = {"token": "", "signature_secret": "a-signature-secret"}
    deployed.last_segment = ""
    run(stack, product)
    [(_body, headers)] = deployed.posted
    assert headers["Authorization"].startswith("Bearer ")


def test_failure_is_the_exit_code_and_one_line(
    stack: AStack,
    deployed: Deployed,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    deployed.status = 503
    monkeypatch.setattr(smoke, "deployed_stack", lambda _name: stack)
    monkeypatch.setattr("sys.argv", ["smoke", "--product", deployed.product])
    stack.parameters = {"Products": "both"}
    assert smoke.main() == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert re.match(r"FAIL post a callback \(204\): the stack responded 503: no\\x1b$", last)


def test_each_product_that_the_stack_serves_is_tested(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tested: list[str] = []
    stack = AStack()
    stack.parameters = {"Products": "both"}
    monkeypatch.setattr(smoke, "deployed_stack", lambda _name: stack)
    monkeypatch.setattr(smoke, "run", lambda _stack, product, _marker: tested.append(product))
    monkeypatch.setattr("sys.argv", ["smoke"])
    assert smoke.main() == 0
    assert tested == ["meetings", "video"]
    assert "accepts callbacks of Meetings and Video" in capsys.readouterr().out
