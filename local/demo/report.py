"""The demonstration's report."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Struct, field

from roomkeeper.domain.recordings import Recording

Lives = dict[str, dict[str, datetime]]
"""The times at which each recording reached the stages of its life, by recording id."""


class Check(Struct, frozen=True):
    """A check: its name, whether it passed, and what was observed."""

    name: str
    ok: bool
    detail: str


class Report(Struct):
    """Everything that the demonstration observed, as JSON=FILE gets it. `seconds` is by step."""

    checks: list[Check] = field(default_factory=list)
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    recordings: list[dict[str, Any]] = field(default_factory=list)
    video_callbacks: list[dict[str, Any]] = field(default_factory=list)
    video_events: list[dict[str, Any]] = field(default_factory=list)
    video_recordings: list[dict[str, Any]] = field(default_factory=list)
    lives: Lives = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)

    def check(self, name: str, *, ok: bool, detail: str) -> None:
        """Add the result of a check."""
        self.checks.append(Check(name, ok, detail))

    def note_life(self, recording: Recording) -> None:
        """Add the stages that a recording has reached by now."""
        stages = {
            "started": recording.started_at,
            "ended": recording.ended_at,
            "uploaded": recording.uploaded_at,
            "held": recording.hold.since if recording.hold else None,
            "copied": recording.copied_at,
            "deleted": recording.deleted_at,
        }
        reached = {stage: at for stage, at in stages.items() if at is not None}
        self.lives.setdefault(recording.recording_id, {}).update(reached)

    def shareable(self) -> bytes:
        """Return the report as JSON, without the signatures of download URLs."""
        return msgspec.json.format(msgspec.json.encode(_without_queries(msgspec.to_builtins(self))))

    @property
    def all_hold(self) -> bool:
        """Whether all checks passed."""
        return all(check.ok for check in self.checks)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Measure how long the context lasts."""
        start = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - start, 2)


def _without_queries(value: Any) -> Any:
    """Return a JSON value with the query of every URL removed."""
    if isinstance(value, dict):
        return {name: _without_queries(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_without_queries(each) for each in value]
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return value.partition("?")[0]
    return value
