"""A stack that `make up` leaves running: tried as it says, deployed again, destroyed, ended."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import boto3
import pytest
from msgspec import Struct

from local.deployment import local_session
from local.servers import free_port
from local.testing.template import ROOT, resources
from local.vonage.control import VonageControl
from operations.stack import Stack
from tests.support.commands import Result, make, run

pytestmark = pytest.mark.local_stack

EXPECTED: Mapping[str, str] = {
    "Post a callback yourself": "HTTP/1.1 204",
    "Have the emulated Vonage hold a meeting": '"recording_ids"',
    "See how its callbacks were answered": '"delivered"',
    "Ask the management API": '"rooms"',
    "Rehearse a cleanup": '"dry_run":true',
    "See what the table holds": "RECORDING#",
    "Store other credentials": "Vonage takes them",
    "Print the callback URL": "/callbacks/",
    "Publish dead letters": "0 dead letters sent",
    "End it all": "The local stack has ended.",
}
"""What is to be tried, by how it begins, and what is seen of it then."""

LAST = "End it all"


class Up(Struct, frozen=True):
    """What `make up` has printed to be pasted, by the explanation before it, and where it runs."""

    lines: Mapping[str, str]
    url: str

    def stack(self) -> Stack:
        """Return the stack as it is now."""
        return Stack("roomkeeper-local", local_session(), self.url)

    def operated(self) -> Stack:
        """Return the stack as the user sees it whose keys are in what was printed."""
        settings = self.lines["See what the table holds"].removeprefix("env ").split(" make ")[0]
        given = dict(each.split("=", 1) for each in settings.split())
        user = boto3.Session(
            aws_access_key_id=given["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=given["AWS_SECRET_ACCESS_KEY"],
            region_name=given["AWS_DEFAULT_REGION"],
        )
        return Stack("roomkeeper-local", user, self.url)

    def vonage_api(self) -> str:
        """Return the base URL of the emulated Vonage's API."""
        deliveries = self.lines["See how its callbacks were answered"].split()[-1]
        return VonageControl(deliveries.removesuffix("/control/deliveries")).api_url

    def try_out(self, what: str) -> None:
        """Paste a line into a shell, and see what is to be seen."""
        [line] = [line for told, line in self.lines.items() if told.startswith(what)]
        told = shell(line)
        assert told.code == 0, f"{what}: {told.text}"
        assert EXPECTED[what] in told.text.replace('": ', '":'), f"{what}: {told.text}"


def shell(line: str) -> Result:
    """Run a line in a shell that knows nothing of AWS, nor of the make that runs the tests."""
    left_out = ("MAKE", "MFLAGS", "ARGS", "AWS_")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(left_out)}
    return run(["sh", "-c", line], plain)


@pytest.fixture(scope="module")
def up() -> Iterator[Up]:
    """What `make up` leaves running; it is ended by the line that it prints for that."""
    port = free_port()
    told = shell(f"make --no-print-directory up PORT={port} VONAGE_PORT={free_port()}")
    assert told.code == 0, told.text
    _, _, to_try = told.text.partition("Things to try")
    printed = [line.strip() for line in to_try.splitlines()[1:] if line]
    running = Up(dict(zip(printed[::2], printed[1::2], strict=True)), f"http://127.0.0.1:{port}")
    yield running
    running.try_out(LAST)


def test_what_make_up_prints_can_be_pasted(up: Up) -> None:
    assert len(up.lines) == len(EXPECTED)
    for what in [each for each in EXPECTED if each != LAST]:
        up.try_out(what)


def test_a_later_deployment_changes_what_it_is_told_and_no_more(up: Up) -> None:
    before = up.stack()
    assert before.parameters["CleanupSchedule"] != "rate(2 hours)"

    told = make(up.operated(), "deploy", "ENV=local", 'PARAMETERS=CleanupSchedule="rate(2 hours)"')
    assert told.code == 0, told.text

    after = up.stack()
    assert "The first deployment" not in told.text
    assert after.parameters["CleanupSchedule"] == "rate(2 hours)"
    changed = {"CleanupSchedule", "VonageBaseUrl"}  # the latter is samconfig.toml's to set
    assert {k: v for k, v in after.parameters.items() if k not in changed} == {
        k: v for k, v in before.parameters.items() if k not in changed
    }
    assert after.outputs["TableName"] == before.outputs["TableName"]
    assert after.callback_url() == before.callback_url()


def test_every_function_runs_after_a_deployment_with_another_parameter(up: Up) -> None:
    """The libraries that are deployed anew are those of the stack's processor."""
    given = f"PARAMETERS=LogDays=14 VonageBaseUrl={up.vonage_api()}"
    told = make(up.operated(), "deploy", "ENV=local", given)
    assert told.code == 0, told.text
    assert up.stack().parameters["LogDays"] == "14"

    formation, functions = up.stack().client("cloudformation"), up.stack().client("lambda")
    for logical_id, function in resources("AWS::Serverless::Function").items():
        found = formation.describe_stack_resource(
            StackName=up.stack().name, LogicalResourceId=logical_id
        )["StackResourceDetail"]
        sample = f"{Path(function['Properties']['CodeUri']).name}.json"
        answer = functions.invoke(
            FunctionName=found["PhysicalResourceId"],
            Payload=(ROOT / "events/functions" / sample).read_bytes(),
        )
        assert "FunctionError" not in answer, f"{logical_id}: {answer['Payload'].read()!r}"


def test_a_stack_is_destroyed_but_for_its_table_once_its_name_is_given(up: Up) -> None:
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
