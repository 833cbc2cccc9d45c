"""What the torture tests share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from local import servers
from local.faults.control import FaultControl
from local.servers import BUILD
from tests import functions
from tests.deployed import Deployed

ON_THE_WAY = ("CallbackIntake", "EventPublisher")
"""The functions that every callback passes."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Search for leaks last of all, so that it is in all that the others have left behind."""
    items.sort(key=lambda item: item.path.name == "test_leaks.py")


@pytest.fixture
def faults(fault_proxy: FaultControl) -> Iterator[FaultControl]:
    """Faults between these functions and AWS, for one test: after it all is as it was."""
    yield fault_proxy
    fault_proxy.set([])


@pytest.fixture(scope="session")
def fault_proxy(deployed: Deployed) -> Iterator[FaultControl]:
    """A proxy through which these functions reach AWS, and nobody else does, from now on."""
    names = functions.named(deployed)
    with ExitStack() as exits:
        proxy = servers.start_faults(deployed.stack.base_url, BUILD / "local/test")
        exits.callback(proxy.stop)
        for each in ON_THE_WAY:
            led = functions.configured(deployed, names[each], AWS_ENDPOINT_URL=proxy.url)
            exits.enter_context(led)
        yield FaultControl(proxy.url)
