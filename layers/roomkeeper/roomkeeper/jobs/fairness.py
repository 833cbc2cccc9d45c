"""Shares a job's run among its items, so that items which always fail cannot starve the others.

An item-specific failure defers its item with exponential backoff. Each worklist that a job reads
gets a share of every run.
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
    """Return the delay before an item is retried, after its failure number `attempts`.

    Exponential backoff with equal jitter: at least half of the computed delay, at most all of it.
    Source: "Exponential Backoff And Jitter", AWS Architecture Blog.
    """
    doublings = min(attempts - 1, 10)  # more would exceed MAX_DELAY anyway
    max_delay = min(BASE_DELAY * (1 << doublings), MAX_DELAY)
    return max_delay / 2 + max_delay / 2 * draw()


def interleave(sources: Sequence[tuple[int, Iterator[Item]]]) -> Iterator[Item]:
    """Yield the items of all sources in turn, as many of each at a time as its weight.

    The share of an exhausted source goes to the others.
    """
    remaining = list(sources)
    while remaining:
        for source in tuple(remaining):
            weight, items = source
            yielded = 0
            for yielded, item in enumerate(itertools.islice(items, weight), 1):  # noqa: B007
                yield item
            if yielded < weight:
                remaining.remove(source)


class Deferrals:
    """Defers items at `now` and counts them. Does neither in a dry run. Thread-safe."""

    def __init__(self, store: Store, *, now: datetime, dry_run: bool) -> None:
        self._store = store
        self._now = now
        self._dry_run = dry_run
        self._lock = threading.Lock()
        self.count = 0

    def defer(self, due: WorklistEntry, *, confirmed: bool = False) -> None:
        """Schedule an item's next attempt.

        `confirmed` is True if Vonage's API has just returned the item.

        Raises:
            StoreUnavailable: the item stays on its worklist unchanged.
        """
        if self._dry_run or not self._store.worklists.defer(
            due, self._now, delay, confirmed=confirmed
        ):
            return
        with self._lock:
            self.count += 1
