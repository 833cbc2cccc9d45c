"""When a failed call is tried again."""

import email.utils
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True, slots=True)
class Pace:
    """How long to wait between tries: `first` seconds, doubled each time, `longest` at most.

    Half of that is drawn by lot, so that callers that failed together do not come back together.
    `sleep`, `monotonic` and `dice` (0 to 1) are the machine's; a test brings its own.
    """

    first: float = 0.25
    longest: float = 8.0
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic
    dice: Callable[[], float] = random.random

    def wait(self, failures: int, retry_after: float | None) -> float:
        """Return the seconds to wait after that many `failures` in a row (one or more).

        `retry_after`, what the answer asked for, is the least that it is.
        """
        step = min(self.first * 2.0 ** min(failures - 1, 32), self.longest)
        if retry_after is not None and retry_after > step:
            return retry_after + self.first * self.dice()
        return max(step * (1 + self.dice()) / 2, retry_after or 0.0)


def seconds_to_wait(header: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After `header` asks for; None when it is none.

    Source: RFC 9110, 10.2.3: a number of seconds or a date; one that is past asks for nothing.
    """
    text = (header or "").strip()
    if re.fullmatch(r"[0-9]{1,9}", text):
        return float(text)
    try:
        until = email.utils.parsedate_to_datetime(text)
        aware = until if until.tzinfo else until.replace(tzinfo=UTC)
        return max(0.0, (aware - now).total_seconds())
    except (ValueError, OverflowError):
        return None
