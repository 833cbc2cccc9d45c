"""`make logs` prints every function's lines in order, one line each, safe to print."""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest

from operations import logs
from operations.stack import StackError
from tests.support.operator_stack import AStack, Refusing


class EndOfTestError(Exception):
    """Raised by a test's own sleep, to end an endless loop."""


GROUPS = {"EventPublisherLogs": "a-publisher", "CallbackIntakeLogs": "a-intake"}
NOW = datetime.now(UTC)


@pytest.fixture
def stack(moto: None) -> Iterator[AStack]:
    made = AStack()
    made.resources["AWS::Lambda::Function"] = {"EventPublisher": "f1", "CallbackIntake": "f2"}
    made.resources["AWS::Logs::LogGroup"] = {**GROUPS, "HttpApiAccessLogs": "an-access-log"}
    client = boto3.client("logs")
    for group in GROUPS.values():
        client.create_log_group(logGroupName=group)
        client.create_log_stream(logGroupName=group, logStreamName="one")
    yield made
    for group in GROUPS.values():
        client.delete_log_group(logGroupName=group)


def log(group: str, *texts: str, ago: float = 60) -> None:
    at = int((datetime.now(UTC) - timedelta(seconds=ago)).timestamp() * 1000)
    boto3.client("logs").put_log_events(
        logGroupName=group,
        logStreamName="one",
        logEvents=[{"timestamp": at + index, "message": text} for index, text in enumerate(texts)],
    )


def read(stack: Any, function: str = "", minutes: float = 10) -> list[str]:
    return list(logs.lines(stack, function, datetime.now(UTC) - timedelta(minutes=minutes)))


def test_lines_of_all_functions_are_printed_in_order_of_time(stack: AStack) -> None:
    log("a-intake", "second", ago=50)
    log("a-publisher", "first", "next", ago=60)
    log("a-publisher", "third", ago=40)
    shown = [line[9:] for line in read(stack)]
    assert shown == [
        "event_publisher first",
        "event_publisher next",
        "callback_intake second",
        "event_publisher third",
    ]


def test_lines_are_in_the_order_of_their_own_timestamps(stack: AStack) -> None:
    def line(message: str, ago: int) -> str:
        at = (NOW - timedelta(seconds=ago)).isoformat()
        return json.dumps({"message": message, "timestamp": at, "service": "s"})

    log("a-intake", line("second", ago=20), ago=10)
    log("a-publisher", line("first", ago=30), ago=9)
    assert [line[9:] for line in read(stack)] == [
        "event_publisher first",
        "callback_intake second",
    ]


def test_a_structured_line_is_printed_with_its_message_and_own_fields(stack: AStack) -> None:
    line = {
        "level": "WARNING",
        "location": "handler:41",
        "message": "callback refused",
        "timestamp": "2026-11-25T10:00:00.000+00:00",
        "service": "callback_intake",
        "function_request_id": "a-request",
        "reason": "wrong_token",
        "count": 3,
        "event": "x:y",
    }
    log("a-intake", json.dumps(line))
    [printed] = read(stack)
    assert (
        printed[9:]
        == "callback_intake WARNING callback refused event=x:y count=3 reason=wrong_token"
    )


def test_lines_of_lambda_and_metrics_are_left_out_except_failures(stack: AStack) -> None:
    log(
        "a-intake",
        "START RequestId: x Version: $LATEST\n",
        json.dumps({"_aws": {"Timestamp": 1}, "CallbackAccepted": [1]}),
        "Task timed out after 25.00 seconds\n",
        "END RequestId: x\n",
        "REPORT RequestId: x Duration: 1 ms\n",
    )
    assert [line[9:] for line in read(stack)] == [
        "callback_intake Task timed out after 25.00 seconds"
    ]


def test_each_line_is_one_line_without_control_characters_or_secrets(stack: AStack) -> None:
    at = datetime.now(UTC).isoformat()
    fields = {"message": "a\nb", "timestamp": at, "url": "https://files.example/x?signature=secret"}
    log("a-intake", "Traceback\n  File \x1b[2J", json.dumps(fields))
    first, second = read(stack)
    assert first.endswith(r"Traceback\n  File \x1b[2J")
    assert second.endswith(r"a\nb url=https://files.example/x?...")


@pytest.mark.parametrize("name", ["EventPublisher", "event_publisher", "event-publisher"])
def test_one_function_is_chosen_by_its_name(stack: AStack, name: str) -> None:
    log("a-intake", "of another")
    log("a-publisher", "its own")
    assert [line[9:] for line in read(stack, name)] == ["event_publisher its own"]


def test_a_function_that_there_is_not_is_named_with_those_that_there_are(stack: AStack) -> None:
    with pytest.raises(StackError, match=r"no function nobody.*callback_intake, event_publisher"):
        read(stack, "nobody")


def test_older_lines_are_left_out(stack: AStack) -> None:
    log("a-intake", "old", ago=700)
    log("a-intake", "new", ago=500)
    assert [line[-3:] for line in read(stack)] == ["new"]


def test_following_prints_late_lines_and_each_line_once(
    stack: AStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    log("a-intake", "first", ago=10)

    def sleep(_seconds: float) -> None:
        log("a-intake", "late", ago=20)
        monkeypatch.setattr(time, "sleep", stop)

    def stop(_seconds: float) -> None:
        raise EndOfTestError

    monkeypatch.setattr(time, "sleep", sleep)
    following = logs.lines(stack, "", NOW - timedelta(minutes=5), follow=True)  # type: ignore[arg-type]
    assert [next(following)[9:], next(following)[9:]] == [
        "callback_intake first",
        "callback_intake late",
    ]
    with pytest.raises(EndOfTestError):
        next(following)


def run(monkeypatch: pytest.MonkeyPatch, stack: AStack, *arguments: str) -> int:
    monkeypatch.setattr(logs, "deployed_stack", lambda _name: stack)
    monkeypatch.setattr("sys.argv", ["logs", *arguments])
    return logs.main()


def test_without_lines_a_hint_is_printed(
    stack: AStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, stack, "--since", "90s") == 0
    assert "SINCE=" in capsys.readouterr().err


def test_a_time_before_that_of_the_first_log_line_reads_all_lines(
    stack: AStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """FilterLogEvents rejects a negative time (its API reference, startTime)."""
    assert run(monkeypatch, stack, "--since", "99999d") == 0
    assert "No lines in that time" in capsys.readouterr().err


def test_a_missing_permission_is_named(
    stack: AStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack._clients["logs"] = Refusing()
    assert run(monkeypatch, stack) == 1
    assert "logs:FilterLogEvents" in capsys.readouterr().err


@pytest.mark.parametrize("value", ["10", "0m", "-5m", "1w", "h"])
def test_invalid_times_are_rejected(
    stack: AStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: str
) -> None:
    with pytest.raises(SystemExit):
        run(monkeypatch, stack, f"--since={value}")
    assert "is not a duration such as 90s, 10m, 2h or 3d" in capsys.readouterr().err
