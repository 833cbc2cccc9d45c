"""The wrapper of all operator commands: exit codes, and one sentence for each expected error."""

import sys
from collections.abc import Callable
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

Main = Callable[[], int]


def command(main: Main) -> Main:
    """Return `main` wrapped so that expected errors print a sentence, not a traceback."""

    @wraps(main)
    def run() -> int:
        bypass_proxies()  # the account may be the local AWS
        try:
            return main()
        except (StackError, NotChosen, RoomkeeperError) as error:
            return fail(str(error))
        except (ClientError, BotoCoreError) as error:
            return fail(explain(error))
        except EOFError:
            return fail("\nThe input ended before every question was answered. Run it again.")
        except KeyboardInterrupt:
            return fail(
                "\nInterrupted. A deployment or deletion that has started continues on AWS.",
                INTERRUPTED,
            )

    return run


def fail(message: str, code: int = 1) -> int:
    """Print `message` to standard error, its control characters escaped; return `code`."""
    print("\n".join(map(escape, message.split("\n"))), file=sys.stderr)
    return code
