from collections.abc import Iterator
from datetime import timedelta
from itertools import count, islice

import pytest

from roomkeeper.jobs.fairness import BASE_DELAY, MAX_DELAY, delay, interleave


@pytest.mark.parametrize(
    ("attempts", "hours"), [(1, 1), (2, 2), (3, 4), (4, 8), (5, 16), (6, 24), (7, 24), (10**9, 24)]
)
@pytest.mark.parametrize("drawn", [0.0, 0.5, 1.0])
def test_delays_double_up_to_a_day_with_equal_jitter(
    attempts: int, hours: int, drawn: float
) -> None:
    expected = timedelta(hours=hours) * (0.5 + drawn / 2)
    assert delay(attempts, draw=lambda: drawn) == expected


def test_delays_are_between_half_an_hour_and_a_day() -> None:
    drawn = {delay(attempts) for attempts in range(1, 100)}
    assert min(drawn) >= BASE_DELAY / 2
    assert max(drawn) <= MAX_DELAY
    assert len(drawn) > 90


def numbers(start: int) -> Iterator[int]:
    return count(start)


def test_each_source_gets_its_share_of_any_number_of_items() -> None:
    mixed = interleave(((4, numbers(0)), (1, numbers(1000)), (1, numbers(2000))))
    assert list(islice(mixed, 12)) == [0, 1, 2, 3, 1000, 2000, 4, 5, 6, 7, 1001, 2001]


def test_the_share_of_an_exhausted_source_goes_to_the_others() -> None:
    mixed = interleave(((2, iter([1, 2, 3])), (1, iter([10, 20, 30, 40]))))
    assert list(mixed) == [1, 2, 10, 3, 20, 30, 40]


def test_sources_are_not_read_ahead() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise AssertionError("read ahead")

    assert next(interleave(((2, source()),))) == 1


def test_without_sources_nothing_is_yielded() -> None:
    assert list(interleave(())) == []
    assert list(interleave(((1, iter(())), (3, iter(()))))) == []
