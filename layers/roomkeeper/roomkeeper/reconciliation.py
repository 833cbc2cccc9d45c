"""What is done about callbacks that never came: Vonage is asked, and its answers are taken in.

An answer goes the road that callbacks go, so that one which comes late after all is a repeat.
"""

import threading
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta

import msgspec

from roomkeeper import vonage
from roomkeeper.callbacks import (
    RecordingCallback,
    RecordingEnded,
    RecordingStarted,
    RecordingUploaded,
)
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs import Planned, logger
from roomkeeper.recordings import Recording, Waiting, Worklist
from roomkeeper.rounds import Outcome
from roomkeeper.store import Store, correlation
from roomkeeper.vonage import NotFound, VonageClient

OUTCOMES: tuple[Outcome, ...] = ("healed", "lost", "waiting", "settled", "session_asked")

LONGEST_SESSION = timedelta(hours=24)
"""Beyond the grace time: until then a session whose end was not told is taken to be going on."""


class Implausible(RoomkeeperError):
    """What Vonage says of a recording lacks what it must tell, or cannot be."""


class Reconciliation:
    """A reconciliation at `now` of what has waited for `grace`; with `dry_run` it changes nothing.

    `adopted` counts the recordings found that never announced themselves: in a rehearsal those that
    are beyond the list once for every item that leads to them. `planned` lists what a rehearsal
    would take in.
    """

    def __init__(
        self,
        store: Store,
        vonage: VonageClient,
        *,
        grace: timedelta,
        now: datetime,
        dry_run: bool,
    ) -> None:
        self._store = store
        self._vonage = vonage
        self._until: Mapping[Worklist, datetime] = {
            "awaiting_upload": now - grace,
            "ended_session": now - grace,
            "open_session": now - grace - LONGEST_SESSION,
        }
        self._now = now
        self._dry_run = dry_run
        self._lock = threading.Lock()
        self.adopted = 0
        self._planned = Planned()

    @property
    def planned(self) -> list[dict[str, str]]:
        """What would be taken in."""
        return self._planned.listed

    def count_due(self) -> int:
        """Return how many recordings and sessions have waited long enough."""
        return sum(self._store.count_waiting(*each) for each in self._until.items())

    def due(self) -> Iterator[Waiting]:
        """Yield them: first the recordings, then the sessions, the oldest of each first."""
        for worklist, until in self._until.items():
            yield from self._store.waiting(worklist, until)

    def act(self, due: Waiting) -> Outcome:
        """Ask Vonage about a recording and its session's others, or about a session's.

        Raises:
            VonageError, StoreUnavailable, Implausible: not all is known; it waits for the next run.
        """
        if due.kind == "recording":
            return self._reconcile(due.id)
        self._adopt_all(self._recordings_of(due.id))
        if not self._dry_run:
            self._store.settle_session(due)
        return "session_asked"

    def _reconcile(self, recording_id: str) -> Outcome:
        known = self._store.recording(recording_id)
        if known is None or known.status in ("uploaded", "deleted"):
            return "settled"  # in the meantime
        others = self._recordings_of(known.session_id)
        found = others.pop(recording_id, None) or self._look_up(recording_id)
        try:
            return self._settle(known, found)
        finally:  # what is wrong with one recording holds up no other
            self._adopt_all(others)

    def _settle(self, known: Recording, found: vonage.Recording | None) -> Outcome:
        if found is None:
            return self._lose(known.recording_id)
        told = told_by(found)
        news = told.event not in known.seen and self._take_in(told)
        if isinstance(told, RecordingUploaded):
            return "healed" if news else "settled"  # a late callback may have been faster
        return "waiting"

    def _adopt_all(self, found: Mapping[str, vonage.Recording]) -> None:
        """Take in those that never announced themselves; the others' own turn comes, or has.

        Raises:
            Implausible: one cannot be taken in; all the others were.
        """
        implausible: Implausible | None = None
        for recording_id, recording in found.items():
            if self._store.recording(recording_id) is None:
                try:
                    self._adopt(recording)
                except Implausible as problem:
                    implausible = implausible or problem
        if implausible is not None:
            raise implausible

    def _adopt(self, found: vonage.Recording) -> None:
        if self._take_in(told_by(found)):
            with self._lock:
                self.adopted += 1

    def _take_in(self, told: RecordingCallback) -> bool:
        """Return whether it is news."""
        if self._dry_run:
            return self._plan(told.event, told.recording_id)
        news = self._store.reconcile(told, self._now)
        if news:
            _log("callback made up for", told.event, told.recording_id)
        return news

    def _lose(self, recording_id: str) -> Outcome:
        if self._dry_run:
            self._plan("recording:lost", recording_id)
        elif self._store.mark_lost(recording_id, self._now):
            _log("recording lost", "recording:lost", recording_id)
        else:
            return "settled"  # in the meantime
        return "lost"

    def _plan(self, event: str, recording_id: str) -> bool:
        """Return whether it is news, as far as the list tells."""
        news = self._planned.note({"event": event, "recording_id": recording_id})
        if news:
            _log("would be noted", event, recording_id)
        return news

    def _recordings_of(self, session_id: str) -> dict[str, vonage.Recording]:
        """Return what Vonage has of a session, by id; nothing when it knows no such session."""
        try:
            return {each.id: each for each in self._vonage.list_recordings(session_id)}
        except NotFound:
            return {}

    def _look_up(self, recording_id: str) -> vonage.Recording | None:
        try:
            return self._vonage.get_recording(recording_id)
        except NotFound:
            return None


def _log(what: str, event: str, recording_id: str) -> None:
    event_id = correlation.about_recording(recording_id, event)
    logger.info(what, event=event, recording_id=recording_id, correlation_id=event_id)


def told_by(found: vonage.Recording) -> RecordingCallback:
    """Return the callback that tells the furthest of what Vonage says of a recording.

    Raises:
        Implausible: it is uploaded without a time or URL, or at a time that cannot be.
    """
    try:
        return _told_by(found)
    except ValueError as problem:
        raise Implausible(f"What Vonage tells of recording {found.id}: {problem}.") from problem


def _told_by(found: vonage.Recording) -> RecordingCallback:
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
        raise ValueError("it is uploaded, but has no URL")
    return RecordingUploaded(**msgspec.structs.asdict(ended), url=found.url)
