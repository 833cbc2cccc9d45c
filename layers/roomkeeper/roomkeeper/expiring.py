"""A value that is kept for a limited time."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Expiring(Generic[Value]):
    """A value that is created when it is needed, and again once it is older than `max_age`.

    Not thread-safe: two threads may both create the value.
    """

    def __init__(
        self,
        create: Callable[[], Value],
        max_age: timedelta,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._create = create
        self._max_age = max_age.total_seconds()
        self._clock = clock
        self._kept: tuple[Value, float] | None = None

    def get(self) -> Value:
        """Return the value; exceptions of `create` propagate."""
        now = self._clock()
        if self._kept is None or now >= self._kept[1]:
            self._kept = self._create(), now + self._max_age
        return self._kept[0]

    def cache_clear(self) -> None:
        """Forget the value, so that the next call creates it again."""
        self._kept = None
