"""Extends the rooms that the policy wants to live on: one run of the room-expiry extender.

Every extension is noted in the table, made at Vonage, then put into the outbox. A run first ends
what earlier runs began and were cut off from: an extension that Vonage did make is told of now.
"""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta

from msgspec import Struct

from roomkeeper.domain.rooms import Decision, Extension, ExtensionPolicy, Room, decide
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs import runner
from roomkeeper.jobs.batch import Bounds, Outcome, Summary
from roomkeeper.jobs.room_scan import Stretch, Walk
from roomkeeper.jobs.runner import Options, Planned, Report, Run, logger
from roomkeeper.store import BegunExtension, Checkpoint, RoomStore, correlation
from roomkeeper.times import iso
from roomkeeper.vonage import Forbidden, NotFound, NotUpdatable, Unauthorized, VonageClient

WALK = "room-expiry-extension"

PAGE_SIZE = 20
"""Rooms in a page: the API's own default, and the only size that is sure to be allowed."""

LONGEST_RUN = timedelta(minutes=15)
"""After that no run is still at work: Lambda lets none take longer."""

LISTED_EACH = 100
"""Decisions of each kind that a rehearsal lists; all of them are counted."""


class _Due(Struct, frozen=True):
    """A room that is to be extended, unless it was not used."""

    room: Room
    stretch: Stretch


class _CutOff(Struct, frozen=True):
    """A room whose extension an earlier run began and did not end."""

    room_id: str


class Extender:
    """One run. It works once."""

    def __init__(
        self, run: Run[Options], policy: ExtensionPolicy, vonage: VonageClient, table: RoomStore
    ) -> None:
        self._run = run
        self._policy = policy
        self._vonage = vonage
        self._table = table
        self._saved = table.checkpoint(WALK) or Checkpoint()
        self._walk = Walk(lambda start: vonage.list_rooms(start, PAGE_SIZE), self._saved)
        self._out_of_time = False
        self._verdicts: Counter[str] = Counter()
        self._decisions = Planned(LISTED_EACH)
        self._invalid = Summary()

    def report(self) -> Report:
        """Do the run; return how it went.

        Raises:
            StoreUnavailable: how far it came could not be noted; the next run repeats some of it.
        """
        summary = runner.work(self._run, self._items(), self._act)
        summary.add_failures(self._invalid)
        if self._out_of_time and summary.stopped_by is None:
            summary.stopped_by = "deadline"
        reached = self._walk.reached()
        self._save(reached)
        return Report(
            dry_run=self._run.dry_run,
            counts=self._counts(summary) | {"walk_finished": reached is None},
            summary=summary,
            planned=self._decisions.listed,
        )

    def _items(self) -> Iterator[_CutOff | _Due]:
        if not self._run.dry_run:
            yield from map(_CutOff, self._table.begun(self._run.now))
        for _ in _ticks(self._run.bounds):
            if self._walk.ended:
                return
            stretch = self._walk.read_on()
            self._note_invalid(stretch)
            due = [room for room in stretch.rooms if self._is_due(room)]
            to_do = stretch.to_do(due)
            self._save(self._walk.reached())
            yield from (_Due(room, stretch) for room in to_do)
        self._out_of_time = True

    def _note_invalid(self, stretch: Stretch) -> None:
        """Log the rooms that could not be read; they count as failures that concern no other."""
        for invalid in stretch.invalid:
            message = f"{invalid} (start_id of its page: {stretch.start_id or 'none'})"
            self._invalid.add_failure(message)
            logger.warning("room is invalid", room_id=invalid.id, problem=message)

    def _is_due(self, room: Room) -> bool:
        """Whether the room would be extended if it were used now; if not, count why."""
        decision = decide(room, self._run.now, self._policy, self._run.now)
        self._verdicts["due" if decision.expires_at else decision.verdict] += 1
        if decision.expires_at is None:
            self._decisions.note(_told(room, decision), decision.verdict)
        if decision.verdict == "at_limit":
            logger.warning("room cannot be extended any more", room_id=room.id)
        return decision.expires_at is not None

    def _act(self, item: _CutOff | _Due) -> Outcome:
        if isinstance(item, _CutOff):
            return self._end(item.room_id)
        try:
            outcome = self._treat(item.room)
        except RoomkeeperError as problem:
            if not isinstance(problem, Unauthorized):  # which says nothing of the room
                item.stretch.failed(item.room)
            raise
        item.stretch.done(item.room)
        return outcome

    def _treat(self, room: Room) -> Outcome:
        now, policy = self._run.now, self._policy
        last_used = self._table.last_used(room.id) if policy.used_within else None
        decision = decide(room, last_used, policy, now)
        self._decisions.note(_told(room, decision), decision.verdict)
        if decision.expires_at is None or room.expires_at is None:
            return decision.verdict
        extension = Extension(
            room_id=room.id,
            previous_expires_at=room.expires_at,
            expires_at=decision.expires_at,
            reason=decision.reason,
        )
        if self._run.dry_run:
            _log("room would be extended", extension)
            return decision.verdict
        return self._extend(extension) or _done(decision)

    def _extend(self, extension: Extension) -> Outcome | None:
        """Extend a room at Vonage, then tell of it; return what came in between, if anything."""
        self._table.begin(extension, self._run.now)
        try:
            self._vonage.update_room_expiry(extension.room_id, extension.expires_at)
        except Forbidden:  # the room belongs to another application
            self._table.drop(extension)
            raise
        except (NotFound, NotUpdatable) as error:
            self._table.drop(extension)
            return "gone" if isinstance(error, NotFound) else "not_updatable"
        self._complete(extension)
        return None

    def _end(self, room_id: str) -> Outcome:
        """Tell of an extension that was cut off if it took place; else forget it."""
        extension = self._table.extension(room_id)
        if extension is None:
            return "forgotten"
        try:
            took_place = self._took_place(extension)
        except Forbidden:  # the room belongs to another application, at the next run too
            self._forget(extension)
            raise
        if took_place:
            self._complete(extension)
            return "completed"
        self._forget(extension)
        return "forgotten"

    def _forget(self, extension: BegunExtension) -> None:
        """Drop an extension, unless the run that began it may still be at work."""
        if extension.since + LONGEST_RUN < self._run.now:
            self._table.drop(extension)

    def _took_place(self, extension: BegunExtension) -> bool:
        try:
            return self._vonage.get_room(extension.room_id).expires_at == extension.expires_at
        except NotFound:
            return False

    def _complete(self, extension: Extension) -> None:
        self._table.complete(extension, self._run.now)
        _log("room extended", extension)

    def _save(self, reached: Checkpoint | None) -> None:
        if not self._run.dry_run and reached != self._saved:
            self._table.save_checkpoint(WALK, reached)
            self._saved = reached or Checkpoint()

    def _counts(self, summary: Summary) -> dict[str, int]:
        verdicts, outcomes = self._verdicts, summary.outcomes
        return {
            "seen": verdicts.total() + self._invalid.taken,
            "selected": verdicts["due"] - outcomes["idle"],
            "extended": outcomes["extended"] + outcomes["extended_to_limit"],
            "extended_to_limit": outcomes["extended_to_limit"],
            "completed": outcomes["completed"],
            "long_enough": verdicts["long_enough"],
            "opted_out": verdicts["opted_out"],
            "expire_after_use": verdicts["expire_after_use"],
            "idle": outcomes["idle"],
            "at_limit": verdicts["at_limit"],
            "expired": verdicts["expired"],
            "not_updatable": verdicts["not_updatable"] + outcomes["not_updatable"],
            "gone": outcomes["gone"],
            "left": self._walk.left(),
            "unlisted": self._unlisted(),
        }

    def _unlisted(self) -> int:
        unlisted = self._walk.unlisted()
        if unlisted:
            logger.warning("the list of rooms is incomplete", unlisted=unlisted)
        return unlisted


def _told(room: Room, decision: Decision) -> dict[str, str]:
    """Return a decision as a rehearsal shows it."""
    told = {"room_id": room.id, "verdict": decision.verdict, "reason": decision.reason}
    if room.expires_at is not None:
        told["expires_at"] = iso(room.expires_at)
    if decision.expires_at is not None:
        told["new_expires_at"] = iso(decision.expires_at)
    return told


def _log(what: str, extension: Extension) -> None:
    logger.info(
        what,
        room_id=extension.room_id,
        expires_at=iso(extension.expires_at),
        reason=extension.reason,
        correlation_id=correlation.about_extension(extension),
    )


def _done(decision: Decision) -> Outcome:
    return "extended" if decision.verdict == "extend" else "extended_to_limit"


def _ticks(bounds: Bounds) -> Iterator[None]:
    """Yield no more often than the rate allows, until the time for new items is over."""
    while (now := time.monotonic()) < bounds.ends_at:
        yield
        time.sleep(max(0.0, now + 1 / bounds.per_second - time.monotonic()))
