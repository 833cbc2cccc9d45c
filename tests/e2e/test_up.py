"""The stack that `make up` leaves running: its printed commands, updates and deletion."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import pytest
from msgspec import Struct

from local import deployer
from local.deployment import local_session
from local.servers import REGION, free_port
from local.testing.template import ROOT
from local.vonage.control import VonageControl
from operations.stack import Stack
from operations.template import included
from tests.support.commands import Result, make, run

pytestmark = pytest.mark.local_stack

EXPECTED: Mapping[str, str] = {
    "Post a callback yourself": "HTTP/1.1 204",
    "Post a callback of Video": "HTTP/1.1 204",
    "Let the emulated Vonage hold a meeting": '"recording_ids"',
    "Let it hold a Video session": '"archive_ids"',
    "See its callbacks": '"delivered"',
    "See the credentials of its Video API": '"application_id"',
    "List rooms": '"rooms"',
    "Dry-run a cleanup": '"dry_run":true',
    "See the items in the table": "RECORDING#",
    "Check these credentials": "Stored in the Video secret: application_id, private_key",
    "See the deployment": "CREATE_COMPLETE",
    "See the history of the first": "recording:started",
    "See the history of the archive": "recording:uploaded",
    "See the functions' latest": "callback accepted",
    "Send a callback of": "The stack accepts callbacks of Meetings and Video and publishes",
    "Print events as they": "Listening with",
    "Print the URL": "/callbacks/",
    "Publish the events of dead letters": "0 dead letters published",
    "Stop the stack": "The local stack is stopped.",
}
"""The start of each printed explanation, with a part of the output of its command."""

LAST = "Stop the stack"


class Up(Struct, frozen=True):
    """The output of `make up`: lines that set variables, and commands by their explanations."""

    variables: list[str]
    lines: Mapping[str, str]
    url: str
    user: boto3.Session
    """The user who deployed the stack, with the deployer's policies alone."""

    def stack(self) -> Stack:
        """Return the stack as the root user; its state is read again."""
        return Stack("roomkeeper-local", local_session(), self.url)

    def operated(self) -> Stack:
        """Return the stack as the user who deployed it; its state is read again."""
        return Stack("roomkeeper-local", self.user, self.url)

    def vonage_api(self) -> str:
        """Return the base URL of the emulated Vonage's API."""
        [base] = [line.partition("=")[2] for line in self.variables if " VONAGE=" in line]
        return VonageControl(base).api_url

    def try_out(self, title: str) -> None:
        """Run the command whose explanation starts with `title`, and check its output."""
        [line] = [line for text, line in self.lines.items() if text.startswith(title)]
        if title.startswith("Print events"):
            line += " SECONDS=5"
        result = shell("\n".join([*self.variables, line]))
        assert result.code == 0, f"{title}: {result.text}"
        assert result.text.endswith("\n"), f"{title}: {result.text!r}"
        assert EXPECTED[title] in result.text.replace('": ', '":'), f"{title}: {result.text}"


def shell(line: str) -> Result:
    """Run a line in a shell without the variables of AWS and of the make that runs the tests."""
    left_out = ("MAKE", "MFLAGS", "ARGS", "AWS_")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    return run(["sh", "-c", line], plain)


def deployer_at(url: str) -> boto3.Session:
    """Return a session of the user who deployed the stack, with a key of its own."""
    iam = local_session().client("iam", endpoint_url=url)
    key = iam.create_access_key(UserName=deployer.NAME)["AccessKey"]
    return boto3.Session(
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        region_name=REGION,
    )


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """The stack that `make up` leaves running; its own command ends it."""
    port = free_port()
    result = shell(f"make --no-print-directory up PORT={port} VONAGE_PORT={free_port()}")
    assert result.code == 0, result.text
    before, _, to_try = result.text.partition("Commands to try")
    _, _, to_set = before.partition("Paste these lines")
    printed = [line.strip() for line in to_try.splitlines()[1:] if line]
    url = f"http://127.0.0.1:{port}"
    running = Up(
        [line.strip() for line in to_set.splitlines()[1:] if line],
        dict(zip(printed[::2], printed[1::2], strict=True)),
        url,
        deployer_at(url),
    )
    yield running
    running.try_out(LAST)


def test_the_commands_that_make_up_prints_work(up: Up) -> None:
    assert len(up.lines) == len(EXPECTED)
    for title in [each for each in EXPECTED if each != LAST]:
        up.try_out(title)


@pytest.fixture(scope="module")
def before_and_after(up: Up) -> tuple[Stack, Stack]:
    """The stack before and after a deployment with another value of a parameter."""
    before = up.stack()
    assert before.parameters["CleanupSchedule"] != "rate(2 hours)"
    given = f'CleanupSchedule="rate(2 hours)" VonageBaseUrl={up.vonage_api()}'
    result = make(up.operated(), "deploy", "ENV=local", f"PARAMETERS={given}")
    assert result.code == 0, result.text
    assert "The first deployment" not in result.text
    return before, up.stack()


def test_a_later_deployment_changes_only_the_given_parameters(
    before_and_after: tuple[Stack, Stack],
) -> None:
    before, after = before_and_after
    assert after.parameters["CleanupSchedule"] == "rate(2 hours)"
    assert {k: v for k, v in after.parameters.items() if k != "CleanupSchedule"} == {
        k: v for k, v in before.parameters.items() if k != "CleanupSchedule"
    }
    assert after.outputs["TableName"] == before.outputs["TableName"]
    assert after.callback_url() == before.callback_url()


def test_every_function_runs_after_a_deployment_with_another_parameter(
    up: Up, before_and_after: tuple[Stack, Stack]
) -> None:
    """A repeated deployment builds the layer for the stack's processor."""
    assert before_and_after[1].status == "UPDATE_COMPLETE"
    formation, functions = up.stack().client("cloudformation"), up.stack().client("lambda")
    functions_of_stack = {
        logical_id: resource
        for logical_id, resource in included(up.stack().parameters).items()
        if resource["Type"] == "AWS::Serverless::Function"
    }
    assert functions_of_stack
    for logical_id, function in functions_of_stack.items():
        found = formation.describe_stack_resource(
            StackName=up.stack().name, LogicalResourceId=logical_id
        )["StackResourceDetail"]
        sample = f"{Path(function['Properties']['CodeUri']).name}.json"
        response = functions.invoke(
            FunctionName=found["PhysicalResourceId"],
            Payload=(ROOT / "events/functions" / sample).read_bytes(),
        )
        assert "FunctionError" not in response, f"{logical_id}: {response['Payload'].read()!r}"


def test_destroy_deletes_all_but_the_table_once_the_stacks_name_is_given(up: Up) -> None:
    table = up.stack().outputs["TableName"]

    unconfirmed = make(up.operated(), "destroy")
    assert unconfirmed.code != 0
    assert "Nothing was deleted" in unconfirmed.text
    assert up.stack().exists()

    events, bus = up.stack().client("events"), up.stack().outputs["EventBusName"]
    subscriber = {"Id": "1", "Arn": "arn:aws:sqs:eu-west-1:222222222222:a-subscriber"}
    events.put_rule(Name="an-audit", EventBusName=bus, EventPattern='{"source": ["roomkeeper"]}')
    events.put_targets(Rule="an-audit", EventBusName=bus, Targets=[subscriber])
    subscribed = make(up.operated(), "destroy", "CONFIRM=roomkeeper-local")
    assert subscribed.code != 0
    assert f"an-audit on the bus {bus} -> {subscriber['Arn']}" in subscribed.text
    assert up.stack().status in ("CREATE_COMPLETE", "UPDATE_COMPLETE")
    events.remove_targets(Rule="an-audit", EventBusName=bus, Ids=["1"])
    events.delete_rule(Name="an-audit", EventBusName=bus)

    destroyed = make(up.operated(), "destroy", "CONFIRM=roomkeeper-local")
    assert destroyed.code == 0, destroyed.text
    assert f"the table {table}" in destroyed.text
    assert not up.stack().exists()
    kept = up.stack().client("dynamodb").describe_table(TableName=table)["Table"]
    assert kept["ItemCount"] > 0

    again = make(up.stack(), "destroy", "CONFIRM=roomkeeper-local")
    assert (again.code, "There is no stack roomkeeper-local" in again.text) == (0, True)
