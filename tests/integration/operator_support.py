"""Operator commands run in this process, against a stack in any state and moto's account."""

import io
import json
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext

import boto3
import pytest
from moto import mock_aws
from msgspec import Struct

from local.testing.builders import RECORDING_ID
from local.testing.template import table_definition
from operations import (
    bench_lambda,
    callback_url,
    configure,
    deploy,
    destroy,
    items,
    logs,
    purge,
    redrive,
    regions,
    status,
    trace,
)
from tests.support.cloudformation import NAME, CloudFormation, Resource, serving

REGION = "eu-west-1"
TOKEN = "a-token-of-as-many-characters-as-are-needed"
PARAMETERS = {
    "CleanupRetentionDays": "30",
    "RoomExtensionDryRun": "false",
    "CallbackAcceptedCredentials": "token-or-signature",
    "CallbackPreviousSecretGraceHours": "24",
    "VonageBaseUrl": "https://api-eu.vonage.com/beta/meetings",
}
OTHERS = {"SomethingElse": "1"}
COMMANDS: Mapping[str, tuple[Callable[[], int], Sequence[str]]] = {
    "deploy": (deploy.main, ["--environment", "prod", "--stack", NAME]),
    "destroy": (destroy.main, ["--stack", NAME, "--confirm", NAME]),
    "configure": (configure.main, ["--stack", NAME]),
    "callback-url": (callback_url.main, ["--stack", NAME]),
    "redrive": (redrive.main, ["--stack", NAME]),
    "items": (items.main, ["--stack", NAME]),
    "trace": (trace.main, ["--stack", NAME, "--", RECORDING_ID]),
    "status": (status.main, ["--stack", NAME]),
    "logs": (logs.main, ["--stack", NAME]),
    "bench-lambda": (bench_lambda.main, ["--stack", NAME]),
    "purge": (
        purge.main,
        ["--stack", NAME, "--from=2026-11-22T00:00:00Z", "--to=2026-11-23T00:00:00Z"],
    ),
}
USERS = tuple(name for name in COMMANDS if name not in ("deploy", "destroy"))
"""The commands that use a stack's outputs."""

PRINTS = {
    "configure": "Stored in the callback secret: signature_secret.",
    "callback-url": f"/callbacks/{TOKEN}",
    "redrive": "0 dead letters published, 0 left in the queue.",
    "items": f"RECORDING#{RECORDING_ID}",
    "trace": f"Recording {RECORDING_ID}: started",
    "status": "in state ALARM",
    "logs": "No lines in that time.",
    "bench-lambda": "No function was invoked",
    "purge": "0 recordings",
}
"""The output of each of these commands on success."""


class Ran(Struct):
    """The result of a command: its exit code, its output and its calls."""

    code: int
    text: str
    sam: list[str]
    """The SAM CLI's commands, such as build."""


class Stdin(io.TextIOWrapper):
    """Standard input with signature_secret for make configure; a terminal when somebody types."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__(
            io.BytesIO(json.dumps({"signature_secret": secrets.token_hex(32)}).encode())
        )
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


class Operator:
    """Runs the commands in this process, against one stack."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._patch, self._capsys = monkeypatch, capsys
        self.sam: list[list[str]] = []
        self._types = False
        monkeypatch.setattr(deploy, "_run", self._note)
        monkeypatch.setattr(deploy, "build", lambda _wanted, run: run(["sam", "build"]))
        monkeypatch.setattr(deploy, "exclusive", nullcontext)  # other tests build meanwhile
        monkeypatch.setattr(redrive, "POLL_SECONDS", 0)  # moto overlooks none
        monkeypatch.setattr(regions, "why_not", lambda _region, _values: None)

    def _note(self, arguments: list[str], **_options: bool) -> int:
        self.sam.append(arguments)
        return 0

    def types(self, *lines: str | BaseException) -> None:
        """Have somebody at the keyboard type these lines, or a key such as Ctrl-C."""
        typed = iter(lines)

        def answer(_prompt: str = "") -> str:
            line = next(typed)
            if isinstance(line, BaseException):
                raise line
            return line

        self._types = True
        self._patch.setattr("builtins.input", answer)
        self._patch.setattr("getpass.getpass", answer)

    def run(self, name: str, *more: str) -> Ran:
        main, arguments = COMMANDS[name]
        self._patch.setattr(sys, "stdin", Stdin(is_terminal=self._types))
        self._patch.setattr(sys, "argv", [name, *arguments, *more])
        self.sam.clear()
        code = main()
        written = self._capsys.readouterr()
        return Ran(code, written.out + written.err, [each[1] for each in self.sam])


class Account(Struct):
    """The resources of the stack in the account, and the outputs that name them."""

    outputs: dict[str, str]
    resources: list[Resource]


def make_resources() -> Account:
    dynamodb, manager = boto3.client("dynamodb"), boto3.client("secretsmanager")
    dynamodb.create_table(TableName="the-table", **table_definition())
    item = {
        "pk": f"RECORDING#{RECORDING_ID}",
        "recording_id": RECORDING_ID,
        "session_id": "a-session",
        "started_at": "2026-11-22T20:50:24Z",
    }
    texts = {name: {"S": value} for name, value in item.items()}
    dynamodb.put_item(TableName="the-table", Item={**texts, "seen": {"SS": ["recording:started"]}})
    queue = boto3.client("sqs").create_queue(QueueName="dead-letters")["QueueUrl"]
    boto3.client("events").create_event_bus(Name=NAME)
    boto3.client("logs").create_log_group(logGroupName="the-logs")
    secret = manager.create_secret(Name="callback", SecretString=json.dumps({"token": TOKEN}))[
        "ARN"
    ]
    outputs = {
        "CallbackUrl": "https://an-api.execute-api.eu-west-1.amazonaws.com/callbacks",
        "ManagementUrl": "https://an-api.execute-api.eu-west-1.amazonaws.com",
        "CallbackSecretArn": secret,
        "VonageSecretArn": secret,
        "TableName": "the-table",
        "DeadLetterQueueUrl": queue,
        "EventBusName": NAME,
        "EventPublisherName": "publisher",
    }
    resources = [
        ("AWS::DynamoDB::Table", "the-table", "CREATE_COMPLETE"),
        ("AWS::SQS::Queue", queue, "CREATE_COMPLETE"),
        ("AWS::Events::EventBus", NAME, "CREATE_COMPLETE"),
        ("AWS::Logs::LogGroup", "the-logs", "CREATE_COMPLETE"),
    ]
    return Account(outputs, resources)


def a_stack(account: Account, status: str | None, **options: object) -> CloudFormation:
    """Return Roomkeeper's stack in a state, with the resources that it has then."""
    never_complete = status in FAILED_CREATION or status in CREATING
    known = {
        "outputs": {} if never_complete else account.outputs,
        "parameters": PARAMETERS,
        "resources": account.resources,
    }
    if status in (None, "REVIEW_IN_PROGRESS"):
        known = {}
    return CloudFormation(status, **{**known, **options})  # type: ignore[arg-type]


FAILED_CREATION = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
CREATING = ("CREATE_IN_PROGRESS", "ROLLBACK_IN_PROGRESS")
UPDATING = (
    "UPDATE_IN_PROGRESS",
    "UPDATE_COMPLETE_CLEANUP_IN_PROGRESS",
    "UPDATE_ROLLBACK_IN_PROGRESS",
)
COMPLETE = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE")


Put = Callable[[CloudFormation], None]


@contextmanager
def putting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Yield a function that sets the account's stack to the state of a CloudFormation."""
    with ExitStack() as exits:

        def put(formation: CloudFormation) -> None:
            url = exits.enter_context(serving(formation))
            monkeypatch.setenv("AWS_ENDPOINT_URL_CLOUDFORMATION", url)

        yield put


@contextmanager
def only_moto() -> Iterator[None]:
    """Let moto respond for every service but CloudFormation, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL"):
            patch.delenv(name, raising=False)
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("NO_PROXY", "127.0.0.1")
        patch.setenv("no_proxy", "127.0.0.1")
        with mock_aws():
            yield
