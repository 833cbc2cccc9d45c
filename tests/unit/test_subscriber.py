"""A command's subscription leaves nothing behind, and `make events` prints its events."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError

from operations import events, subscriber
from operations.subscriber import Subscriber
from tests.support.operator_stack import BUS, AStack, Refusing

EVENT = {
    "source": "roomkeeper",
    "time": "2026-11-25T10:11:12Z",
    "detail-type": "recording:uploaded",
    "detail": {
        "data": {
            "session_id": "s\x1b[2J",
            "recording_id": "r",
            "url": "https://files.example/r.mp4?signature=secret",
        },
        "metadata": {"event_id": "e"},
    },
}


@pytest.fixture(autouse=True)
def _ctrl_c_is_not_ignored() -> Iterator[None]:
    """A shell starts background jobs with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def stack(moto: None) -> Iterator[AStack]:
    bus = boto3.client("events")
    bus.create_event_bus(Name=BUS)
    yield AStack()
    bus.delete_event_bus(Name=BUS)


def left() -> list[str]:
    """Return the names of all rules and queues."""
    rules = boto3.client("events").list_rules(EventBusName=BUS)["Rules"]
    queues = boto3.client("sqs").list_queues().get("QueueUrls", [])
    return [rule["Name"] for rule in rules] + queues


def publish(count: int = 1) -> None:
    entry = {
        "EventBusName": BUS,
        "Source": "roomkeeper",
        "DetailType": EVENT["detail-type"],
        "Detail": json.dumps(EVENT["detail"]),
    }
    if count:
        boto3.client("events").put_events(Entries=[entry] * count)  # type: ignore[list-item]


def run(monkeypatch: pytest.MonkeyPatch, stack: AStack, *arguments: str, published: int = 0) -> int:
    """Run `make events` and publish this many events once it listens."""
    create = Subscriber.__init__

    def create_and_publish(self: Subscriber, *given: Any) -> None:
        create(self, *given)
        publish(published)

    monkeypatch.setattr(Subscriber, "__init__", create_and_publish)
    monkeypatch.setattr(events, "deployed_stack", lambda _name: stack)
    monkeypatch.setattr(sys, "argv", ["events", *arguments])
    return events.main()


def test_it_has_a_recognizable_name_and_is_deleted_at_the_end(stack: AStack) -> None:
    with subscriber.temporary(stack, "events") as made:  # type: ignore[arg-type]
        assert made.name.startswith("make-events-")
        rule, queue = left()
        assert rule == queue.rpartition("/")[2] == made.name
    assert left() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(stack: AStack, number: signal.Signals) -> None:
    with (
        pytest.raises((KeyboardInterrupt, SystemExit)),
        subscriber.temporary(stack, "events"),  # type: ignore[arg-type]
    ):
        os.kill(os.getpid(), number)
    assert left() == []


def test_a_second_ctrl_c_does_not_interrupt_the_removal(
    stack: AStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = Subscriber.close

    def interrupted_close(self: Subscriber) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        close(self)

    monkeypatch.setattr(Subscriber, "close", interrupted_close)
    with pytest.raises(KeyboardInterrupt), subscriber.temporary(stack, "events"):  # type: ignore[arg-type]
        os.kill(os.getpid(), signal.SIGINT)
    assert left() == []


@pytest.mark.parametrize("operation", ["put_rule", "put_targets"])
def test_a_partly_failed_subscription_leaves_nothing_behind(stack: AStack, operation: str) -> None:
    class Half:
        """EventBridge that rejects one operation."""

        def __getattr__(self, name: str) -> Any:
            return getattr(Refusing() if name == operation else boto3.client("events"), name)

    stack._clients["events"] = Half()
    with pytest.raises(ClientError, match="AccessDenied"):
        Subscriber(stack, "make-events-x")  # type: ignore[arg-type]
    assert left() == []


def test_events_are_printed_one_a_line_without_control_characters_or_secrets(
    stack: AStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, stack, "--count", "2", published=3) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first[8:] == r" recording:uploaded recording_id=r session_id=s\x1b[2J"
    assert second[8:] == first[8:]
    assert left() == []


def test_complete_events_are_json_without_url_signatures(
    stack: AStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, stack, "--count", "1", "--json", published=1) == 0
    [text] = capsys.readouterr().out.splitlines()
    event = json.loads(text)
    assert event["detail"]["data"]["session_id"] == "s\x1b[2J"
    assert event["detail"]["data"]["url"] == "https://files.example/r.mp4?..."
    assert event["detail"]["metadata"] == {"event_id": "e"}


def test_a_product_limits_the_rule_to_its_events(
    stack: AStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    patterns = []

    def keep_pattern(_self: Any, *_args: Any) -> Any:
        [rule] = boto3.client("events").list_rules(EventBusName=BUS)["Rules"]
        patterns.append(json.loads(rule["EventPattern"]))
        raise KeyboardInterrupt

    monkeypatch.setattr(Subscriber, "wait_for", keep_pattern)
    run(monkeypatch, stack)
    run(monkeypatch, stack, "--product", "video")
    everything = {"source": ["roomkeeper"]}
    assert patterns == [everything, everything | {"detail": {"data": {"product": ["video"]}}}]


def test_too_few_events_in_time_are_an_error(
    stack: AStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, stack, "--count", "2", "--seconds", "1", published=1) == 1
    assert "1 of 2 events arrived within 1 seconds." in capsys.readouterr().err
    assert left() == []


def test_no_event_in_the_given_time_is_said_and_no_error(
    stack: AStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, stack, "--seconds", "1") == 0
    assert "0 events arrived within 1 seconds." in capsys.readouterr().err


def test_ctrl_c_is_how_listening_ends(
    stack: AStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_args: Any, **_options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(Subscriber, "wait_for", interrupt)
    assert run(monkeypatch, stack) == 0
    assert "The rule and the queue are deleted." in capsys.readouterr().err
    assert left() == []


@pytest.mark.parametrize("value", ["0", "-1", "many", "1.5"])
def test_invalid_counts_are_rejected_before_anything_is_created(
    stack: AStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, stack, f"--count={value}")
    assert "is not a whole number greater than 0" in capsys.readouterr().err
