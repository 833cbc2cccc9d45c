"""Types of command-line arguments."""

import argparse
import re
from datetime import timedelta

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def positive(text: str) -> int:
    """Return a whole number from 1 up.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 up")
    return int(text)


def duration(text: str) -> timedelta:
    """Return a duration such as `90s`, `10m`, `2h` or `3d`.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    if not (found := re.fullmatch(r"0*([1-9][0-9]{0,4})([smhd])", text, re.ASCII)):
        raise argparse.ArgumentTypeError(f"{text!r} is no duration such as 90s, 10m, 2h or 3d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})
