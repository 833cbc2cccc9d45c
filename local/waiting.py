"""Waits for a condition, with a timeout."""

import time
from collections.abc import Callable


def wait_until(holds: Callable[[], bool], within: float, interval: float = 0.05) -> bool:
    """Return whether `holds` becomes true `within` seconds.

    It is polled every `interval` seconds. Short intervals grow with the time waited, up to ten
    times that or half a second: a poll takes processor time from the processes that it waits for.
    """
    started = time.monotonic()
    while not holds():
        waited = time.monotonic() - started
        if waited > within:
            return False
        # Other processes cannot signal that the condition holds.
        time.sleep(max(interval, min(waited / 10, 10 * interval, 0.5)))
    return True
