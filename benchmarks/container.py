"""A minimal Lambda runtime as a script: `container.py PATHS CALLS`, with a request on stdin.

It imports `app` from the first of PATHS, as a cold start does, and calls its handler. The results
go to stderr as JSON. Apart from `app` it imports only modules that Lambda's own bootstrap imports
too, so that functions start without an advantage. Source: awslambdaric's `bootstrap`.
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
    """The part of Lambda's context that the functions use."""

    function_name = "function"
    function_version = "$LATEST"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        """Return Lambda's maximum timeout."""
        return 900_000


def measure(request: dict[str, object], calls: int) -> dict[str, float]:
    """Return the first response's time (ms), a later one's CPU time (µs), peak memory (bytes)."""
    start, start_cpu = time.perf_counter(), time.process_time()
    from app import handler  # type: ignore[import-not-found]  # noqa: PLC0415 - it is measured

    expect(handler(request, Context()))
    cold, cold_cpu = time.perf_counter() - start, time.process_time() - start_cpu
    for _ in range(WARM_UP):
        handler(request, Context())
    start = time.process_time()
    for _ in range(calls):
        expect(handler(request, Context()))
    warm = (time.process_time() - start) / calls
    return {
        "cold": cold * 1000,
        "cold_cpu": cold_cpu * 1000,
        "warm_cpu": warm * 1_000_000,
        "rss": peak(),
    }


def peak() -> int:
    """Return the peak memory of this process in bytes. getrusage would include the parent's peak.

    Source: VmHWM in "proc_pid_status(5)" of Linux.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def expect(response: dict[str, object]) -> None:
    """Stop the measurement if a handler does not respond 204."""
    if response["statusCode"] != 204:
        raise SystemExit(f"The handler responded {response}, not 204.")


if __name__ == "__main__":
    sys.path[:1] = sys.argv[1].split(os.pathsep)
    sys.stderr.write(json.dumps(measure(json.load(sys.stdin), int(sys.argv[2]))))
