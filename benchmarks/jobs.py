"""Measures the jobs: throughput at several latencies of Vonage, and peak memory."""

from pathlib import Path
from statistics import median

from benchmarks import processes
from benchmarks.figures import Figure, paired
from benchmarks.processes import LAYER, Measured
from local.servers import PROJECT

CONCURRENCY = 8
"""The template's default for JobConcurrency."""

OPERATIONS = {50: 1600, 200: 480, 800: 160}
"""The number of timed operations by latency in milliseconds."""

JOBS = {"cleanup": "RecordingCleanup", "extender": "RoomExpiryExtender"}
REPETITIONS = 3
FEW, MANY = 1_000, 100_000
SETTINGS = {
    "DRY_RUN": "false",
    "RETENTION_DAYS": "30",
    "DELETED_RECORDING_DAYS": "90",
    "SERVED_PRODUCTS": "meetings",
    "VONAGE_SECRET_ARN": "secret",
    "JOB_CONCURRENCY": str(CONCURRENCY),
    "JOB_RATE_PER_SECOND": "1000000",  # so that only the concurrency limits the throughput
    "JOB_CONSECUTIVE_FAILURES": "20",
    "ROOM_SELECTION": "all",
    "KEEP_MARKER": "keep",
    "LET_EXPIRE_MARKER": "let-expire",
    "EXTEND_WITHIN_DAYS": "7",
    "EXTEND_TO_DAYS": "30",
    "ONLY_ROOMS_USED_WITHIN_DAYS": "0",
    "EXTEND_EXPIRE_AFTER_USE": "false",
    "SESSION_DAYS": "400",
    "EVENT_DAYS": "30",
}


def throughput(built: Path) -> list[Figure]:
    """Return each job's operations per second at each latency, including its start and end."""
    with processes.endpoint() as url:
        return [_throughput(built, url, job, ms) for job in JOBS for ms in OPERATIONS]


def memory(built: Path) -> list[Figure]:
    """Return each job's peak memory with many due items, compared with few."""
    return [_memory(built, job) for job in JOBS]


def _throughput(built: Path, url: str, job: str, milliseconds: int) -> Figure:
    count = OPERATIONS[milliseconds]
    best = CONCURRENCY / milliseconds * 1000
    runs = [_run(built, job, count, f"{url}/{milliseconds}", url) for _ in range(REPETITIONS)]
    return paired(
        f"{job}_throughput_{milliseconds}ms",
        [count / run["seconds"] for run in runs],
        [best] * len(runs),
        "operations a second",
        f"{best:g}: a concurrency of {CONCURRENCY} by {milliseconds} ms",
    )


def _memory(built: Path, job: str) -> Figure:
    few, many = (
        [
            _run(built, job, count, "http://vonage", "http://aws", "instant")["rss"]
            for _ in range(REPETITIONS)
        ]
        for count in (FEW, MANY)
    )
    against = f"{median(few):.0f} at {FEW} due items"
    return paired(f"{job}_memory", many, few, "bytes at the peak", against)


def _run(built: Path, job: str, count: int, vonage: str, aws: str, *how: str) -> Measured:
    return processes.run(
        "job_container.py",
        [built / JOBS[job], built / LAYER, PROJECT],
        str(count),
        *how,
        env=processes.environment(aws, VONAGE_BASE_URL=vonage, **SETTINGS),
    )
