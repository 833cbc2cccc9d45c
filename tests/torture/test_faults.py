"""Faults between the functions and AWS: everything that was acknowledged arrives all the same."""

import pytest

from local.faults.control import FaultControl
from tests.support import functions, jobs
from tests.support.balance import Account
from tests.support.deployed import Deployed
from tests.support.figures import Figures

pytestmark = pytest.mark.local_stack

ON_THE_WAY = ("CallbackIntake", "EventPublisher")
"""The functions that every callback passes."""
NAME = "Margaret Hamilton"
RARE = {"secretsmanager"}
STRUCK = {"dynamodb", "events"} | RARE


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Try each rate on so many meetings; in the short form one rate on a few."""
    full = metafunc.config.getoption("--full")
    trials = [(5, 1300), (20, 500), (50, 200)] if full else [(50, 8)]
    metafunc.parametrize(("percent", "meetings"), trials)


def test_what_is_acknowledged_arrives_although_so_many_calls_to_aws_fail(
    deployed: Deployed,
    faults: FaultControl,
    figures: Figures,
    full: bool,
    percent: int,
    meetings: int,
) -> None:
    deployed.vonage.settings(attempts=100, backoff=0.05)
    for each in ON_THE_WAY:  # its next process has to read the secret
        jobs.kill_all(deployed, functions.named(deployed)[each])
    account = Account(deployed)
    faults.strike(percent / 100)

    deployed.vonage.hold_meetings(
        meetings,
        senders=16 if full else 4,
        duplicates=0.1,
        drop=0.0,
        seed=percent,
        participants=[] if full else [NAME],
    )
    balance = account.balance().entered(figures)

    balance.require()
    assert balance.refused == 0
    assert not full or faults.struck().keys() >= (STRUCK if percent > 5 else STRUCK - RARE)
