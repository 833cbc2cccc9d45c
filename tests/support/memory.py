"""Measures the memory that a call needs."""

import gc
import tracemalloc
from collections.abc import Callable


def peak_of(act: Callable[[], object]) -> int:
    """Return the peak size, in bytes, of the Python objects that `act` allocates."""
    gc.collect()
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
