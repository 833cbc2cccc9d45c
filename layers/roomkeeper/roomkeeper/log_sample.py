"""A sample of log lines, for messages that anybody can cause at any rate."""

import time
from collections.abc import Callable

MINUTE = 60.0
"""Seconds."""


class LogSample:
    """Admits the first `per_minute` lines of every minute of this process.

    CloudWatch Logs charges for each line. Count the events themselves elsewhere: a sample leaves
    some out.
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
