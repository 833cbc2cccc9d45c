"""What the demonstration did and saw."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from msgspec import Struct, field


class Check(Struct, frozen=True):
    """Something that must hold, whether it does, and what was seen."""

    name: str
    ok: bool
    detail: str


class Report(Struct):
    """All that the demonstration did and saw; what JSON=FILE gets. `seconds` is by step."""

    checks: list[Check] = field(default_factory=list)
    callbacks: list[dict[str, Any]] = field(default_factory=list)
    events: list[dict[str, Any]] = field(default_factory=list)
    recordings: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    def check(self, name: str, *, ok: bool, detail: str) -> None:
        """Note whether something holds that must."""
        self.checks.append(Check(name, ok, detail))

    @property
    def all_hold(self) -> bool:
        """Whether everything holds that must."""
        return all(check.ok for check in self.checks)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long the context lasted."""
        start = time.monotonic()
        yield
        self.seconds[step] = round(time.monotonic() - start, 2)
