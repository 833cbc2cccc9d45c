"""The intake's client on AWS's Common Runtime, against real sockets."""

import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import pytest
import trustme
from awscrt.http import HttpClientConnection

from local.testing.sdk import LONG_TIMEOUT
from roomkeeper.aws import AwsError, RetryPolicy, crt
from roomkeeper.aws.errors import CONNECTION_FAILED, INVALID_RESPONSE
from tests.integration.vonage_support import ReceivedRequest, Responder, Script, reply, scripted

ITEM = b'{"Attributes":{"pk":{"S":"a"}}}'
THROTTLED = b'{"__type":"com.amazonaws.dynamodb.v20120810#ThrottlingException","Message":"Slow"}'
PERSISTENT = RetryPolicy(max_attempts=3, timeout=60)
ONCE = RetryPolicy(max_attempts=1, timeout=2)
"""For TLS that fails: the TLS library (s2n) reports a failure after a delay of up to 30 s."""


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKID")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "session")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    crt.credentials.cache_clear()
    yield
    crt.credentials.cache_clear()


def a_client(
    url: str,
    policy: RetryPolicy = PERSISTENT,
    service: crt.Service = crt.DYNAMODB,
    sleep: Callable[[float], None] = lambda _seconds: None,
    **more: str,
) -> crt.Client:
    env = {**os.environ, "AWS_ENDPOINT_URL": url, **more}
    return crt.Client(service, policy, env=env, sleep=sleep)


@contextmanager
def responding(
    respond: Responder, policy: RetryPolicy = PERSISTENT
) -> Iterator[tuple[Script, Any]]:
    with scripted(respond) as script:
        yield script, a_client(script.url, policy)


def responses(*in_turn: tuple[int, bytes]) -> Responder:
    """Return a function that sends each response in turn, then the last one forever."""
    remaining = chain(in_turn, repeat(in_turn[-1]))

    def respond(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        status, body = next(remaining)
        reply(handler, status, body, x_amzn_RequestId="REQUEST-1")

    return respond


def error_of(client: crt.Client) -> AwsError:
    with pytest.raises(AwsError) as caught:
        client.update_item(TableName="t")
    return caught.value


# --- requests -------------------------------------------------------------------------------------


def test_a_request_is_signed_json_for_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_X_AMZN_TRACE_ID", "Root=1-2-3")
    with responding(responses((200, ITEM))) as (script, client):
        assert client.update_item(TableName="t", Key={"pk": {"S": "é"}}) == json.loads(ITEM)
    [received] = script.received
    assert (received.method, received.path) == ("POST", "/")
    assert received.headers["x-amz-target"] == "DynamoDB_20120810.UpdateItem"
    assert received.headers["content-type"] == "application/x-amz-json-1.0"
    assert received.headers["host"] == script.url.removeprefix("http://")
    assert "Credential=AKID/" in received.headers["authorization"]
    assert "/eu-west-1/dynamodb/aws4_request" in received.headers["authorization"]
    assert received.headers["x-amz-security-token"] == "session"
    assert received.headers["x-amzn-trace-id"] == "Root=1-2-3"
    assert json.loads(received.body) == {"TableName": "t", "Key": {"pk": {"S": "é"}}}
    assert "s3cret" not in str(received)


def test_a_secret_has_boto3s_shape() -> None:
    body = b'{"SecretString":"{}","CreatedDate":1600000000.25}'
    with scripted(responses((200, body))) as script:
        client = a_client(script.url, service=crt.SECRETS_MANAGER)
        response = client.get_secret_value(SecretId="s")
    assert response["SecretString"] == "{}"
    assert response["CreatedDate"] == datetime(2020, 9, 13, 12, 26, 40, 250_000, UTC)
    assert script.received[0].headers["x-amz-target"] == "secretsmanager.GetSecretValue"
    assert script.received[0].headers["content-type"] == "application/x-amz-json-1.1"


def test_a_list_of_versions_has_boto3s_shape() -> None:
    body = b'{"ARN":"a","Versions":[{"VersionId":"v","CreatedDate":1600000000}]}'
    with scripted(responses((200, body))) as script:
        client = a_client(script.url, service=crt.SECRETS_MANAGER)
        response = client.list_secret_version_ids(SecretId="s", IncludeDeprecated=True)
    created = datetime(2020, 9, 13, 12, 26, 40, tzinfo=UTC)
    assert response["Versions"] == [{"VersionId": "v", "CreatedDate": created}]
    assert script.received[0].headers["x-amz-target"] == "secretsmanager.ListSecretVersionIds"


def test_credentials_come_from_the_container_endpoint_where_snapstart_puts_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Source: "Activating and managing Lambda SnapStart", on credentials, in the Lambda guide."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    credentials = {
        "AccessKeyId": "RESTORED",
        "SecretAccessKey": "k",
        "Token": "t",
        "Expiration": "2090-01-01T00:00:00Z",
    }
    with scripted(responses((200, json.dumps(credentials).encode()))) as provider:
        monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{provider.url}/credentials")
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "token")
        with responding(responses((200, ITEM))) as (script, client):
            client.update_item(TableName="t")
    assert "Credential=RESTORED/" in script.received[0].headers["authorization"]
    assert provider.received[0].headers["authorization"] == "token"


def test_missing_credentials_are_reported_without_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(name, os.devnull)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    with responding(responses((200, ITEM))) as (script, client):
        error = error_of(client)
    assert (error.code, error.is_retryable) == ("CredentialsUnavailable", False)
    assert script.received == []


# --- errors and retries ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, THROTTLED),
        (400, b'{"__type":"ProvisionedThroughputExceededException"}'),
        (400, b'{"__type":"LimitExceededException"}'),
        (429, b""),
        (500, b"<html>"),
        (503, b'{"__type":"ServiceUnavailable"}'),
        (200, b'{"Attributes":'),
        (200, b"<html>"),
    ],
)
def test_transient_errors_are_retried(status: int, body: bytes) -> None:
    respond = responses((status, body), (status, body), (200, ITEM))
    with responding(respond) as (script, client):
        assert client.update_item() == json.loads(ITEM)
    assert [json.loads(received.body) for received in script.received] == [{}, {}, {}]


@pytest.mark.parametrize(
    ("status", "body", "code", "text"),
    [
        (400, THROTTLED, "ThrottlingException", "Slow"),
        (500, b"", "500", "no message"),
        (200, b"no JSON", INVALID_RESPONSE, "the body of 7 bytes is not JSON"),
    ],
)
def test_after_the_last_attempt_the_error_has_code_message_and_request_id(
    status: int, body: bytes, code: str, text: str
) -> None:
    with responding(responses((status, body))) as (script, client):
        error = error_of(client)
    assert str(error) == f"{code}: UpdateItem: {text} (request REQUEST-1)"
    assert (error.code, error.request_id, error.is_retryable) == (code, "REQUEST-1", True)
    assert len(script.received) == PERSISTENT.max_attempts


@pytest.mark.parametrize(
    ("status", "body", "code"),
    [
        (400, b'{"__type":"com.amazonaws.x#ConditionalCheckFailedException","message":"m"}',
         "ConditionalCheckFailedException"),
        (400, b'{"__type":"ResourceNotFoundException:http://x/","message":"m"}',
         "ResourceNotFoundException"),
        (403, b"forbidden", "403"),
        (400, b"[1]", "400"),
    ],
)  # fmt: skip
def test_other_errors_are_not_retried(status: int, body: bytes, code: str) -> None:
    with responding(responses((status, body))) as (script, client):
        error = error_of(client)
    assert (error.code, error.request_id, error.is_retryable) == (code, "REQUEST-1", False)
    assert len(script.received) == 1


@pytest.mark.parametrize(("checksum", "attempts"), [(zlib.crc32(ITEM), 1), (1, 3)])
def test_a_response_with_a_wrong_checksum_is_retried(checksum: int, attempts: int) -> None:
    respond: Responder = lambda h, _: reply(h, 200, ITEM, x_amz_crc32=str(checksum))  # noqa: E731
    with responding(respond) as (script, client):
        if attempts == 1:
            assert client.update_item() == json.loads(ITEM)
        else:
            assert error_of(client).code == INVALID_RESPONSE
    assert len(script.received) == attempts


def test_pauses_have_full_jitter_and_grow_and_stay_below_the_policys(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ranges: list[tuple[float, float]] = []

    def longest(least: float, most: float) -> float:
        ranges.append((least, most))
        return most

    monkeypatch.setattr("random.uniform", longest)
    pauses: list[float] = []
    policy = RetryPolicy(max_attempts=4, timeout=60)
    with scripted(responses((500, b""))) as script:
        error_of(a_client(script.url, policy, sleep=pauses.append))
    assert ranges == [(0, 0.1), (0, 0.2), (0, 0.4)]
    assert pauses == [0.1, 0.2, 0.4]
    assert sum(pauses) <= policy.worst_case - 4 * policy.timeout


# --- connections ----------------------------------------------------------------------------------


def test_the_connection_is_opened_before_the_first_call() -> None:
    with socket.socket() as listener:
        listener.settimeout(60)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = a_client(f"http://127.0.0.1:{listener.getsockname()[1]}")
        listener.accept()[0].close()
        del client


def test_one_connection_serves_all_calls() -> None:
    with responding(responses((200, ITEM))) as (script, client):
        for _ in range(5):
            client.update_item()
    assert (len(script.received), script.connections) == (5, 1)


def test_a_connection_that_the_server_ends_with_a_response_is_replaced() -> None:
    respond: Responder = lambda h, _: reply(h, 200, ITEM, Connection="close")  # noqa: E731
    with responding(respond, LONG_TIMEOUT) as (script, client):
        assert [client.update_item() for _ in range(3)] == [json.loads(ITEM)] * 3
    assert script.connections == 3


def test_a_stale_connection_costs_no_attempt() -> None:
    """As after a freeze: the connection seems open until a request is sent."""

    def close_at_once(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        if received.connection == 1 and len(script.received) == 2:
            handler.close_connection = True
        else:
            reply(handler, 200, ITEM)

    with responding(close_at_once, LONG_TIMEOUT) as (script, client):
        assert [client.update_item(TableName="t") for _ in range(3)] == [json.loads(ITEM)] * 3
    assert [received.connection for received in script.received] == [1, 1, 2, 2]
    assert {received.body for received in script.received} == {b'{"TableName":"t"}'}


def test_a_connection_that_closes_before_the_request_is_sent_costs_no_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As just after a freeze: the event loop notices the end between the check and the request."""

    def was_open(connection: HttpClientConnection) -> bool:
        connection.close().result(LONG_TIMEOUT.timeout)
        return True

    monkeypatch.setattr(HttpClientConnection, "is_open", was_open)
    with responding(responses((200, ITEM)), ONCE) as (script, client):
        assert [client.update_item() for _ in range(2)] == [json.loads(ITEM)] * 2
    assert len(script.received) == 2


def test_a_new_connection_that_fails_costs_an_attempt() -> None:
    def close_at_once(handler: BaseHTTPRequestHandler, _request: ReceivedRequest) -> None:
        handler.close_connection = True

    with responding(close_at_once) as (script, client):
        error = error_of(client)
    assert (error.code, error.is_retryable) == (CONNECTION_FAILED, True)
    assert script.connections == 1 + PERSISTENT.max_attempts  # the constructor opened one


def test_a_response_that_breaks_off_is_retried() -> None:
    def break_off(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        if received.connection == 1:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
            handler.close_connection = True
        else:
            reply(handler, 200, ITEM)

    with responding(break_off) as (script, client):
        assert client.update_item() == json.loads(ITEM)
    assert script.connections == 2


@pytest.mark.parametrize("part", ["nothing", "headers", "body"])
def test_an_attempt_ends_at_its_deadline_although_the_response_trickles_in(part: str) -> None:
    over = threading.Event()
    starts = {
        "nothing": b"",
        "headers": b"HTTP/1.1 200 OK\r\nx-drop: ",
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n",
    }

    def trickle(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        if received.connection > 1:
            reply(handler, 200, ITEM)
            return
        with suppress(OSError):
            handler.wfile.write(starts[part])
            while not over.wait(0.05):
                handler.wfile.write(b"1" if part != "nothing" else b"")
        handler.close_connection = True

    with responding(trickle, RetryPolicy(max_attempts=1, timeout=0.3)) as (_script, client):
        try:
            error = error_of(client)
        finally:
            over.set()
    assert (error.code, error.is_retryable) == (CONNECTION_FAILED, True)
    assert "no response in time" in str(error)


def test_a_late_response_is_not_used_for_the_next_call() -> None:
    late = threading.Event()

    def respond(handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        if received.connection == 1:
            late.wait(60)
        with suppress(OSError):
            reply(handler, 200, json.dumps({"connection": received.connection}).encode())

    with scripted(respond) as script:
        client = a_client(script.url, RetryPolicy(max_attempts=2, timeout=3))
        try:
            assert client.update_item() == {"connection": 2}
        finally:
            late.set()


def test_a_port_that_nobody_listens_on_is_a_failed_connection() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        error = error_of(a_client(f"http://127.0.0.1:{unused.getsockname()[1]}"))
    assert (error.code, error.request_id) == (CONNECTION_FAILED, "")
    assert "AWS_IO_SOCKET_CONNECTION_REFUSED" in str(error)


THREADS = """
import os
from roomkeeper.aws import RetryPolicy, crt
policy = RetryPolicy(max_attempts=1, timeout=1)
def one():
    client = crt.Client(crt.DYNAMODB, policy)
    try:
        client.update_item()
    except Exception:
        pass
one()
before = len(os.listdir("/proc/self/task"))
for _ in range(20):
    one()
print(len(os.listdir("/proc/self/task")) - before)
"""


def test_further_clients_start_no_further_threads() -> None:
    env = {
        **os.environ,
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", THREADS], env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "0"


# --- TLS ------------------------------------------------------------------------------------------


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(authority: trustme.CA, tmp_path: Path) -> str:
    """The file with the authority's certificate."""
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@contextmanager
def over_tls(authority: trustme.CA, name: str) -> Iterator[tuple[Script, str]]:
    """Serve by TLS with a certificate for `name`; yield the server and its URL on localhost."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    with scripted(responses((200, ITEM)), context) as script:
        yield script, f"https://localhost:{script.url.rpartition(':')[2]}"


def test_a_server_with_a_certificate_of_a_trusted_authority_is_spoken_to(
    authority: trustme.CA, bundle: str
) -> None:
    with over_tls(authority, "localhost") as (script, url):
        client = a_client(url, AWS_CA_BUNDLE=bundle)
        assert [client.update_item() for _ in range(3)] == [json.loads(ITEM)] * 3
    assert script.connections == 1


def test_a_certificate_of_an_authority_that_the_system_does_not_trust_is_refused(
    authority: trustme.CA,
) -> None:
    with over_tls(authority, "localhost") as (script, url):
        error = error_of(a_client(url, ONCE))
    assert error.code == CONNECTION_FAILED
    assert script.received == []


def test_a_certificate_for_another_host_is_refused(authority: trustme.CA, bundle: str) -> None:
    with over_tls(authority, "elsewhere.example") as (script, url):
        error = error_of(a_client(url, ONCE, AWS_CA_BUNDLE=bundle))
    assert error.code == CONNECTION_FAILED
    assert script.received == []


def test_a_server_that_speaks_no_tls_is_refused() -> None:
    with scripted(responses((200, ITEM))) as script:
        url = script.url.replace("http://127.0.0.1", "https://localhost")
        error = error_of(a_client(url, ONCE))
    assert error.code == CONNECTION_FAILED
    assert script.received == []


def test_a_handshake_that_does_not_end_is_over_at_the_deadline() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"https://localhost:{silent.getsockname()[1]}"
        error = error_of(a_client(url, RetryPolicy(max_attempts=1, timeout=0.3)))
    assert error.code == CONNECTION_FAILED
