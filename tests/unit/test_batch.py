import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs.batch import (
    AbortBatch,
    BatchIncomplete,
    BatchRunner,
    Limits,
    Slots,
    Summary,
)
from tests.support.memory import peak_of

Act = Callable[[Any], str]


class Clock:
    """A clock that advances only by calls of `advance`."""

    def __init__(self) -> None:
        self.now = 100.0
        self._lock = threading.Lock()

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        with self._lock:
            self.now += seconds


class ItemError(RoomkeeperError):
    """An error of an item."""


class ItemSpecificError(ItemError):
    is_item_specific = True


def limits(*, seconds: float = 60.0, **changes: Any) -> Limits:
    """Return limits whose deadline is `seconds` after the start of a new clock."""
    deadline = Clock().now + seconds
    return Limits(**{"concurrency": 1, "per_second": 1000.0, "deadline": deadline} | changes)


def a_batch(clock: Clock | None = None, **changes: Any) -> BatchRunner:
    clock = clock or Clock()
    return BatchRunner(limits(**changes), clock=clock, sleep=clock.advance)


def fail_for(*failing: int, error: type[RoomkeeperError] = ItemError) -> Act:
    def act(item: int) -> str:
        if item in failing:
            raise error(f"item {item}")
        return "done"

    return act


def test_every_item_is_processed_once_and_counted_by_its_outcome() -> None:
    done: list[int] = []

    def act(item: int) -> str:
        done.append(item)
        return "even" if item % 2 == 0 else "odd"

    summary = a_batch(concurrency=4).run(range(11), act)

    assert sorted(done) == list(range(11))
    assert summary.outcomes == {"even": 6, "odd": 5}
    assert (summary.processed, summary.stopped_by) == (11, None)
    summary.raise_if_failed()


def test_an_empty_batch_is_complete() -> None:
    summary = a_batch().run([], fail_for())

    assert summary == Summary()
    summary.raise_if_failed()


def test_as_many_items_run_concurrently_as_allowed_and_no_more() -> None:
    four_running = threading.Barrier(4, timeout=60)  # breaks unless four items run at once
    running: list[int] = []
    max_running = 0
    lock = threading.Lock()

    def act(item: int) -> str:
        nonlocal max_running
        with lock:
            running.append(item)
            max_running = max(max_running, len(running))
        four_running.wait()
        with lock:
            running.remove(item)
        return "done"

    summary = a_batch(concurrency=4).run(range(20), act)

    assert summary.outcomes == {"done": 20}
    assert max_running == 4


def test_an_item_that_released_its_slot_lets_the_next_one_start() -> None:
    slots = Slots(1)
    both_running = threading.Barrier(2, timeout=60)

    def act(_item: int) -> str:
        slots.release()
        both_running.wait()
        return "done"

    summary = BatchRunner(limits(), slots, clock=Clock()).run(range(2), act)

    assert summary.outcomes == {"done": 2}


def test_as_many_items_run_without_a_slot_as_with_one_and_no_more() -> None:
    slots = Slots(2)
    four_running = threading.Barrier(4, timeout=60)
    counts: list[int] = []
    running = with_slot = 0
    lock = threading.Lock()

    def act(_item: int) -> str:
        nonlocal running, with_slot
        with lock:
            running, with_slot = running + 1, with_slot + 1
            counts.append(running)
            assert with_slot <= 2
            with_slot -= 1
        slots.release()
        four_running.wait()
        with lock:
            running -= 1
        return "done"

    summary = BatchRunner(limits(concurrency=2), slots, clock=Clock()).run(range(20), act)

    assert summary.outcomes == {"done": 20}
    assert max(counts) <= 4


def test_a_slot_is_released_once_and_by_failed_items_too() -> None:
    slots = Slots(1)

    def act(item: int) -> str:
        slots.release()
        slots.release()
        raise ItemSpecificError(f"item {item}")

    BatchRunner(limits(), slots, clock=Clock()).run(range(5), act)

    with slots.hold():
        assert slots._free.empty()
    slots.release()
    assert slots._free.qsize() == 1


def test_items_start_in_their_order() -> None:
    started: list[int] = []

    def act(item: int) -> str:
        started.append(item)
        return "done"

    a_batch().run(range(500), act)

    assert started == list(range(500))


def test_no_more_items_start_per_second_than_the_rate_allows() -> None:
    clock = Clock()
    started_at: list[float] = []

    def act(_item: int) -> str:
        started_at.append(clock())
        return "done"

    a_batch(clock, per_second=4.0).run(range(9), act)

    assert started_at == pytest.approx([100 + n / 4 for n in range(9)])


def test_slow_items_are_not_followed_by_a_burst() -> None:
    clock = Clock()
    started_at: list[float] = []

    def act(item: int) -> str:
        started_at.append(clock())
        clock.advance(5.0 if item == 0 else 0.0)
        return "done"

    a_batch(clock, per_second=1.0).run(range(4), act)

    assert started_at == pytest.approx([100, 105, 106, 107])


def test_no_item_starts_after_the_deadline_and_the_running_one_finishes() -> None:
    clock = Clock()

    def act(_item: int) -> str:
        clock.advance(4.0)
        return "done"

    summary = a_batch(clock, seconds=10.0).run(range(100), act)

    assert summary.outcomes == {"done": 3}  # started at 0, 4 and 8 seconds
    assert summary.stopped_by == "deadline"
    summary.raise_if_failed()  # reaching the deadline is no failure


def test_the_rate_limit_never_waits_past_the_deadline() -> None:
    clock = Clock()

    summary = a_batch(clock, per_second=0.01, seconds=30.0).run(range(5), fail_for())

    assert summary.outcomes == {"done": 1}
    assert summary.stopped_by == "deadline"
    assert clock() == pytest.approx(130.0)


def test_time_spent_before_a_batch_counts_towards_its_deadline() -> None:
    clock = Clock()
    known_limits = limits(seconds=10.0)
    clock.advance(7.0)  # reading a secret, counting what is due

    def act(_item: int) -> str:
        clock.advance(2.0)
        return "done"

    summary = BatchRunner(known_limits, clock=clock, sleep=clock.advance).run(range(100), act)

    assert (summary.outcomes, summary.stopped_by) == ({"done": 2}, "deadline")


def test_a_batch_past_its_deadline_starts_no_item() -> None:
    summary = a_batch(seconds=0.0).run(range(5), fail_for())

    assert (summary.processed, summary.stopped_by) == (0, "deadline")


def test_a_failure_is_counted_and_the_other_items_are_still_processed() -> None:
    summary = a_batch().run(range(10), fail_for(3, 7))

    assert summary.outcomes == {"done": 8, "failed": 2}
    assert summary.stopped_by is None
    with pytest.raises(BatchIncomplete, match=r"^done 8, failed 2: item 3; item 7$"):
        summary.raise_if_failed()


def test_consecutive_failures_end_the_batch() -> None:
    summary = a_batch(consecutive_failures=3).run(range(100), fail_for(*range(100)))

    assert summary.outcomes == {"failed": 3}
    with pytest.raises(BatchIncomplete, match="failed 3, stopped by failures"):
        summary.raise_if_failed()


def test_a_success_resets_the_count_of_consecutive_failures() -> None:
    summary = a_batch(consecutive_failures=3).run(range(9), fail_for(0, 1, 3, 4, 6, 7))

    assert summary.outcomes == {"done": 3, "failed": 6}
    assert summary.stopped_by is None


def test_item_specific_failures_do_not_end_the_batch() -> None:
    summary = a_batch(consecutive_failures=3).run(
        range(50), fail_for(*range(40), error=ItemSpecificError)
    )

    assert summary.outcomes == {"done": 10, "failed": 40}
    assert summary.stopped_by is None


def test_abort_batch_ends_the_batch_immediately() -> None:
    summary = a_batch().run(range(100), fail_for(2, error=AbortBatch))

    assert summary.outcomes == {"done": 2, "failed": 1}
    with pytest.raises(BatchIncomplete, match="stopped by unauthorized: item 2"):
        summary.raise_if_failed()


def test_only_the_first_failures_are_quoted() -> None:
    summary = a_batch(consecutive_failures=99).run(range(20), fail_for(*range(20)))

    assert summary.sample_errors == [f"item {item}" for item in range(5)]
    assert summary.outcomes == {"failed": 20}


@pytest.mark.parametrize(
    ("error", "stopped_by"), [(ItemError, "read_error"), (AbortBatch, "unauthorized")]
)
def test_a_read_error_ends_the_batch_and_processed_items_count(
    error: type[RoomkeeperError], stopped_by: str
) -> None:
    def items() -> Iterator[int]:
        yield from range(3)
        raise error("the second page")

    summary = a_batch().run(items(), fail_for())

    assert summary.outcomes == {"done": 3}
    assert summary.stopped_by == stopped_by
    with pytest.raises(BatchIncomplete, match=f"stopped by {stopped_by}: the second page"):
        summary.raise_if_failed()


def test_an_unexpected_error_propagates_after_running_items_finish() -> None:
    finished: list[int] = []
    both_running = threading.Barrier(2, timeout=60)

    def act(item: int) -> str:
        both_running.wait()
        if item == 0:
            raise ZeroDivisionError
        finished.append(item)
        return "done"

    with pytest.raises(ZeroDivisionError):
        a_batch(concurrency=2).run(range(2), act)

    assert finished == [1]


def test_no_item_starts_after_an_unexpected_error() -> None:
    started: list[int] = []

    def act(item: int) -> str:
        started.append(item)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        a_batch(concurrency=8).run(range(1000), act)

    assert len(started) <= 9


def test_items_are_read_only_slightly_ahead_of_the_workers() -> None:
    read = 0

    def items() -> Iterator[int]:
        nonlocal read
        for item in range(10**9):
            read += 1
            yield item

    concurrency = 2
    summary = a_batch(concurrency=concurrency, consecutive_failures=3).run(
        items(), fail_for(*range(100))
    )

    assert summary.stopped_by == "failures"
    in_flight_and_queued = 3 * concurrency
    assert read <= summary.processed + in_flight_and_queued + 1  # one waits for a worker


def test_an_unexpected_error_propagates_even_after_a_read_error() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise ItemError("the second page")

    def act(_item: int) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        a_batch(concurrency=2).run(items(), act)


def test_memory_does_not_grow_with_the_number_of_items() -> None:
    def run_batch(count: int) -> None:
        summary = a_batch(concurrency=2, per_second=1e9).run(map(str, range(count)), fail_for())
        assert summary.outcomes == {"done": count}

    run_batch(10)  # warm up what is allocated only once

    assert peak_of(lambda: run_batch(10_000)) < 2 * peak_of(lambda: run_batch(1_000))
