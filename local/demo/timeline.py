"""How the demonstration looks in a terminal: readable without colour, in a pipe, in 60 columns."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from local.demo.report import Check

console = Console(highlight=False)

Rows = Sequence[Mapping[str, Any]]


def heading(text: str) -> None:
    """Begin a part."""
    console.print(f"\n[bold]{text}[/bold]")


def say(text: str) -> None:
    """Tell a step of the work."""
    console.print(f"  {text}", markup=False, soft_wrap=True)


def show_callbacks(callbacks: Rows) -> None:
    """Show what Vonage sent, in order, and what it was answered."""
    table = _table("Vonage sent", "answered", "about")
    for callback in callbacks:
        body = callback["body"]
        about = body.get("recording_id") or body.get("participant_id") or body["session_id"]
        answers = ", ".join(str(a["status"] or a["error"]) for a in callback["attempts"])
        table.add_row(callback["event"], answers, _short(about))
    console.print(table)


def show_recordings(recordings: Rows) -> None:
    """Show what the table holds of each recording."""
    heading("What the table holds")
    for recording in recordings:
        for name, value in recording.items():
            if value is not None and value != []:
                say(f"{name:<15} {_brief(value)}")


def show_events(events: Rows) -> None:
    """Show what the subscriber got, and one event whole."""
    heading("What a subscriber of the event bus got")
    table = _table("event", "event id", "occurred at")
    for event in events:
        metadata = event["detail"]["metadata"]
        table.add_row(event["detail-type"], metadata["event_id"][:8], metadata["occurred_at"])
    console.print(table)
    for event in events:
        if event["detail-type"] == "recording:uploaded":
            say("recording:uploaded, in full but for the URL's secret part:")
            for name, value in _flat(event["detail"]):
                say(f"  {name:<24} {_brief(value)}")


def show_checks(checks: Sequence[Check], seconds: float) -> None:
    """Show what had to hold, and whether it did."""
    heading("Checked")
    for check in checks:
        mark = "[green]ok  [/green]" if check.ok else "[bold red]FAIL[/bold red]"
        console.print(f"  {mark} {check.name}: {check.detail}", soft_wrap=True)
    failed = sum(not check.ok for check in checks)
    console.print(f"\n{len(checks) - failed} of {len(checks)} checks hold; {seconds:.0f} seconds.")


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2))
    for column in columns:
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    return table


def _flat(detail: Mapping[str, Any]) -> list[tuple[str, Any]]:
    return [
        (f"{part}.{name}", value)
        for part, fields in detail.items()
        for name, value in fields.items()
    ]


def _brief(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(sorted(map(str, value)))
    text, query, _secret = str(value).partition("?")
    return text + ("?..." if query else "")


def _short(identifier: str) -> str:
    return identifier if len(identifier) <= 12 else f"{identifier[:12]}..."
