"""The report of a job's run, and the plan of a dry run."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from roomkeeper.domain.observations import Product
from roomkeeper.jobs.batch import FAILED, StoppedBy, Summary

MAX_LISTED = 1000
"""The most plans of one kind that a dry run lists. All of them are counted."""


class Report(Struct, kw_only=True):
    """The result of a run: its counts by name, its batch's summary, and a dry run's plans."""

    dry_run: bool
    counts: Mapping[str, int]
    summary: Summary
    planned: Sequence[Mapping[str, str]] = ()
    stopped_products: Mapping[Product, StoppedBy] = {}
    """The products that the run stopped calling, each with the reason."""
    not_configured: Sequence[Product] = ()
    """The products that the stack serves, but has no credentials for."""

    def as_json(self) -> dict[str, Any]:
        """Return the report as the caller gets it.

        `planned` is present in a dry run only, `stopped_products` and `not_configured` only if a
        product was stopped or has no credentials.
        """
        report: dict[str, Any] = {
            "dry_run": self.dry_run,
            **self.counts,
            FAILED: self.summary.outcomes[FAILED],
            "stopped_by": self.summary.stopped_by,
            "sample_errors": self.summary.sample_errors,
        }
        if self.stopped_products:
            report["stopped_products"] = self.stopped_products
        if self.not_configured:
            report["not_configured"] = list(self.not_configured)
        return report | ({"planned": self.planned} if self.dry_run else {})


class DryRunPlan:
    """The changes that a dry run would make: the first `most` of each kind. Thread-safe."""

    def __init__(self, most: int = MAX_LISTED) -> None:
        self._listed: dict[tuple[str, ...], dict[str, str]] = {}
        self._most = most
        self._count: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def listed(self) -> list[dict[str, str]]:
        """The plans, in the order in which they were added."""
        return list(self._listed.values())

    def add(self, plan: dict[str, str], kind: str = "") -> bool:
        """Add a plan, unless its kind's list is full; return False if it is listed already."""
        key = tuple(plan.values())
        with self._lock:
            if key in self._listed:
                return False
            if self._count[kind] < self._most:
                self._count[kind] += 1
                self._listed[key] = plan
            return True
