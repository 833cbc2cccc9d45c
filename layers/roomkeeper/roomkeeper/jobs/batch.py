"""Runs a function over many items, within limits, and summarizes the outcomes.

A batch runs several items concurrently and limits how many start per second. It stops early at its
deadline or after too many consecutive failures. It keeps in memory only the items in flight and
fewer queued ones. Items that it does not reach are left for the next run.

An item has one of the batch's slots while it calls Vonage. It may give the slot to the next item
before it writes to the table, so that Vonage is always working on as many items as it may.
"""

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Literal, TypeVar

from msgspec import Struct, field

from roomkeeper.errors import RoomkeeperError

Item = TypeVar("Item")
Outcome = str
"""A word for the result of one item. The batch itself uses only FAILED and SKIPPED."""

FAILED: Outcome = "failed"
SKIPPED: Outcome = "skipped"
"""The outcome of an item that was left for a later run. It does not count as processed."""

MAX_SAMPLE_ERRORS = 5
"""Error messages that a summary quotes. All failures are counted."""

StoppedBy = Literal["deadline", "failures", "unauthorized", "read_error"]
"""The reason why a batch stopped early. `read_error`: the next items could not be read."""


class Limits(Struct, frozen=True, kw_only=True):
    """Limits on a batch: concurrency, rate, time and failures.

    `concurrency` is the number of slots. Up to the same number of items may run without a slot.

    The last item ends by `deadline`, a time of the batch's monotonic clock: no item starts in the
    `seconds_per_item` before it. Time spent before the batch counts, because the deadline is
    absolute. The batch also stops after `consecutive_failures` failures without a success in
    between. Item-specific failures do not count, so items that always fail cannot keep the others
    from being processed.
    """

    concurrency: int
    per_second: float
    deadline: float
    seconds_per_item: float = 0.0
    consecutive_failures: int = 20

    @property
    def last_start(self) -> float:
        """The time after which no item starts, by the batch's monotonic clock."""
        return self.deadline - self.seconds_per_item


def deadline_in(seconds: float) -> float:
    """Return the deadline that is `seconds` from now, by a batch's default clock."""
    return time.monotonic() + seconds


class AbortBatch(RoomkeeperError):
    """No item can succeed, for example because credentials are wrong. Ends the batch."""

    def __init__(self, message: str, reason: StoppedBy = "unauthorized") -> None:
        super().__init__(message)
        self.reason: StoppedBy = reason


class CountedElsewhere(RoomkeeperError):
    """An item failed because of something that only some items need, which has its own limit.

    The failure does not count towards the batch's consecutive failures.
    """


class BatchIncomplete(RoomkeeperError):
    """A finished batch had failures. The message is a short summary."""


class Summary(Struct, kw_only=True):
    """The number of items for each outcome, and the reason for an early stop, if any.

    `sample_errors` are the messages of the first failures.
    """

    outcomes: Counter[Outcome] = field(default_factory=Counter)
    stopped_by: StoppedBy | None = None
    sample_errors: list[str] = field(default_factory=list)

    @property
    def processed(self) -> int:
        """The number of items that have an outcome."""
        return self.outcomes.total()

    def add_failure(self, message: str) -> None:
        """Count a failure, and quote its message if it is one of the first."""
        self.outcomes[FAILED] += 1
        self.quote(message)

    def add_failures(self, other: "Summary") -> None:
        """Add the failures of another summary to this one, and quote their first messages."""
        if other.outcomes[FAILED]:
            self.outcomes[FAILED] += other.outcomes[FAILED]
        for message in other.sample_errors:
            self.quote(message)

    def quote(self, message: str) -> None:
        """Add a message to `sample_errors`, unless there are MAX_SAMPLE_ERRORS already."""
        if len(self.sample_errors) < MAX_SAMPLE_ERRORS:
            self.sample_errors.append(message)

    def raise_if_failed(self) -> None:
        """Raise BatchIncomplete if anything failed, so that Lambda's Errors metric counts it."""
        if self.outcomes[FAILED] or self.stopped_by not in (None, "deadline"):
            reason = f", stopped by {self.stopped_by}" if self.stopped_by else ""
            counts = ", ".join(f"{name} {count}" for name, count in sorted(self.outcomes.items()))
            raise BatchIncomplete(
                f"{counts or 'nothing done'}{reason}: {'; '.join(self.sample_errors)}"
            )


class _ReadFailed(Exception):
    """The next items cannot be read, because of `error`."""

    def __init__(self, error: RoomkeeperError) -> None:
        super().__init__(str(error))
        self.error = error


class Slots:
    """The slots of a batch: that many threads have one at once. Thread-safe."""

    def __init__(self, count: int) -> None:
        self._free: SimpleQueue[None] = SimpleQueue()  # takes less time than a semaphore
        for _ in range(count):
            self._free.put(None)
        self._of_thread = threading.local()

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Wait for a slot, and have it until the block ends or `release` is called."""
        self._free.get()
        self._of_thread.has_one = True
        try:
            yield
        finally:
            self.release()

    def release(self) -> None:
        """Give this thread's slot to another one. Nothing happens if it has none."""
        if getattr(self._of_thread, "has_one", False):
            self._of_thread.has_one = False
            self._free.put(None)


class BatchRunner:
    """Runs one batch within `limits`.

    Args:
        limits: the batch's limits.
        slots: the batch's slots, if an item releases its own before it ends.
        clock: returns a monotonic time in seconds.
        sleep: waits for a number of seconds.
    """

    def __init__(
        self,
        limits: Limits,
        slots: Slots | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limits = limits
        self._slots = slots or Slots(limits.concurrency)
        self._clock = clock
        self._sleep = sleep
        self._last_start = limits.last_start
        self._next_start = clock()
        self._consecutive_failures = 0
        self._unexpected_error: BaseException | None = None
        self._lock = threading.Lock()
        self.summary = Summary()

    def run(self, items: Iterable[Item], act: Callable[[Item], Outcome]) -> Summary:
        """Call `act` with each of `items`, as far as the limits allow; return the summary.

        `act` returns the item's outcome. A RoomkeeperError that it raises counts as a failure, and
        AbortBatch ends the batch. Any other exception propagates once the items in flight have
        finished.

        `items` is read one by one in this thread, slightly ahead of the workers, so that they need
        not wait for reads. A RoomkeeperError while reading ends the batch; items that were already
        started still count.
        """
        try:
            self._run_items(items, act)
        except _ReadFailed as failure:
            error = failure.error
            self.summary.quote(str(error))
            reason = error.reason if isinstance(error, AbortBatch) else "read_error"
            self.summary.stopped_by = self.summary.stopped_by or reason
        if self._unexpected_error is not None:
            raise self._unexpected_error
        return self.summary

    def _run_items(self, items: Iterable[Item], act: Callable[[Item], Outcome]) -> None:
        """Queue the items for the workers: one for each slot, and as many for items without one."""
        workers = 2 * self._limits.concurrency
        unfinished = threading.Semaphore(workers + self._limits.concurrency)
        queue: deque[Item] = deque()
        with ThreadPoolExecutor(workers, "batch") as pool:
            for item in _read(items):
                unfinished.acquire()
                if not self._may_continue():
                    break
                queue.append(item)
                started = pool.submit(self._run_next, queue, act)
                started.add_done_callback(lambda _: unfinished.release())

    def _wait_for_rate(self) -> None:
        """Return when the rate limit allows another start, or at the time of the last start."""
        with self._lock:
            starts_at = max(self._clock(), self._next_start)
            self._next_start = starts_at + 1 / self._limits.per_second
        delay = min(starts_at, self._last_start) - self._clock()
        if delay > 0:
            self._sleep(delay)

    def _may_continue(self) -> bool:
        with self._lock:
            if self.summary.stopped_by is None and self._clock() >= self._last_start:
                self.summary.stopped_by = "deadline"
            return self.summary.stopped_by is None and self._unexpected_error is None

    def _run_next(self, queue: deque[Item], act: Callable[[Item], Outcome]) -> None:
        with self._slots.hold():
            item = queue.popleft()  # not before there is a slot, so that items start in their order
            self._wait_for_rate()
            if self._may_continue():
                self._run_item(item, act)

    def _run_item(self, item: Item, act: Callable[[Item], Outcome]) -> None:
        try:
            outcome = act(item)
        except RoomkeeperError as error:
            self._record_failure(error)
        except BaseException as error:  # noqa: BLE001 - raised once the items in flight have ended
            self._unexpected_error = self._unexpected_error or error
        else:
            if outcome == SKIPPED:
                return
            with self._lock:
                self.summary.outcomes[outcome] += 1
                self._consecutive_failures = 0

    def _record_failure(self, error: RoomkeeperError) -> None:
        with self._lock:
            self.summary.add_failure(str(error))
            is_counted = not (error.is_item_specific or isinstance(error, CountedElsewhere))
            self._consecutive_failures += is_counted
            if isinstance(error, AbortBatch):
                self.summary.stopped_by = error.reason
            elif self._consecutive_failures >= self._limits.consecutive_failures:
                self.summary.stopped_by = self.summary.stopped_by or "failures"


def _read(items: Iterable[Item]) -> Iterator[Item]:
    try:
        yield from items
    except RoomkeeperError as error:
        raise _ReadFailed(error) from error
