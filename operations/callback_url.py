"""`make callback-url`: prints the URL to enter at Vonage, including its token."""

import argparse
import sys

from operations.command import command
from operations.stack import deployed_stack


@command
def main() -> int:
    """Print the URL; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m operations.callback_url")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    print(deployed_stack(parser.parse_args().stack).callback_url())
    return 0


if __name__ == "__main__":
    sys.exit(main())
