"""How the demonstration looks: readable without colour, in a pipe, and in 60 columns."""

import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from local.demo.report import Check, Lives
from local.deployment import Say
from roomkeeper.times import from_iso

# What reads a pipe does its own wrapping: there, lines are as long as they are.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)

Rows = Sequence[Mapping[str, Any]]


def heading(text: str) -> None:
    """Begin a part."""
    console.print()
    _print(text, style="bold")


def say(text: str) -> None:
    """Tell a step of the work."""
    _print(text, "  ")


@contextmanager
def steps() -> Iterator[Say]:
    """Tell what is being done, one step after another: with a clock where somebody watches."""
    if not _is_watched():
        yield say
        return
    text = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
    spinner = SpinnerColumn(finished_text="[green]ok[/green]")
    with Progress(spinner, text, TimeElapsedColumn(), console=console) as progress:
        under_way: list[TaskID] = []

        def begin(step: str) -> None:
            for task in under_way:
                progress.update(task, completed=1)
            under_way.append(progress.add_task(step, total=1))

        yield begin
        for task in under_way:
            progress.update(task, completed=1)


def busy() -> Any:
    """Show, as a context, that something is going on; nothing where nobody watches."""
    return console.status("at work") if _is_watched() else nullcontext()


def show_meeting(callbacks: Rows, events: Rows) -> None:
    """Show what Vonage sent, in order, what it was answered, and the event that came of it."""
    start = from_iso(callbacks[0]["attempts"][0]["at"])
    table = _table("at", "Vonage sent", "answer", "its event")
    published = {_told(event["detail-type"], event["detail"]["data"]): event for event in events}
    for callback in callbacks:
        told = _told(callback["event"], callback["body"])
        event = published.pop(told, None)
        after = (from_iso(callback["attempts"][-1]["at"]) - start).total_seconds()
        answers = ", ".join(str(a["status"] or a["error"]) for a in callback["attempts"])
        came_of_it = event["detail"]["metadata"]["event_id"][:8] if event else "a repeat"
        table.add_row(f"{after:.2f} s", callback["event"], answers, came_of_it)
    console.print(table)


def show_recordings(recordings: Rows) -> None:
    """Show what the table holds of each recording."""
    heading("What the table holds of its recording")
    for recording in recordings:
        held = {name: value for name, value in recording.items() if value not in (None, [])}
        _show_fields(held)


def show_event(event: Mapping[str, Any]) -> None:
    """Show an event whole."""
    heading(f"{event['detail-type']}, as a subscriber gets it, but for the URL's secret part")
    for part, fields in event["detail"].items():
        _show_fields({f"{part}.{name}": value for name, value in fields.items()})


def show_lives(lives: Lives) -> None:
    """Show the life of each recording on one line, from its start to its deletion."""
    heading("What became of the recordings")
    for recording_id, stages in lives.items():
        in_order = sorted(stages.items(), key=lambda stage: stage[1])
        # A stage and its time stay together, wherever a narrow terminal breaks the line.
        life = " -> ".join(f"{stage}\xa0{at:%H:%M:%S}" for stage, at in in_order)
        _print(life, f"  {recording_id[:8]}  ", " " * 12)


def show_checks(checks: Sequence[Check], seconds: float) -> None:
    """Show what had to hold, and whether it did."""
    heading("Checked")
    for check in checks:
        mark, style = ("ok  ", None) if check.ok else ("FAIL", "bold red")
        _print(f"{check.name}: {check.detail}", f"  {mark} ", " " * 7, style)
    failed = sum(not check.ok for check in checks)
    console.print(f"\n{len(checks) - failed} of {len(checks)} checks hold; {seconds:.0f} seconds.")


def _show_fields(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        _print(_brief(value), f"  {name:<21} ", " " * 24)


def _print(text: str, first: str = "", rest: str | None = None, style: str | None = None) -> None:
    """Print text wrapped to the terminal: `first` before its first line, `rest` before others."""
    lines = textwrap.wrap(
        text,
        max(console.width, 40),
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False,
    )
    console.print("\n".join(lines), style=style, markup=False, soft_wrap=True)


def _is_watched() -> bool:
    return console.is_terminal and not console.is_dumb_terminal


def _told(name: str, fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return what tells a callback from another, and an event: its name, and what it is about."""
    about = fields.get("recording_id") or fields.get("participant_id") or fields["session_id"]
    return name, about


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 0, 0, 2), pad_edge=True)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _brief(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(sorted(map(str, value)))
    text, query, _secret = str(value).partition("?")
    return text + ("?..." if query else "")
