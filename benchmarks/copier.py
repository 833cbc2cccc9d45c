"""Measures the copier's throughput and peak memory, and compares it with boto3 and curl."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import processes
from benchmarks.measurements import Measurement, paired
from benchmarks.processes import Measured, MeasurementFailed
from local.servers import PROJECT

GB = 10**9
SIZE = GB
LIMITED_SIZE, LIMIT = 128 * 10**6, 8 * 10**6
"""Bytes of a file, and bytes per second and connection."""

FEW, MANY = GB, 10 * GB
REPETITIONS = 5
SECONDS = 40.0
"""The time in seconds for the repetitions of one comparison."""

MAX_BYTES = 256_000_000
"""The memory in bytes that a copy may take, with the interpreter and its libraries."""

PATHS = [PROJECT / "layers/roomkeeper", *map(Path, filter(None, sys.path))]
BOTO = "upload_fileobj of a streamed body"


def measure() -> Iterator[Measurement]:
    """Yield the bytes per second of a copy, compared with boto3 and curl, and its memory."""
    with _servers() as (source, s3):
        yield from _throughput(f"{source}/{SIZE}/0", s3)
        yield _limited(f"{source}/{LIMITED_SIZE}/{LIMIT}", s3)
        yield _memory(source, s3)


def _throughput(url: str, s3: str) -> Iterator[Measurement]:
    runs = processes.in_turn(
        partial(_run, "copier", url, s3),
        partial(_run, "upload_fileobj", url, s3),
        partial(_curl, url),
        at_most=REPETITIONS,
        seconds=SECONDS,
    )
    ours, boto, curl = ([SIZE / each["seconds"] for each in run] for run in runs)
    cpu = [median(each["cpu"] for each in run) for run in runs[:2]]
    note = f"{cpu[0]:.1f} s CPU, {BOTO} {cpu[1]:.1f}"
    unit = "bytes a second"
    yield paired("copier_throughput", ours, boto, unit, _against(BOTO, boto), note)
    yield paired("copier_throughput_curl", ours, curl, unit, _against("curl", curl))


def _limited(url: str, s3: str) -> Measurement:
    runs = processes.in_turn(
        partial(_run, "copier", url, s3),
        partial(_run, "upload_fileobj", url, s3),
        at_most=processes.AT_LEAST,
        seconds=SECONDS,
    )
    ours, boto = ([LIMITED_SIZE / each["seconds"] for each in run] for run in runs)
    name = "copier_throughput_limited_source"
    return paired(name, ours, boto, "bytes a second", _against(BOTO, boto))


def _memory(source: str, s3: str) -> Measurement:
    few, many = (_run("copier", f"{source}/{size}/0", s3)["rss"] for size in (FEW, MANY))
    under = "below" if many < MAX_BYTES else "NOT below"
    note = f"{under} {MAX_BYTES / 1e6:.0f} MB"
    return paired(
        "copier_memory",
        [many],
        [few],
        "bytes at the peak, 10 GB",
        f"{few / 1e6:.0f} MB at 1 GB",
        note,
    )


def _against(what: str, values: list[float]) -> str:
    return f"{median(values):,.0f}: {what}"


def _run(how: str, url: str, s3: str) -> Measured:
    environment = processes.aws_environment(s3)
    return processes.run("copy_container.py", PATHS, how, url, env=environment)


def _curl(url: str) -> Measured:
    """Return the seconds that curl takes to read and discard a file."""
    if (curl := shutil.which("curl")) is None:
        raise MeasurementFailed("curl is not installed; it reads the file for comparison")
    began = time.perf_counter()
    subprocess.run(  # noqa: S603 - our own command
        [curl, "--silent", "--fail", "--noproxy", "*", "--output", "/dev/null", url],
        check=True,
        timeout=processes.TIMEOUT,
    )
    return {"seconds": time.perf_counter() - began}


@contextmanager
def _servers() -> Iterator[tuple[str, str]]:
    """Run the source and S3, each in its own process; yield their URLs."""
    with ExitStack() as running:
        ports = [
            running.enter_context(processes.server("benchmarks.copy_servers", name))
            for name in ("source", "s3")
        ]
        yield f"http://127.0.0.1:{ports[0]}", f"http://127.0.0.1:{ports[1]}"
