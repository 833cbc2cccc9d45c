"""boto3 as the functions use it: bounded retries, one kind of error. Against real sockets."""

import json
import os
import socket
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from itertools import chain, repeat
from typing import Any

import boto3
import pytest
from botocore.retries.standard import ThrottledRetryableChecker, TransientRetryableChecker

from roomkeeper.aws import AwsError, RetryPolicy, sdk
from roomkeeper.aws.errors import (
    CONNECTION_FAILED,
    INVALID_RESPONSE,
    OUT_OF_TIME,
    RETRYABLE_CODES,
)
from tests.integration.vonage_support import ReceivedRequest, Responder, Script, reply, scripted

ITEM = b'{"Item":{"pk":{"S":"a"}}}'
THROTTLED = b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","message":"Slow"}'
POLICY = RetryPolicy(max_attempts=3, timeout=60)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The delays that botocore chose; none is waited for."""
    taken: list[float] = []
    monkeypatch.setattr("time.sleep", taken.append)
    return taken


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


@contextmanager
def responding(respond: Responder, policy: RetryPolicy = POLICY) -> Iterator[tuple[Script, Any]]:
    with scripted(respond) as script, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", script.url)
        yield script, sdk.dynamodb(policy)


def responses(*in_turn: tuple[int, bytes], **headers: str) -> Responder:
    """Return a function that sends each response in turn, then the last one forever."""
    remaining = chain(in_turn, repeat(in_turn[-1]))

    def respond(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        status, body = next(remaining)
        reply(handler, status, body, x_amzn_RequestId="REQUEST-1", **headers)

    return respond


def get(client: Any) -> Any:
    return client.get_item(TableName="t", Key={"pk": {"S": "a"}})


def error_of(client: Any) -> AwsError:
    with pytest.raises(AwsError) as caught:
        get(client)
    return caught.value


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, THROTTLED),
        (400, b'{"__type":"ProvisionedThroughputExceededException"}'),
        (429, b""),
        (500, b"<html>"),
        (503, b'{"__type":"ServiceUnavailable"}'),
    ],
)
def test_transient_errors_are_retried(status: int, body: bytes) -> None:
    respond = responses((status, body), (status, body), (200, ITEM))
    with responding(respond) as (script, client):
        assert get(client)["Item"] == {"pk": {"S": "a"}}
    assert len(script.received) == 3


def test_after_the_last_attempt_the_error_has_code_message_and_request_id() -> None:
    with responding(responses((400, THROTTLED))) as (script, client):
        error = error_of(client)
    assert str(error) == "ThrottlingException: get_item: Slow (request REQUEST-1)"
    assert (error.code, error.request_id) == ("ThrottlingException", "REQUEST-1")
    assert error.is_retryable
    assert len(script.received) == POLICY.max_attempts


def test_a_failing_service_is_retryable_whatever_its_error_code() -> None:
    with responding(responses((500, b'{"__type":"InternalServerError"}'))) as (_script, client):
        error = error_of(client)
    assert (error.code, error.is_retryable) == ("InternalServerError", True)


@pytest.mark.parametrize("code", ["ConditionalCheckFailedException", "ResourceNotFoundException"])
def test_other_errors_are_not_retried(code: str) -> None:
    body = json.dumps({"__type": f"com.amazonaws.x#{code}", "message": "m"}).encode()
    with responding(responses((400, body))) as (script, client):
        error = error_of(client)
    assert (error.code, error.request_id, error.is_retryable) == (code, "REQUEST-1", False)
    assert len(script.received) == 1


def test_a_response_that_is_not_from_aws_is_no_empty_success() -> None:
    respond: Responder = lambda handler, _: reply(handler, 200, b"<html>")  # noqa: E731
    with responding(respond) as (_script, client):
        error = error_of(client)
    assert (error.code, error.is_retryable) == (INVALID_RESPONSE, True)


def test_a_response_with_a_wrong_checksum_is_retried() -> None:
    def respond(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        checksum = 1 if len(script.received) == 1 else zlib.crc32(ITEM)
        reply(handler, 200, ITEM, x_amzn_RequestId="REQUEST-1", x_amz_crc32=str(checksum))

    with responding(respond) as (script, client):
        assert get(client)["Item"] == {"pk": {"S": "a"}}
    assert len(script.received) == 2


def test_a_connection_that_went_away_is_replaced() -> None:
    def close_at_once(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        if len(script.received) == 2:
            handler.close_connection = True
        else:
            reply(handler, 200, ITEM, x_amzn_RequestId="REQUEST-1")

    with responding(close_at_once) as (script, client):
        assert [get(client)["Item"] for _ in range(3)] == [{"pk": {"S": "a"}}] * 3
    assert [received.connection for received in script.received] == [1, 1, 2, 2]


def test_a_port_that_nobody_listens_on_is_a_failed_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")
        error = error_of(sdk.dynamodb(POLICY))
    assert (error.code, error.request_id, error.is_retryable) == (CONNECTION_FAILED, "", True)


def test_a_silent_service_costs_no_more_than_the_policys_attempts(pauses: list[float]) -> None:
    """botocore waits for a response for half of an attempt's timeout."""
    policy = RetryPolicy(max_attempts=2, timeout=0.2)
    with socket.socket() as silent, pytest.MonkeyPatch.context() as patch:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        error = error_of(sdk.dynamodb(policy))
    assert (error.code, error.is_retryable) == (CONNECTION_FAILED, True)
    assert "timeout" in str(error).lower()
    assert len(pauses) == 1


@pytest.mark.parametrize("headers", [{}, {"x_amz_retry_after": "60000"}], ids=["plain", "header"])
@pytest.mark.parametrize("body", [THROTTLED, b'{"__type":"InternalServerError"}'])
def test_pauses_stay_within_the_policy(
    body: bytes, headers: dict[str, str], pauses: list[float]
) -> None:
    policy = RetryPolicy(max_attempts=4, timeout=2)
    status = 400 if body is THROTTLED else 500
    with responding(responses((status, body), **headers), policy) as (script, client):
        error_of(client)
    assert (len(script.received), len(pauses)) == (4, 3)
    assert sum(pauses) <= policy.worst_case - 4 * policy.timeout


def test_the_worst_case_has_every_attempt_and_the_longest_pauses() -> None:
    assert RetryPolicy(max_attempts=1, timeout=3).worst_case == 3
    assert RetryPolicy(max_attempts=3, timeout=2).worst_case == 3 * 2 + 1 + 2
    assert RetryPolicy(max_attempts=7, timeout=1).worst_case == 7 + 1 + 2 + 4 + 8 + 16 + 20


def test_error_codes_that_botocore_retries_are_retryable() -> None:
    """The intake's client does not have botocore's list."""
    transient: Any = TransientRetryableChecker
    throttled: Any = ThrottledRetryableChecker
    botocores = {*transient._TRANSIENT_ERROR_CODES, *throttled._THROTTLED_ERROR_CODES}
    assert botocores | {CONNECTION_FAILED, INVALID_RESPONSE, OUT_OF_TIME} == RETRYABLE_CODES


def test_missing_credentials_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with responding(responses((200, ITEM))) as (_script, client):
        error = error_of(client)
    assert (error.code, error.is_retryable) == ("NoCredentialsError", False)
