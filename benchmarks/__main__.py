"""`python -m benchmarks`: runs the benchmarks; prints and saves each result as soon as it is there.

An interrupted run keeps its results. It fails only if something cannot be measured, not if a result
is bad.
"""

import argparse
import logging
import signal
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import NoReturn

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks import copier, counts, delivery, intake, jobs, package, publisher
from benchmarks.baseline import changes
from benchmarks.figures import NAMES, Figure
from benchmarks.processes import MeasurementFailed
from local import deployment
from local.servers import BUILD

MINUTES = 15
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
WIDTH = 160
"""Columns of the output if it is not a terminal."""

Group = Callable[[Path], Iterable[Figure]]

GROUPS: Mapping[str, Group] = {
    "counts": lambda _built: counts.measure(),
    "package": lambda built: [package.measure(built)],
    "intake": intake.measure,
    "intake_tls": intake.measure_tls,
    "publisher": publisher.measure,
    "memory": jobs.memory,
    "reconciliation": jobs.archives,
    "throughput": jobs.throughput,
    "copier": lambda _built: copier.measure(),
    "delivery": lambda _built: [delivery.measure()],
}
"""The benchmarks, in the order of a run. A group gets the folder with the built functions."""


class Stopped(BaseException):
    """The run ends early: it was interrupted, or its time is over."""


class Results:
    """The figures of a run, saved in `file` and printed one by one."""

    def __init__(self, file: Path, console: Console) -> None:
        self._file = file
        self._console = console
        self.figures: list[Figure] = []
        file.parent.mkdir(parents=True, exist_ok=True)

    def add(self, figure: Figure) -> None:
        """Save and print a figure. The file is always complete JSON."""
        self.figures.append(figure)
        partial_file = self._file.with_name(f"{self._file.name}.partial")
        partial_file.write_bytes(msgspec.json.format(msgspec.json.encode(self.figures)) + b"\n")
        partial_file.replace(self._file)
        self._console.print(line(figure), highlight=False, soft_wrap=True)


def main() -> int:
    """Run the benchmarks, and compare the results; return the exit status."""
    options = _options()
    console = Console(width=None if Console().is_terminal else WIDTH)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's server logs each request
    before = _figures(options.baseline) if options.baseline else None
    results = Results(options.json, console)
    status = 0
    _stop_after(options.minutes * 60)
    try:
        status = _measure(options.only or list(GROUPS), results, console)
    except Stopped as reason:
        missing = [name for name in NAMES if name not in {each.name for each in results.figures}]
        console.print(f"{reason}. Not measured: {', '.join(missing)}.")
        status = 1
    console.print(table(results.figures))
    console.print(f"Saved in {options.json}")
    if before is not None:
        console.print("Compared with the baseline:")
        console.print(*(list(changes(before, results.figures)) or ["nothing changed"]), sep="\n")
    return status


def line(figure: Figure) -> str:
    """Return a measurement as one line of text."""
    ratio = "" if figure.ratio is None else f" = {figure.ratio:.2f} of {figure.against}"
    aim = "" if figure.aim is None else f"; {figure.aim}: {'met' if figure.met else 'NOT met'}"
    note = f"; {figure.note}" if figure.note else ""
    return f"{figure.name}: {_value(figure)} {figure.unit}{ratio}{aim}{note}"


def table(figures: list[Figure]) -> Table:
    """Return the measurements as a table."""
    shown = Table("measurement", "value", "unit", "compared with", "ratio", "aim", "met", "spread")
    for figure in figures:
        shown.add_row(
            figure.name,
            _value(figure),
            figure.unit,
            figure.against,
            "" if figure.ratio is None else f"{figure.ratio:.2f}",
            figure.aim or "",
            {True: "yes", False: "no", None: ""}[figure.met],
            f"{figure.spread:.0%}",
        )
    return shown


def _value(figure: Figure) -> str:
    return f"{figure.value:,.0f}" if figure.value >= 100 else f"{figure.value:.3g}"


def _measure(names: list[str], results: Results, console: Console) -> int:
    """Run groups of benchmarks; return 1 if one of them failed. The others are run anyway."""
    built = deployment.build().parent
    status = 0
    for name in names:
        try:
            for figure in GROUPS[name](built):
                results.add(figure)
        except MeasurementFailed as error:
            console.print(f"{name} could not be measured: {error}", style="red")
            status = 1
    return status


def _stop_after(seconds: float) -> None:
    """Raise Stopped in the main thread at SIGINT and SIGTERM, and after `seconds`."""
    reasons = ("Interrupted", "Terminated", f"The {seconds / 60:g} minutes are over")
    for number, reason in zip(STOPPING, reasons, strict=True):
        signal.signal(number, partial(_stop, reason))
    signal.setitimer(signal.ITIMER_REAL, seconds)


def _stop(reason: str, *_: object) -> NoReturn:
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # what was started is stopped undisturbed
    raise Stopped(reason)


def _figures(file: Path) -> list[Figure]:
    return msgspec.json.decode(file.read_bytes(), type=list[Figure])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--json", type=Path, default=BUILD / "bench.json", metavar="FILE")
    parser.add_argument("--baseline", type=_saved, metavar="FILE")
    parser.add_argument("--minutes", type=float, default=MINUTES, metavar="COUNT")
    parser.add_argument("--only", nargs="+", choices=list(GROUPS), metavar="GROUP")
    return parser.parse_args()


def _saved(name: str) -> Path:
    if not (path := Path(name)).is_file():
        raise argparse.ArgumentTypeError(
            f"{name} does not exist; make bench JSON={name} writes such a file"
        )
    return path


if __name__ == "__main__":
    sys.exit(main())
