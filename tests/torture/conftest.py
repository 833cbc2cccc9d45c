"""What the torture tests share."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from local import servers
from local.faults.control import FaultControl
from local.servers import BUILD
from tests.support import functions
from tests.support.deployed import Deployed
from tests.support.leaks import Past


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Search for leaks last of all, so that it is in all that the others have left behind."""
    items.sort(key=lambda item: item.path.name == "test_leaks.py")


@pytest.fixture(scope="session")
def past() -> Past:
    """What has come out and would be gone when leaks are searched for."""
    return Past()


@pytest.fixture(scope="session")
def fault_proxy(deployed: Deployed) -> Iterator[FaultControl]:
    """A proxy through which all functions reach AWS, and nobody else does, from now on."""
    with ExitStack() as exits:
        proxy = servers.start_faults(deployed.stack.base_url, BUILD / "local/test")
        exits.callback(proxy.stop)
        exits.enter_context(functions.all_configured(deployed, AWS_ENDPOINT_URL=proxy.url))
        yield FaultControl(proxy.url)


@pytest.fixture
def faults(fault_proxy: FaultControl) -> Iterator[FaultControl]:
    """The proxy for one test, after which it lets everything pass again."""
    yield fault_proxy
    fault_proxy.set([])
