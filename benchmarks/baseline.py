"""Compares the results of two runs: differences that exceed the spread of both runs."""

from collections.abc import Iterator, Sequence

from benchmarks.figures import Figure


def changes(before: Sequence[Figure], after: Sequence[Figure]) -> Iterator[str]:
    """Yield a sentence for each changed, new or missing measurement.

    Ratios are compared where they exist, because values depend on the machine.
    """
    known = {figure.name: figure for figure in before}
    for figure in after:
        old = known.pop(figure.name, None)
        if old is None:
            yield f"{figure.name} is new: {_shown(figure)}"
        elif abs(change := _compared(figure) / _compared(old) - 1) > figure.spread + old.spread:
            yield f"{figure.name} changed from {_shown(old)} to {_shown(figure)}: {change:+.0%}"
    yield from (f"{name} was not measured this time" for name in known)


def _compared(figure: Figure) -> float:
    return figure.value if figure.ratio is None else figure.ratio


def _shown(figure: Figure) -> str:
    if figure.ratio is None:
        return f"{figure.value:.6g} {figure.unit}"
    return f"{figure.ratio:.3g} times {figure.against}"
