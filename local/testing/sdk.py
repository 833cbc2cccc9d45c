"""AWS in tests: moto for boto3, moto's server for the Common Runtime, and sample errors."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import boto3
import pytest
from botocore.client import BaseClient
from moto import mock_aws
from moto.server import ThreadedMotoServer

from roomkeeper.aws import AwsError, RetryPolicy, crt
from roomkeeper.aws.errors import CONNECTION_FAILED

THROTTLED = AwsError("ThrottlingException", "Rate exceeded", "REQUEST-1")
FAILING = AwsError("InternalServerError", "We had a problem", "REQUEST-2", is_retryable=True)
CUT_OFF = AwsError(CONNECTION_FAILED, "cannot connect")
OUTAGES = [THROTTLED, FAILING, CUT_OFF]

LONG_TIMEOUT = RetryPolicy(max_attempts=1, timeout=60)
"""For tests that do not test timeouts, so that they pass on a busy machine."""

_CLIENT: Any = BaseClient


@contextmanager
def moto() -> Iterator[None]:
    """Mock AWS for boto3's clients in this process.

    One call is handled at a time: moto's reads can return half of a concurrent write.
    """
    lock, call = threading.RLock(), _CLIENT._make_api_call

    def call_alone(client: Any, *arguments: Any) -> Any:
        with lock:
            return call(client, *arguments)

    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
        patch.setattr(_CLIENT, "_make_api_call", call_alone)
        yield


@contextmanager
def moto_server() -> Iterator[str]:
    """Serve moto's state on the loopback interface; yield the URL."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def endpoints(url: str) -> dict[str, str]:
    """Return environment variables that direct the intake's clients to `url`.

    boto3 also reads them when it creates a client, so create its clients first.
    """
    return {"AWS_ENDPOINT_URL_DYNAMODB": url, "AWS_ENDPOINT_URL_SECRETS_MANAGER": url}


class AnyOperation:
    """A client of the Common Runtime with a method for every operation, like boto3's clients."""

    def __init__(self, client: crt.Client) -> None:
        self._client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._client.call, "".join(map(str.capitalize, name.split("_"))))


def record_calls(patch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that records the operation of every call from now on.

    Calls of boto3 clients that exist already are not recorded.
    """
    made: list[str] = []
    call = crt.Client.call

    def recorded_call(self: crt.Client, operation: str, **arguments: Any) -> Any:
        made.append(operation)
        return call(self, operation, **arguments)

    patch.setattr(crt.Client, "call", recorded_call)
    session = boto3.Session()
    session.events.register("before-call", lambda model, **_: made.append(model.name))
    patch.setattr(boto3, "DEFAULT_SESSION", session)
    return made
