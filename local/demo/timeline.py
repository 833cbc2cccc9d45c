"""Prints the demonstration, readable without colour, in a pipe and at 60 columns."""

import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any

import requests
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column, Table

from local.demo.report import Check, Lives
from local.deployment import Say
from local.vonage.video.callbacks import name_of
from roomkeeper.times import from_iso

# Output into a pipe is not wrapped.
console = Console(highlight=False, width=None if sys.stdout.isatty() else 1000)

Rows = Sequence[Mapping[str, Any]]
EventIdOf = Callable[[Mapping[str, Any]], str]
"""Returns the id of the event that a callback causes."""


def heading(text: str) -> None:
    """Print the heading of a part."""
    console.print()
    _print(text, style="bold")


def say(text: str) -> None:
    """Print a step."""
    _print(text, "  ")


def say_response(request: str, response: requests.Response) -> None:
    """Print a request and the status of its response, with the reason for an error."""
    reason = f", {_reason(response)}" if response.status_code >= 400 else ""
    say(f"{request}: {response.status_code}{reason}")


@contextmanager
def steps() -> Iterator[Say]:
    """Yield a function that prints a step; on a terminal each step has a clock."""
    if not _is_terminal():
        yield say
        return
    text = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold"))
    spinner = SpinnerColumn(finished_text="[green]ok[/green]")
    with Progress(spinner, text, TimeElapsedColumn(), console=console) as progress:
        tasks: list[TaskID] = []

        def begin(step: str) -> None:
            for task in tasks:
                progress.update(task, completed=1)
            tasks.append(progress.add_task(step, total=1))

        yield begin
        for task in tasks:
            progress.update(task, completed=1)


def busy() -> Any:
    """Return a context that shows a spinner on a terminal."""
    return console.status("working") if _is_terminal() else nullcontext()


def show_meeting(callbacks: Rows, events: Rows) -> None:
    """Show the callbacks in order, their responses and their events."""
    start = from_iso(callbacks[0]["attempts"][0]["at"])
    table = _table("time", "callback", "response", "event id")
    published = {
        _identity(event["detail-type"], event["detail"]["data"]): event for event in events
    }
    for callback in callbacks:
        event = published.pop(_identity(callback["event"], callback["body"]), None)
        after = (from_iso(callback["attempts"][-1]["at"]) - start).total_seconds()
        responses = ", ".join(str(a["status"] or a["error"]) for a in callback["attempts"])
        event_id = event["detail"]["metadata"]["event_id"][:8] if event else "repeated"
        table.add_row(f"{after:.2f} s", callback["event"], responses, event_id)
    console.print(table)


def show_session(callbacks: Rows, events: Rows, event_id_of: EventIdOf) -> None:
    """Show the callbacks of a Video session in order, their responses and their events."""
    table = _table("callback", "response", "event")
    published = {event["detail"]["metadata"]["event_id"]: event["detail-type"] for event in events}
    for callback in callbacks:
        body = callback["body"]
        event = published.pop(event_id_of(body), "repeated")
        table.add_row(name_of(body), str(callback["status"]), event)
    console.print(table)


def show_recordings(recordings: Rows) -> None:
    """Show each recording's item in the table."""
    heading("The recording's item in the table")
    for recording in recordings:
        _show_fields({name: value for name, value in recording.items() if value not in (None, [])})


def show_event(event: Mapping[str, Any]) -> None:
    """Show all fields of an event."""
    without = ", without the URL's signature" if "url" in event["detail"]["data"] else ""
    heading(f"{event['detail-type']} as a subscriber receives it{without}")
    for part, fields in event["detail"].items():
        _show_fields({f"{part}.{name}": value for name, value in fields.items()})


def show_lives(lives: Lives) -> None:
    """Show the stages of each recording's life on one line."""
    heading("The recordings, with the actual times of the demonstration (UTC)")
    for recording_id, stages in lives.items():
        in_order = sorted(stages.items(), key=lambda stage: stage[1])
        # A non-breaking space keeps a stage and its time on one line.
        life = " -> ".join(f"{stage}\xa0{at:%H:%M:%S}" for stage, at in in_order)
        _print(life, f"  {recording_id[:8]}  ", " " * 12)


def show_checks(checks: Sequence[Check], seconds: float) -> None:
    """Show all checks and whether they passed."""
    heading("Checks")
    for check in checks:
        mark, style = ("ok  ", None) if check.ok else ("FAIL", "bold red")
        _print(f"{check.name}: {check.detail}", f"  {mark} ", " " * 7, style)
    failed = sum(not check.ok for check in checks)
    passed = len(checks) - failed
    console.print(f"\n{passed} of {len(checks)} checks passed in {seconds:.0f} seconds.")


NEXT = {
    "make up": "keep such a stack running, with commands to try, such as make events",
    "make deploy": "deploy into your AWS account, as a dry run (docs/deploying.md)",
    "make": "list every command",
}
"""Commands to run after the demonstration."""


def show_next() -> None:
    """Show the next commands to try."""
    heading("Next")
    for command, purpose in NEXT.items():
        _print(purpose, f"  {command:<13} ", " " * 16)


def _show_fields(fields: Mapping[str, Any]) -> None:
    for name, value in fields.items():
        _print(_brief(value), f"  {name:<21} ", " " * 24)


def _print(text: str, first: str = "", rest: str | None = None, style: str | None = None) -> None:
    """Print text, wrapped, with `first` before its first line and `rest` before the others."""
    lines = textwrap.wrap(
        text,
        max(console.width, 40),
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False,
    )
    console.print("\n".join(lines), style=style, markup=False, soft_wrap=True)


def _is_terminal() -> bool:
    return console.is_terminal and not console.is_dumb_terminal


def _reason(response: requests.Response) -> str:
    """Return the message in an error response of Roomkeeper or of API Gateway."""
    body = response.json()
    return str(body.get("error", body).get("message"))


def _identity(name: str, fields: Mapping[str, Any]) -> tuple[str, str]:
    """Return the identity of a callback and its event: the event's name and its subject's id."""
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
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_brief(each)}" for name, each in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    text, query, _secret = str(value).partition("?")
    return text + ("?..." if query else "")
