"""The base classes of all jobs.

A job is one class. It yields the items of its run, does the work on each of them, and counts the
results; the base class does the rest.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from roomkeeper import store
from roomkeeper.aws import sdk
from roomkeeper.domain.recordings import Worklist, WorklistEntry
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs.batch import AbortBatch, BatchRunner, Outcome, Summary
from roomkeeper.jobs.fairness import Deferrals
from roomkeeper.jobs.report import DryRunPlan, Report
from roomkeeper.jobs.runner import OptionsT, Run, logger
from roomkeeper.store import Store
from roomkeeper.vonage import Unauthorized

Item = TypeVar("Item")


class Job(ABC, Generic[OptionsT, Item]):
    """One run of a job. An instance runs once; a dry run changes nothing."""

    calls_per_item: ClassVar[int] = 2
    """The most calls to Vonage that one item makes."""

    writes_per_item: ClassVar[int] = 3
    """The most writes to the table that one item makes."""

    def __init__(self, run: Run[OptionsT]) -> None:
        self._run = run
        self._now = run.now
        self._dry_run = run.dry_run
        self._plan = DryRunPlan()

    @classmethod
    @abstractmethod
    def start(cls, run: Run[OptionsT]) -> Report:
        """Create the job from the settings in the environment, run it, and return its report.

        Raises:
            NotConfigured: no Vonage credentials are stored.
            RoomkeeperError: the run could not start, or its result could not be saved.
        """

    @classmethod
    def seconds_per_item(cls, call_seconds: float) -> float:
        """Return how long one item may take if each call to Vonage takes up to `call_seconds`."""
        writes = cls.writes_per_item * store.SHORT_RETRY.worst_case
        return cls.calls_per_item * call_seconds + writes

    def run(self) -> Report:
        """Work on all items within the run's limits, and return the report."""
        summary = work(self._run, self.items(), self.act)
        self.finish(summary)
        return Report(
            dry_run=self._dry_run,
            counts=self.counts(summary),
            summary=summary,
            planned=self.planned,
        )

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield the items of this run. They are read in one thread, as workers become free."""

    @abstractmethod
    def act(self, item: Item) -> Outcome:
        """Do the work on one item and return its outcome. Several threads call this.

        The item has to end by `self.deadline`.

        Raises:
            RoomkeeperError: the item failed.
        """

    def finish(self, summary: Summary) -> None:
        """Complete the run after its last item. Failures are added to the summary."""

    @abstractmethod
    def counts(self, summary: Summary) -> Mapping[str, int]:
        """Return the report's counts."""

    @property
    def deadline(self) -> float:
        """The time by which every item must have ended, by the monotonic clock."""
        return self._run.limits.deadline

    @property
    def planned(self) -> Sequence[dict[str, str]]:
        """The changes that a dry run lists."""
        return self._plan.listed


class WorklistJob(Job[OptionsT, WorklistEntry]):
    """One run of a job whose items are on the table's worklists.

    Items that fail for a reason of their own can be deferred, so that they do not delay the others.
    """

    outcomes: ClassVar[Sequence[Outcome]]
    """The outcomes that the report counts."""

    def __init__(self, run: Run[OptionsT], store: Store) -> None:
        super().__init__(run)
        self._store = store
        self._deferrals = Deferrals(store, now=run.now, dry_run=run.dry_run)
        self._due = 0

    def run(self) -> Report:
        """Work on the due items within the run's limits, and return the report.

        Raises:
            StoreUnavailable: the due items could not be counted.
        """
        self._due = self.count_due()
        return super().run()

    @abstractmethod
    def due_until(self) -> Mapping[Worklist, datetime]:
        """Return the job's worklists; a list's entries from its time or earlier are due."""

    def count_due(self) -> int:
        """Return the number of due items, including skipped ones and deferred ones to retry.

        Raises:
            StoreUnavailable: they could not be counted.
        """
        return sum(self._store.worklists.count(*each) for each in self.due_until().items())

    def due_on(self, worklist: Worklist) -> Iterator[WorklistEntry]:
        """Yield the due entries of one worklist, oldest first."""
        return self._store.worklists.read(worklist, self.due_until()[worklist])

    def first_deferred(self, entries: Iterator[WorklistEntry]) -> Iterator[WorklistEntry]:
        """Yield as many deferred entries as one run retries."""
        return itertools.islice(entries, self._run.deferred_at_most)

    @property
    def deferred(self) -> int:
        """The number of items that this run deferred."""
        return self._deferrals.count

    @property
    def skipped(self) -> int:
        """The number of due items that `items` left out."""
        return 0

    def counts(self, summary: Summary) -> Mapping[str, int]:
        """Return the number of due items and what became of them."""
        return {
            "due": self._due,
            **{name: summary.outcomes[name] for name in self.outcomes},
            **self.more_counts(summary),
            "deferred": self.deferred,
            "remaining": remaining(self._due, summary, self.skipped),
        }

    @abstractmethod
    def more_counts(self, summary: Summary) -> Mapping[str, int]:
        """Return the job's own counts, in addition to those of `outcomes`."""


def open_store(table_name: str, *, deleted_days: int, copies: bool = False) -> Store:
    """Return a store for a job. Deleted recordings are kept for `deleted_days`.

    `copies` says that recordings are copied, so that uploaded ones await their copy.
    """
    client = sdk.dynamodb(store.SHORT_RETRY)
    return Store(client, table_name, deleted_days=deleted_days, copies=copies)


def work(run: Run[Any], items: Iterable[Item], act: Callable[[Item], Outcome]) -> Summary:
    """Call `act` with each of `items` within the run's limits; return the summary.

    Every failure is logged. An Unauthorized response from Vonage ends the batch, whether it comes
    while items are read or while one is worked on.
    """

    def act_and_log(item: Item) -> Outcome:
        try:
            return act(item)
        except RoomkeeperError as error:
            logger.warning("item failed", error=str(error), kind=type(error).__name__)
            if isinstance(error, Unauthorized):
                raise AbortBatch(str(error)) from error
            raise

    def read() -> Iterator[Item]:
        try:
            yield from itertools.islice(items, run.options.limit)
        except Unauthorized as error:
            raise AbortBatch(str(error)) from error

    return BatchRunner(run.limits).run(read(), act_and_log)


def remaining(due: int, summary: Summary, skipped: int = 0) -> int:
    """Return how many of the `due` items are left for the next run."""
    return max(0, due - skipped - summary.processed)
