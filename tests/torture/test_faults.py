"""Faults between the functions and AWS: every acknowledged callback is still published."""

import pytest

from local.faults.control import FaultControl
from tests.support import functions, jobs
from tests.support.deployed import Deployed
from tests.support.ledger import Ledger
from tests.support.measurements import Measurements

pytestmark = pytest.mark.local_stack

ON_THE_WAY = ("CallbackIntake", "EventPublisher")
"""The functions that handle every callback."""
NAME = "Margaret Hamilton"
RARE = {"secretsmanager"}
ALL_SERVICES = {"dynamodb", "events"} | RARE


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Test each fault rate with a number of meetings; the short form has one rate."""
    full = metafunc.config.getoption("--full")
    trials = [(5, 1300), (20, 500), (50, 200)] if full else [(50, 8)]
    metafunc.parametrize(("percent", "meetings"), trials)


def test_acknowledged_callbacks_are_published_although_calls_to_aws_fail(
    deployed: Deployed,
    faults: FaultControl,
    measurements: Measurements,
    full: bool,
    percent: int,
    meetings: int,
) -> None:
    deployed.vonage.settings(attempts=100, backoff=0.05, video_retries="brief")
    for each in ON_THE_WAY:  # a new process reads the secret
        jobs.kill_all(deployed, functions.named(deployed)[each])
    ledger = Ledger(deployed)
    faults.inject(percent / 100)

    deployed.vonage.hold_meetings(
        meetings,
        senders=16 if full else 4,
        duplicates=0.1,
        drop=0.0,
        seed=percent,
        participants=[] if full else [NAME],
    )
    deployed.vonage.video.play_sessions(
        max(1, meetings // 4),
        senders=16 if full else 4,
        duplicates=0.1,
        drop=0.0,
        seed=percent,
        scenario={"participants": [] if full else [NAME], "pauses": 1},
    )
    totals = ledger.close().record(measurements)

    totals.require()
    assert totals.refused == 0
    assert not full or faults.injected().keys() >= (
        ALL_SERVICES if percent > 5 else ALL_SERVICES - RARE
    )
