"""Deletes recordings past their retention: at Vonage first, then marks them in the table."""

import itertools
import operator
from collections.abc import Iterator, Mapping
from datetime import datetime

from roomkeeper.domain.observations import Product
from roomkeeper.domain.recordings import DeletedBy, Recording, Worklist, WorklistEntry
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs.batch import Outcome
from roomkeeper.jobs.fairness import Deferrals, interleave
from roomkeeper.jobs.runner import DryRunPlan, logger
from roomkeeper.store import Store, correlation
from roomkeeper.times import iso
from roomkeeper.vonage import DeletionOutcome, NotDeletable, RecordingsApi, api_of

OUTCOMES: tuple[Outcome, ...] = ("deleted", "already_deleted", "not_deletable_yet", "would_delete")

_LOOKUP_BATCH = 100

_DELETED_BY: dict[DeletionOutcome, DeletedBy | None] = {
    "deleted": "cleanup",
    "already_deleted": "vonage",
    "not_yet": None,
}


class Cleanup:
    """One cleanup run. A dry run changes nothing.

    Args:
        until: recordings uploaded at or before this time are past their retention.
        now: the time of the run.
        dry_run: list deletions in `planned` instead of making them.
        deferred_at_most: how many deferred recordings to retry, among those that Vonage's API has
            returned, and again as many among the others.

    `held` counts the recordings that were skipped because of a hold.
    """

    def __init__(
        self,
        store: Store,
        apis: Mapping[Product, RecordingsApi],
        *,
        until: datetime,
        now: datetime,
        dry_run: bool,
        deferred_at_most: int = 1000,
    ) -> None:
        self._store = store
        self._apis = apis
        self._deferrals = Deferrals(store, now=now, dry_run=dry_run)
        self._deferred_at_most = deferred_at_most
        self._until = until
        self._now = now
        self._dry_run = dry_run
        self.held = 0
        self._planned = DryRunPlan()

    @property
    def deferred(self) -> int:
        """The number of recordings that this run deferred."""
        return self._deferrals.count

    def count_due(self) -> int:
        """Return the number of due recordings, including held ones and deferred ones to retry.

        Raises:
            StoreUnavailable: they could not be counted.
        """
        until: Mapping[Worklist, datetime] = {
            "confirmed": self._until,
            "retained": self._until,
            "deferred_confirmed": self._now,
            "deferred_retained": self._now,
        }
        return sum(self._store.worklists.count(*each) for each in until.items())

    def due(self) -> Iterator[WorklistEntry]:
        """Yield the recordings past their retention and not on hold, oldest first in each list.

        Six of ten items are confirmed recordings, as long as there are any. Recordings known only
        from forged callbacks therefore delay them by at most four tenths of the run.
        """
        return interleave(
            (
                (6, self._not_held(self._store.worklists.read("confirmed", self._until))),
                (2, self._not_held(self._store.worklists.read("retained", self._until))),
                (1, self._not_held(self._deferred("deferred_confirmed"))),
                (1, self._not_held(self._deferred("deferred_retained"))),
            )
        )

    def _deferred(self, worklist: Worklist) -> Iterator[WorklistEntry]:
        return itertools.islice(
            self._store.worklists.read(worklist, self._now), self._deferred_at_most
        )

    def _not_held(self, worklist: Iterator[WorklistEntry]) -> Iterator[WorklistEntry]:
        """Yield the entries that are not on hold and not younger than this run's retention.

        Entries are looked up in batches, so that many held ones do not delay the others.
        """
        while batch := list(itertools.islice(worklist, _LOOKUP_BATCH)):
            known = self._store.recordings.get_many(entry.id for entry in batch)
            held = {id_ for id_, recording in known.items() if recording.hold is not None}
            young = {id_ for id_, recording in known.items() if self._is_young(recording)}
            self.held += len(held)
            yield from (entry for entry in batch if entry.id not in held | young)

    def _is_young(self, recording: Recording) -> bool:
        """Return True for a deferred recording that is within this run's retention."""
        return recording.queued_at is not None and recording.queued_at > self._until

    def act(self, due: WorklistEntry) -> Outcome:
        """Delete a recording at Vonage, mark it as deleted, and return the outcome.

        A recording that cannot be deleted for a reason of its own is deferred.

        Raises:
            VonageError, StoreUnavailable, CorruptItem: it was not deleted, or not marked. A later
                run retries it.
        """
        try:
            outcome = self._act(due)
        except RoomkeeperError as error:
            if error.is_item_specific:
                self._deferrals.defer(due, confirmed=isinstance(error, NotDeletable))
            raise
        if outcome == "not_deletable_yet":
            self._deferrals.defer(due, confirmed=True)
        return outcome

    def _act(self, due: WorklistEntry) -> Outcome:
        recording = self._store.recordings.get(due.id)
        if recording is None or recording.deleted_at is not None:
            return "already_deleted"
        if recording.hold is not None:  # set after the worklist was read
            return "on_hold"
        if self._dry_run:
            return self._plan(due.id, recording.queued_at or due.since)
        by = self._delete(recording)
        if by is None:
            return "not_deletable_yet"
        self._store.recordings.mark_deleted(due.id, by, self._now)
        event_id = correlation.event_id_for_recording(due.id, "recording:deleted")
        logger.info("recording deleted", recording_id=due.id, by=by, correlation_id=event_id)
        return "deleted" if by == "cleanup" else "already_deleted"

    @property
    def planned(self) -> list[dict[str, str]]:
        """The deletions that a dry run lists, oldest upload first."""
        return sorted(self._planned.listed, key=operator.itemgetter("uploaded_at"))

    def _plan(self, recording_id: str, uploaded_at: datetime) -> Outcome:
        logger.info("recording would be deleted", recording_id=recording_id)
        self._planned.add({"recording_id": recording_id, "uploaded_at": iso(uploaded_at)})
        return "would_delete"

    def _delete(self, recording: Recording) -> DeletedBy | None:
        """Delete a recording at Vonage; return who deleted it, or None if that is not possible yet.

        Only Vonage's own "not found" counts as deleted by Vonage.
        """
        api = api_of(self._apis, recording.product)
        return _DELETED_BY[api.delete(recording.recording_id)]
