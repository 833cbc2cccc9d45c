"""A pytest plugin that sets the size of the torture tests and collects their measurements.

`make test` runs the short form, `make torture` the full one (`--full`). `--measurements FILE`
writes the counts as JSON, one object per subject, with the duration of the run in seconds, such as
`{"callbacks": {"sent": 11200, "refused": 0, "acknowledged": 11200, "lost": 0}, "seconds": 300}`.
"""

import json
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

MEASUREMENTS: "pytest.StashKey[Measurements]" = pytest.StashKey()


class Measurements:
    """The counts of a test run, by subject and name."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, subject: str, **counts: int) -> None:
        """Add to the counts of `subject`, such as `add("callbacks", sent=100, lost=0)`."""
        for name, count in counts.items():
            self._counts[subject][name] += count  # also keeps a count of 0

    def as_json(self) -> str:
        """Return all counts and the seconds that the run took, as JSON."""
        seconds = round(time.monotonic() - self._started)
        return json.dumps({**self._counts, "seconds": seconds}, indent=2) + "\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options `--full` and `--measurements`."""
    group = parser.getgroup("torture")
    group.addoption(
        "--full", action="store_true", help="run the torture tests at the size of `make torture`"
    )
    group.addoption("--measurements", type=Path, metavar="FILE", help="write the counts as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Create the run's measurements."""
    config.stash[MEASUREMENTS] = Measurements()


def pytest_terminal_summary(config: pytest.Config) -> None:
    """Write the measurements, even if a test failed: they show how far the run got."""
    if file := config.getoption("--measurements"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(config.stash[MEASUREMENTS].as_json())


@pytest.fixture(scope="session")
def measurements(pytestconfig: pytest.Config) -> Measurements:
    """The measurements of this test run."""
    return pytestconfig.stash[MEASUREMENTS]


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether to run the torture tests at full size (docs/reliability.md)."""
    return bool(pytestconfig.getoption("--full"))
