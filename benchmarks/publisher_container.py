"""Publishes batches of stream records, as a script: `publisher_container.py PATHS`, with stdin.

The first batch, which creates the clients, is not measured. The CPU time of the others goes to
stderr as JSON.
"""

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from container import Context  # type: ignore[import-not-found]  # a script's folder is first in sys.path


def publish(handler: Callable[..., Any], batches: list[Any]) -> None:
    """Publish batches; stop the measurement if an event was not published."""
    for batch in batches:
        if handler(batch, Context())["batchItemFailures"]:
            raise SystemExit("Not all events were published.")


def main() -> None:
    """Publish the batches on standard input; the first one twice."""
    sys.path[:1] = sys.argv[1].split(os.pathsep)
    batches = json.load(sys.stdin)
    from app import handler  # type: ignore[import-not-found]  # noqa: PLC0415 - it is measured

    publish(handler, batches[:1])
    start = time.process_time()
    publish(handler, batches)
    sys.stderr.write(json.dumps({"cpu": (time.process_time() - start) * 1000}))


if __name__ == "__main__":
    main()
