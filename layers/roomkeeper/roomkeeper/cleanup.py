"""What is done about recordings that are past their retention: deleted at Vonage, then noted."""

import itertools
import operator
from collections.abc import Iterator
from datetime import datetime

from roomkeeper.jobs import Planned, logger
from roomkeeper.recordings import DeletedBy, Waiting
from roomkeeper.rounds import Outcome
from roomkeeper.store import Store, correlation
from roomkeeper.times import iso
from roomkeeper.vonage import DeletionOutcome, VonageClient

OUTCOMES: tuple[Outcome, ...] = ("deleted", "gone_already", "not_deletable_yet", "would_delete")

_LOOKED_UP_AT_ONCE = 100

_DELETED_BY: dict[DeletionOutcome, DeletedBy | None] = {
    "deleted": "cleanup",
    "already_deleted": "vonage",
    "not_yet": None,
}


class Cleanup:
    """A cleanup at `now` of what was uploaded by `until`; with `dry_run` it changes nothing.

    `held` counts the recordings that were passed over because of a hold, `planned` lists what a
    rehearsal would delete, as far as it is listed.
    """

    def __init__(
        self,
        store: Store,
        vonage: VonageClient,
        *,
        until: datetime,
        now: datetime,
        dry_run: bool,
    ) -> None:
        self._store = store
        self._vonage = vonage
        self._until = until
        self._now = now
        self._dry_run = dry_run
        self.held = 0
        self._planned = Planned()

    def due(self) -> Iterator[Waiting]:
        """Yield what is past its retention and not on hold, oldest first.

        Holds are looked up for many at once, so that however many there are they hold up no other.
        """
        waiting = self._store.waiting("retained", self._until)
        while batch := list(itertools.islice(waiting, _LOOKED_UP_AT_ONCE)):
            known = self._store.recordings(entry.id for entry in batch)
            held = {id_ for id_, recording in known.items() if recording.hold is not None}
            self.held += len(held)
            yield from (entry for entry in batch if entry.id not in held)

    def act(self, due: Waiting) -> Outcome:
        """Delete a recording at Vonage, then mark it; return what became of it.

        Raises:
            VonageError, StoreUnavailable: it was not done, or not noted; the next run does so.
        """
        recording = self._store.recording(due.id)
        if recording is None or recording.deleted_at is not None:
            return "gone_already"
        if recording.hold is not None:  # since a moment ago
            return "held"
        if self._dry_run:
            return self._plan(due)
        by = self._delete(due.id)
        if by is None:
            return "not_deletable_yet"
        self._store.mark_deleted(due.id, by, self._now)
        event_id = correlation.about_recording(due.id, "recording:deleted")
        logger.info("recording deleted", recording_id=due.id, by=by, correlation_id=event_id)
        return "deleted" if by == "cleanup" else "gone_already"

    @property
    def planned(self) -> list[dict[str, str]]:
        """What would be deleted, oldest first."""
        return sorted(self._planned.listed, key=operator.itemgetter("uploaded_at"))

    def _plan(self, due: Waiting) -> Outcome:
        logger.info("recording would be deleted", recording_id=due.id)
        self._planned.note({"recording_id": due.id, "uploaded_at": iso(due.since)})
        return "would_delete"

    def _delete(self, recording_id: str) -> DeletedBy | None:
        """Delete at Vonage; return by whom it is gone; None while it cannot be deleted yet."""
        return _DELETED_BY[self._vonage.delete_recording(recording_id)]
