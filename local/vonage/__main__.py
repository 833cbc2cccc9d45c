"""`python -m local.vonage`: runs the emulator alone, until it is interrupted."""

import argparse
import signal
import sys
import threading
from pathlib import Path

from local.servers import port_number
from local.vonage.access import rsa_public_key
from local.vonage.guide import guide
from local.vonage.server import served
from local.vonage.video.control import VideoControl


def main() -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    options = _options()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        with served(options.port, options.host, options.public_key) as base:
            print(guide(base, VideoControl(base).credentials()["api_secret"]), flush=True)
            stop.wait()
    except OSError as exc:
        # The standard library appends the address to the reason, which the message already has.
        reason = (exc.strerror or str(exc)).partition(" (while")[0]
        print(
            f"The emulator cannot listen at {options.host}:{options.port}: {reason}. "
            "Choose another port with --port, or any free port with --port 0.",
            file=sys.stderr,
        )
        return 1
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m local.vonage", description="Emulate the Meetings and Video APIs."
    )
    parser.add_argument(
        "--port", type=port_number, default=8200, help="8200 by default; 0 for any free port"
    )
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen at")
    parser.add_argument(
        "--public-key",
        type=_public_key,
        metavar="FILE",
        help="PEM; Bearer tokens must then be signed with its private key",
    )
    return parser.parse_args()


def _public_key(file: str) -> str:
    try:
        pem = Path(file).read_text()
        rsa_public_key(pem)
    except OSError as exc:
        raise argparse.ArgumentTypeError(f"{file}: {exc.strerror}") from exc
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f"{file}: {exc}") from exc
    return pem


if __name__ == "__main__":
    sys.exit(main())
