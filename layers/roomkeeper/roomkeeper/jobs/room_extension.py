"""Extends the rooms that the operator's policy selects.

An extension's intent is recorded in the table, then the extension is made at Vonage and put into
the outbox. A run first completes the extensions of interrupted runs: if Vonage did extend a room,
its event goes into the outbox now.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from functools import partial
from typing import ClassVar

from roomkeeper.aws import sdk
from roomkeeper.aws.retries import SHORT_TABLE_RETRY
from roomkeeper.domain.rooms import Decision, Extension, ExtensionPolicy, Room, decide
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs import runner
from roomkeeper.jobs.batch import Limits, Outcome, Summary
from roomkeeper.jobs.job import Job
from roomkeeper.jobs.report import DryRunPlan, Report
from roomkeeper.jobs.room_extension_settings import RoomExtensionSettings
from roomkeeper.jobs.room_scan import PageProgress, RoomScan
from roomkeeper.jobs.runner import Options, Run, logger
from roomkeeper.store import Checkpoint, InterruptedExtension, RoomStore, correlation
from roomkeeper.times import iso
from roomkeeper.vonage import Forbidden, NotFound, NotUpdatable, Unauthorized
from roomkeeper.vonage.meetings import MeetingsClient

Task = Callable[[], Outcome]

SCAN = "room-extension"

PAGE_SIZE = 20
"""Rooms per page: the API's default, and the only size that is certainly allowed."""

MAX_RUN_TIME = timedelta(minutes=15)
"""The most time that a run can take: Lambda's maximum timeout."""

MAX_LISTED_EACH = 100
"""The most decisions of each verdict that a dry run lists. All of them are counted."""


class RoomExtension(Job[Options, Task]):
    """One run of the room extension. Its items are tasks: one for each room."""

    options_type: ClassVar[type[Options]] = Options

    def __init__(
        self,
        run: Run[Options],
        table: RoomStore,
        vonage: MeetingsClient,
        *,
        policy: ExtensionPolicy,
    ) -> None:
        super().__init__(run)
        self._policy = policy
        self._vonage = vonage
        self._table = table
        self._saved = table.checkpoint(SCAN) or Checkpoint()
        self._scan = RoomScan(lambda start: vonage.list_rooms(start, PAGE_SIZE), self._saved)
        self._out_of_time = False
        self._verdicts: Counter[str] = Counter()
        self._plan = DryRunPlan(MAX_LISTED_EACH)
        self._invalid = Summary()

    @classmethod
    def start(cls, run: Run[Options]) -> Report:
        """Create the job from the settings in the environment, run it, and return its report."""
        settings = RoomExtensionSettings.from_env(os.environ)
        client = sdk.dynamodb(SHORT_TABLE_RETRY)
        table = RoomStore(client, settings.table_name, event_days=settings.event_days)
        with runner.rooms_client(run) as vonage:
            return cls(run, table, vonage, policy=settings.policy).run()

    def items(self) -> Iterator[Task]:
        """Yield the run's tasks: complete interrupted extensions, then extend due rooms."""
        if not self._dry_run:
            for room_id in self._table.pending_extensions(self._now):
                yield partial(self._complete_interrupted, room_id)
        for room, page in self._due_rooms():
            yield partial(self._extend_and_mark, room, page)

    def act(self, item: Task) -> Outcome:
        """Run one task."""
        return item()

    def _due_rooms(self) -> Iterator[tuple[Room, PageProgress]]:
        for _ in _ticks(self._run.limits):
            if self._scan.ended:
                return
            page = self._scan.next_page()
            self._count_invalid(page)
            pending = page.pending([room for room in page.rooms if self._is_due(room)])
            self._save(self._scan.checkpoint_reached())
            yield from ((room, page) for room in pending)
        self._out_of_time = True

    def _count_invalid(self, page: PageProgress) -> None:
        """Log the rooms that could not be read. They count as item-specific failures."""
        for invalid in page.invalid:
            message = f"{invalid} (start_id of its page: {page.start_id or 'none'})"
            self._invalid.add_failure(message)
            logger.warning("room is invalid", room_id=invalid.id, error=message)

    def _is_due(self, room: Room) -> bool:
        """Return True if the policy would extend the room if it was used; count the decision."""
        decision = decide(room, self._now, self._policy, self._now)
        self._verdicts["due" if decision.expires_at else decision.verdict] += 1
        if decision.expires_at is None:
            self._plan.add(_to_plan(room, decision), decision.verdict)
        if decision.verdict == "max_lifetime_reached":
            logger.warning("room cannot be extended any more", room_id=room.id)
        return decision.expires_at is not None

    def _extend_and_mark(self, room: Room, page: PageProgress) -> Outcome:
        try:
            outcome = self._extend_if_due(room)
        except RoomkeeperError as error:
            if not isinstance(error, Unauthorized):  # which does not depend on the room
                page.mark_failed(room)
            raise
        page.mark_done(room)
        return outcome

    def _extend_if_due(self, room: Room) -> Outcome:
        now, policy = self._now, self._policy
        last_used = self._table.last_used(room.id) if policy.used_within else None
        decision = decide(room, last_used, policy, now)
        self._plan.add(_to_plan(room, decision), decision.verdict)
        if decision.expires_at is None or room.expires_at is None:
            return decision.verdict
        extension = Extension(
            room_id=room.id,
            previous_expires_at=room.expires_at,
            expires_at=decision.expires_at,
            reason=decision.reason,
        )
        if self._dry_run:
            _log("room would be extended", extension)
            return decision.verdict
        return self._extend(extension) or _outcome(decision)

    def _extend(self, extension: Extension) -> Outcome | None:
        """Extend a room at Vonage and put the event into the outbox.

        Return None, or the outcome `gone` or `not_updatable` if Vonage refuses.
        """
        self._table.record_intent(extension, self._now)
        try:
            self._vonage.update_room_expiry(extension.room_id, extension.expires_at)
        except Forbidden:  # the room belongs to another application
            self._table.discard(extension)
            raise
        except (NotFound, NotUpdatable) as error:
            self._table.discard(extension)
            return "gone" if isinstance(error, NotFound) else "not_updatable"
        self._slots.release()
        self._complete(extension)
        return None

    def _complete_interrupted(self, room_id: str) -> Outcome:
        """Put the event of an extension that Vonage made into the outbox; discard any other."""
        extension = self._table.extension(room_id)
        if extension is None:
            return "forgotten"
        try:
            was_made = self._was_made(extension)
        except Forbidden:  # the room belongs to another application, so retries fail too
            self._discard_if_stale(extension)
            raise
        if was_made:
            self._complete(extension)
            return "completed"
        self._discard_if_stale(extension)
        return "forgotten"

    def _discard_if_stale(self, extension: InterruptedExtension) -> None:
        """Discard an extension, unless the run that recorded it may still be running."""
        if extension.since + MAX_RUN_TIME < self._now:
            self._table.discard(extension)

    def _was_made(self, extension: InterruptedExtension) -> bool:
        try:
            return self._vonage.get_room(extension.room_id).expires_at == extension.expires_at
        except NotFound:
            return False

    def _complete(self, extension: Extension) -> None:
        self._table.complete(extension, self._now)
        _log("room extended", extension)

    def _save(self, checkpoint: Checkpoint | None) -> None:
        if not self._dry_run and checkpoint != self._saved:
            self._table.save_checkpoint(SCAN, checkpoint)
            self._saved = checkpoint or Checkpoint()

    def finish(self, summary: Summary) -> None:
        """Add the invalid rooms to the summary, and save the checkpoint.

        Raises:
            StoreUnavailable: the checkpoint could not be saved. The next run repeats some pages.
        """
        summary.add_failures(self._invalid)
        if self._out_of_time and summary.stopped_by is None:
            summary.stopped_by = "deadline"
        self._save(self._scan.checkpoint_reached())

    def counts(self, summary: Summary) -> Mapping[str, int]:
        """Return the number of rooms for each verdict and outcome."""
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
            "scan_completed": self._scan.checkpoint_reached() is None,
        }

    def _unlisted(self) -> int:
        unlisted = self._scan.unlisted()
        if unlisted:
            logger.warning("the list of rooms is incomplete", unlisted=unlisted)
        return unlisted


def _to_plan(room: Room, decision: Decision) -> dict[str, str]:
    """Return a decision as a dry run lists it."""
    plan = {"room_id": room.id, "verdict": decision.verdict, "reason": decision.reason}
    if room.expires_at is not None:
        plan["expires_at"] = iso(room.expires_at)
    if decision.expires_at is not None:
        plan["new_expires_at"] = iso(decision.expires_at)
    return plan


def _log(message: str, extension: Extension) -> None:
    logger.info(
        message,
        room_id=extension.room_id,
        expires_at=iso(extension.expires_at),
        reason=extension.reason,
        correlation_id=correlation.event_id_for_extension(extension),
    )


def _outcome(decision: Decision) -> Outcome:
    return "extended" if decision.verdict == "extend" else "extended_to_limit"


def _ticks(limits: Limits) -> Iterator[None]:
    """Yield no more often than the rate limit allows, until the time of the last start."""
    while (now := time.monotonic()) < limits.last_start:
        yield
        # Pages are requests to Vonage, too, so JobRatePerSecond applies to them.
        time.sleep(max(0.0, now + 1 / limits.per_second - time.monotonic()))
