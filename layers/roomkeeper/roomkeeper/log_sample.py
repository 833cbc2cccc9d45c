"""Rate-limited logging, for messages that any sender can cause at any rate."""

import time
from collections.abc import Callable

MINUTE = 60.0
"""Seconds."""


class LogSample:
    """Admits the first `per_minute` lines of every minute, for each process.

    CloudWatch Logs charges by volume. Count the events themselves with a metric: the sample is
    incomplete.
    """

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._minute: float | None = None
        self._admitted = 0

    def admits_one_more(self) -> bool:
        """Return whether one more line may be written now, and count it."""
        minute = self._clock() // MINUTE
        if minute != self._minute:
            self._minute, self._admitted = minute, 0
        self._admitted += 1
        return self._admitted <= self._per_minute
