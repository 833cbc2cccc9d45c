"""A pytest plugin that lets the suites run side by side (`-n`, `--dist loadgroup`).

Unit and integration tests run on any worker, in random order with `-p randomly`. The tests of a
deployed stack run in the order of their files, and those of a group on one worker, which has
stacks of its own.
"""

import itertools
import os
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

from local.servers import BUILD

GROUPS = {
    "tests/torture/test_copies.py": "copies",
    "tests/torture/test_permissions.py": "copies",
    "tests/torture/test_secrets_of_copies.py": "copies",
    "tests/torture": "torture",
    "tests/machines": "machines",
    "tests/e2e/test_up.py": "up",
    "tests/e2e/test_company_rules.py": "company",
    "tests/e2e/test_copy_bucket.py": "company",
    "tests/e2e/test_copies.py": "copies",
    "tests/e2e/test_examples.py": "copies",
    "tests/e2e": "e2e",
}
"""The group of the tests below a path; the first path that fits counts."""

IN_ORDER = ("e2e", "copies", "torture", "machines", "up", "company")
"""The groups in the order in which workers take them, the long ones first.

The short tests that follow fill the rest.
"""

LOCAL = BUILD / "local" / "-".join(filter(None, ("test", os.environ.get("PYTEST_XDIST_WORKER"))))
"""The folder of this worker's local stack: its logs stay there after the test run."""

_POSITION: pytest.StashKey[int] = pytest.StashKey()
_positions = itertools.count()


def group_of(path: str) -> str | None:
    """Return the group of a test's file or node id; None if it can run on any worker."""
    return next((group for prefix, group in GROUPS.items() if path.startswith(prefix)), None)


class Scheduling(LoadScopeScheduling):
    """Sends the tests of a group to one worker, and all others to any."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid) or nodeid


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """Return the scheduling by groups for `--dist loadgroup`; xdist's own for all else."""
    if config.getvalue("dist") != "loadgroup":
        return None
    config.option.loadscopereorder = False  # by the number of tests
    return Scheduling(config, log)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Number the tests of each group in the order of their files."""
    if group_of(item.nodeid):
        item.stash[_POSITION] = next(_positions)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests of a deployed stack to the start, group by group, in the order of files."""
    items.sort(key=lambda item: (_rank(item.nodeid), item.stash.get(_POSITION, 0)))


def _rank(nodeid: str) -> int:
    group = group_of(nodeid)
    return IN_ORDER.index(group) if group else len(IN_ORDER)
