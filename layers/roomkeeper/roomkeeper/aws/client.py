"""A client of one service: calls its operations, tries again what may pass, tells what failed."""

import os
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
from msgspec import Struct

from roomkeeper.aws.connections import Answer, Connections, Unreachable
from roomkeeper.aws.signature import Credentials, Scope, signed
from roomkeeper.errors import RoomkeeperError

FIRST_PAUSE = 0.1
"""Seconds that the pause before the second try lasts at most; it doubles with every further one."""

UNREACHABLE = "Unreachable"
"""The code of a call that got no answer, which no service has."""

_PASSING = {
    UNREACHABLE,
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestTimeout",
    "RequestTimeoutException",
    "Throttling",
    "ThrottlingException",
    "TooManyRequestsException",
    "TransactionInProgressException",
}


class Service(Struct, frozen=True):
    """A service: its name in host names and signatures, and how its protocol names operations."""

    name: str
    target: str
    json: str


DYNAMODB = Service("dynamodb", "DynamoDB_20120810", "1.0")
EVENTS = Service("events", "AWSEvents", "1.1")
SECRETS_MANAGER = Service("secretsmanager", "secretsmanager", "1.1")
SQS = Service("sqs", "AmazonSQS", "1.0")


class Patience(Struct, frozen=True, kw_only=True):
    """How long a call may take: how often it is tried, and for how many `seconds` each time."""

    seconds: float
    tries: int

    @property
    def longest(self) -> float:
        """The seconds that a call takes at most, its pauses included."""
        return self.seconds * self.tries + FIRST_PAUSE * ((1 << (self.tries - 1)) - 1)


class CallFailed(RoomkeeperError):
    """An operation did not succeed: `code` is the service's own, or UNREACHABLE."""

    def __init__(self, operation: str, code: str, message: str, status: int = 0) -> None:
        super().__init__(f"{operation}: {code}: {message}")
        self.code = code
        self.may_pass = code in _PASSING or status >= 500 or status == 429


class Client:
    """A client of `service`, where the environment says that it is. Safe to use from many threads.

    Every operation is a method, named and called as on the SDK's client: `get_item(TableName=...)`.
    It returns the answer as its JSON says, times as Unix seconds, and raises CallFailed once it has
    failed for good: at once where a further try cannot help, else after all of `patience`'s.
    """

    def __init__(
        self,
        service: Service,
        patience: Patience,
        *,
        env: Mapping[str, str] = os.environ,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._service = service
        self._patience = patience
        self._env = env
        self._sleep = sleep
        # Lambda sets both AWS_REGION and this one, which is the one that the SDK reads.
        self._scope = Scope(env["AWS_DEFAULT_REGION"], service.name)
        self._connections = Connections(
            _endpoint(service.name, self._scope.region, env),
            seconds=patience.seconds,
        )

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)
        return partial(self._call, "".join(map(str.capitalize, name.split("_"))))

    def _call(self, operation: str, **arguments: Any) -> Any:
        body = msgspec.json.encode(arguments)
        for tried in range(1, self._patience.tries):
            try:
                return self._try(operation, body)
            except CallFailed as problem:
                if not problem.may_pass:
                    raise
            pause = random.uniform(0, FIRST_PAUSE * 2 ** (tried - 1))  # noqa: S311 - jitter
            self._sleep(pause)
        return self._try(operation, body)

    def _try(self, operation: str, body: bytes) -> Any:
        headers = {
            "content-type": f"application/x-amz-json-{self._service.json}",
            "host": self._connections.host,
            "x-amz-target": f"{self._service.target}.{operation}",
        }
        # Read each time, so that renewed credentials are in force at once.
        credentials = Credentials.from_env(self._env)
        headers = signed(headers, body, credentials, self._scope, datetime.now(UTC))
        if trace := self._env.get("_X_AMZN_TRACE_ID"):
            headers["x-amzn-trace-id"] = trace
        try:
            return _read(operation, self._connections.post(headers, body))
        except Unreachable as problem:
            raise CallFailed(operation, UNREACHABLE, str(problem)) from problem


def _endpoint(service: str, region: str, env: Mapping[str, str]) -> str:
    if "AWS_ENDPOINT_URL" in env:
        return env["AWS_ENDPOINT_URL"]
    return f"https://{service}.{region}.{env['URL_SUFFIX']}"


def _read(operation: str, answer: Answer) -> Any:
    try:
        told = msgspec.json.decode(answer.body or b"{}")
    except msgspec.DecodeError as problem:
        told = {"message": f"no JSON, but {len(answer.body)} bytes: {problem}"}
        if answer.status == 200:
            raise CallFailed(operation, UNREACHABLE, told["message"]) from problem
    if answer.status == 200:
        return told
    raise _failure(operation, answer.status, told if isinstance(told, dict) else {})


def _failure(operation: str, status: int, told: Mapping[str, Any]) -> CallFailed:
    # Such as com.amazonaws.dynamodb.v20120810#ThrottlingException
    code = str(told.get("__type", status)).partition(":")[0].rpartition("#")[2]
    message = str(told.get("message") or told.get("Message") or "no message")
    return CallFailed(operation, code, message, status)
