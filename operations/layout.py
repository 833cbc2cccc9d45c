"""Prints headings, lines and fields, wrapped to the terminal and readable at 60 columns.

Output into a pipe is not wrapped.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from operations.terminal import escape

MIN_WIDTH = 40
_NAME_WIDTH = 22


def heading(text: str) -> None:
    """Print a heading."""
    print(f"\n{escape(text)}", flush=True)


def line(text: str, indent: int = 2, file: TextIO | None = None) -> None:
    """Print a line, wrapped; its continuation lines are indented further.

    None means standard output.
    """
    _print(escape(text), " " * indent, " " * (indent + 2), file or sys.stdout)


def field(name: str, value: str, indent: int = 2) -> None:
    """Print a name and its value, below each other if they do not fit on one line."""
    text = escape(value) or "(empty)"
    first = f"{'':{indent}}{escape(name):<{_NAME_WIDTH}} "
    if sys.stdout.isatty() and len(first) + len(text.partition(" ")[0]) > _width():
        print(first.rstrip())
        first = " " * (indent + 2)
    _print(text, first, " " * (indent + 2), sys.stdout)


@contextmanager
def progress(text: str) -> Iterator[None]:
    """Show `text` while the context lasts, if standard error is a terminal that can erase it."""
    is_terminal = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    if is_terminal:
        print(f"\r{text} ...", end="", file=sys.stderr, flush=True)
    try:
        yield
    finally:
        if is_terminal:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def _print(text: str, first: str, rest: str, file: TextIO) -> None:
    if file.isatty():
        text = "\n".join(_wrapped(text, first, rest)) or first.rstrip()
    else:
        text = first + text
    print(text, file=file, flush=True)


def _wrapped(text: str, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text,
        _width(),
        initial_indent=first,
        subsequent_indent=rest,
        break_on_hyphens=False,
        break_long_words=False,  # URLs and ids must stay copyable
    )


def _width() -> int:
    return max(MIN_WIDTH, shutil.get_terminal_size().columns)
