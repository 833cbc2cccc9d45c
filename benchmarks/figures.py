"""What a benchmark comes to: one figure, what it is held against, and how sure it is."""

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
"""The ratio that each is to have: at most, and for a throughput at least."""

NAMES = [*AIMS, "intake_write_units", "callback_to_subscriber", "package_size"]
"""All that is measured."""


class Figure(Struct, frozen=True, kw_only=True):
    """A figure as `build/bench.json` has it.

    `ratio` is of `value` to what it is held `against`, `spread` half the range in which the middle
    half of the repetitions' ratios (of their values, where there is no ratio) lies, relative to
    it. `met` is None where there is nothing to meet.
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
    """Return a figure that is counted, not timed: it has no spread. `least` is what it must be."""
    return _figure(name, value, unit, against, value / least, 0.0)


def paired(
    name: str, ours: Sequence[float], theirs: Sequence[float], unit: str, against: str
) -> Figure:
    """Return the figure of repetitions that were made in turn; the ratio is that of each pair."""
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
    """Return the value that `percent` percent of `values` are not above."""
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
