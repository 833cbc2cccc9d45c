"""Compares the results of two runs: differences that exceed the spread of both runs."""

from collections.abc import Iterator, Sequence

from benchmarks.measurements import Measurement

MIN_CHANGE = 0.01
"""The smallest change that is reported of measurements without a spread, such as a size."""


def changes(before: Sequence[Measurement], after: Sequence[Measurement]) -> Iterator[str]:
    """Yield a sentence for each changed, new or missing measurement, the worse ones first.

    Ratios are compared where they exist, because values depend on the machine.
    """
    known = {measurement.name: measurement for measurement in before}
    found = [
        (measurement, known[measurement.name]) for measurement in after if measurement.name in known
    ]
    changed = [(new, old) for new, old in found if _exceeds_spread(new, old)]
    yield from (_sentence("worse", *each) for each in changed if _is_worse(*each))
    yield from (_sentence("better", *each) for each in changed if not _is_worse(*each))
    for measurement in after:
        if measurement.name not in known:
            yield f"new: {measurement.name}, {_shown(measurement)}"
    names = {measurement.name for measurement in after}
    yield from (f"not measured this time: {name}" for name in known if name not in names)


def _exceeds_spread(new: Measurement, old: Measurement) -> bool:
    return abs(_change(new, old)) > max(MIN_CHANGE, new.spread + old.spread)


def _is_worse(new: Measurement, old: Measurement) -> bool:
    return (_change(new, old) > 0) == (new.better == "less")


def _change(new: Measurement, old: Measurement) -> float:
    return _compared(new) / _compared(old) - 1


def _sentence(kind: str, new: Measurement, old: Measurement) -> str:
    change = f"{_change(new, old):+.0%}"
    return f"{kind}: {new.name}, from {_shown(old)} to {_shown(new)} ({change})"


def _compared(measurement: Measurement) -> float:
    return measurement.value if measurement.ratio is None else measurement.ratio


def _shown(measurement: Measurement) -> str:
    if measurement.ratio is None:
        return f"{measurement.value:.6g} {measurement.unit}"
    return f"{measurement.ratio:.3g} times {measurement.against}"
