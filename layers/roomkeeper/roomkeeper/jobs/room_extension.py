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
from roomkeeper.jobs.batch import Limits, Outcome, Summary
from roomkeeper.jobs.room_scan import PageProgress, RoomScan
from roomkeeper.jobs.runner import DryRunPlan, Options, Report, Run, logger
from roomkeeper.store import Checkpoint, InterruptedExtension, RoomStore, correlation
from roomkeeper.times import iso
from roomkeeper.vonage import Forbidden, NotFound, NotUpdatable, Unauthorized, VonageClient

SCAN = "room-expiry-extension"

PAGE_SIZE = 20
"""Rooms in a page: the API's own default, and the only size that is sure to be allowed."""

MAX_RUN_TIME = timedelta(minutes=15)
"""After that no run is still at work: Lambda lets none take longer."""

MAX_LISTED_EACH = 100
"""Decisions of each kind that a rehearsal lists; all of them are counted."""


class _Due(Struct, frozen=True):
    """A room that is to be extended, unless it was not used."""

    room: Room
    page: PageProgress


class _Interrupted(Struct, frozen=True):
    """A room whose extension an earlier run began and did not end."""

    room_id: str


class RoomExtension:
    """One run. It works once."""

    def __init__(
        self, run: Run[Options], policy: ExtensionPolicy, vonage: VonageClient, table: RoomStore
    ) -> None:
        self._run = run
        self._policy = policy
        self._vonage = vonage
        self._table = table
        self._saved = table.checkpoint(SCAN) or Checkpoint()
        self._scan = RoomScan(lambda start: vonage.list_rooms(start, PAGE_SIZE), self._saved)
        self._out_of_time = False
        self._verdicts: Counter[str] = Counter()
        self._decisions = DryRunPlan(MAX_LISTED_EACH)
        self._invalid = Summary()

    def run(self) -> Report:
        """Do the run; return how it went.

        Raises:
            StoreUnavailable: how far it came could not be noted; the next run repeats some of it.
        """
        summary = runner.work(self._run, self._items(), self._act)
        summary.add_failures(self._invalid)
        if self._out_of_time and summary.stopped_by is None:
            summary.stopped_by = "deadline"
        checkpoint_reached = self._scan.checkpoint_reached()
        self._save(checkpoint_reached)
        return Report(
            dry_run=self._run.dry_run,
            counts=self._counts(summary) | {"walk_finished": checkpoint_reached is None},
            summary=summary,
            planned=self._decisions.listed,
        )

    def _items(self) -> Iterator[_Interrupted | _Due]:
        if not self._run.dry_run:
            yield from map(_Interrupted, self._table.pending_extensions(self._run.now))
        for _ in _ticks(self._run.limits):
            if self._scan.ended:
                return
            page = self._scan.next_page()
            self._note_invalid(page)
            due = [room for room in page.rooms if self._is_due(room)]
            pending = page.pending(due)
            self._save(self._scan.checkpoint_reached())
            yield from (_Due(room, page) for room in pending)
        self._out_of_time = True

    def _note_invalid(self, page: PageProgress) -> None:
        """Log the rooms that could not be read; they count as failures that concern no other."""
        for invalid in page.invalid:
            message = f"{invalid} (start_id of its page: {page.start_id or 'none'})"
            self._invalid.add_failure(message)
            logger.warning("room is invalid", room_id=invalid.id, problem=message)

    def _is_due(self, room: Room) -> bool:
        """Whether the room would be extended if it were used now; if not, count why."""
        decision = decide(room, self._run.now, self._policy, self._run.now)
        self._verdicts["due" if decision.expires_at else decision.verdict] += 1
        if decision.expires_at is None:
            self._decisions.add(_told(room, decision), decision.verdict)
        if decision.verdict == "max_lifetime_reached":
            logger.warning("room cannot be extended any more", room_id=room.id)
        return decision.expires_at is not None

    def _act(self, item: _Interrupted | _Due) -> Outcome:
        if isinstance(item, _Interrupted):
            return self._complete_interrupted(item.room_id)
        try:
            outcome = self._extend_if_due(item.room)
        except RoomkeeperError as problem:
            if not isinstance(problem, Unauthorized):  # which says nothing of the room
                item.page.mark_failed(item.room)
            raise
        item.page.mark_done(item.room)
        return outcome

    def _extend_if_due(self, room: Room) -> Outcome:
        now, policy = self._run.now, self._policy
        last_used = self._table.last_used(room.id) if policy.used_within else None
        decision = decide(room, last_used, policy, now)
        self._decisions.add(_told(room, decision), decision.verdict)
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
        self._table.record_intent(extension, self._run.now)
        try:
            self._vonage.update_room_expiry(extension.room_id, extension.expires_at)
        except Forbidden:  # the room belongs to another application
            self._table.discard(extension)
            raise
        except (NotFound, NotUpdatable) as error:
            self._table.discard(extension)
            return "gone" if isinstance(error, NotFound) else "not_updatable"
        self._complete(extension)
        return None

    def _complete_interrupted(self, room_id: str) -> Outcome:
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

    def _forget(self, extension: InterruptedExtension) -> None:
        """Drop an extension, unless the run that began it may still be at work."""
        if extension.since + MAX_RUN_TIME < self._run.now:
            self._table.discard(extension)

    def _took_place(self, extension: InterruptedExtension) -> bool:
        try:
            return self._vonage.get_room(extension.room_id).expires_at == extension.expires_at
        except NotFound:
            return False

    def _complete(self, extension: Extension) -> None:
        self._table.complete(extension, self._run.now)
        _log("room extended", extension)

    def _save(self, checkpoint_reached: Checkpoint | None) -> None:
        if not self._run.dry_run and checkpoint_reached != self._saved:
            self._table.save_checkpoint(SCAN, checkpoint_reached)
            self._saved = checkpoint_reached or Checkpoint()

    def _counts(self, summary: Summary) -> dict[str, int]:
        verdicts, outcomes = self._verdicts, summary.outcomes
        return {
            "seen": verdicts.total() + self._invalid.processed,
            "selected": verdicts["due"] - outcomes["unused"],
            "extended": outcomes["extended"] + outcomes["extended_to_limit"],
            "extended_to_limit": outcomes["extended_to_limit"],
            "completed": outcomes["completed"],
            "not_due": verdicts["not_due"],
            "opted_out": verdicts["opted_out"],
            "expire_after_use": verdicts["expire_after_use"],
            "unused": outcomes["unused"],
            "max_lifetime_reached": verdicts["max_lifetime_reached"],
            "expired": verdicts["expired"],
            "not_updatable": verdicts["not_updatable"] + outcomes["not_updatable"],
            "gone": outcomes["gone"],
            "remaining": self._scan.remaining(),
            "unlisted": self._unlisted(),
        }

    def _unlisted(self) -> int:
        unlisted = self._scan.unlisted()
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
        correlation_id=correlation.event_id_for_extension(extension),
    )


def _done(decision: Decision) -> Outcome:
    return "extended" if decision.verdict == "extend" else "extended_to_limit"


def _ticks(limits: Limits) -> Iterator[None]:
    """Yield no more often than the rate allows, until the time for new items is over."""
    while (now := time.monotonic()) < limits.deadline:
        yield
        time.sleep(max(0.0, now + 1 / limits.per_second - time.monotonic()))
