"""Fixtures of the unit tests, which use no network and no AWS but moto."""

import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn

import boto3
import pytest
from msgspec import structs

from local.testing import sdk
from local.testing.builders import Image
from local.testing.template import NAMESPACE, table_definition
from roomkeeper.aws import AwsError
from roomkeeper.aws import sdk as aws

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NO_AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "AWS_DEFAULT_REGION": "eu-west-1",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


@pytest.fixture
def default_signals() -> Iterator[None]:
    """Let signals have their default effect, as in a command at a terminal.

    A shell starts background jobs with SIGINT ignored, and nohup ignores SIGHUP.
    """
    defaults = {signal.SIGINT: signal.default_int_handler}
    defaults |= dict.fromkeys((signal.SIGTERM, signal.SIGHUP), signal.SIG_DFL)  # type: ignore[arg-type]
    before = {number: signal.signal(number, handler) for number, handler in defaults.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def _no_sockets(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse sockets to all tests that do not request a server on loopback."""
    if {"moto_server", "loopback"} & set(request.fixturenames):
        return

    def refuse(*_args: object, **_options: object) -> NoReturn:
        raise AssertionError("A unit test tried to open a socket.")

    monkeypatch.setattr(socket.socket, "__init__", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture(autouse=True)
def _logs_can_be_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the layer's records reach caplog: the functions' logger does not propagate them."""
    monkeypatch.setattr(logging.getLogger("roomkeeper"), "propagate", True)


@pytest.fixture(autouse=True, scope="module")
def _no_aws_account() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            patch.delenv(name)
        for name, value in NO_AWS.items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)
        yield


@pytest.fixture(autouse=True)
def _fresh_container() -> Iterator[None]:
    """Clear the caches that the functions keep between invocations."""
    yield
    for name in [name for name in sys.modules if name.startswith("roomkeeper.handlers.")]:
        for kept in vars(sys.modules[name]).values():
            if hasattr(kept, "cache_clear") and not isinstance(kept, type):
                kept.cache_clear()


@pytest.fixture(scope="module")
def moto(_no_aws_account: None) -> Iterator[None]:
    with sdk.moto():
        yield


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """The URL of a moto server, with the same resources as `moto`, for the Common Runtime."""
    with sdk.moto_server() as url:
        yield url


@pytest.fixture
def loopback() -> None:
    """Allow a test to serve on the loopback interface and to connect to it."""


@pytest.fixture(scope="module")
def dynamodb(moto: None) -> "DynamoDBClient":
    return aws.dynamodb(sdk.LONG_TIMEOUT)


@dataclass(frozen=True)
class Table:
    """A table as template.yaml describes it, in moto."""

    client: "DynamoDBClient"
    name: str

    def item(self, key: str) -> Image | None:
        """Return the item with this key in DynamoDB's JSON; None if there is none."""
        response = self.client.get_item(TableName=self.name, Key={"pk": {"S": key}})
        return response.get("Item")

    def plain_item(self, key: str) -> dict[str, Any]:
        """Return the item's values as strings, integers and sorted lists, without its key."""
        item = self.item(key)
        assert item is not None, f"the table has no item {key}"
        return plain(item)

    def items(self) -> list[Image]:
        """Return all items, sorted by key."""
        found = map(with_sorted_sets, self.client.scan(TableName=self.name)["Items"])
        return sorted(found, key=lambda item: item["pk"]["S"])

    def keys_in(self, index: str, attribute: str, value: str) -> list[str]:
        """Return the keys of a query's items, in the order of the index."""
        response = self.client.query(
            TableName=self.name,
            IndexName=index,
            KeyConditionExpression="#name = :value",
            ExpressionAttributeNames={"#name": attribute},
            ExpressionAttributeValues={":value": {"S": value}},
        )
        return [item["pk"]["S"] for item in response["Items"]]

    def put(self, item: Image) -> None:
        self.client.put_item(TableName=self.name, Item=item)


@dataclass(frozen=True)
class PureTable(Table):
    """A table whose `run` executes each request once for the same item and the same arguments.

    The result of a request for one item depends on these alone, so tests of many orders of the same
    requests need few. Items are values that `run` takes and returns; None is no item.
    """

    _stored: dict[str, Image | None] = field(default_factory=dict)
    _known: dict[str, tuple[Image | None, Any, AwsError | None]] = field(default_factory=dict)

    def run(
        self, operation: str, item: Image | None, arguments: Mapping[str, Any]
    ) -> tuple[Image | None, Any]:
        """Execute a request on `item`; return the item afterwards, and the response.

        Raises:
            AwsError: DynamoDB refuses the request.
        """
        request = json.dumps((operation, item, arguments), sort_keys=True, default=sorted)
        if request not in self._known:
            self._known[request] = self._execute(operation, item, arguments)
        after, response, error = self._known[request]
        if error:
            raise error.with_traceback(None)
        return after, response

    def hold(self, items: Mapping[str, Image]) -> None:
        """Put items into the table, for requests other than by `run`."""
        for item in items.values():
            self.put(item)
        self._stored.clear()

    def _execute(
        self, operation: str, item: Image | None, arguments: Mapping[str, Any]
    ) -> tuple[Image | None, Any, AwsError | None]:
        key = arguments["Key"]["pk"]["S"]
        if key not in self._stored or self._stored[key] != item:
            if item:
                self.put(item)
            else:
                self.client.delete_item(TableName=self.name, Key=arguments["Key"])
        response, error = None, None
        try:
            response = getattr(self.client, operation)(**arguments)
        except AwsError as failure:
            error = failure
        found = self.item(key)
        after = self._stored[key] = with_sorted_sets(found) if found else None
        return after, response, error


def plain(item: Image) -> dict[str, Any]:
    """Return an item's values as strings, integers and sorted lists, without its key."""
    return {name: _plain(value) for name, value in item.items() if name != "pk"}


def _plain(value: Any) -> Any:
    [(kind, content)] = value.items()
    if kind == "NULL":
        return None
    return int(content) if kind == "N" else sorted(content) if kind == "SS" else content


def with_sorted_sets(item: Image) -> Image:
    """Return the item with sorted sets: DynamoDB and moto return their members in any order."""
    sets = {name: {"SS": sorted(v["SS"])} for name, v in item.items() if "SS" in v}
    return {**item, **sets}


_names = count()


@pytest.fixture(scope="module")
def new_table(dynamodb: "DynamoDBClient") -> Callable[[], Table]:
    """Return a function that creates a new table at each call."""

    def create() -> Table:
        table = Table(dynamodb, f"rooms-{next(_names)}")
        dynamodb.create_table(TableName=table.name, **table_definition())
        return table

    return create


@pytest.fixture
def table(new_table: Callable[[], Table]) -> Table:
    return new_table()


@pytest.fixture(scope="module")
def pure_table(new_table: Callable[[], Table]) -> PureTable:
    table = new_table()
    return PureTable(table.client, table.name)


@pytest.fixture
def patient_intake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the intake wait for AWS as long as a busy machine takes.

    A write that is sent again after a timeout finds its own item, and counts as a repeat.
    """
    from roomkeeper.handlers import callback_intake as intake  # noqa: PLC0415 - few tests need it

    for name in ("TABLE_RETRY", "SECRET_RETRY"):
        patient = structs.replace(getattr(intake, name), timeout=sdk.LONG_TIMEOUT.timeout)
        monkeypatch.setattr(intake, name, patient)


class Output:
    """The output of a function, which Lambda sends to CloudWatch Logs."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self._text = ""

    @property
    def text(self) -> str:
        written = self._capsys.readouterr()
        self._text += written.out + written.err
        return self._text

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text.splitlines()]

    def logged(self, message: str) -> dict[str, Any]:
        """Return the only line with this message."""
        [line] = [line for line in self.lines if line.get("message") == message]
        return line

    @property
    def metrics(self) -> dict[str, Any]:
        """Return the values of the metrics and dimensions of a single invocation, by name."""
        [line] = [line for line in self.lines if "_aws" in line]
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == NAMESPACE
        [dimensions] = directive["Dimensions"]
        names = {metric["Name"] for metric in directive["Metrics"]} | set(dimensions)
        found = {name: line[name] for name in names - {"service"}}
        return {k: v[0] if isinstance(v, list) else v for k, v in found.items()}


class Stdout:
    """A stream to the current sys.stdout, which pytest replaces in every phase of a test."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture
def output(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Output:
    """Capture the output of the functions' loggers and metrics."""
    from roomkeeper.handlers import callback_intake as intake  # noqa: PLC0415 - few tests need them
    from roomkeeper.handlers import event_publisher as publisher  # noqa: PLC0415

    for handler in {*intake.logger.handlers, *publisher.logger.handlers}:
        monkeypatch.setattr(handler, "stream", Stdout())
    return Output(capsys)
