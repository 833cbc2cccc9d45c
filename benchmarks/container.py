"""A Lambda container in small, run as a script: `container.py PATHS CALLS` (a request on stdin).

It imports `app` from the first of PATHS, as a cold start does, and calls its handler; what it
measured goes to stderr as JSON. It imports nothing else that a function could profit from but
what Lambda's own bootstrap has imported by then. Source of that: awslambdaric's `bootstrap`.
"""

import json
import logging
import os
import sys
import time
import traceback
from pathlib import Path

_BOOTSTRAP = (json, logging, os, traceback, Path)
WARM_UP = 30


class Context:
    """What the functions ask of Lambda's context."""

    function_name = "function"
    function_version = "$LATEST"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        """Return Lambda's longest."""
        return 900_000


def measure(request: dict[str, object], calls: int) -> dict[str, float]:
    """Return milliseconds to the first answer, CPU microseconds of a later one, peak bytes."""
    began = time.perf_counter()
    from app import handler  # type: ignore[import-not-found]  # noqa: PLC0415 - it is measured

    expect(handler(request, Context()))
    cold = time.perf_counter() - began
    for _ in range(WARM_UP):
        handler(request, Context())
    began = time.process_time()
    for _ in range(calls):
        expect(handler(request, Context()))
    warm = (time.process_time() - began) / calls
    return {"cold": cold * 1000, "warm_cpu": warm * 1_000_000, "rss": peak()}


def peak() -> int:
    """Return the most bytes that this process has held. What getrusage tells is its parent's too.

    Source: VmHWM in "proc_pid_status(5)" of Linux.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def expect(answer: dict[str, object]) -> None:
    """Stop the measurement where a handler does anything but accept."""
    if answer["statusCode"] != 204:
        raise SystemExit(f"The handler answered {answer}")


if __name__ == "__main__":
    sys.path[:1] = sys.argv[1].split(os.pathsep)
    sys.stderr.write(json.dumps(measure(json.load(sys.stdin), int(sys.argv[2]))))
