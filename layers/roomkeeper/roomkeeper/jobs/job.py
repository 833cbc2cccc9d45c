"""The base classes of all jobs.

A job is one class. It yields the items of its run, does the work on each of them, and counts the
results; the base class does the rest.
"""

import itertools
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from roomkeeper.aws import sdk
from roomkeeper.aws.retries import SHORT_TABLE_RETRY
from roomkeeper.domain.observations import Product
from roomkeeper.domain.recordings import Recording, Worklist, WorklistEntry
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs.batch import SKIPPED, AbortBatch, BatchRunner, Outcome, Slots, Summary
from roomkeeper.jobs.fairness import Deferrals
from roomkeeper.jobs.products import Products, ProductStopped
from roomkeeper.jobs.report import DryRunPlan, Report
from roomkeeper.jobs.runner import OptionsT, Run, logger
from roomkeeper.store import Store
from roomkeeper.vonage import RecordingsApi, Unauthorized

Item = TypeVar("Item")

_LOOKUP_BATCH = 100


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
        self._products: Products | None = None
        self._slots = Slots(run.limits.concurrency)

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
        writes = cls.writes_per_item * SHORT_TABLE_RETRY.worst_case
        return cls.calls_per_item * call_seconds + writes

    def run(self) -> Report:
        """Work on all items within the run's limits, and return the report."""
        summary = work(self._run, self.items(), self.act, self._products, self._slots)
        self.finish(summary)
        return Report(
            dry_run=self._dry_run,
            counts=self.counts(summary),
            summary=summary,
            planned=self.planned,
            stopped_products=self._products.stopped if self._products else {},
        )

    @abstractmethod
    def items(self) -> Iterator[Item]:
        """Yield the items of this run. They are read in one thread, as workers become free."""

    @abstractmethod
    def act(self, item: Item) -> Outcome:
        """Do the work on one item and return its outcome. Several threads call this.

        The item has to end by `self.deadline`. It has one of `self._slots` and may release it once
        it makes no more calls to Vonage: the next item then makes its own.

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

    _products: Products

    def __init__(
        self, run: Run[OptionsT], store: Store, apis: Mapping[Product, RecordingsApi]
    ) -> None:
        super().__init__(run)
        self._store = store
        self._products = Products(apis, consecutive_failures=run.limits.consecutive_failures)
        self._deferrals = Deferrals(store, now=run.now, dry_run=run.dry_run)
        self._due: Mapping[Worklist, int] = {}

    def run(self) -> Report:
        """Work on the due items within the run's limits, and return the report.

        Raises:
            StoreUnavailable: the due items could not be counted.
        """
        self._due = self.count_due()
        return super().run()

    @abstractmethod
    def due_until(self) -> Mapping[Worklist, datetime]:
        """Return the time until which an entry is due, for each of the job's worklists.

        An entry whose `since` is that time or earlier is due.
        """

    def count_due(self) -> Mapping[Worklist, int]:
        """Return the number of due items on each worklist, with those that will be skipped.

        Raises:
            StoreUnavailable: they could not be counted.
        """
        due = self.due_until()
        with ThreadPoolExecutor(self._run.limits.concurrency, "count") as pool:
            counts = pool.map(self._store.worklists.count, due.keys(), due.values())
            return dict(zip(due, counts, strict=True))

    def due_on(self, worklist: Worklist) -> Iterator[WorklistEntry]:
        """Yield the due entries of one worklist, oldest first.

        A worklist that was empty when it was counted is not read, which saves a query of each of
        its shards before the first item.
        """
        if self._due.get(worklist) == 0:
            return iter(())
        return self._store.worklists.read(worklist, self.due_until()[worklist])

    def first_deferred(self, entries: Iterator[WorklistEntry]) -> Iterator[WorklistEntry]:
        """Yield as many deferred entries as one run retries."""
        return itertools.islice(entries, self._run.deferred_at_most)

    def known_of(
        self, entries: Iterator[WorklistEntry]
    ) -> Iterator[tuple[WorklistEntry, Recording | None]]:
        """Yield the entries whose product the run calls, with their recordings.

        Entries of other products stay on their worklist for a later run. Entries are looked up in
        batches, so that many of those do not delay the run. Once the run's time is over, entries
        are yielded without the check: the batch then ends. Once no product is left, no more entries
        are read.
        """
        while not self._products.all_stopped_by:
            batch = list(itertools.islice(entries, _LOOKUP_BATCH))
            if not batch:
                return
            ids = [entry.id for entry in batch if entry.kind == "recording"]
            known = self._store.recordings.get_many(ids)
            is_over = time.monotonic() >= self._run.limits.last_start
            for entry in batch:
                recording = known.get(entry.id)
                if is_over or self._is_in_use(entry, recording):
                    yield entry, recording

    def _is_in_use(self, entry: WorklistEntry, recording: Recording | None) -> bool:
        if entry.kind == "session":  # of the Meetings API: others have no items
            return self._products.is_in_use("meetings")
        return recording is None or self._products.is_in_use(recording.product)

    @property
    def deferred(self) -> int:
        """The number of items that this run deferred."""
        return self._deferrals.count

    @property
    def skipped(self) -> int:
        """The number of due items that `items` left out."""
        return 0

    @property
    def other_failures(self) -> int:
        """The number of failures in the summary besides those of due items."""
        return 0

    def counts(self, summary: Summary) -> Mapping[str, int]:
        """Return the number of due items, and of each outcome."""
        due = sum(self._due.values())
        return {
            "due": due,
            **{name: summary.outcomes[name] for name in self.outcomes},
            **self.more_counts(summary),
            "deferred": self.deferred,
            "remaining": remaining(due, summary, self.skipped - self.other_failures),
        }

    @abstractmethod
    def more_counts(self, summary: Summary) -> Mapping[str, int]:
        """Return the job's own counts, in addition to those of `outcomes`."""


def open_store(table_name: str, *, deleted_days: int, copies: bool = False) -> Store:
    """Return a store for a job. Deleted recordings are kept for `deleted_days`.

    With `copies`, recordings are copied, so that uploaded ones await their copy.
    """
    client = sdk.dynamodb(SHORT_TABLE_RETRY)
    return Store(client, table_name, deleted_days=deleted_days, copies=copies)


def work(
    run: Run[Any],
    items: Iterable[Item],
    act: Callable[[Item], Outcome],
    products: Products | None = None,
    slots: Slots | None = None,
) -> Summary:
    """Call `act` with each of `items` within the run's limits; return the summary.

    Every failure is logged. `slots` are those that an item may release before it ends. With
    `products`, the batch ends when none of them is left. Without, an Unauthorized response from
    Vonage ends it, whether it comes while items are read or while one is worked on.
    """

    def act_and_log(item: Item) -> Outcome:
        try:
            return act(item)
        except ProductStopped:
            return SKIPPED
        except RoomkeeperError as error:
            logger.warning("item failed", error=str(error), kind=type(error).__name__)
            raise (products.for_batch(error) if products else _for_batch(error)) from error

    def read() -> Iterator[Item]:
        try:
            yield from itertools.islice(items, run.options.limit)
        except Unauthorized as error:
            raise AbortBatch(str(error)) from error

    summary = BatchRunner(run.limits, slots).run(read(), act_and_log)
    if products:
        summary.stopped_by = summary.stopped_by or products.all_stopped_by
    return summary


def _for_batch(error: RoomkeeperError) -> RoomkeeperError:
    return AbortBatch(str(error)) if isinstance(error, Unauthorized) else error


def remaining(due: int, summary: Summary, skipped: int = 0) -> int:
    """Return how many of the `due` items are left for the next run."""
    return max(0, due - skipped - summary.processed)
