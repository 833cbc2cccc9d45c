"""The client of AWS's services, on real sockets: how it asks, keeps connections, and fails."""

import json
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from roomkeeper.aws import (
    DYNAMODB,
    EVENTS,
    SECRETS_MANAGER,
    SQS,
    CallFailed,
    Client,
    Patience,
    connections,
)
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
    patience = Patience(seconds=0.3, tries=3)
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
    patience = Patience(seconds=1, tries=1)
    assert Client(service, patience, env=ENV)._connections.host == host
    elsewhere = ENV | {"AWS_ENDPOINT_URL": "http://all:1"}
    assert Client(service, patience, env=elsewhere)._connections.host == "all:1"


def test_credentials_are_read_for_every_call_and_the_trace_goes_along() -> None:
    with scripted(answering(200)) as script:
        env = ENV | {"AWS_ENDPOINT_URL": script.url, "_X_AMZN_TRACE_ID": "Root=1-2-3"}
        client = Client(DYNAMODB, Patience(seconds=1, tries=1), env=env)
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


def test_tls_is_set_up_once_for_all_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes more processor time than all else that a connection costs."""
    make = Mock(side_effect=ssl.create_default_context)
    monkeypatch.setattr(ssl, "create_default_context", make)
    connections._tls.cache_clear()
    with scripted(answering(200)) as script:
        for _ in range(2):
            failure_of(a_client(script.url.replace("http:", "https:")))
        with asking(answering(200)) as (_script, client):
            client.get_item()  # which needs none
    assert make.call_count == 1


@pytest.mark.parametrize(("host", "is_spoken_to"), [("localhost", True), ("127.0.0.1", False)])
def test_a_host_is_spoken_to_by_the_name_in_its_certificate_alone(
    host: str, is_spoken_to: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_side, trusting = contexts(tmp_path, "localhost")
    monkeypatch.setattr(connections, "_tls", lambda: trusting)
    with scripted(answering(200, ITEM), server_side) as script:
        port = script.url.rpartition(":")[2]
        client = a_client(f"https://{host}:{port}")
        if is_spoken_to:
            assert [client.get_item() for _ in range(3)] == [json.loads(ITEM)] * 3
            assert script.connections == 1
        else:
            assert "SSLCertVerificationError" in str(failure_of(client))
        client._connections._close_idle()


def contexts(folder: Path, host: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return the TLS of a server that goes by `host`, and that of a caller who trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    kept = folder / "certificate-and-key.pem"
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    kept.write_bytes(certificate + key.private_bytes(serialization.Encoding.PEM, pkcs8, plain))
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(kept)
    return server_side, ssl.create_default_context(cadata=certificate.decode())


# --- what it keeps --------------------------------------------------------------------------------


def test_connections_are_kept_and_shared_by_threads() -> None:
    together = threading.Barrier(8)

    def all_at_once(handler: BaseHTTPRequestHandler, _asked: Asked) -> None:
        together.wait(30)  # so that eight connections are in use at the same time
        reply(handler, 200, ITEM)

    with scripted(all_at_once) as script, ThreadPoolExecutor(8) as pool:
        client = Client(
            DYNAMODB,
            Patience(seconds=30, tries=1),
            env={**ENV, "AWS_ENDPOINT_URL": script.url},
        )
        for _ in range(3):
            list(pool.map(lambda _: client.get_item(), range(8)))
        client._connections._close_idle()
    assert len(script.asked) == 24
    assert script.connections == 8


def test_an_answer_after_which_the_host_hangs_up_is_read_and_its_connection_not_kept() -> None:
    def part(handler: BaseHTTPRequestHandler, _asked: Asked) -> None:
        reply(handler, 200, ITEM, Connection="close")

    with asking(part) as (script, client):
        assert [client.get_item() for _ in range(2)] == [json.loads(ITEM)] * 2
        assert not client._connections._idle
    assert script.connections == 2


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


@pytest.mark.parametrize("drips", ["headers", "body"])
def test_a_try_is_over_in_time_although_its_answer_drips_in(drips: str) -> None:
    hung_up = threading.Event()

    def drip(handler: BaseHTTPRequestHandler, _asked: Asked) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n")
        handler.wfile.write(b"\r\n" if drips == "body" else b"x-drop: ")
        with suppress(OSError):  # once it is hung up
            while not hung_up.wait(0.05):
                handler.wfile.write(b"1")
        handler.close_connection = True

    patience = Patience(seconds=0.3, tries=1)
    with scripted(drip) as script:
        client = Client(DYNAMODB, patience, env={**ENV, "AWS_ENDPOINT_URL": script.url})
        began = time.monotonic()
        assert "TimeoutError" in str(failure_of(client))
        taken = time.monotonic() - began
        hung_up.set()
    assert 0.3 <= taken < 2  # of the 50 that all of it would take


def test_a_handshake_that_is_not_made_in_time_is_unreachable() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        env = {**ENV, "AWS_ENDPOINT_URL": f"https://127.0.0.1:{silent.getsockname()[1]}"}
        client = Client(DYNAMODB, Patience(seconds=0.2, tries=1), env=env)
        began = time.monotonic()
        assert "TimeoutError" in str(failure_of(client))
    assert time.monotonic() - began < 2


def test_how_long_a_call_takes_at_most_is_known() -> None:
    pauses: list[float] = []
    with pytest.MonkeyPatch.context() as patched, scripted(in_turn([500] * 3)) as script:
        patched.setattr("random.uniform", lambda _least, most: most)
        patience = Patience(seconds=2, tries=3)
        env = {**ENV, "AWS_ENDPOINT_URL": script.url}
        client = Client(DYNAMODB, patience, env=env, sleep=pauses.append)
        failure_of(client)
        client._connections._close_idle()
    assert patience.longest == pytest.approx(3 * 2 + sum(pauses))


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
        patience = Patience(seconds=0.1, tries=2)
        client = Client(DYNAMODB, patience, env={**ENV, "AWS_ENDPOINT_URL": url})
        assert "TimeoutError" in str(failure_of(client))


def test_pauses_between_tries_grow_and_there_is_none_after_the_last() -> None:
    pauses: list[float] = []
    with scripted(in_turn([500] * 4)) as script:
        client: Any = Client(
            DYNAMODB,
            Patience(seconds=1, tries=4),
            env={**ENV, "AWS_ENDPOINT_URL": script.url},
            sleep=pauses.append,
        )
        failure_of(client)
        client._connections._close_idle()
    assert len(pauses) == 3
    assert all(0 <= pause <= 0.1 * 2**n for n, pause in enumerate(pauses))
