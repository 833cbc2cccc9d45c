"""What all jobs have in common: a run finished many items, within bounds, that tells how it went.

A round works on several items at once, starts no more than so many a second, takes no new one when
its time is nearly up or when nothing but failures comes back, and keeps no more in memory than what
it is working on and as many items that come next. What it leaves is for the next round.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Literal, TypeVar

from msgspec import Struct, field

from roomkeeper.errors import RoomkeeperError

Item = TypeVar("Item")
Outcome = str
"""A word for what became of an item; FAILED is the one that a round itself gives."""

FAILED: Outcome = "failed"
MAX_SAMPLE_ERRORS = 5
"""Failures that a summary quotes; all of them are counted."""

StoppedBy = Literal["deadline", "failures", "unauthorized", "read_error"]
"""What ended a round early; `source` is that it could not be told what else there is to do."""


class Limits(Struct, frozen=True, kw_only=True):
    """How hard a round may work, and for how long.

    Until `ends_at` it may take new items; what it has begun then it finishes. That is a time by the
    round's clock, so that whatever is done before the round is reckoned in. It ends as well after
    so many `consecutive_failures`, with no success between them. Those that are an item's own do
    not count: a few items that fail every time must not keep the others from being come to.
    """

    concurrency: int
    per_second: float
    deadline: float
    consecutive_failures: int = 20


def deadline_in(seconds: float) -> float:
    """Return when that many seconds will have passed, by the clock that a round has by default."""
    return time.monotonic() + seconds


class AbortBatch(RoomkeeperError):
    """Going on is of no use, whatever the item: wrong credentials, for one. It ends a round."""


class BatchIncomplete(RoomkeeperError):
    """A round is over in which something failed; the message is its summary in short."""


class Summary(Struct, kw_only=True):
    """How a round went: how many items came to which outcome, and what ended it early, if anything.

    `examples` are messages of the first failures.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    stopped_by: StoppedBy | None = None
    sample_errors: list[str] = field(default_factory=list)

    @property
    def processed(self) -> int:
        """How many items were worked on."""
        return self.outcomes.total()

    def add_failure(self, message: str) -> None:
        """Count a failure, and quote it if it is one of the first."""
        self.outcomes[FAILED] += 1
        self.quote(message)

    def add_failures(self, other: "Summary") -> None:
        """Count another summary's failures as well, and quote the first ones."""
        if other.outcomes[FAILED]:
            self.outcomes[FAILED] += other.outcomes[FAILED]
        for message in other.sample_errors:
            self.quote(message)

    def quote(self, message: str) -> None:
        """Add to the examples, if there is room."""
        if len(self.sample_errors) < MAX_SAMPLE_ERRORS:
            self.sample_errors.append(message)

    def raise_if_failed(self) -> None:
        """Raise RoundIncomplete when anything failed, so that the Errors metric tells."""
        if self.outcomes[FAILED] or self.stopped_by not in (None, "deadline"):
            because = f", stopped by {self.stopped_by}" if self.stopped_by else ""
            counts = ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items()))
            raise BatchIncomplete(
                f"{counts or 'nothing done'}{because}: {'; '.join(self.sample_errors)}"
            )


class _ReadFailed(Exception):
    """The items cannot be read on, because of `problem`."""

    def __init__(self, problem: RoomkeeperError) -> None:
        super().__init__(str(problem))
        self.problem = problem


class BatchRunner:
    """One round within `bounds`. `clock` gives seconds that only grow, `sleep` lets some pass."""

    def __init__(
        self,
        limits: Limits,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._sleep = sleep
        self._deadline = limits.deadline
        self._next_start = clock()
        self._failures_in_a_row = 0
        self._escaping = False
        self._lock = threading.Lock()
        self.summary = Summary()

    def run(self, items: Iterable[Item], act: Callable[[Item], Outcome]) -> Summary:
        """Do `act` to every one of `items`, as far as the bounds let; return how it went.

        `act` returns the item's outcome. A RoomkeeperError that it raises counts as a failure, a
        Refusal ends the round; any other error escapes once what has begun is finished. `items` is
        read one by one, in this thread, a little ahead of the work, so that reading does not hold
        it up; a RoomkeeperError in that ends the round
        too, and what was begun still counts.
        """
        try:
            self._work_through(items, act)
        except _ReadFailed as failed:
            problem = failed.problem
            self.summary.quote(str(problem))
            self.summary.stopped_by = (
                "unauthorized" if isinstance(problem, AbortBatch) else "read_error"
            )
        return self.summary

    def _work_through(self, items: Iterable[Item], act: Callable[[Item], Outcome]) -> None:
        with ThreadPoolExecutor(self._limits.concurrency, "round") as pool:
            begun: set[Future[None]] = set()
            try:
                for item in _read(items):
                    begun = self._wait_for_room(begun)
                    if not self._may_continue():
                        break
                    begun.add(pool.submit(self._run_item, item, act))
            finally:
                for future in begun:
                    future.result()

    def _wait_for_room(self, begun: set[Future[None]]) -> set[Future[None]]:
        """Return what is at work or next, once that leaves room for another item."""
        if len(begun) >= 2 * self._limits.concurrency:
            done, begun = wait(begun, return_when=FIRST_COMPLETED)
            for future in done:
                future.result()
        return begun

    def _wait_for_rate(self) -> None:
        """Return when the rate lets another item be begun, or time is up."""
        with self._lock:
            starts_at = max(self._clock(), self._next_start)
            self._next_start = starts_at + 1 / self._limits.per_second
        pause = min(starts_at, self._deadline) - self._clock()
        if pause > 0:
            self._sleep(pause)

    def _may_continue(self) -> bool:
        with self._lock:
            if self.summary.stopped_by is None and self._clock() >= self._deadline:
                self.summary.stopped_by = "deadline"
            return self.summary.stopped_by is None and not self._escaping

    def _run_item(self, item: Item, act: Callable[[Item], Outcome]) -> None:
        self._wait_for_rate()
        if not self._may_continue():
            return
        try:
            outcome = act(item)
        except RoomkeeperError as problem:
            self._record_failure(problem)
        except BaseException:
            self._escaping = True
            raise
        else:
            with self._lock:
                self.summary.outcomes[outcome] += 1
                self._failures_in_a_row = 0

    def _record_failure(self, problem: RoomkeeperError) -> None:
        with self._lock:
            self.summary.add_failure(str(problem))
            self._failures_in_a_row += not problem.is_item_specific
            if isinstance(problem, AbortBatch):
                self.summary.stopped_by = "unauthorized"
            elif self._failures_in_a_row >= self._limits.consecutive_failures:
                self.summary.stopped_by = self.summary.stopped_by or "failures"


def _read(items: Iterable[Item]) -> Iterator[Item]:
    try:
        yield from items
    except RoomkeeperError as problem:
        raise _ReadFailed(problem) from problem
