"""The client of AWS's services, on real sockets: how it asks, keeps connections, and fails."""

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from roomkeeper.aws import DYNAMODB, EVENTS, SECRETS_MANAGER, SQS, CallFailed, Client, Patience
from roomkeeper.aws.client import UNREACHABLE, Service
from tests.integration.vonage_support import Answer, Asked, Script, in_turn, reply, scripted

ITEM = b'{"Item":{"pk":{"S":"a"}}}'
ENV = {
    "AWS_ACCESS_KEY_ID": "AKID",
    "AWS_SECRET_ACCESS_KEY": "s3cret",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "URL_SUFFIX": "amazonaws.com",
}
THROTTLED = b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","Message":"Slow"}'


def a_client(url: str, service: Service = DYNAMODB, **env: str) -> Client:
    patience = Patience(connect=1, read=0.3, tries=3)
    env = {**ENV, "AWS_ENDPOINT_URL": url, **env}
    return Client(service, patience, env=env, sleep=lambda _seconds: None)


@contextmanager
def asking(answer: Answer, service: Service = DYNAMODB) -> Iterator[tuple[Script, Client]]:
    with scripted(answer) as script:
        client = a_client(script.url, service)
        yield script, client
        client._connections._close_idle()


def answering(status: int, body: bytes = b"{}") -> Answer:
    return lambda handler, _asked: reply(handler, status, body)


def failure_of(client: Client) -> CallFailed:
    with pytest.raises(CallFailed) as told:
        client.get_item(TableName="t")
    return told.value


# --- how it asks ----------------------------------------------------------------------------------


def test_an_operation_is_asked_for_in_the_services_protocol() -> None:
    with asking(answering(200, ITEM)) as (script, client):
        assert client.get_item(TableName="t", ConsistentRead=True) == json.loads(ITEM)
    [asked] = script.asked
    assert (asked.method, asked.path) == ("POST", "/")
    assert asked.headers["x-amz-target"] == "DynamoDB_20120810.GetItem"
    assert asked.headers["content-type"] == "application/x-amz-json-1.0"
    assert asked.headers["host"] == script.url.removeprefix("http://")
    assert asked.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/")
    assert json.loads(asked.body) == {"TableName": "t", "ConsistentRead": True}


@pytest.mark.parametrize(
    ("service", "host"),
    [
        (DYNAMODB, "dynamodb.eu-west-1.amazonaws.com"),
        (EVENTS, "events.eu-west-1.amazonaws.com"),
        (SECRETS_MANAGER, "secretsmanager.eu-west-1.amazonaws.com"),
        (SQS, "sqs.eu-west-1.amazonaws.com"),
    ],
)
def test_a_service_is_where_aws_has_it_unless_the_environment_says_otherwise(
    service: Service, host: str
) -> None:
    patience = Patience(connect=1, read=1, tries=1)
    assert Client(service, patience, env=ENV)._connections.host == host
    elsewhere = ENV | {"AWS_ENDPOINT_URL": "http://all:1", "AWS_ENDPOINT_URL_SQS": "http://sqs:2"}
    told = Client(service, patience, env=elsewhere)._connections.host
    assert told == ("sqs:2" if service == SQS else "all:1")


def test_credentials_are_read_for_every_call_and_the_trace_goes_along() -> None:
    with scripted(answering(200)) as script:
        env = ENV | {"AWS_ENDPOINT_URL": script.url, "_X_AMZN_TRACE_ID": "Root=1-2-3"}
        client = Client(DYNAMODB, Patience(connect=1, read=1, tries=1), env=env)
        client.get_item()
        env |= {"AWS_ACCESS_KEY_ID": "RENEWED", "AWS_SESSION_TOKEN": "session"}
        client.get_item()
        client._connections._close_idle()
    [first, second] = script.asked
    assert "Credential=AKID/" in first.headers["authorization"]
    assert "Credential=RENEWED/" in second.headers["authorization"]
    assert second.headers["x-amz-security-token"] == "session"
    assert second.headers["x-amzn-trace-id"] == "Root=1-2-3"


def test_a_certificate_that_is_not_trusted_is_not_spoken_to() -> None:
    """That TLS is checked at all; a host that speaks none is as untrusted as can be."""
    with scripted(answering(200)) as script:
        client = a_client(script.url.replace("http:", "https:"))
        failure = failure_of(client)
    assert failure.code == UNREACHABLE
    assert isinstance(failure.__cause__.__cause__, ssl.SSLError)  # type: ignore[union-attr]
    assert script.asked == []


# --- what it keeps --------------------------------------------------------------------------------


def test_connections_are_kept_and_shared_by_threads() -> None:
    together = threading.Barrier(8)

    def all_at_once(handler: BaseHTTPRequestHandler, _asked: Asked) -> None:
        together.wait(30)  # so that eight connections are in use at the same time
        reply(handler, 200, ITEM)

    with scripted(all_at_once) as script, ThreadPoolExecutor(8) as pool:
        client = Client(
            DYNAMODB,
            Patience(connect=5, read=30, tries=1),
            env={**ENV, "AWS_ENDPOINT_URL": script.url},
        )
        for _ in range(3):
            list(pool.map(lambda _: client.get_item(), range(8)))
        client._connections._close_idle()
    assert len(script.asked) == 24
    assert script.connections == 8


def test_a_connection_that_went_away_meanwhile_is_replaced() -> None:
    def close_after(handler: BaseHTTPRequestHandler, _asked: Asked) -> None:
        reply(handler, 200, ITEM)
        handler.close_connection = True  # without having announced it

    with asking(close_after) as (script, client):
        for _ in range(5):
            client.get_item()
    assert script.connections == 5


# --- how it fails ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, THROTTLED),
        (400, b'{"__type":"ProvisionedThroughputExceededException"}'),
        (429, b""),
        (500, b"<html>"),
        (503, b'{"__type":"ServiceUnavailable"}'),
        (200, b'{"Item":'),
    ],
)
def test_what_may_pass_is_tried_again(status: int, body: bytes) -> None:
    answers = iter([(status, body), (status, body)])
    with asking(lambda h, _: reply(h, *next(answers, (200, ITEM)))) as (script, client):
        assert client.get_item() == json.loads(ITEM)
    assert len(script.asked) == 3


def test_what_does_not_pass_is_told_after_all_tries() -> None:
    with asking(answering(400, THROTTLED)) as (script, client):
        failure = failure_of(client)
    assert failure.code == "ThrottlingException"
    assert str(failure) == "GetItem: ThrottlingException: Slow"
    assert len(script.asked) == 3


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, b'{"__type":"com.amazonaws.x#ConditionalCheckFailedException"}',
         "ConditionalCheckFailedException"),
        (400, b'{"__type":"ResourceNotFoundException:http://x/","message":"m"}',
         "ResourceNotFoundException"),
        (403, b"forbidden", "403"),
        (400, b"[1]", "400"),
    ],
)  # fmt: skip
def test_what_cannot_pass_is_told_at_once(status: int, body: bytes, code: str) -> None:
    with asking(answering(status, body)) as (script, client):
        assert failure_of(client).code == code
    assert len(script.asked) == 1


def test_an_answer_that_breaks_off_or_is_late_is_asked_for_again() -> None:
    late = threading.Event()

    def fail_twice(handler: BaseHTTPRequestHandler, asked: Asked) -> None:
        if asked.connection == 1:
            handler.send_response(200)
            handler.send_header("Content-Length", "100")
            handler.end_headers()
            handler.close_connection = True
        elif asked.connection == 2:
            late.wait(10)
        else:
            reply(handler, 200, ITEM)

    with asking(fail_twice) as (script, client):
        assert client.get_item() == json.loads(ITEM)
        late.set()
    assert script.connections == 3


def test_a_host_that_takes_no_connection_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        failure = failure_of(a_client(f"http://127.0.0.1:{unused.getsockname()[1]}"))
    assert failure.code == UNREACHABLE
    assert "ConnectionRefusedError" in str(failure)


def test_a_connection_that_is_not_made_in_time_is_unreachable() -> None:
    with socket.socket() as listener, ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):  # with nobody to accept them, these few are all that fit
            caller = waiting.enter_context(socket.socket())
            caller.setblocking(False)
            caller.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        patience = Patience(connect=0.1, read=10, tries=2)
        client = Client(DYNAMODB, patience, env={**ENV, "AWS_ENDPOINT_URL": url})
        assert "TimeoutError" in str(failure_of(client))


def test_pauses_between_tries_grow_and_there_is_none_after_the_last() -> None:
    pauses: list[float] = []
    with scripted(in_turn([500] * 4)) as script:
        client: Any = Client(
            DYNAMODB,
            Patience(connect=1, read=1, tries=4),
            env={**ENV, "AWS_ENDPOINT_URL": script.url},
            sleep=pauses.append,
        )
        failure_of(client)
        client._connections._close_idle()
    assert len(pauses) == 3
    assert all(0 <= pause <= 0.1 * 2**n for n, pause in enumerate(pauses))
