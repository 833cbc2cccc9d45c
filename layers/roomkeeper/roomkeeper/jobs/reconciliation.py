"""What is done about callbacks that never came: Vonage is asked, and its answers are taken in.

An answer goes the road that callbacks go, so that one which comes late after all is a repeat.
"""

import heapq
import itertools
import operator
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import msgspec

from roomkeeper import vonage
from roomkeeper.callbacks.meetings import (
    RecordingCallback,
    RecordingEnded,
    RecordingStarted,
    RecordingUploaded,
)
from roomkeeper.domain.recordings import Recording, Worklist, WorklistEntry
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs.batch import Outcome
from roomkeeper.jobs.fairness import Deferrals, interleave
from roomkeeper.jobs.runner import DryRunPlan, logger
from roomkeeper.store import CorruptItem, Store, correlation
from roomkeeper.vonage import NotFound, VonageClient

OUTCOMES: tuple[Outcome, ...] = (
    "recovered",
    "lost",
    "never_uploaded",
    "waiting",
    "already_resolved",
    "session_checked",
)

UPLOAD_TIMEOUT = timedelta(days=30)
"""Beyond the grace time: how long an upload is waited for while Vonage says that it is to come, and
how long Vonage is asked again about what it refuses to talk about."""

MAX_SESSION_TIME = timedelta(hours=24)
"""Beyond the grace time: until then a session whose end was not told is taken to be going on."""


_DEFERRED: tuple[Worklist, ...] = (
    "deferred_awaiting_upload",
    "deferred_ended_session",
    "deferred_open_session",
)


class InvalidRecordingData(RoomkeeperError):
    """What Vonage says of a recording lacks what it must tell, or cannot be."""

    @property
    def is_item_specific(self) -> bool:
        """It says nothing about other recordings."""
        return True


class Reconciliation:
    """A reconciliation at `now` of what has waited for `grace`; with `dry_run` it changes nothing.

    `adopted` counts the recordings found that never announced themselves: in a rehearsal those that
    are beyond the list once for every item that leads to them. `planned` lists what a rehearsal
    would take in. `deferred_at_most` is how many deferred items it tries again.
    """

    def __init__(
        self,
        store: Store,
        vonage: VonageClient,
        *,
        grace: timedelta,
        now: datetime,
        dry_run: bool,
        deferred_at_most: int = 1000,
    ) -> None:
        self._store = store
        self._vonage = vonage
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
        """What would be taken in."""
        return self._planned.listed

    @property
    def deferred(self) -> int:
        """How many recordings and sessions were deferred."""
        return self._deferrals.count

    def count_due(self) -> int:
        """Return how many recordings and sessions have waited long enough.

        Raises:
            StoreUnavailable: they could not be counted.
        """
        until = {**self._until, **dict.fromkeys(_DEFERRED, self._now)}
        return sum(self._store.worklist_length(*each) for each in until.items())

    def due(self) -> Iterator[WorklistEntry]:
        """Yield them, the oldest of each list first; each list has its share of the run."""
        deferred = heapq.merge(
            *(self._store.worklist(worklist, self._now) for worklist in _DEFERRED),
            key=operator.attrgetter("since"),
        )
        return interleave(
            (
                (4, self._waiting("awaiting_upload")),
                (4, self._waiting("ended_session")),
                (1, self._waiting("open_session")),
                (1, itertools.islice(deferred, self._deferred_at_most)),
            )
        )

    def _waiting(self, worklist: Worklist) -> Iterator[WorklistEntry]:
        return self._store.worklist(worklist, self._until[worklist])

    def act(self, due: WorklistEntry) -> Outcome:
        """Ask Vonage about a recording and its session's others, or about a session's.

        What fails for a reason of its own is deferred.

        Raises:
            VonageError, StoreUnavailable, DamagedItem, Implausible: not all is known; a later run
                asks again.
        """
        try:
            return self._reconcile(due) if due.kind == "recording" else self._ask_session(due)
        except RoomkeeperError as problem:
            if problem.is_item_specific:
                self._defer(due)
            raise

    def _ask_session(self, due: WorklistEntry) -> Outcome:
        listed = self._recordings_of(due.id)
        if listed is not None:
            self._store_observations(listed, due.id)
        if not self._dry_run:
            self._store.mark_session_checked(due, self._now if listed is not None else None)
        return "session_checked"

    def _reconcile(self, due: WorklistEntry) -> Outcome:
        known = self._store.recording(due.id)
        if known is None or known.status in ("uploaded", "deleted"):
            return "already_resolved"  # in the meantime
        listed = self._recordings_of(known.session_id) or vonage.SessionRecordings([])
        others = [each for each in listed.found if each.id != due.id]
        found = next((each for each in listed.found if each.id == due.id), None)
        try:
            return self._settle(known, found or self._look_up(due.id), due)
        finally:  # what is wrong with one recording holds up no other
            self._store_observations(replace(listed, found=others), known.session_id)

    def _settle(
        self, known: Recording, found: vonage.Recording | None, due: WorklistEntry
    ) -> Outcome:
        if found is None:
            return self._mark_missing(known)
        told = to_observation(found)
        news = told.event not in known.seen and self._store_observation(told)
        if isinstance(told, RecordingUploaded):
            return (
                "recovered" if news else "already_resolved"
            )  # a late callback may have been faster
        queued_at = known.queued_at or due.since
        if found.status == "failed" or queued_at <= self._gives_up_before:
            return self._give_up(known, found.status)
        self._confirm(known)
        return "waiting"

    def _store_observations(self, listed: vonage.SessionRecordings, session_id: str) -> None:
        """Add what was not known, and confirm what was; its own turn comes, or has.

        Raises:
            Implausible, DamagedItem: one could not be taken in; all the others were.
        """
        problems: list[RoomkeeperError] = [
            InvalidRecordingData(f"In Vonage's list of session {session_id}: {each}")
            for each in listed.invalid
        ]
        for recording in listed.found:
            try:
                self._add_or_confirm(recording)
            except (InvalidRecordingData, CorruptItem) as problem:
                problems.append(problem)
        if problems:
            raise problems[0]

    def _add_or_confirm(self, found: vonage.Recording) -> None:
        known = self._store.recording(found.id)
        if known is not None:
            self._confirm(known)
        elif self._store_observation(to_observation(found)):
            with self._lock:
                self.adopted += 1

    def _confirm(self, known: Recording) -> None:
        if not self._dry_run:
            self._store.confirm(known, self._now)

    def _store_observation(self, told: RecordingCallback) -> bool:
        """Return whether it is news."""
        if self._dry_run:
            return self._plan(told.event, told.recording_id)
        news = self._store.reconcile(told, self._now)
        if news:
            _log("missed callback recovered", told.event, told.recording_id)
        return news

    def _mark_missing(self, known: Recording) -> Outcome:
        if self._dry_run:
            self._plan("recording:lost", known.recording_id)
        elif self._store.mark_missing(known, self._now):
            _log("recording lost", "recording:lost", known.recording_id)
        else:
            return "already_resolved"  # in the meantime
        return "lost"

    def _give_up(self, known: Recording, status: str) -> Outcome:
        """Wait no longer for an upload; `status` is what Vonage says of the recording."""
        about = {"recording_id": known.recording_id, "session_id": known.session_id}
        if not self._dry_run and not self._store.mark_never_uploaded(known, self._now):
            return "already_resolved"  # in the meantime
        logger.warning("recording will not be uploaded", extra=about | {"status": status})
        return "never_uploaded"

    def _defer(self, due: WorklistEntry) -> None:
        """Have an item tried again later; no more once it has been deferred for too long."""
        if self._dry_run:
            return
        if not due.is_deferred or self._store.queued_at(due) > self._gives_up_before:
            self._deferrals.defer(due)
        elif due.kind == "session":
            self._store.mark_session_checked(due)
        elif known := self._store.recording(due.id):
            self._give_up(known, "unknown")

    def _plan(self, event: str, recording_id: str) -> bool:
        """Return whether it is news, as far as the list tells."""
        news = self._planned.add({"event": event, "recording_id": recording_id})
        if news:
            _log("missed callback found", event, recording_id)
        return news

    def _recordings_of(self, session_id: str) -> vonage.SessionRecordings | None:
        """Return what Vonage has of a session; None when it knows no such session."""
        try:
            return self._vonage.list_recordings(session_id)
        except NotFound:
            return None

    def _look_up(self, recording_id: str) -> vonage.Recording | None:
        try:
            return self._vonage.get_recording(recording_id)
        except NotFound:
            return None


def _log(what: str, event: str, recording_id: str) -> None:
    event_id = correlation.event_id_for_recording(recording_id, event)
    logger.info(what, event=event, recording_id=recording_id, correlation_id=event_id)


def to_observation(found: vonage.Recording) -> RecordingCallback:
    """Return the callback that tells the furthest of what Vonage says of a recording.

    Raises:
        Implausible: it is uploaded without a time or URL, or at a time that cannot be.
    """
    try:
        return _to_observation(found)
    except ValueError as problem:
        raise InvalidRecordingData(
            f"What Vonage tells of recording {found.id}: {problem}."
        ) from problem


def _to_observation(found: vonage.Recording) -> RecordingCallback:
    if found.status not in ("stopped", "uploaded"):
        return RecordingStarted(recording_id=found.id, session_id=found.session_id)
    if found.started_at is None or found.ended_at is None:
        raise ValueError(f"it is {found.status}, but lacks a time")
    ended = RecordingEnded(
        recording_id=found.id,
        session_id=found.session_id,
        started_at=found.started_at,
        ended_at=found.ended_at,
        duration=max(0, round((found.ended_at - found.started_at).total_seconds())),
    )
    if found.status == "stopped":
        return ended
    if found.url is None:
        raise ValueError("it is uploaded, but has no valid https URL")
    return RecordingUploaded(**msgspec.structs.asdict(ended), url=found.url)
