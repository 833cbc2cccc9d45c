"""`make callback-url`: the whole URL to enter at Vonage, its token included."""

import argparse
import sys

from operations.stack import Stack, StackError


def main() -> int:
    """Print the URL; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m operations.callback_url")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    try:
        print(Stack(parser.parse_args().stack).callback_url())
    except StackError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
