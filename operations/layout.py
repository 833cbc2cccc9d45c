"""How commands lay out what they print: wrapped to the terminal, readable at 60 columns.

What reads a pipe wraps for itself: there, lines are as long as they are.
"""

import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

from operations.terminal import escape

MIN_WIDTH = 40
_NAME_WIDTH = 22


def heading(text: str) -> None:
    """Begin a part."""
    print(f"\n{escape(text)}", flush=True)


def line(text: str, indent: int = 2) -> None:
    """Print a line, wrapped; what follows its first line is indented further."""
    _print(escape(text), " " * indent, " " * (indent + 2))


def field(name: str, value: str) -> None:
    """Print a name and its value; one that does not fit beside its name goes below it."""
    text = escape(value) or "(empty)"
    first = f"  {escape(name):<{_NAME_WIDTH}} "
    if len(first) + len(text.partition(" ")[0]) > _width():
        print(first.rstrip())
        first = " " * 4
    _print(text, first, " " * 4)


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Say what is waited for, on standard error, where somebody watches; erase it afterwards."""
    watched = sys.stderr.isatty()
    if watched:
        print(f"\r{text} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if watched:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _print(text: str, first: str, rest: str) -> None:
    wrapped = textwrap.wrap(
        text,
        _width(),
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,  # a URL or an id can be copied as it is
    )
    print("\n".join(wrapped or [first.rstrip()]), flush=True)


def _width() -> int:
    return max(MIN_WIDTH, shutil.get_terminal_size().columns) if sys.stdout.isatty() else 10_000
