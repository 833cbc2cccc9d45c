"""A pytest plugin that lets the suites run side by side (`-n`, `--dist loadgroup`).

Unit and integration tests run in random order (pytest-randomly) on any worker. The tests of a
deployed stack run in the order of their files, and those of a group on one worker, which has
stacks of its own.
"""

import itertools
import os

import pytest

from local.servers import BUILD
from local.testing.template import ROOT

GROUPS = {
    "tests/torture": "torture",
    "tests/machines": "machines",
    "tests/e2e/test_up.py": "up",
    "tests/e2e/test_copies.py": "copies",
    "tests/e2e": "e2e",
}
"""The group of the tests below a path; the first path that fits counts."""

LOCAL = BUILD / "local" / "-".join(filter(None, ("test", os.environ.get("PYTEST_XDIST_WORKER"))))
"""The folder of this worker's local stack: its logs stay there after the test run."""

_PLACE: pytest.StashKey[int] = pytest.StashKey()
_places = itertools.count()


def group_of(item: pytest.Item) -> str | None:
    """Return the group of a test; None if it can run on any worker."""
    path = item.path.relative_to(ROOT)
    return next((group for place, group in GROUPS.items() if path.is_relative_to(place)), None)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark the tests of each group for xdist, and number them in the order of their files."""
    if group := group_of(item):
        item.add_marker(pytest.mark.xdist_group(group))
        item.stash[_PLACE] = next(_places)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests of a deployed stack to the start, in the order of their files."""
    items.sort(key=lambda item: item.stash.get(_PLACE, len(items)))
