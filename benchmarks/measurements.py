"""The result of a benchmark: a value, its reference, and its spread."""

import statistics
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

AT_MOST = {
    "intake_cold": 0.35,
    "intake_cold_tls": 0.38,
    "intake_warm_cpu": 0.48,
    "intake_rss": 0.60,
    "intake_limit": 1.8,
    "intake_calls": 1.0,
    "intake_write_units": 1.0,
    "video_intake_cold": 0.5,
    "video_intake_cold_tls": 0.5,
    "video_intake_warm_cpu": 0.5,
    "video_intake_rss": 0.5,
    "publisher_cpu": 0.15,
    "publisher_putevents": 1.05,
    "copier_memory": 1.05,
    "cleanup_memory": 1.1,
    "room_extension_memory": 1.1,
    "reconciliation_memory": 1.1,
    "copying_memory": 1.1,
}
"""The intended ratio of each measurement whose value should be low."""

AT_LEAST = {
    "cleanup_throughput_50ms": 0.80,
    "cleanup_throughput_200ms": 0.93,
    "cleanup_throughput_800ms": 0.96,
    "room_extension_throughput_50ms": 0.80,
    "room_extension_throughput_200ms": 0.93,
    "room_extension_throughput_800ms": 0.96,
    "reconciliation_archives": 0.9,
    "copier_throughput": 1.0,
    "copier_throughput_limited_source": 3.0,
}
"""The intended ratio of each measurement whose value should be high."""

REPORTED = ("copier_throughput_curl", "callback_to_subscriber", "package_size")
"""Measurements without an intended ratio."""

NAMES = [*AT_MOST, *AT_LEAST, *REPORTED]
"""The names of all measurements."""

Better = Literal["less", "more"]


class Measurement(Struct, frozen=True, kw_only=True):
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

    @property
    def better(self) -> Better:
        """Return whether less or more of it is better."""
        return "more" if self.name in AT_LEAST or "throughput" in self.name else "less"


def counted(name: str, value: float, unit: str, against: str, least: float) -> Measurement:
    """Return a measurement that is a count and so has no spread; `least` is the reference."""
    return _measurement(name, value, unit, against, value / least, 0.0)


def paired(
    name: str,
    values: Sequence[float],
    references: Sequence[float],
    unit: str,
    against: str,
    note: str = "",
) -> Measurement:
    """Return a measurement of alternating repetitions, with the median of the pairs' ratios."""
    ratios = [value / reference for value, reference in zip(values, references, strict=True)]
    ratio = statistics.median(ratios)
    return _measurement(
        name, statistics.median(values), unit, against, ratio, spread_of(ratios), note
    )


def spread_of(values: Sequence[float]) -> float:
    """Return half the interquartile range, relative to the median; 0 for a single value."""
    if len(values) < 2:
        return 0.0
    first, middle, third = statistics.quantiles(values, n=4)
    return (third - first) / 2 / middle


def percentile(values: Sequence[float], percent: int) -> float:
    """Return a percentile of `values`."""
    return statistics.quantiles(values, n=100)[percent - 1]


def _measurement(
    name: str, value: float, unit: str, against: str, ratio: float, spread: float, note: str = ""
) -> Measurement:
    aim, met = _aim(name, ratio)
    return Measurement(
        name=name,
        value=value,
        unit=unit,
        against=against,
        ratio=ratio,
        aim=aim,
        met=met,
        spread=spread,
        note=note,
    )


def _aim(name: str, ratio: float) -> tuple[str | None, bool | None]:
    """Return the aim of a measurement in words, and whether `ratio` meets it."""
    if (most := AT_MOST.get(name)) is not None:
        return f"at most {most:g}", ratio <= most
    if (least := AT_LEAST.get(name)) is not None:
        return f"at least {least:g}", ratio >= least
    return None, None
