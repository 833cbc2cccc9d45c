"""Measures the jobs: throughput at several latencies of Vonage, and peak memory."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median

from msgspec import Struct

from benchmarks import processes
from benchmarks.measurements import Measurement, paired
from benchmarks.processes import LAYER, LAYER_FOR_VONAGE, Measured
from local.servers import PROJECT
from roomkeeper.vonage.video.client import OVERLAP, PAGE_SIZE

CONCURRENCY = 8
"""The template's default for JobConcurrency."""

OPERATIONS = {50: 1600, 200: 480, 800: 400}
"""The number of timed operations by latency in milliseconds.

A run starts with a call for the first page of rooms, which takes at most a fiftieth of it.
"""

ARCHIVES, PAGE_MS = 50_000, 200
FEW, MANY = 1_000, 100_000
REPETITIONS = {50: 3, 200: 3, 800: 2}
"""The repetitions by latency: long runs vary little."""

SECONDS = 40.0
"""The time in seconds for the repetitions of one throughput."""

SETTINGS = {
    "JOB_RATE_PER_SECOND": "1000000",  # so that only the concurrency limits the throughput
    "JOB_CONCURRENCY": str(CONCURRENCY),
    "ROOM_SELECTION": "all",
    "COPY_QUEUE_URL": "http://aws/queue",
}


class MeasuredJob(Struct, frozen=True):
    """A job: its function, the report's count of processed items, and the path of its API.

    Its items are due on `worklist`, if it has one.
    """

    name: str
    function: str
    done: str
    path: str = ""
    worklist: str = "retained"


CLEANUP = MeasuredJob("cleanup", "RecordingCleanup", "deleted")
ROOM_EXTENSION = MeasuredJob("room_extension", "RoomExpiryExtender", "extended")
COPYING = MeasuredJob("copying", "RecordingCopier", "queued", worklist="awaiting_copy")
SCAN = MeasuredJob("reconciliation", "RecordingReconciler", "scanned", f"/known/{ARCHIVES}")


def throughput(built: Path) -> Iterator[Measurement]:
    """Yield each job's operations per second at each latency, including its start and end."""
    with processes.endpoint() as url:
        for job in (CLEANUP, ROOM_EXTENSION):
            for milliseconds in OPERATIONS:
                yield _throughput(built, url, job, milliseconds)


def archives(built: Path) -> Iterator[Measurement]:
    """Yield the archives per second that a reconciliation reads and compares with the table.

    The table has all of them. Archives that the next page repeats are counted each time.
    """
    with processes.endpoint() as url:
        run = partial(_run, built, SCAN, ARCHIVES, f"{url}/{PAGE_MS}{SCAN.path}", url)
        runs = _runs(run, PAGE_MS)
    best = PAGE_SIZE / PAGE_MS * 1000
    yield paired(
        "reconciliation_archives",
        [_archives_read() / run["seconds"] for run in runs],
        [best] * len(runs),
        "archives a second",
        f"{best:,.0f}: a page of {PAGE_SIZE:,} by {PAGE_MS} ms",
        f"{_cpu_ms(runs, ARCHIVES):.3f} ms CPU an archive; a tenth of a page is read twice",
    )


def _archives_read() -> int:
    """Return the archives on all pages of the list, up to the first page that is not full."""
    starts = range(0, ARCHIVES - OVERLAP, PAGE_SIZE - OVERLAP)
    return sum(min(PAGE_SIZE, ARCHIVES - start) for start in starts)


def memory(built: Path) -> Iterator[Measurement]:
    """Yield each job's peak memory with many due items, compared with few.

    The runs with many items are parallel, because time does not matter here.
    """
    jobs = (
        CLEANUP,
        ROOM_EXTENSION,
        MeasuredJob("reconciliation", "RecordingReconciler", "scanned"),
        COPYING,
    )
    with ThreadPoolExecutor(len(jobs)) as pool:
        for job, few, many in zip(
            jobs,
            pool.map(partial(_peak, built, FEW), jobs),
            pool.map(partial(_peak, built, MANY), jobs),
            strict=True,
        ):
            against = f"{few / 1e6:.1f} MB at {FEW:,} items"
            yield paired(
                f"{job.name}_memory", [many], [few], f"bytes at the peak, {MANY:,} items", against
            )


def _throughput(built: Path, url: str, job: MeasuredJob, milliseconds: int) -> Measurement:
    count = OPERATIONS[milliseconds]
    best = CONCURRENCY / milliseconds * 1000
    runs = _runs(partial(_run, built, job, count, f"{url}/{milliseconds}", url), milliseconds)
    return paired(
        f"{job.name}_throughput_{milliseconds}ms",
        [count / run["seconds"] for run in runs],
        [best] * len(runs),
        "operations a second",
        f"{best:g}: a concurrency of {CONCURRENCY} by {milliseconds} ms",
        f"{_cpu_ms(runs, count):.1f} ms CPU an operation",
    )


def _runs(run: partial[Measured], milliseconds: int) -> list[Measured]:
    [runs] = processes.in_turn(run, at_most=REPETITIONS[milliseconds], seconds=SECONDS)
    return list(runs)


def _cpu_ms(runs: list[Measured], count: int) -> float:
    """Return the job's own milliseconds of processor time for one of `count` items."""
    return median(run["cpu"] for run in runs) / count * 1000


def _peak(built: Path, count: int, job: MeasuredJob) -> float:
    vonage = f"http://vonage/0/new/{count}" if job.name == "reconciliation" else "http://vonage"
    return _run(built, job, count, vonage, "http://aws", job.worklist)["rss"]


def _run(built: Path, job: MeasuredJob, count: int, vonage: str, aws: str, *how: str) -> Measured:
    product = "video" if job.function == "RecordingReconciler" else "meetings"
    environment = processes.environment(
        job.function,
        aws,
        SERVED_PRODUCTS=product,
        VONAGE_BASE_URL=vonage,
        VIDEO_BASE_URL=vonage,
        **SETTINGS,
    )
    return processes.run(
        "job_container.py",
        [built / job.function, built / LAYER, built / LAYER_FOR_VONAGE, PROJECT],
        str(count),
        job.done,
        *how,
        env=environment,
    )
