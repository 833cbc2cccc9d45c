"""Recovers recordings whose callbacks were lost, by asking Vonage's API about them.

A run first scans the lists of all recordings of the products that have one, then works on the items
that have waited too long.
"""

import heapq
import operator
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

import msgspec
from msgspec import Meta

from roomkeeper.domain.observations import Listed, Product, RecordingObservation
from roomkeeper.domain.recordings import Recording, Status, Worklist, WorklistEntry
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs import runner
from roomkeeper.jobs.batch import FAILED, Outcome, Summary
from roomkeeper.jobs.fairness import interleave
from roomkeeper.jobs.job import WorklistJob, open_store
from roomkeeper.jobs.recording_scan import RecordingScan, ScanPeriod
from roomkeeper.jobs.recovery import PlannedRecovery, Recovery
from roomkeeper.jobs.report import Report
from roomkeeper.jobs.runner import Options, Run, logger
from roomkeeper.settings import ReconciliationSettings
from roomkeeper.store import CorruptItem, Store
from roomkeeper.vonage import RecordingsApi, UnrecognizedStatus

DEFAULT_PERIOD = ScanPeriod(horizon=timedelta(hours=96), notice=timedelta(hours=12))
"""The defaults of the template's parameters."""

UPLOAD_TIMEOUT = timedelta(days=30)
"""After the grace time, runs wait this long for an upload that Vonage still announces, and retry
this long the items that always fail."""

MAX_SESSION_TIME = timedelta(hours=24)
"""After the grace time, a session without a `session:ended` counts as open for this long."""

_DEFERRED: tuple[Worklist, ...] = (
    "deferred_awaiting_upload",
    "deferred_ended_session",
    "deferred_open_session",
)


_FINAL: Mapping[str, Outcome] = {
    "recording:uploaded": "recovered",
    "recording:stored": "recovered",
    "recording:failed": "never_uploaded",
    "recording:expired": "expired",
    "recording:deleted": "lost",
}
"""The outcome of a recording that needs no further waiting, by the event that Vonage implies."""

_RESOLVED: frozenset[Status] = frozenset(("uploaded", "stored", "failed", "expired", "deleted"))


class InvalidRecordingData(RoomkeeperError):
    """Vonage's list of a session has a recording with missing or invalid data."""

    @property
    def is_item_specific(self) -> bool:
        """Always True: only this recording is affected."""
        return True


class ReconciliationOptions(Options, frozen=True, kw_only=True):
    """Without `grace_hours`, the deployed setting applies."""

    grace_hours: Annotated[int, Meta(ge=0, le=87_600)] | None = None


class Reconciliation(WorklistJob[ReconciliationOptions]):
    """One reconciliation run: it asks Vonage about items that have waited for `grace` or longer.

    `discovered` counts the recordings for which no callback ever came. Once a dry run's list is
    full, it may count such a recording again for each item that leads to it. `recovered` counts the
    recordings that were given up earlier, and that another item led to. `unrecognized` counts
    the times that Vonage returned a recording with a status that Roomkeeper does not know.
    """

    options_type: ClassVar[type[ReconciliationOptions]] = ReconciliationOptions
    outcomes: ClassVar[Sequence[Outcome]] = (
        "lost",
        "never_uploaded",
        "waiting",
        "already_resolved",
        "session_checked",
    )

    def __init__(
        self,
        run: Run[ReconciliationOptions],
        store: Store,
        apis: Mapping[Product, RecordingsApi],
        *,
        grace: timedelta,
        period: ScanPeriod = DEFAULT_PERIOD,
    ) -> None:
        super().__init__(run, store, apis)
        self._recovery = (
            PlannedRecovery(store, run.now, self._plan) if run.dry_run else Recovery(store, run.now)
        )
        self._scan = RecordingScan(run, store, self._products, self._recovery, period)
        self._waiting_since = run.now - grace
        self._gives_up_before = run.now - grace - UPLOAD_TIMEOUT
        self._lock = threading.Lock()
        self.discovered = 0
        self.recovered = 0
        self.unrecognized = 0

    @classmethod
    def start(cls, run: Run[ReconciliationOptions]) -> Report:
        """Create the job from the settings in the environment, run it, and return its report."""
        settings = ReconciliationSettings.from_env(os.environ)
        hours = run.options.grace_hours
        grace = timedelta(hours=settings.grace_hours if hours is None else hours)
        period = ScanPeriod(
            horizon=timedelta(hours=settings.horizon_hours),
            notice=timedelta(hours=settings.expiring_notice_hours),
        )
        store = open_store(
            settings.table_name, deleted_days=settings.deleted_days, copies=settings.copies
        )
        with runner.vonage_clients(run) as clients:
            job = cls(run, store, clients.recordings, grace=grace, period=period)
            return runner.with_unavailable(job.run(), clients)

    def run(self) -> Report:
        """Scan the lists of all recordings, then work on the due items; return the report.

        Raises:
            StoreUnavailable: the due items could not be counted.
        """
        self._scan.run()
        options = msgspec.structs.replace(self._run.options, limit=self._scan.changes_left)
        self._run = msgspec.structs.replace(self._run, options=options)
        return super().run()

    def finish(self, summary: Summary) -> None:
        """Add the failures of the scan to the summary."""
        summary.add_failures(self._scan.summary)

    def due_until(self) -> Mapping[Worklist, datetime]:
        """Return the time until which an entry is due, for each of the job's worklists."""
        return {
            "awaiting_upload": self._waiting_since,
            "ended_session": self._waiting_since,
            "open_session": self._waiting_since - MAX_SESSION_TIME,
            **dict.fromkeys(_DEFERRED, self._now),
        }

    def items(self) -> Iterator[WorklistEntry]:
        """Yield the due items, oldest first in each worklist. Each list has a share of the run."""
        deferred = heapq.merge(
            *map(self._served_on, _DEFERRED),
            key=operator.attrgetter("since"),
        )
        return interleave(
            (
                (4, self._served_on("awaiting_upload")),
                (4, self._served_on("ended_session")),
                (1, self._served_on("open_session")),
                (1, self.first_deferred(deferred)),
            )
        )

    def _served_on(self, worklist: Worklist) -> Iterator[WorklistEntry]:
        return (entry for entry, _ in self.known_of(self.due_on(worklist)))

    def act(self, item: WorklistEntry) -> Outcome:
        """Reconcile a recording and the others of its session, or all recordings of a session.

        An item-specific failure defers the item.

        Raises:
            VonageError, StoreUnavailable, CorruptItem, InvalidRecordingData: the item is not fully
                reconciled. A later run retries it.
        """
        try:
            if item.kind == "recording":
                return self._reconcile_recording(item)
            return self._reconcile_session(item)
        except RoomkeeperError as error:
            if error.is_item_specific:
                self._defer(item)
            raise

    def _reconcile_session(self, due: WorklistEntry) -> Outcome:
        # Only sessions of the Meetings API are on a worklist.
        with self._products.use("meetings") as api:
            listed = api.in_session(due.id)
        self._slots.release()
        if listed is not None:
            self._store_observations(listed, due.id)
        if not self._dry_run:
            self._store.worklists.mark_session_checked(
                due, self._now if listed is not None else None
            )
        return "session_checked"

    def _reconcile_recording(self, due: WorklistEntry) -> Outcome:
        known = self._store.recordings.get(due.id)
        if known is None or known.status in _RESOLVED:
            return "already_resolved"  # by a callback in the meantime
        with self._products.use(known.product) as api:
            return self._reconcile_at(api, known, due)

    def _reconcile_at(self, api: RecordingsApi, known: Recording, due: WorklistEntry) -> Outcome:
        listed = api.in_session(known.session_id) or Listed(())
        others = [each for each in listed.found if each.recording_id != due.id]
        found = next((each for each in listed.found if each.recording_id == due.id), None)
        try:
            found = found or api.get(due.id)
            self._slots.release()
            return self._resolve(known, found, due)
        except UnrecognizedStatus as error:
            return self._await_known_status(known, due, error)
        finally:  # an error in one recording must not block the others
            self._store_observations(Listed(others, listed.invalid), known.session_id)

    def _resolve(
        self, known: Recording, found: RecordingObservation | None, due: WorklistEntry
    ) -> Outcome:
        if found is None:
            return self._mark_missing(known)
        is_new = found.event not in known.seen and self._recovery.store(found)
        if found.event in _FINAL:  # its callback may have arrived meanwhile
            return _FINAL[found.event] if is_new else "already_resolved"
        return self._wait(known, due, found.event)

    def _await_known_status(
        self, known: Recording, due: WorklistEntry, error: UnrecognizedStatus
    ) -> Outcome:
        """Keep waiting for a recording whose status is new: Vonage has it."""
        logger.warning("status is not recognized", recording_id=due.id, error=str(error))
        with self._lock:
            self.unrecognized += 1
        return self._wait(known, due, "unknown")

    def _wait(self, known: Recording, due: WorklistEntry, latest: str) -> Outcome:
        """Leave a recording that Vonage has for a later run, or stop waiting for its upload."""
        queued_at = known.queued_at or due.since
        if queued_at <= self._gives_up_before:
            return self._give_up(known, latest)
        self._recovery.confirm(known)
        return "waiting"

    def _store_observations(self, listed: Listed, session_id: str) -> None:
        """Store recordings for which no callback ever came, and confirm the known ones.

        Known recordings are reconciled as their own worklist entries. Those that were given up have
        none, so they are stored here once Vonage has their upload.

        Raises:
            InvalidRecordingData, CorruptItem: one could not be stored; all the others were.
        """
        errors: list[RoomkeeperError] = [
            InvalidRecordingData(f"In Vonage's list of session {session_id}: {each}")
            for each in listed.invalid
        ]
        for recording in listed.found:
            try:
                self._add_or_confirm(recording)
            except CorruptItem as error:
                errors.append(error)
        if errors:
            raise errors[0]

    def _add_or_confirm(self, found: RecordingObservation) -> None:
        known = self._store.recordings.get(found.recording_id)
        if known is None:
            is_old = self._store.recordings.may_have_expired(found, self._now)
            if not is_old and self._recovery.store(found):
                with self._lock:
                    self.discovered += 1
        elif _was_given_up(known) and found.event in _FINAL and known.is_behind(found.event):
            if self._recovery.store(found):
                with self._lock:
                    self.recovered += 1
        else:
            self._recovery.confirm(known)

    def _mark_missing(self, known: Recording) -> Outcome:
        # Otherwise, its callback has arrived meanwhile.
        return "lost" if self._recovery.mark_missing(known) else "already_resolved"

    def _give_up(self, known: Recording, latest: str) -> Outcome:
        """Stop waiting for an upload. `latest` is the latest event that Vonage implies."""
        ids = {"recording_id": known.recording_id, "session_id": known.session_id}
        if self._dry_run:
            return "never_uploaded"
        if not self._store.recordings.mark_never_uploaded(known, self._now):
            return "already_resolved"  # by a callback in the meantime
        logger.warning("recording will not be uploaded", extra=ids | {"latest": latest})
        return "never_uploaded"

    def _defer(self, due: WorklistEntry) -> None:
        """Schedule an item's next attempt; after UPLOAD_TIMEOUT, remove it from its worklist."""
        if self._dry_run:
            return
        if not due.is_deferred or self._store.worklists.queued_at(due) > self._gives_up_before:
            self._deferrals.defer(due)
        elif due.kind == "session":
            self._store.worklists.mark_session_checked(due)
        elif known := self._store.recordings.get(due.id):
            self._give_up(known, "unknown")

    @property
    def other_failures(self) -> int:
        """The number of failures of the scan."""
        return self._scan.summary.outcomes[FAILED]

    def more_counts(self, summary: Summary) -> Mapping[str, int]:
        """Return the counts of the scan and of the due items together."""
        counts = self._scan.counts
        return {
            **counts,
            "discovered": counts["discovered"] + self.discovered,
            "recovered": counts["recovered"] + summary.outcomes["recovered"] + self.recovered,
            "expired": counts["expired"] + summary.outcomes["expired"],
            "unrecognized": counts["unrecognized"] + self.unrecognized,
        }


def _was_given_up(known: Recording) -> bool:
    """Return True if a recording is on no worklist, although its upload was never received."""
    return known.worklist is None and known.status not in _RESOLVED
