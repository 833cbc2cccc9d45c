"""What is done about recordings that are past their retention: deleted at Vonage, then noted."""

import itertools
import operator
from collections.abc import Iterator, Mapping
from datetime import datetime

from roomkeeper.domain import recordings as books
from roomkeeper.domain.recordings import DeletedBy, Worklist, WorklistEntry
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs.batch import Outcome
from roomkeeper.jobs.fairness import Deferrals, interleave
from roomkeeper.jobs.runner import DryRunPlan, logger
from roomkeeper.store import Store, correlation
from roomkeeper.times import iso
from roomkeeper.vonage import DeletionOutcome, NotDeletable, VonageClient

OUTCOMES: tuple[Outcome, ...] = ("deleted", "already_deleted", "not_deletable_yet", "would_delete")

_LOOKED_UP_AT_ONCE = 100

_DELETED_BY: dict[DeletionOutcome, DeletedBy | None] = {
    "deleted": "cleanup",
    "already_deleted": "vonage",
    "not_yet": None,
}


class Cleanup:
    """A cleanup at `now` of what was uploaded by `until`; with `dry_run` it changes nothing.

    `held` counts the recordings that were passed over because of a hold, `planned` lists what a
    dry run would delete, as far as it is listed. `deferred_at_most` is how many deferred recordings
    it tries again of those that Vonage's API has returned, and as many of the others.
    """

    def __init__(
        self,
        store: Store,
        vonage: VonageClient,
        *,
        until: datetime,
        now: datetime,
        dry_run: bool,
        deferred_at_most: int = 1000,
    ) -> None:
        self._store = store
        self._vonage = vonage
        self._deferrals = Deferrals(store, now=now, dry_run=dry_run)
        self._deferred_at_most = deferred_at_most
        self._until = until
        self._now = now
        self._dry_run = dry_run
        self.held = 0
        self._planned = DryRunPlan()

    @property
    def deferred(self) -> int:
        """How many recordings were deferred."""
        return self._deferrals.count

    def count_due(self) -> int:
        """Return how many recordings are due, held ones included, and deferred ones to try again.

        Raises:
            StoreUnavailable: they could not be counted.
        """
        until: Mapping[Worklist, datetime] = {
            "confirmed": self._until,
            "retained": self._until,
            "deferred_confirmed": self._now,
            "deferred_retained": self._now,
        }
        return sum(self._store.worklist_length(*each) for each in until.items())

    def due(self) -> Iterator[WorklistEntry]:
        """Yield what is past its retention and not on hold, the oldest of each list first.

        Of ten items six are confirmed recordings, as long as there are any: however many were
        forged, they wait for no more than four tenths of the run.
        """
        return interleave(
            (
                (6, self._not_held(self._store.worklist("confirmed", self._until))),
                (2, self._not_held(self._store.worklist("retained", self._until))),
                (1, self._not_held(self._deferred("deferred_confirmed"))),
                (1, self._not_held(self._deferred("deferred_retained"))),
            )
        )

    def _deferred(self, worklist: Worklist) -> Iterator[WorklistEntry]:
        return itertools.islice(self._store.worklist(worklist, self._now), self._deferred_at_most)

    def _not_held(self, worklist: Iterator[WorklistEntry]) -> Iterator[WorklistEntry]:
        """Yield what is not on hold, and, if it is deferred, past this run's retention.

        Many are looked up at once, so that however many are held, they hold up no other.
        """
        while batch := list(itertools.islice(worklist, _LOOKED_UP_AT_ONCE)):
            known = self._store.recordings(entry.id for entry in batch)
            held = {id_ for id_, recording in known.items() if recording.hold is not None}
            young = {id_ for id_, recording in known.items() if self._is_young(recording)}
            self.held += len(held)
            yield from (entry for entry in batch if entry.id not in held | young)

    def _is_young(self, recording: books.Recording) -> bool:
        return recording.queued_at is not None and recording.queued_at > self._until

    def act(self, due: WorklistEntry) -> Outcome:
        """Delete a recording at Vonage, then mark it; return what became of it.

        One that Vonage refuses to delete for a reason of its own is deferred.

        Raises:
            VonageError, StoreUnavailable, DamagedItem: it was not done, or not noted; a later run
                does so.
        """
        try:
            outcome = self._act(due)
        except RoomkeeperError as problem:
            if problem.is_item_specific:
                self._deferrals.defer(due, confirmed=isinstance(problem, NotDeletable))
            raise
        if outcome == "not_deletable_yet":
            self._deferrals.defer(due, confirmed=True)
        return outcome

    def _act(self, due: WorklistEntry) -> Outcome:
        recording = self._store.recording(due.id)
        if recording is None or recording.deleted_at is not None:
            return "already_deleted"
        if recording.hold is not None:  # since a moment ago
            return "on_hold"
        if self._dry_run:
            return self._plan(due.id, recording.queued_at or due.since)
        by = self._delete(due.id)
        if by is None:
            return "not_deletable_yet"
        self._store.mark_deleted(due.id, by, self._now)
        event_id = correlation.event_id_for_recording(due.id, "recording:deleted")
        logger.info("recording deleted", recording_id=due.id, by=by, correlation_id=event_id)
        return "deleted" if by == "cleanup" else "already_deleted"

    @property
    def planned(self) -> list[dict[str, str]]:
        """What would be deleted, oldest first."""
        return sorted(self._planned.listed, key=operator.itemgetter("uploaded_at"))

    def _plan(self, recording_id: str, uploaded_at: datetime) -> Outcome:
        logger.info("recording would be deleted", recording_id=recording_id)
        self._planned.add({"recording_id": recording_id, "uploaded_at": iso(uploaded_at)})
        return "would_delete"

    def _delete(self, recording_id: str) -> DeletedBy | None:
        """Delete at Vonage; return by whom it is gone; None while it cannot be deleted yet."""
        return _DELETED_BY[self._vonage.delete_recording(recording_id)]
