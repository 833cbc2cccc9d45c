"""Signals that end a command: it cleans up first, and a further signal does not interrupt that."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_ENDING = (signal.SIGTERM, signal.SIGHUP)
"""Signals whose default ends a process at once. A terminal that is closed sends SIGHUP."""


@contextmanager
def exit_on_signals() -> Iterator[None]:
    """Raise SystemExit at SIGTERM and SIGHUP while the context lasts.

    A signal that is ignored, such as SIGHUP by nohup, stays so.
    """
    previous = {number: signal.getsignal(number) for number in _ENDING}
    for number, handler in previous.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, lambda received, _frame: sys.exit(128 + received))
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ignore Ctrl-C, SIGTERM and SIGHUP, so that they do not interrupt the clean-up."""
    ignored = (signal.SIGINT, *_ENDING)
    previous = [signal.signal(number, signal.SIG_IGN) for number in ignored]
    try:
        yield
    finally:
        for number, handler in zip(ignored, previous, strict=True):
            signal.signal(number, handler)
