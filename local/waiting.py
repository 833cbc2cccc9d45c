"""Waiting for a condition, with a deadline."""

import time
from collections.abc import Callable


def wait_until(holds: Callable[[], bool], within: float, pause: float = 0.05) -> bool:
    """Return whether `holds` came true within so many seconds, asked every `pause` seconds."""
    deadline = time.monotonic() + within
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause)
    return True
