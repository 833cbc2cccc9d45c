"""Measures the copier: throughput, and peak memory, against what most programs do."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks import processes
from benchmarks.figures import Figure, paired
from benchmarks.processes import Measured, MeasurementFailed
from local.servers import PROJECT

GB = 10**9
SIZE = GB
LIMITED_SIZE, LIMIT = 128 * 10**6, 8 * 10**6
"""Bytes of a file, and bytes per second and connection."""

FEW, MANY = GB, 10 * GB
REPETITIONS = 3
PATHS = [PROJECT / "layers/roomkeeper", *map(Path, filter(None, sys.path))]


def throughput() -> list[Figure]:
    """Return the bytes per second of a copy, compared with boto3's upload and with curl."""
    with _servers() as (source, s3):
        url = f"{source}/{SIZE}/0"
        ours, theirs, nowhere = [], [], []
        for _ in range(REPETITIONS):
            nowhere.append(SIZE / _curl(url))
            theirs.append(SIZE / _run("upload_fileobj", url, s3)["seconds"])
            ours.append(SIZE / _run("copier", url, s3)["seconds"])
        limited = f"{source}/{LIMITED_SIZE}/{LIMIT}"
        slow_ours, slow_theirs = (
            [LIMITED_SIZE / _run(how, limited, s3)["seconds"] for _ in range(REPETITIONS)]
            for how in ("copier", "upload_fileobj")
        )
    boto = "upload_fileobj of a streamed body"
    return [
        paired("copier_throughput", ours, theirs, "bytes a second", _against(boto, theirs)),
        paired(
            "copier_throughput_curl", ours, nowhere, "bytes a second", _against("curl", nowhere)
        ),
        paired(
            "copier_throughput_limited_source",
            slow_ours,
            slow_theirs,
            "bytes a second",
            _against(boto, slow_theirs),
        ),
    ]


def memory() -> Figure:
    """Return the peak memory of copying 10 GB, compared with 1 GB."""
    with _servers() as (source, s3):
        few, many = ([_run("copier", f"{source}/{size}/0", s3)["rss"]] for size in (FEW, MANY))
    return paired("copier_memory", many, few, "bytes at the peak", _against("1 GB", few))


def _against(what: str, values: list[float]) -> str:
    return f"{median(values):,.0f}: {what}"


def _run(how: str, url: str, s3: str) -> Measured:
    return processes.run("copy_container.py", PATHS, how, url, env=processes.environment(s3))


def _curl(url: str) -> float:
    """Return the seconds that curl takes to read a file to nowhere."""
    if (curl := shutil.which("curl")) is None:
        raise MeasurementFailed("curl is not installed; it reads the file for comparison")
    began = time.perf_counter()
    subprocess.run(  # noqa: S603 - our own command
        [curl, "--silent", "--fail", "--noproxy", "*", "--output", "/dev/null", url],
        check=True,
        timeout=processes.TIMEOUT,
    )
    return time.perf_counter() - began


@contextmanager
def _servers() -> Iterator[tuple[str, str]]:
    """Run the source and S3, each in its own process; yield their URLs."""
    with ExitStack() as running:
        yield running.enter_context(_server("source")), running.enter_context(_server("s3"))


@contextmanager
def _server(name: str) -> Iterator[str]:
    command = [sys.executable, "-m", "benchmarks.copy_servers", name]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            assert server.stdout is not None  # noqa: S101 - it is a pipe
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.terminate()
