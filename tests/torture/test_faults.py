"""Faults between the functions and AWS: everything that was acknowledged arrives all the same."""

from collections.abc import Iterator

import pytest

from local import servers
from local.faults.control import FaultControl
from local.servers import BUILD
from tests import functions
from tests.balance import Account
from tests.deployed import Deployed
from tests.figures import Figures

pytestmark = pytest.mark.local_stack

NAME = "Margaret Hamilton"


@pytest.fixture(scope="module")
def faults(deployed: Deployed) -> Iterator[FaultControl]:
    """A proxy through which every function reaches AWS, and nobody else does."""
    proxy = servers.start_faults(deployed.stack.base_url, BUILD / "local/test")
    try:
        with functions.all_configured(deployed, AWS_ENDPOINT_URL=proxy.url):
            yield FaultControl(proxy.url)
    finally:
        proxy.stop()


@pytest.mark.parametrize(
    ("percent", "meetings", "in_short"), [(5, 1300, 12), (20, 500, 8), (50, 200, 5)]
)
def test_what_is_acknowledged_arrives_although_so_many_calls_to_aws_fail(
    deployed: Deployed,
    faults: FaultControl,
    figures: Figures,
    full: bool,
    percent: int,
    meetings: int,
    in_short: int,
) -> None:
    deployed.vonage.settings(attempts=100)
    account = Account(deployed)
    faults.strike(percent / 100)

    deployed.vonage.hold_meetings(
        meetings if full else in_short,
        senders=16 if full else 4,
        duplicates=0.1,
        drop=0.0,
        seed=percent,
        participants=[] if full else [NAME],
    )
    balance = account.balance().entered(figures)

    balance.require()
    assert balance.refused == 0
    assert not full or faults.spared() == []
