"""How every operator command ends: with an exit code, and one sentence where something is wrong."""

import sys
from collections.abc import Callable
from functools import wraps

from botocore.exceptions import BotoCoreError, ClientError

from operations.account import explain
from operations.stack import StackError
from operations.terminal import escape
from roomkeeper.errors import RoomkeeperError

INTERRUPTED = 130
"""The exit code that shells give a command that Ctrl-C ended."""

Main = Callable[[], int]


def command(main: Main) -> Main:
    """Return `main` with expected errors printed as a sentence, never as a traceback."""

    @wraps(main)
    def run() -> int:
        try:
            return main()
        except (StackError, RoomkeeperError) as error:
            return fail(str(error))
        except (ClientError, BotoCoreError) as error:
            return fail(explain(error))
        except EOFError:
            return fail("\nThe input ended before everything was answered: nothing more is done.")
        except KeyboardInterrupt:
            return fail(
                "\nInterrupted: nothing more is done here. AWS finishes a deployment or deletion "
                "that has begun.",
                INTERRUPTED,
            )

    return run


def fail(message: str, code: int = 1) -> int:
    """Print `message` to standard error, its control characters escaped; return `code`."""
    print("\n".join(map(escape, message.split("\n"))), file=sys.stderr)
    return code
