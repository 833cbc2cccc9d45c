"""Waits for a condition, with a timeout."""

import time
from collections.abc import Callable


def wait_until(holds: Callable[[], bool], within: float, interval: float = 0.05) -> bool:
    """Return whether `holds` becomes true `within` seconds, polled every `interval` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(interval)  # other processes cannot signal that the condition holds
    return True
