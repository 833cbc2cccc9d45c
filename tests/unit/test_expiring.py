from datetime import timedelta
from itertools import count

import pytest

from roomkeeper.expiring import Expiring


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_kept_for_its_time_and_then_created_again() -> None:
    clock, numbers = Clock(), count()
    value = Expiring(lambda: next(numbers), timedelta(minutes=5), clock=clock)

    found = []
    for seconds in (0, 299, 1, 299, 1):
        clock.now += seconds
        found.append(value.get())

    assert found == [0, 0, 1, 1, 2]


def test_a_cleared_value_is_created_again() -> None:
    numbers = count()
    value = Expiring(lambda: next(numbers), timedelta(minutes=5))
    assert [value.get(), value.get()] == [0, 0]

    value.cache_clear()

    assert value.get() == 1


def test_a_failure_to_create_the_value_is_not_kept() -> None:
    outcomes = iter([ValueError("not yet"), None])

    def create() -> str:
        if error := next(outcomes):
            raise error
        return "value"

    value = Expiring(create, timedelta(minutes=5))

    with pytest.raises(ValueError, match="not yet"):
        value.get()
    assert value.get() == "value"
