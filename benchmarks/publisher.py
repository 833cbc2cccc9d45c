"""Compares the event publisher's CPU time with that of a program that puts each event alone."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import processes
from benchmarks.counts import EVENTS, event_batches
from benchmarks.measurements import Measurement, paired
from benchmarks.processes import HERE, LAYER, Measured

REPETITIONS = 9
SECONDS = 30.0


def measure(built: Path) -> Iterator[Measurement]:
    """Yield the milliseconds of CPU time for 1,000 events, in batches of the stream."""
    with processes.endpoint() as url, processes.sdk() as sdk:
        ours, theirs = processes.in_turn(
            partial(_run, url, [built / "EventPublisher", built / LAYER, sdk]),
            partial(_run, url, [HERE / "floor_publisher", sdk]),
            at_most=REPETITIONS,
            seconds=SECONDS,
        )
    mine, floor = ([each["cpu"] for each in runs] for runs in (ours, theirs))
    against = f"{median(floor):,.0f}: ten lines that put each event alone"
    yield paired("publisher_cpu", mine, floor, f"ms CPU for {EVENTS:,} events", against)


def _run(url: str, paths: list[Path]) -> Measured:
    return processes.run(
        "publisher_container.py",
        paths,
        env=processes.environment("EventPublisher", url),
        stdin=json.dumps(event_batches()),
        site=False,
    )
