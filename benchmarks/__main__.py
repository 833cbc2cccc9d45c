"""`python -m benchmarks`: runs all benchmarks, prints a table, and writes JSON.

It fails only if something cannot be measured, not if a result is bad.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import counts, delivery, intake, jobs, package
from benchmarks.baseline import changes
from benchmarks.figures import Figure
from local import deployment
from local.servers import BUILD
from operations.environment import use_only_this_machine

REPETITIONS = 21
WIDTH = 160
"""Columns of the table if the output is not a terminal."""


def main() -> None:
    """Run the benchmarks; print, write and compare the results."""
    options = _options()
    use_only_this_machine()
    console = Console(width=None if Console().is_terminal else WIDTH)
    before = _figures(options.baseline) if options.baseline else None
    figures = []
    for figure in _measured(options.repetitions):
        console.print(f"measured {figure.name}", style="dim")
        figures.append(figure)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_bytes(msgspec.json.format(msgspec.json.encode(figures)) + b"\n")
    console.print(table(figures))
    for figure in figures:
        if figure.note:
            console.print(f"{figure.name}: {figure.note}")
    if before is not None:
        console.print("Compared with the baseline:")
        console.print(*(list(changes(before, figures)) or ["nothing changed"]), sep="\n")


def table(figures: list[Figure]) -> Table:
    """Return the measurements as a table."""
    shown = Table("measurement", "value", "unit", "compared with", "ratio", "aim", "met", "spread")
    for figure in figures:
        shown.add_row(
            figure.name,
            f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.3g}",
            figure.unit,
            figure.against,
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.aim or "",
            {True: "yes", False: "no", None: ""}[figure.met],
            f"{figure.spread:.0%}",
        )
    return shown


def _measured(repetitions: int) -> Iterator[Figure]:
    built = deployment.build().parent
    yield from intake.measure(built, repetitions)
    yield from counts.measure()
    yield package.measure(built)
    yield from jobs.throughput(built)
    yield from jobs.memory(built)
    yield delivery.measure()


def _figures(file: Path) -> list[Figure]:
    return msgspec.json.decode(file.read_bytes(), type=list[Figure])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--json", type=Path, default=BUILD / "bench.json", metavar="FILE")
    parser.add_argument("--baseline", type=_saved, metavar="FILE")
    parser.add_argument("--repetitions", type=int, default=REPETITIONS, metavar="COUNT")
    return parser.parse_args()


def _saved(name: str) -> Path:
    if not (path := Path(name)).is_file():
        raise argparse.ArgumentTypeError(
            f"{name} does not exist; make bench JSON={name} writes such a file"
        )
    return path


if __name__ == "__main__":
    main()
