"""Fixtures of the torture tests."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from local import servers
from local.faults.control import FaultControl
from tests.support import functions
from tests.support.deployed import Deployed
from tests.support.leaks import Past
from tests.support.suites import LOCAL


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the search for leaks to the end, so that it covers the output of all other tests."""
    items.sort(key=lambda item: item.path.name == "test_leaks.py")


@pytest.fixture(scope="session")
def past() -> Past:
    """Outputs that would be lost before the search for leaks."""
    return Past()


@pytest.fixture(scope="session")
def fault_proxy(deployed: Deployed) -> Iterator[FaultControl]:
    """A proxy that all functions use to reach AWS for the rest of the test run."""
    with ExitStack() as exits:
        proxy = servers.start_faults(deployed.stack.base_url, LOCAL)
        exits.callback(proxy.stop)
        exits.enter_context(functions.all_configured(deployed, AWS_ENDPOINT_URL=proxy.url))
        yield FaultControl(proxy.url)


@pytest.fixture
def faults(fault_proxy: FaultControl) -> Iterator[FaultControl]:
    """The proxy for one test; the faults are removed in the end."""
    yield fault_proxy
    fault_proxy.set([])
