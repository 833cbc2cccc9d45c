"""The wrapper of all operator commands: exit codes, and one sentence for each expected error."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

from botocore.exceptions import BotoCoreError, ClientError

from operations.account import explain
from operations.environment import bypass_proxies
from operations.products import NotChosen
from operations.stack import StackError
from operations.terminal import escape
from roomkeeper.errors import RoomkeeperError

INTERRUPTED = 130
"""The exit code of a command that was ended by Ctrl-C, as shells report it."""

UNREAD = 141
"""The exit code if nobody reads the output any more, as shells report SIGPIPE."""

Main = Callable[[], int]


def command(main: Main) -> Main:
    """Return `main` wrapped so that expected errors print a sentence, not a traceback."""

    @wraps(main)
    def run() -> int:
        bypass_proxies()  # the account may be the local AWS
        _require_stdin()
        try:
            code = main()
        except BrokenPipeError:
            _discard_output()
            return UNREAD
        except (StackError, NotChosen, RoomkeeperError) as error:
            return fail(str(error))
        except (ClientError, BotoCoreError) as error:
            return fail(explain(error))
        except EOFError:
            return fail("\nThe input ended before every question was answered. Run it again.")
        except KeyboardInterrupt as interrupt:
            return fail(" ".join(["\nInterrupted.", *map(str, interrupt.args)]), INTERRUPTED)
        _flush()
        return code

    return run


@contextmanager
def on_interrupt(text: str) -> Iterator[None]:
    """Add `text` to the message of a command that Ctrl-C ends within the context."""
    try:
        yield
    except KeyboardInterrupt:
        raise KeyboardInterrupt(text) from None


def fail(message: str, code: int = 1) -> int:
    """Print `message` to standard error, its control characters escaped; return `code`."""
    _flush()  # what was printed before comes before, also in a file that gets both
    print("\n".join(map(escape, message.split("\n"))), file=sys.stderr)
    return code


def _require_stdin() -> None:
    """Replace a closed standard input, which Python represents as None, by an empty one."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: PTH123, SIM115 - open until the command ends


def _flush() -> None:
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        _discard_output()


def _discard_output() -> None:
    """Let Python's own flush at exit succeed. Source: "Note on SIGPIPE" in Python's `signal`."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
