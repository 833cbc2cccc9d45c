"""The result of a benchmark: a value, its reference, and its spread."""

import statistics
from collections.abc import Sequence

from msgspec import Struct

AIMS = {
    "intake_cold": 0.6,
    "intake_warm_cpu": 0.6,
    "intake_rss": 1.0,
    "intake_calls": 1.0,
    "publisher_putevents": 1.05,
    "cleanup_throughput_50ms": 0.9,
    "cleanup_throughput_200ms": 0.9,
    "cleanup_throughput_800ms": 0.9,
    "extender_throughput_50ms": 0.9,
    "extender_throughput_200ms": 0.9,
    "extender_throughput_800ms": 0.9,
    "cleanup_memory": 1.1,
    "extender_memory": 1.1,
}
"""The intended ratio of each measurement: at most, and at least for throughputs."""

NAMES = [*AIMS, "intake_write_units", "callback_to_subscriber", "package_size"]
"""The names of all measurements."""


class Figure(Struct, frozen=True, kw_only=True):
    """A measurement as in `build/bench.json`.

    `ratio` compares `value` with the reference that `against` describes. `spread` is half the
    interquartile range of the repetitions' ratios (or values, without a ratio), relative to the
    median. `met` is None without an aim.
    """

    name: str
    value: float
    unit: str
    against: str
    ratio: float | None = None
    aim: str | None = None
    met: bool | None = None
    spread: float = 0.0
    note: str = ""


def counted(name: str, value: float, unit: str, against: str, least: float) -> Figure:
    """Return a measurement that is a count and so has no spread; `least` is the reference."""
    return _figure(name, value, unit, against, value / least, 0.0)


def paired(
    name: str, ours: Sequence[float], theirs: Sequence[float], unit: str, against: str
) -> Figure:
    """Return a measurement of alternating repetitions, with the median of the pairs' ratios."""
    ratios = [our / their for our, their in zip(ours, theirs, strict=True)]
    ratio = statistics.median(ratios)
    return _figure(name, statistics.median(ours), unit, against, ratio, spread_of(ratios))


def spread_of(values: Sequence[float]) -> float:
    """Return half the interquartile range, relative to the median; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    first, middle, third = statistics.quantiles(values, n=4)
    return (third - first) / 2 / middle


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of `values`."""
    return statistics.quantiles(values, n=100)[percent - 1]


def _figure(
    name: str, value: float, unit: str, against: str, ratio: float, spread: float
) -> Figure:
    aim = AIMS.get(name)
    if aim is None:
        return Figure(
            name=name, value=value, unit=unit, against=against, ratio=ratio, spread=spread
        )
    at_least = "throughput" in name
    return Figure(
        name=name,
        value=value,
        unit=unit,
        against=against,
        ratio=ratio,
        aim=f"at {'least' if at_least else 'most'} {aim:g}",
        met=ratio >= aim if at_least else ratio <= aim,
        spread=spread,
    )
