"""Recovers recordings whose callbacks were lost, by asking Vonage's API about them.

Observations from the API are stored like callbacks, so a callback that arrives late is a duplicate.
"""

import heapq
import itertools
import operator
import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

from roomkeeper.domain.observations import Listed, Product, RecordingObservation
from roomkeeper.domain.recordings import Recording, Status, Worklist, WorklistEntry
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs.batch import Outcome
from roomkeeper.jobs.fairness import Deferrals, interleave
from roomkeeper.jobs.runner import DryRunPlan, logger
from roomkeeper.store import CorruptItem, Store, correlation
from roomkeeper.vonage import RecordingsApi, api_of

OUTCOMES: tuple[Outcome, ...] = (
    "recovered",
    "lost",
    "never_uploaded",
    "waiting",
    "already_resolved",
    "session_checked",
)

UPLOAD_TIMEOUT = timedelta(days=30)
"""How long after the grace time a run waits for an upload that Vonage still announces, and how long
it retries items that always fail."""

MAX_SESSION_TIME = timedelta(hours=24)
"""How long after the grace time a session without a `session:ended` counts as still going on."""

_DEFERRED: tuple[Worklist, ...] = (
    "deferred_awaiting_upload",
    "deferred_ended_session",
    "deferred_open_session",
)


_FINAL: Mapping[str, Outcome] = {
    "recording:uploaded": "recovered",
    "recording:stored": "recovered",
    "recording:failed": "never_uploaded",
    "recording:expired": "lost",
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


class Reconciliation:
    """One reconciliation run. A dry run changes nothing.

    Args:
        grace: how long recordings and sessions wait before Vonage is asked about them.
        now: the time of the run.
        dry_run: list changes in `planned` instead of storing them.
        deferred_at_most: how many deferred items to retry.

    `adopted` counts the recordings for which no callback ever came. A dry run counts those beyond
    the length of its list once for every item that leads to them.
    """

    def __init__(
        self,
        store: Store,
        apis: Mapping[Product, RecordingsApi],
        *,
        grace: timedelta,
        now: datetime,
        dry_run: bool,
        deferred_at_most: int = 1000,
    ) -> None:
        self._store = store
        self._apis = apis
        self._deferrals = Deferrals(store, now=now, dry_run=dry_run)
        self._deferred_at_most = deferred_at_most
        self._gives_up_before = now - grace - UPLOAD_TIMEOUT
        self._until: Mapping[Worklist, datetime] = {
            "awaiting_upload": now - grace,
            "ended_session": now - grace,
            "open_session": now - grace - MAX_SESSION_TIME,
        }
        self._now = now
        self._dry_run = dry_run
        self._lock = threading.Lock()
        self.adopted = 0
        self._planned = DryRunPlan()

    @property
    def planned(self) -> list[dict[str, str]]:
        """The missing events that a dry run lists."""
        return self._planned.listed

    @property
    def deferred(self) -> int:
        """The number of recordings and sessions that this run deferred."""
        return self._deferrals.count

    def count_due(self) -> int:
        """Return how many recordings and sessions are due, including deferred ones to retry.

        Raises:
            StoreUnavailable: they could not be counted.
        """
        until = {**self._until, **dict.fromkeys(_DEFERRED, self._now)}
        return sum(self._store.worklists.count(*each) for each in until.items())

    def due(self) -> Iterator[WorklistEntry]:
        """Yield the due items, oldest first in each worklist. Each list has a share of the run."""
        deferred = heapq.merge(
            *(self._store.worklists.read(worklist, self._now) for worklist in _DEFERRED),
            key=operator.attrgetter("since"),
        )
        return interleave(
            (
                (4, self._due_on("awaiting_upload")),
                (4, self._due_on("ended_session")),
                (1, self._due_on("open_session")),
                (1, itertools.islice(deferred, self._deferred_at_most)),
            )
        )

    def _due_on(self, worklist: Worklist) -> Iterator[WorklistEntry]:
        return self._store.worklists.read(worklist, self._until[worklist])

    def act(self, due: WorklistEntry) -> Outcome:
        """Reconcile a recording and the others of its session, or all recordings of a session.

        An item that fails for a reason of its own is deferred.

        Raises:
            VonageError, StoreUnavailable, CorruptItem, InvalidRecordingData: the item is not fully
                reconciled. A later run retries it.
        """
        try:
            if due.kind == "recording":
                return self._reconcile_recording(due)
            return self._reconcile_session(due)
        except RoomkeeperError as error:
            if error.is_item_specific:
                self._defer(due)
            raise

    def _reconcile_session(self, due: WorklistEntry) -> Outcome:
        # Only sessions of the Meetings API are on a worklist.
        listed = api_of(self._apis, "meetings").in_session(due.id)
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
        api = api_of(self._apis, known.product)
        listed = api.in_session(known.session_id) or Listed(())
        others = [each for each in listed.found if each.recording_id != due.id]
        found = next((each for each in listed.found if each.recording_id == due.id), None)
        try:
            return self._resolve(known, found or api.get(due.id), due)
        finally:  # an error in one recording must not block the others
            self._store_observations(Listed(others, listed.invalid), known.session_id)

    def _resolve(
        self, known: Recording, found: RecordingObservation | None, due: WorklistEntry
    ) -> Outcome:
        if found is None:
            return self._mark_missing(known)
        is_new = found.event not in known.seen and self._store_observation(found)
        if found.event in _FINAL:  # its callback may have arrived meanwhile
            return _FINAL[found.event] if is_new else "already_resolved"
        queued_at = known.queued_at or due.since
        if queued_at <= self._gives_up_before:
            return self._give_up(known, found.event)
        self._confirm(known)
        return "waiting"

    def _store_observations(self, listed: Listed, session_id: str) -> None:
        """Store recordings for which no callback ever came, and confirm the known ones.

        Known recordings are reconciled as their own worklist entries.

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
        if known is not None:
            self._confirm(known)
        elif self._store_observation(found):
            with self._lock:
                self.adopted += 1

    def _confirm(self, known: Recording) -> None:
        if not self._dry_run:
            self._store.recordings.confirm(known, self._now)

    def _store_observation(self, observation: RecordingObservation) -> bool:
        """Store an observation, or list it in a dry run; return True if it is new."""
        if self._dry_run:
            return self._plan(observation.event, observation.recording_id)
        is_new = self._store.recordings.reconcile(observation, self._now)
        if is_new:
            _log("missed callback recovered", observation.event, observation.recording_id)
        return is_new

    def _mark_missing(self, known: Recording) -> Outcome:
        if self._dry_run:
            self._plan("recording:lost", known.recording_id)
        elif self._store.recordings.mark_missing(known, self._now):
            _log("recording lost", "recording:lost", known.recording_id)
        else:
            return "already_resolved"  # by a callback in the meantime
        return "lost"

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
        """Schedule an item's next attempt, or give it up after UPLOAD_TIMEOUT."""
        if self._dry_run:
            return
        if not due.is_deferred or self._store.worklists.queued_at(due) > self._gives_up_before:
            self._deferrals.defer(due)
        elif due.kind == "session":
            self._store.worklists.mark_session_checked(due)
        elif known := self._store.recordings.get(due.id):
            self._give_up(known, "unknown")

    def _plan(self, event: str, recording_id: str) -> bool:
        """List an event in a dry run; return True unless it is listed already."""
        is_new = self._planned.add({"event": event, "recording_id": recording_id})
        if is_new:
            _log("missed callback found", event, recording_id)
        return is_new


def _log(message: str, event: str, recording_id: str) -> None:
    event_id = correlation.event_id_for_recording(recording_id, event)
    logger.info(message, event=event, recording_id=recording_id, correlation_id=event_id)
