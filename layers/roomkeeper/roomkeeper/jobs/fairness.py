"""How a job's run is shared, so that items which always fail cannot keep it from the others.

An item that fails for a reason of its own is deferred: it is tried again later and later. The lists
that a job reads from each get a share of every run.
"""

import itertools
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from roomkeeper.domain.recordings import WorklistEntry
from roomkeeper.store import Store

Item = TypeVar("Item")

BASE_DELAY = timedelta(hours=1)
MAX_DELAY = timedelta(days=1)


def delay(attempts: int, *, draw: Callable[[], float] = random.random) -> timedelta:
    """Return how long after its failure number `attempts` an item is tried again.

    Exponential backoff with equal jitter: between half of the delay and all of it.
    Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    doublings = min(attempts - 1, 10)  # MAX_DELAY is reached by then
    longest = min(BASE_DELAY * (1 << doublings), MAX_DELAY)
    return longest / 2 + longest / 2 * draw()


def interleave(sources: Sequence[tuple[int, Iterator[Item]]]) -> Iterator[Item]:
    """Yield the items of all sources in turn, as many of each at a time as its weight says.

    A source that is exhausted leaves its share to the others.
    """
    remaining = list(sources)
    while remaining:
        for source in tuple(remaining):
            weight, items = source
            processed = 0
            for processed, item in enumerate(itertools.islice(items, weight), 1):  # noqa: B007
                yield item
            if processed < weight:
                remaining.remove(source)


class Deferrals:
    """Defers items at `now`, and counts them; in a dry run it does neither. Thread-safe."""

    def __init__(self, store: Store, *, now: datetime, dry_run: bool) -> None:
        self._store = store
        self._now = now
        self._dry_run = dry_run
        self._lock = threading.Lock()
        self.count = 0

    def defer(self, due: WorklistEntry, *, confirmed: bool = False) -> None:
        """Have an item tried again later; `confirmed` says that Vonage's API has just returned it.

        Raises:
            StoreUnavailable: it stays where it is.
        """
        if self._dry_run or not self._store.defer(due, self._now, delay, confirmed=confirmed):
            return
        with self._lock:
            self.count += 1
