"""The command lines of make's commands, and types of their arguments."""

import argparse
import re
import shlex
from collections.abc import Callable
from datetime import timedelta
from typing import NoReturn

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Parser(argparse.ArgumentParser):
    """Parses the command line of `make COMMAND`, whose errors name make's variables."""

    def __init__(self, command: str) -> None:
        super().__init__(prog=f"make {command}", add_help=False, allow_abbrev=False)

    def add_stack(self) -> None:
        """Add the option for STACK=."""
        self.add_argument("--stack", type=_stack_name, default="roomkeeper", help="a stack's name")

    def error(self, message: str) -> NoReturn:
        """Print one sentence, such as `make logs: SINCE= ...`, and exit with code 2."""
        option = re.compile(r"^argument --([a-z-]+): ")
        sentence = option.sub(lambda found: f"{found[1].replace('-', '_').upper()}= ", message)
        self.exit(2, f"{self.prog}: {sentence}\n")


def positive(text: str) -> int:
    """Return the positive whole number that `text` is.

    Raises:
        argparse.ArgumentTypeError: `text` is not a whole number of 1 to 9 digits above 0.
    """
    if not re.fullmatch(r"0*[1-9][0-9]{0,8}", text, re.ASCII):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number greater than 0")
    return int(text)


def within(least: int, most: int) -> Callable[[str], int]:
    """Return a type of arguments: a whole number from `least` to `most`."""

    def whole_number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) or not least <= int(text) <= most:
            message = f"{text!r} is not a whole number from {least} to {most}"
            raise argparse.ArgumentTypeError(message)
        return int(text)

    return whole_number


def duration(text: str) -> timedelta:
    """Return the duration that a text such as `90s`, `10m`, `2h` or `3d` stands for.

    Raises:
        argparse.ArgumentTypeError: `text` is not such a duration.
    """
    if not (found := re.fullmatch(r"0*([1-9][0-9]{0,4})([smhd])", text, re.ASCII)):
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration such as 90s, 10m, 2h or 3d")
    return timedelta(**{_UNITS[found[2]]: int(found[1])})


def words(text: str) -> list[str]:
    """Return the words of a text, separated and quoted as in a shell.

    Raises:
        argparse.ArgumentTypeError: a quotation is not closed.
    """
    try:
        return shlex.split(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} cannot be split into words: {error}") from None


def _stack_name(text: str) -> str:
    """Return the name of a stack. Source: "CreateStack" in the CloudFormation API reference."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", text):
        message = f"{text!r} is not a stack's name: letters, digits and hyphens, a letter first"
        raise argparse.ArgumentTypeError(message)
    return text
