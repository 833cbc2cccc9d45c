"""Compares the results of two runs: differences that exceed the spread of both runs."""

from collections.abc import Iterator, Sequence

from benchmarks.figures import Figure

MIN_CHANGE = 0.01
"""The smallest change that is reported of measurements without a spread, such as a size."""


def changes(before: Sequence[Figure], after: Sequence[Figure]) -> Iterator[str]:
    """Yield a sentence for each changed, new or missing measurement, the worse ones first.

    Ratios are compared where they exist, because values depend on the machine.
    """
    known = {figure.name: figure for figure in before}
    found = [(figure, known[figure.name]) for figure in after if figure.name in known]
    changed = [(new, old) for new, old in found if _exceeds_spread(new, old)]
    yield from (_sentence("worse", *each) for each in changed if _is_worse(*each))
    yield from (_sentence("better", *each) for each in changed if not _is_worse(*each))
    for figure in after:
        if figure.name not in known:
            yield f"new: {figure.name}, {_shown(figure)}"
    names = {figure.name for figure in after}
    yield from (f"not measured this time: {name}" for name in known if name not in names)


def _exceeds_spread(new: Figure, old: Figure) -> bool:
    return abs(_change(new, old)) > max(MIN_CHANGE, new.spread + old.spread)


def _is_worse(new: Figure, old: Figure) -> bool:
    return (_change(new, old) > 0) == (new.better == "less")


def _change(new: Figure, old: Figure) -> float:
    return _compared(new) / _compared(old) - 1


def _sentence(kind: str, new: Figure, old: Figure) -> str:
    change = f"{_change(new, old):+.0%}"
    return f"{kind}: {new.name}, from {_shown(old)} to {_shown(new)} ({change})"


def _compared(figure: Figure) -> float:
    return figure.value if figure.ratio is None else figure.ratio


def _shown(figure: Figure) -> str:
    if figure.ratio is None:
        return f"{figure.value:.6g} {figure.unit}"
    return f"{figure.ratio:.3g} times {figure.against}"
