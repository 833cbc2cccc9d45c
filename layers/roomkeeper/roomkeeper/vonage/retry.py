"""Retries of calls to Vonage: exponential backoff with jitter, until a deadline."""

import email.utils
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import tenacity

from roomkeeper.vonage.errors import TransientError

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The backoff between attempts: `base_delay` seconds, doubled each time up to `max_delay`.

    Half of each delay is random (jitter), so that callers that failed together do not retry
    together. `sleep`, `clock` (monotonic seconds) and `random` (0 to 1) are the standard library's.
    """

    base_delay: float = 0.25
    max_delay: float = 8.0
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    random: Callable[[], float] = random.random

    def delay(self, failures: int, retry_after: float | None) -> float:
        """Return the seconds to wait after this number of consecutive failures (one or more).

        The response's `retry_after`, in seconds, is the minimum.
        """
        step = min(self.base_delay * 2.0 ** min(failures - 1, 32), self.max_delay)
        if retry_after is not None and retry_after > step:
            return retry_after + self.base_delay * self.random()
        return max(step * (1 + self.random()) / 2, retry_after or 0.0)

    def run(self, attempt: Callable[[], Result], deadline: "Deadline") -> Result:
        """Return the result of `attempt`, retried after each TransientError until the deadline.

        Raises:
            TransientError: the deadline passed. It is the last error with a response, or else the
                first error: an attempt that the deadline interrupts has the least information.
        """
        failures: list[TransientError] = []

        def recorded() -> Result:
            try:
                return attempt()
            except TransientError as exc:
                failures.append(exc)
                raise

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            wait=lambda _: self.delay(len(failures), failures[-1].retry_after),
            stop=lambda state: state.upcoming_sleep >= deadline.remaining(),
            sleep=self.sleep,
            retry_error_callback=lambda _: _raise_last_response_error(failures),
        )
        return retrying(recorded)


class Deadline:
    """A time `seconds` from now, by a monotonic `clock`."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ends_at = clock() + seconds

    def remaining(self) -> float:
        """Return the remaining seconds; negative once the deadline has passed."""
        return self._ends_at - self._clock()

    def earlier(self, seconds: float) -> "Deadline":
        """Return the deadline that is so many seconds before this one."""
        return Deadline(self.remaining() - seconds, self._clock)

    @property
    def has_passed(self) -> bool:
        """True once no time remains."""
        return self.remaining() <= 0


def parse_retry_after(header: str | None, now: datetime) -> float | None:
    """Return the seconds in a Retry-After `header`; None if it is missing or invalid.

    Source: RFC 9110, 10.2.3: a number of seconds or a date. A date in the past is 0.
    """
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        date = email.utils.parsedate_to_datetime(text)
        aware = date if date.tzinfo else date.replace(tzinfo=UTC)
        return max(0.0, (aware - now).total_seconds())
    except (ValueError, OverflowError):
        return None


def _raise_last_response_error(failures: list[TransientError]) -> None:
    chosen = next((each for each in reversed(failures) if each.status), failures[0])
    chosen.add_note(f"Gave up at the total timeout; attempts: {len(failures)}.")
    raise chosen
