"""How hard the torture tests try, and the figures that they come to, as a pytest plugin.

`make test` runs them in their short form. `make torture` gives `--full`, and `--figures FILE`
writes what they counted as JSON: an object a subject, and the seconds of the whole run, such as
`{"callbacks": {"sent": 11200, "refused": 0, "acknowledged": 11200, "lost": 0}, "seconds": 300}`.
"""

import json
import time
from collections import Counter, defaultdict
from pathlib import Path

import pytest

FIGURES: "pytest.StashKey[Figures]" = pytest.StashKey()


class Figures:
    """What a run counted, added up by subject and name."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, subject: str, **counts: int) -> None:
        """Add to the counts of `subject`, such as `add("callbacks", sent=100, lost=0)`."""
        for name, count in counts.items():
            self._counts[subject][name] += count  # kept when 0, unlike by Counter.update's sum

    def as_json(self) -> str:
        """Return all counts, and how many seconds the run took."""
        seconds = round(time.monotonic() - self._started)
        return json.dumps({**self._counts, "seconds": seconds}, indent=2) + "\n"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add what says how hard to try and where the figures go."""
    group = parser.getgroup("torture")
    group.addoption("--full", action="store_true", help="try as hard as docs/reliability.md says")
    group.addoption("--figures", type=Path, metavar="FILE", help="write what was counted, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Start the run's count."""
    config.stash[FIGURES] = Figures()


def pytest_terminal_summary(config: pytest.Config) -> None:
    """Write the figures down, also when a test has failed: they tell how far it got."""
    if file := config.getoption("--figures"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(config.stash[FIGURES].as_json())


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """What this run has counted."""
    return pytestconfig.stash[FIGURES]


@pytest.fixture(scope="session")
def full(pytestconfig: pytest.Config) -> bool:
    """Whether to try as hard as docs/reliability.md says, not only as long as a test may take."""
    return bool(pytestconfig.getoption("--full"))
