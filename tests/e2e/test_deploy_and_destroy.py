"""A stack of its own is deployed, deployed again and destroyed, by the commands as documented."""

import platform

import pytest

from operations.stack import Stack
from tests.commands import make
from tests.deployed import Deployed

pytestmark = pytest.mark.local_stack


def test_a_stack_is_deployed_quickly_changed_and_destroyed_but_for_its_table(
    deployed: Deployed,
) -> None:
    def second() -> Stack:
        """Another stack in the same, otherwise unprepared account, as it is now."""
        return Stack("roomkeeper-second", deployed.stack._session, deployed.stack._endpoint)

    processor = "arm64" if platform.machine() in ("aarch64", "arm64") else "x86_64"
    first = make(second(), "deploy", "ENV=local", f"PARAMETERS=Architecture={processor} LogDays=3")
    assert first.code == 0, first.text
    assert "The first deployment of stack roomkeeper-second into account" in first.text
    assert "make configure STACK=roomkeeper-second" in first.text

    later = make(second(), "deploy", "ENV=local", 'PARAMETERS=CleanupSchedule="rate(2 hours)"')
    assert later.code == 0, later.text
    assert "first deployment" not in later.text
    assert second().parameters["CleanupSchedule"] == "rate(2 hours)"
    assert second().parameters["LogDays"] == "3"  # what was given once stays

    unconfirmed = make(second(), "destroy")
    assert unconfirmed.code != 0
    assert "Nothing was deleted" in unconfirmed.text
    assert second().exists()

    table = second().outputs["TableName"]
    destroyed = make(second(), "destroy", "CONFIRM=roomkeeper-second")
    assert destroyed.code == 0, destroyed.text
    assert f"the table {table}" in destroyed.text
    assert not second().exists()
    dynamodb = deployed.stack.client("dynamodb")
    assert dynamodb.describe_table(TableName=table)["Table"]["TableStatus"] == "ACTIVE"
    dynamodb.delete_table(TableName=table)
