"""Runs after the torture tests of copies: no secret is in any output of their stack."""

import pytest

from tests.support import leaks
from tests.support.deployed import Deployed
from tests.support.leaks import Past
from tests.support.measurements import Measurements

pytestmark = pytest.mark.local_stack

NAME = "Margaret Hamilton"


def test_no_output_of_the_copies_contains_a_secret(
    copying: Deployed, past: Past, measurements: Measurements
) -> None:
    copying.vonage.hold_meeting(participants=[NAME])
    outputs = leaks.all_outputs(copying, past)
    secrets = {**leaks.secrets_of(copying), **leaks.names_in(past.deliveries(copying))}
    assert f"the name {NAME}" in secrets
    leaked = leaks.found(outputs, secrets)

    measurements.add("leaks", searched_bytes=sum(map(len, outputs.values())), found=len(leaked))
    assert leaked == []
    assert "recording copied" in outputs[f"{copying.stack.outputs['RecordingCopierName']}.log"]
