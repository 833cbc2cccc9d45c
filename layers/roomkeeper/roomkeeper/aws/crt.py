"""The callback intake's clients of DynamoDB and Secrets Manager, on AWS's Common Runtime.

`awscrt` provides signing, TLS, HTTP and credentials. This module adds the JSON protocol. `awscrt`
loads in a quarter of boto3's time, which shortens cold starts.

Source: "AWS JSON 1.0 protocol" and "AWS JSON 1.1 protocol" in the Smithy documentation.
"""

import hashlib
import io
import os
import random
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

import msgspec
from awscrt import auth, checksums, http
from awscrt import io as crt_io
from awscrt.exceptions import AwsCrtError
from msgspec import Struct

from roomkeeper.aws.endpoints import endpoint_of
from roomkeeper.aws.errors import (
    CONNECTION_FAILED,
    INVALID_RESPONSE,
    RETRYABLE_CODES,
    AwsError,
    is_retryable_status,
)
from roomkeeper.aws.retries import RetryPolicy

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient

BASE_DELAY = 0.1
"""The maximum delay before the second attempt, in seconds; it doubles with each attempt."""

_FAILURES = (AwsCrtError, RuntimeError)
"""The exceptions of `awscrt`. A future raises the former; a call itself raises the latter, for
example on a connection that was closed just before."""

ResultT = TypeVar("ResultT")


class Service(Struct, frozen=True):
    """A service: its name in host names and signatures, and its X-Amz-Target prefix."""

    name: str
    target: str
    json_version: str


DYNAMODB = Service("dynamodb", "DynamoDB_20120810", "1.0")
SECRETS_MANAGER = Service("secretsmanager", "secretsmanager", "1.1")


class Response(Struct, frozen=True):
    """An HTTP response; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def request_id(self) -> str:
        """Return AWS's id of the request; empty without one."""
        return self.headers.get("x-amzn-requestid", "")

    @property
    def is_damaged(self) -> bool:
        """Return whether the body does not match the checksum in DynamoDB's header."""
        checksum = self.headers.get("x-amz-crc32")
        return checksum is not None and int(checksum) != checksums.crc32(self.body)


def dynamodb(policy: RetryPolicy) -> "DynamoDBClient":
    """Return a DynamoDB client with boto3's `update_item`, for one thread."""
    return cast("DynamoDBClient", Client(DYNAMODB, policy))


def secrets_manager(policy: RetryPolicy) -> "SecretsManagerClient":
    """Return a Secrets Manager client with boto3's methods that read secrets, for one thread."""
    return cast("SecretsManagerClient", Client(SECRETS_MANAGER, policy))


class Client:
    """A client of one service, with one keep-alive connection that the constructor opens.

    Region, endpoint and credentials come from the environment variables of AWS's SDKs. All clients
    of a process share the event loop, the credentials and the trusted certificates.

    Raises:
        AwsError: no endpoint is known, see `endpoint_of`.
    """

    def __init__(
        self,
        service: Service,
        policy: RetryPolicy,
        *,
        env: Mapping[str, str] = os.environ,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._service = service
        self._policy = policy
        self._env = env
        self._sleep = sleep
        self._region = env["AWS_DEFAULT_REGION"]
        self._url = urlsplit(endpoint_of(service.name, env))
        self._tls = self._tls_options() if self._url.scheme == "https" else None
        self._connection: Any = None
        self._opening: Future[Any] | None = self._connect()

    def update_item(self, **arguments: Any) -> Any:
        """Call UpdateItem."""
        return self.call("UpdateItem", **arguments)

    def get_secret_value(self, **arguments: Any) -> Any:
        """Call GetSecretValue; `CreatedDate` is a datetime, as boto3 returns it."""
        return _with_date(self.call("GetSecretValue", **arguments))

    def list_secret_version_ids(self, **arguments: Any) -> Any:
        """Call ListSecretVersionIds; each `CreatedDate` is a datetime, as boto3 returns it."""
        response = self.call("ListSecretVersionIds", **arguments)
        return response | {"Versions": [_with_date(version) for version in response["Versions"]]}

    def call(self, operation: str, **arguments: Any) -> Any:
        """Call an operation by its name in the API reference; return the response's JSON.

        Retryable errors are retried by the policy, with exponential backoff and full jitter.

        Raises:
            AwsError: the last attempt failed, or the error is not retryable.
        """
        body = msgspec.json.encode(arguments)
        for retry in range(self._policy.max_attempts - 1):
            try:
                return _parsed(operation, self._attempt(operation, body))
            except AwsError as exc:
                if not exc.is_retryable:
                    raise
            self._sleep(random.uniform(0, BASE_DELAY * 2**retry))  # noqa: S311 - jitter
        return _parsed(operation, self._attempt(operation, body))

    def _attempt(self, operation: str, body: bytes) -> Response:
        """Send a request; if the open connection fails, send it again at once on a new one.

        A connection may be lost while Lambda freezes the process.
        """
        deadline = time.monotonic() + self._policy.timeout
        try:
            if self._opening is not None:
                opening, self._opening = self._opening, None
                self._connection = _result(opening, deadline)
            if self._connection is not None and self._connection.is_open():
                request = self._signed(operation, body, deadline)
                with suppress(*_FAILURES):
                    return self._exchange(request, deadline)
            request = self._signed(operation, body, deadline)
            self._connection = _result(self._connect(), deadline)
            return self._exchange(request, deadline)
        except (*_FAILURES, TimeoutError) as exc:
            self._close()
            message = f"{operation}: {str(exc) or 'no response in time'}"
            raise AwsError(CONNECTION_FAILED, message) from exc

    def _signed(self, operation: str, body: bytes, deadline: float) -> Any:
        """Return a signed request, to be sent once, with the current credentials."""
        headers = [
            ("host", self._url.netloc),
            ("content-type", f"application/x-amz-json-{self._service.json_version}"),
            ("content-length", str(len(body))),
            ("x-amz-target", f"{self._service.target}.{operation}"),
        ]
        if trace := self._env.get("_X_AMZN_TRACE_ID"):
            headers.append(("x-amzn-trace-id", trace))
        request = http.HttpRequest("POST", "/", http.HttpHeaders(headers), io.BytesIO(body))
        config = auth.AwsSigningConfig(
            credentials_provider=credentials(),
            region=self._region,
            service=self._service.name,
            signed_body_value=hashlib.sha256(body).hexdigest(),  # or awscrt reads it by callbacks
        )
        try:
            return _result(auth.aws_sign_request(request, config), deadline)
        except _FAILURES as exc:
            raise AwsError("CredentialsUnavailable", f"{operation}: {exc}") from exc

    def _connect(self) -> "Future[Any]":
        options = crt_io.SocketOptions()
        options.connect_timeout_ms = int(self._policy.timeout * 1000)
        future: Future[Any] = http.HttpClientConnection.new(
            self._url.hostname,
            self._url.port or (443 if self._tls else 80),
            socket_options=options,
            tls_connection_options=self._tls,
        )
        return future

    def _exchange(self, request: Any, deadline: float) -> Response:
        heads: list[tuple[int, list[tuple[str, str]]]] = []
        body = bytearray()
        stream = self._connection.request(
            request,
            lambda status_code, headers, **_: heads.append((status_code, headers)),
            lambda chunk, **_: body.extend(chunk),
        )
        stream.activate()
        _result(stream.completion_future, deadline)
        [(status, headers)] = heads
        return Response(status, {name.lower(): value for name, value in headers}, bytes(body))

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _tls_options(self) -> Any:
        """Return options that verify the certificate and the host name."""
        options = _tls_context(self._env.get("AWS_CA_BUNDLE")).new_connection_options()
        options.set_server_name(self._url.hostname)
        return options


@cache
def credentials() -> Any:
    """Return the process's credentials provider: the environment, or else the default chain.

    The environment has credentials in Lambda. It is used without the chain there, because the chain
    loads the trusted certificates for its other providers.
    """
    if "AWS_ACCESS_KEY_ID" in os.environ:
        return auth.AwsCredentialsProvider.new_environment()
    return auth.AwsCredentialsProvider.new_default_chain()


@cache
def _tls_context(bundle: str | None) -> Any:
    """Return a TLS context that trusts the system's certificate authorities, or those in a file."""
    options = crt_io.TlsContextOptions()
    if bundle:
        options.override_default_trust_store_from_path(None, bundle)
    return crt_io.ClientTlsContext(options)


def _result(future: "Future[ResultT]", deadline: float) -> ResultT:
    return future.result(max(0.0, deadline - time.monotonic()))


def _with_date(content: Mapping[str, Any]) -> dict[str, Any]:
    return {**content, "CreatedDate": datetime.fromtimestamp(content["CreatedDate"], UTC)}


def _parsed(operation: str, response: Response) -> Any:
    try:
        content = msgspec.json.decode(response.body or b"{}")
    except msgspec.DecodeError as exc:
        if response.status == 200:
            message = f"{operation}: the body of {len(response.body)} bytes is not JSON"
            raise AwsError(INVALID_RESPONSE, message, response.request_id) from exc
        content = {}
    if response.is_damaged:
        raise AwsError(INVALID_RESPONSE, f"{operation}: wrong checksum", response.request_id)
    if response.status == 200:
        return content
    raise _from_response(operation, response, content if isinstance(content, dict) else {})


def _from_response(operation: str, response: Response, content: Mapping[str, Any]) -> AwsError:
    # For example com.amazonaws.dynamodb.v20120810#ThrottlingException, or Name:URL in the header.
    name = content.get("__type") or response.headers.get("x-amzn-errortype") or response.status
    code = str(name).partition(":")[0].rpartition("#")[2]
    message = content.get("message") or content.get("Message") or "no message"
    return AwsError(
        code,
        f"{operation}: {message}",
        response.request_id,
        code in RETRYABLE_CODES or is_retryable_status(response.status),
    )
