"""Retries of the Video API's callbacks by the emulated clock.

A callback is posted again 5 seconds after it failed. The wait doubles up to 15 minutes. After
24 hours it is dropped.
Source: Vonage's support articles on callback retries.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Condition

from local.vonage.deliveries import Attempt, Delivery
from local.vonage.settings import Target

FIRST_WAIT = timedelta(seconds=5)
MAX_WAIT = timedelta(minutes=15)
MAX_AGE = timedelta(hours=24)

Post = Callable[[Delivery, Target, datetime], Attempt]


@dataclass(frozen=True, slots=True)
class _Retry:
    """A callback that was not accepted at its last attempt."""

    delivery: Delivery
    target: Target
    first_at: datetime
    wait: timedelta

    def attempt(self, post: Post, at: datetime) -> "_Retry | None":
        """Post the callback; return its next retry, or None when it is accepted or dropped."""
        attempt = post(self.delivery, self.target, at)
        self.delivery.attempts.append(attempt)
        if attempt.is_acknowledgement or at + self.wait > self.first_at + MAX_AGE:
            return None
        next_wait = min(self.wait * 2, MAX_WAIT)
        return _Retry(self.delivery, self.target, self.first_at, next_wait)


class RetryQueue:
    """Callbacks to be posted again, by the time at which they are due. Safe to use from threads.

    `changed` guards the queue and is notified of changes.
    """

    def __init__(self, changed: Condition, post: Post) -> None:
        self._changed = changed
        self._post = post
        self.reset()

    def reset(self) -> None:
        """Discard all retries."""
        with self._changed:
            self._queue: list[tuple[datetime, int, _Retry]] = []
            self._serial = 0

    def deliver(self, delivery: Delivery, target: Target, now: datetime) -> None:
        """Post a callback for the first time; queue a retry unless it is accepted."""
        self._try(_Retry(delivery, target, now, FIRST_WAIT), now)

    def send_next(self, now: datetime) -> bool:
        """Post the callback whose retry is due first; return whether one was due by `now`.

        An attempt that is overdue counts as made in time, so a clock that is advanced by hours
        causes all the attempts of these hours.
        """
        with self._changed:
            if not self._queue or self._queue[0][0] > now:
                return False
            at, _, retry = heapq.heappop(self._queue)
        self._try(retry, at)
        return True

    def next_due(self) -> datetime | None:
        """Return when the next retry is due, if there is one."""
        with self._changed:
            return self._queue[0][0] if self._queue else None

    def _try(self, retry: _Retry, at: datetime) -> None:
        following = retry.attempt(self._post, at)
        if following is None:
            return
        with self._changed:
            self._serial += 1
            heapq.heappush(self._queue, (at + retry.wait, self._serial, following))
            self._changed.notify_all()
