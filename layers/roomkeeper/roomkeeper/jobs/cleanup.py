"""Deletes recordings past their retention: at Vonage first, then marks them in the table."""

import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, ClassVar

from msgspec import Meta

from roomkeeper.domain.observations import DeletedBy, Product
from roomkeeper.domain.recordings import (
    Recording,
    Worklist,
    WorklistEntry,
    is_in_owners_storage,
)
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs import runner
from roomkeeper.jobs.batch import Outcome, Summary
from roomkeeper.jobs.fairness import interleave
from roomkeeper.jobs.job import WorklistJob, open_store
from roomkeeper.jobs.report import Report
from roomkeeper.jobs.runner import Options, Run, logger
from roomkeeper.settings import CleanupSettings
from roomkeeper.store import Store, correlation
from roomkeeper.times import iso
from roomkeeper.vonage import DeletionOutcome, NotDeletable, RecordingsApi

_DELETED_BY: dict[DeletionOutcome, DeletedBy | None] = {
    "deleted": "cleanup",
    "already_deleted": "vonage",
    "not_yet": None,
}


class CleanupOptions(Options, frozen=True, kw_only=True):
    """Without `retention_days`, the deployed setting applies; a deployed 0 disables the cleanup."""

    retention_days: Annotated[int, Meta(ge=1, le=36_500)] | None = None


class Cleanup(WorklistJob[CleanupOptions]):
    """One cleanup run: it deletes the recordings that were uploaded `retention` ago or earlier.

    With `copies`, it deletes none without a verified copy: those wait on a worklist of their own.

    `on_hold` counts the recordings that were skipped because of a hold. `record_deleted` counts
    those whose file is in their owner's own storage: only Vonage's record of them is deleted.
    """

    options_type: ClassVar[type[CleanupOptions]] = CleanupOptions
    outcomes: ClassVar[Sequence[Outcome]] = (
        "deleted",
        "record_deleted",
        "already_deleted",
        "not_deletable_yet",
        "would_delete",
        "not_copied_yet",
    )

    def __init__(
        self,
        run: Run[CleanupOptions],
        store: Store,
        apis: Mapping[Product, RecordingsApi],
        *,
        retention: timedelta,
        copies: bool = False,
    ) -> None:
        super().__init__(run, store, apis)
        self._until = run.now - retention
        self._copies = copies
        self.on_hold = 0

    @classmethod
    def start(cls, run: Run[CleanupOptions]) -> Report:
        """Create the job from the settings in the environment, run it, and return its report."""
        settings = CleanupSettings.from_env(os.environ)
        days = run.options.retention_days or settings.retention_days
        if not days:
            return cls._switched_off(run)
        store = open_store(settings.table_name, deleted_days=settings.deleted_days)
        retention = timedelta(days=days)
        with runner.vonage_clients(run) as clients:
            apis = clients.recordings
            job = cls(run, store, apis, retention=retention, copies=settings.copies)
            return runner.with_unavailable(job.run(), clients)

    def due_until(self) -> Mapping[Worklist, datetime]:
        """Return the time until which an entry is due, for each of the job's worklists.

        Recordings that awaited a copy when copying was switched off are due like all others.
        """
        awaiting_copy: Mapping[Worklist, datetime] = {
            "awaiting_copy": self._until,
            "deferred_awaiting_copy": self._now,
        }
        return {
            "confirmed": self._until,
            "retained": self._until,
            "deferred_confirmed": self._now,
            "deferred_retained": self._now,
            **({} if self._copies else awaiting_copy),
        }

    def items(self) -> Iterator[WorklistEntry]:
        """Yield the recordings past their retention and not on hold, oldest first in each list.

        Six of ten items are confirmed recordings, as long as there are any. Recordings known only
        from forged callbacks therefore delay them by at most four tenths of the run.
        """
        return interleave(
            (
                (6, self._not_on_hold(self.due_on("confirmed"))),
                (2, self._not_on_hold(self.due_on("retained"))),
                (1, self._deferred("deferred_confirmed")),
                (1, self._deferred("deferred_retained")),
                *self._awaiting_copy(),
            )
        )

    def _awaiting_copy(self) -> Iterator[tuple[int, Iterator[WorklistEntry]]]:
        if not self._copies:
            yield 1, self._not_on_hold(self.due_on("awaiting_copy"))
            yield 1, self._deferred("deferred_awaiting_copy")

    def _deferred(self, worklist: Worklist) -> Iterator[WorklistEntry]:
        # Those on hold stay due, so that they must not take the place of others.
        return self.first_deferred(self._not_on_hold(self.due_on(worklist)))

    def _not_on_hold(self, worklist: Iterator[WorklistEntry]) -> Iterator[WorklistEntry]:
        """Yield the entries that are not on hold and not younger than this run's retention."""
        for entry, recording in self.known_of(worklist):
            if recording is not None and recording.hold is not None:
                self.on_hold += 1
            elif recording is None or not self._is_young(recording):
                yield entry

    def _is_young(self, recording: Recording) -> bool:
        """Return True for a deferred recording that is within this run's retention."""
        return recording.queued_at is not None and recording.queued_at > self._until

    def act(self, item: WorklistEntry) -> Outcome:
        """Delete a recording at Vonage, mark it as deleted, and return the outcome.

        An item-specific failure defers the recording.

        Raises:
            VonageError, StoreUnavailable, CorruptItem: it was not deleted, or not marked. A later
                run retries it.
        """
        try:
            outcome = self._act(item)
        except RoomkeeperError as error:
            if error.is_item_specific:
                self._deferrals.defer(item, confirmed=isinstance(error, NotDeletable))
            raise
        if outcome == "not_deletable_yet":
            self._deferrals.defer(item, confirmed=True)
        return outcome

    def _act(self, due: WorklistEntry) -> Outcome:
        recording = self._store.recordings.get(due.id)
        if recording is None or recording.deleted_at is not None:
            return "already_deleted"
        if recording.hold is not None:  # set after the worklist was read
            return "on_hold"
        if self._copies and recording.lacks_copy:  # uploaded before copying was switched on
            return self._await_copy(recording)
        if self._dry_run:
            return self._plan_deletion(recording, recording.queued_at or due.since)
        with self._products.use(recording.product) as api:
            deleted_by = _DELETED_BY[api.delete(due.id)]
        self._slots.release()
        if deleted_by is None:
            return "not_deletable_yet"
        return self._mark_deleted(recording, deleted_by)

    def _mark_deleted(self, recording: Recording, deleted_by: DeletedBy) -> Outcome:
        """Mark a recording as deleted in the table, log that, and return the outcome."""
        id_, is_kept = recording.recording_id, is_in_owners_storage(recording)
        self._store.recordings.mark_deleted(id_, deleted_by, self._now, file_kept=is_kept)
        logger.info(
            "recording deleted",
            recording_id=id_,
            deleted_by=deleted_by,
            file_kept=is_kept,
            correlation_id=correlation.event_id_for_recording(id_, "recording:deleted"),
        )
        if deleted_by != "cleanup":
            return "already_deleted"
        return "record_deleted" if is_kept else "deleted"

    def _await_copy(self, recording: Recording) -> Outcome:
        if not self._dry_run:
            self._store.copies.queue(recording)
        return "not_copied_yet"

    def _plan_deletion(self, recording: Recording, uploaded_at: datetime) -> Outcome:
        logger.info("recording would be deleted", recording_id=recording.recording_id)
        plan = {"recording_id": recording.recording_id, "uploaded_at": iso(uploaded_at)}
        if is_in_owners_storage(recording):
            plan |= {"file": "kept in its owner's storage"}
        self._plan.add(plan)
        return "would_delete"

    @property
    def planned(self) -> Sequence[dict[str, str]]:
        """The deletions that a dry run lists, oldest upload first."""
        return sorted(super().planned, key=operator.itemgetter("uploaded_at"))

    @property
    def skipped(self) -> int:
        """The number of due recordings that are on hold."""
        return self.on_hold

    def more_counts(self, summary: Summary) -> Mapping[str, int]:
        """Return the number of recordings on hold, including holds set during the run."""
        return {"on_hold": self.on_hold + summary.outcomes["on_hold"]}

    @classmethod
    def _switched_off(cls, run: Run[CleanupOptions]) -> Report:
        logger.info("cleanup is switched off")
        names = ("due", *cls.outcomes, "on_hold", "deferred", "remaining")
        return Report(dry_run=run.dry_run, counts=dict.fromkeys(names, 0), summary=Summary())
