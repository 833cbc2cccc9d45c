"""boto3 clients with bounded retries that raise AwsError. The callback intake uses `crt`.

Source: "Configuration" in the boto3 guide; "Retries" in it for the standard retry mode.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

import boto3
import botocore
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotocoreConnectionError

from roomkeeper.aws.errors import (
    CONNECTION_FAILED,
    INVALID_RESPONSE,
    OUT_OF_TIME,
    RETRYABLE_CODES,
    AwsError,
    is_retryable_status,
)
from roomkeeper.aws.retries import RetryPolicy

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_events import EventBridgeClient
    from mypy_boto3_secretsmanager import SecretsManagerClient
    from mypy_boto3_sqs import SQSClient

ClientT = TypeVar("ClientT")

MAX_CONNECTIONS = 80
"""The size of a client's connection pool: more than the threads of any job."""

USER_AGENT = f"roomkeeper Boto3/{boto3.__version__} Botocore/{botocore.__version__}"
"""A fixed header: botocore would compose its own for each request, an eighth of its CPU time."""


def dynamodb(policy: RetryPolicy) -> "DynamoDBClient":
    """Return a DynamoDB client. Safe to use from many threads."""
    return cast("DynamoDBClient", _client("dynamodb", policy))


def events(policy: RetryPolicy) -> "EventBridgeClient":
    """Return an EventBridge client. Safe to use from many threads."""
    return cast("EventBridgeClient", _client("events", policy))


def secrets_manager(policy: RetryPolicy) -> "SecretsManagerClient":
    """Return a Secrets Manager client. Safe to use from many threads."""
    return cast("SecretsManagerClient", _client("secretsmanager", policy))


def sqs(policy: RetryPolicy) -> "SQSClient":
    """Return an SQS client. Safe to use from many threads."""
    return cast("SQSClient", _client("sqs", policy))


def s3(policy: RetryPolicy) -> "Client":
    """Return an S3 client. Safe to use from many threads.

    Bodies are not signed: every upload has a signed SHA-256 header, which S3 compares with the
    body. Hashing the same bytes a second time would take a third of a copy's CPU time.

    Pre-signed URLs of objects that a KMS key encrypts need signature version 4. With the addressing
    style `virtual`, they name the bucket's region. Without it they name the global endpoint, which
    redirects requests for a new bucket for some hours, and the signature does not cover the target.
    """
    options = {"payload_signing_enabled": False, "addressing_style": "virtual"}
    return _client("s3", policy, signature_version="s3v4", s3=options)


class Client:
    """A boto3 client whose operations raise AwsError instead of botocore's exceptions."""

    def __init__(self, client: Any) -> None:
        self._client = client

    def generate_presigned_url(self, operation: str, **arguments: Any) -> str:
        """Return a pre-signed URL. No request is made."""
        url: str = self._client.generate_presigned_url(operation, **arguments)
        return url

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        operation = getattr(self._client, name)

        def call(**arguments: Any) -> Any:
            try:
                return _checked(name, operation(**arguments))
            except ClientError as exc:
                raise _from_response(name, exc.response) from exc
            except BotoCoreError as exc:
                raise _without_response(name, exc) from exc

        return call


def within(client: ClientT, remaining: Callable[[], float], seconds: float) -> ClientT:
    """Return a client that makes no call while less than `seconds` are `remaining`.

    It then raises AwsError with the code OUT_OF_TIME. Calls end in time if `seconds` is the worst
    case of the client's retry policy.
    """
    return cast("ClientT", _Limited(client, remaining, seconds))


class _Limited:
    def __init__(self, client: Any, remaining: Callable[[], float], seconds: float) -> None:
        self._client = client
        self._remaining = remaining
        self._seconds = seconds

    def __getattr__(self, name: str) -> Callable[..., Any]:
        operation = getattr(self._client, name)

        def call(*arguments: Any, **named: Any) -> Any:
            if (remaining := self._remaining()) < self._seconds:
                message = f"{name}: {remaining:.1f} s are left, and it may take {self._seconds:g}"
                raise AwsError(OUT_OF_TIME, message)
            return operation(*arguments, **named)

        return call


def _client(service: str, policy: RetryPolicy, **more: Any) -> Client:
    config = _config(policy).merge(Config(**more))
    client = boto3.client(service, config=config)  # type: ignore[call-overload]
    retries_of_service = f"needs-retry.{client.meta.service_model.service_id.hyphenize()}"
    client.meta.events.register_first(retries_of_service, _drop_retry_after)
    return Client(client)


def _config(policy: RetryPolicy) -> Config:
    """Return botocore's settings: a quarter of the timeout each for TCP and TLS, half for reading.

    botocore has no timeout for a whole attempt. A slow response, or a host with several unreachable
    addresses, takes longer; the function's timeout limits that.
    """
    return Config(
        retries={"mode": "standard", "total_max_attempts": policy.max_attempts},
        connect_timeout=policy.timeout / 4,
        read_timeout=policy.timeout / 2,
        max_pool_connections=MAX_CONNECTIONS,
        user_agent=USER_AGENT,
        parameter_validation=False,  # AWS does it anyway; it takes 7% of the publisher's CPU time
    )


def _drop_retry_after(response: Any, **_: Any) -> None:
    """Keep delays within RetryPolicy.worst_case: this header would add up to 5 s to each.

    Source: `ExponentialBackoff` in botocore.retries.standard (1.43 and later).
    """
    if response is not None:
        response[0].headers.pop("x-amz-retry-after", None)


def _checked(operation: str, response: Any) -> Any:
    """Return `response` if it is AWS's: botocore reads a body that is not JSON as an empty one."""
    if response["ResponseMetadata"].get("RequestId"):
        return response
    raise AwsError(INVALID_RESPONSE, f"{operation}: the response has no request id")


def _from_response(operation: str, response: Any) -> AwsError:
    error, metadata = response["Error"], response["ResponseMetadata"]
    code = error.get("Code", "Unknown")
    return AwsError(
        code,
        f"{operation}: {error.get('Message') or 'no message'}",
        metadata.get("RequestId", ""),
        code in RETRYABLE_CODES or is_retryable_status(metadata.get("HTTPStatusCode", 0)),
    )


def _without_response(operation: str, error: BotoCoreError) -> AwsError:
    no_response = isinstance(error, HTTPClientError | BotocoreConnectionError)
    code = CONNECTION_FAILED if no_response else type(error).__name__
    return AwsError(code, f"{operation}: {error}")
