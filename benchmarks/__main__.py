"""`python -m benchmarks`: runs the benchmarks; prints and saves each result immediately.

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
from benchmarks.measurements import NAMES, Measurement
from benchmarks.processes import MeasurementFailed
from local import deployment
from local.servers import BUILD
from operations.environment import use_only_this_machine

MINUTES = 15
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
WIDTH = 160
"""Columns of the output if it is not a terminal."""

Group = Callable[[Path], Iterable[Measurement]]

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
    """The measurements of a run, saved in `file` and printed one by one."""

    def __init__(self, file: Path, console: Console) -> None:
        self._file = file
        self._console = console
        self.measurements: list[Measurement] = []
        file.parent.mkdir(parents=True, exist_ok=True)

    def add(self, measurement: Measurement) -> None:
        """Save and print a measurement. The file is always complete JSON."""
        self.measurements.append(measurement)
        partial_file = self._file.with_name(f"{self._file.name}.partial")
        partial_file.write_bytes(
            msgspec.json.format(msgspec.json.encode(self.measurements)) + b"\n"
        )
        partial_file.replace(self._file)
        self._console.print(line(measurement), highlight=False, soft_wrap=True)


def main() -> int:
    """Run the benchmarks, and compare the results; return the exit status."""
    options = _options()
    console = Console(width=None if Console().is_terminal else WIDTH)
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # moto's server logs each request
    before = _measurements(options.baseline) if options.baseline else None
    results = Results(options.json, console)
    status = 0
    _stop_after(options.minutes * 60)
    try:
        status = _measure(options.only or list(GROUPS), results, console)
    except Stopped as reason:
        missing = [
            name for name in NAMES if name not in {each.name for each in results.measurements}
        ]
        console.print(f"{reason}. Not measured: {', '.join(missing)}.")
        status = 1
    console.print(table(results.measurements))
    console.print(f"Saved in {options.json}")
    if before is not None:
        console.print("Compared with the baseline:")
        console.print(
            *(list(changes(before, results.measurements)) or ["nothing changed"]), sep="\n"
        )
    return status


def line(measurement: Measurement) -> str:
    """Return a measurement as one line of text."""
    ratio = (
        "" if measurement.ratio is None else f" = {measurement.ratio:.2f} of {measurement.against}"
    )
    aim = (
        ""
        if measurement.aim is None
        else f"; {measurement.aim}: {'met' if measurement.met else 'NOT met'}"
    )
    note = f"; {measurement.note}" if measurement.note else ""
    return f"{measurement.name}: {_value(measurement)} {measurement.unit}{ratio}{aim}{note}"


def table(measurements: list[Measurement]) -> Table:
    """Return the measurements as a table."""
    shown = Table("measurement", "value", "unit", "compared with", "ratio", "aim", "met", "spread")
    for measurement in measurements:
        shown.add_row(
            measurement.name,
            _value(measurement),
            measurement.unit,
            measurement.against,
            "" if measurement.ratio is None else f"{measurement.ratio:.2f}",
            measurement.aim or "",
            {True: "yes", False: "no", None: ""}[measurement.met],
            f"{measurement.spread:.0%}",
        )
    return shown


def _value(measurement: Measurement) -> str:
    return f"{measurement.value:,.0f}" if measurement.value >= 100 else f"{measurement.value:.3g}"


def _measure(names: list[str], results: Results, console: Console) -> int:
    """Run groups of benchmarks; return 1 if one of them failed. The others are run anyway."""
    built = deployment.build().parent
    status = 0
    for name in names:
        try:
            for measurement in GROUPS[name](built):
                results.add(measurement)
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
        signal.signal(number, signal.SIG_IGN)  # nothing interrupts the clean-up
    raise Stopped(reason)


def _measurements(file: Path) -> list[Measurement]:
    return msgspec.json.decode(file.read_bytes(), type=list[Measurement])


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
    use_only_this_machine()
    sys.exit(main())
