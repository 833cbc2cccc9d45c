"""Queues the recordings that wait for their copy, and lists them in a dry run.

Seconds after an upload, the event bus queues the recording. This job, the sweep, queues the others:
recordings whose copy failed or was interrupted, and those uploaded before copying was switched on.
The queue's function copies them (`copy_worker`).
"""

import itertools
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import ClassVar

from roomkeeper.aws import sdk
from roomkeeper.aws.copy_queue import RETRY, CopyQueue
from roomkeeper.domain.observations import Product
from roomkeeper.domain.recordings import Recording, Worklist, WorklistEntry
from roomkeeper.jobs import runner
from roomkeeper.jobs.batch import SKIPPED, Outcome, Summary
from roomkeeper.jobs.fairness import interleave
from roomkeeper.jobs.job import WorklistJob, open_store
from roomkeeper.jobs.report import Report
from roomkeeper.jobs.runner import Options, Run
from roomkeeper.settings import CopySettings
from roomkeeper.store import Store
from roomkeeper.vonage import RecordingsApi
from roomkeeper.vonage.downloads import Downloader
from roomkeeper.vonage.retry import Deadline

GRACE = timedelta(minutes=10)
"""The sweep ignores a recording for this long after its upload: the event bus has queued it."""

NOTICE = timedelta(hours=12)
"""Recordings without a copy that Vonage will delete within this time are `expiring_uncopied`."""

SWEEP_MARGIN = timedelta(hours=1)
"""Recordings that were uploaded within this time are checked again by the next run: the index of
the worklists is eventually consistent, and a deployment changes one function after the other."""

FILE_TIME = timedelta(hours=72)
"""Vonage deletes a file by itself this long after the start of the recording, or never."""

_LOOKUP_BATCH = 100

_OF_CLEANUP: tuple[Worklist, ...] = (
    "confirmed",
    "retained",
    "deferred_confirmed",
    "deferred_retained",
)
"""The deferred lists are included: with CleanupRetentionDays=0, no cleanup takes items off them."""


class Copying(WorklistJob[Options]):
    """One sweep: it queues the recordings that have waited for their copy for some minutes.

    `bytes` is the size of the files that a dry run would copy, as far as it is known.
    `expiring_uncopied` counts the waiting recordings that Vonage will soon delete.
    `oldest_waiting_seconds` is how long the oldest of the run's recordings has waited.
    """

    options_type: ClassVar[type[Options]] = Options
    outcomes: ClassVar[Sequence[Outcome]] = (
        "queued",
        "would_copy",
        "in_progress",
        "already_resolved",
    )

    def __init__(
        self,
        run: Run[Options],
        store: Store,
        apis: Mapping[Product, RecordingsApi],
        queue: CopyQueue,
        downloader: Downloader,
    ) -> None:
        super().__init__(run, store, apis)
        self._queue = queue
        self._downloader = downloader
        self._lock = threading.Lock()
        self._bytes = 0
        self._expiring: set[str] = set()
        self._oldest = run.now
        self._has_swept = False

    @classmethod
    def start(cls, run: Run[Options]) -> Report:
        """Create the job from the settings in the environment, run it, and return its report."""
        settings = CopySettings.from_env(os.environ)
        store = open_store(settings.table_name, deleted_days=settings.deleted_days, copies=True)
        queue = CopyQueue(sdk.sqs(RETRY), settings.queue_url)
        downloader = Downloader(allows_loopback=settings.allows_loopback)
        with runner.vonage_clients(run) as clients:
            job = cls(run, store, clients.recordings, queue, downloader)
            return runner.with_unavailable(job.run(), clients)

    def due_until(self) -> Mapping[Worklist, datetime]:
        """Return the time until which an entry is due, for each of the job's worklists."""
        return {"awaiting_copy": self._now - GRACE, "deferred_awaiting_copy": self._now}

    def items(self) -> Iterator[WorklistEntry]:
        """Yield the waiting recordings, oldest first in each list, as many as the queue may take.

        After them come those on the cleanup's worklists that have no copy, because copying was
        switched off when they were uploaded.
        """
        waiting = interleave(
            (
                (8, self._served(self.due_on("awaiting_copy"))),
                (2, self._served(self.due_on("deferred_awaiting_copy"))),
            )
        )
        candidates = itertools.chain(waiting, self._uploaded_before())
        most = None if self._dry_run else self._queue.capacity()
        yield from itertools.islice(candidates, most)
        if left := next(candidates, None):
            self._count_left(left)

    def _served(self, entries: Iterator[WorklistEntry]) -> Iterator[WorklistEntry]:
        """Yield the entries whose product the run can call; the others wait for a later run."""
        for entry, recording in self._with_recordings(entries):
            if recording is None or self._products.is_in_use(recording.product):
                yield entry
            elif recording.lacks_copy:
                self._count_urgency(recording, entry)

    def _with_recordings(
        self, entries: Iterator[WorklistEntry]
    ) -> Iterator[tuple[WorklistEntry, Recording | None]]:
        """Yield entries with their recordings, until the run's time is over."""
        while batch := list(itertools.islice(entries, _LOOKUP_BATCH)):
            if time.monotonic() >= self._run.limits.last_start:
                return
            known = self._store.recordings.get_many(entry.id for entry in batch)
            yield from ((entry, known.get(entry.id)) for entry in batch)

    def _count_left(self, oldest: WorklistEntry) -> None:
        """Count the urgency of the recordings that a full queue does not take."""
        if not oldest.is_deferred:
            with self._lock:
                self._oldest = min(self._oldest, oldest.since)
        expiring_after = self._now - FILE_TIME
        swept_until = self._store.copies.swept_until() or expiring_after
        read = self._store.worklists.read
        entries = itertools.chain(
            read("awaiting_copy", self._now - GRACE, expiring_after),
            read("deferred_awaiting_copy", self._now),
            *(read(name, self._now, max(swept_until, expiring_after)) for name in _OF_CLEANUP),
        )
        for _, recording in self._with_recordings(entries):
            if recording and recording.lacks_copy and not recording.deleted_at:
                with self._lock:
                    self._count_if_expiring(recording)

    def _uploaded_before(self) -> Iterator[WorklistEntry]:
        """Yield the entries of the cleanup's worklists that lack a copy and are not checked yet."""
        after = self._store.copies.swept_until()
        for worklist in _OF_CLEANUP:
            entries = self._store.worklists.read(worklist, self._now, after)
            while batch := list(itertools.islice(entries, _LOOKUP_BATCH)):
                known = self._store.recordings.get_many(entry.id for entry in batch)
                lacking = {id_ for id_, recording in known.items() if recording.lacks_copy}
                yield from (entry for entry in batch if entry.id in lacking)
        self._has_swept = True

    def act(self, item: WorklistEntry) -> Outcome:
        """Queue a recording, or list it in a dry run.

        Raises:
            StoreUnavailable, CorruptItem, AwsError: it was not queued. A later run retries it.
            VonageError: a dry run could not determine its size.
        """
        recording = self._store.recordings.get(item.id)
        if recording is None or recording.deleted_at or recording.copied_at:
            return "already_resolved"
        self._count_urgency(recording, item)
        if item.worklist.startswith(_OF_CLEANUP) and not self._dry_run:
            # Even if its product is stopped: later sweeps look for it only on `awaiting_copy`.
            self._store.copies.queue(recording)
        if not self._products.is_in_use(recording.product):
            return SKIPPED
        if self._dry_run:
            return self._plan_copy(recording)
        if recording.copy_claimed_until and recording.copy_claimed_until > self._now:
            return "in_progress"
        self._queue.send(item.id)
        return "queued"

    def _count_urgency(self, recording: Recording, item: WorklistEntry) -> None:
        with self._lock:
            self._oldest = min(self._oldest, recording.uploaded_at or item.since)
            self._count_if_expiring(recording)

    def _count_if_expiring(self, recording: Recording) -> None:
        expires_at = recording.expires_at
        if expires_at and self._now < expires_at <= self._now + NOTICE:
            self._expiring.add(recording.recording_id)

    def _plan_copy(self, recording: Recording) -> Outcome:
        size = self._size(recording)
        if size is None:
            return "already_resolved"  # Vonage has no file
        with self._lock:
            self._bytes += size
        self._plan.add({"recording_id": recording.recording_id, "bytes": str(size)})
        return "would_copy"

    def _size(self, recording: Recording) -> int | None:
        """Return the size of a recording's file in bytes; None if Vonage has no file."""
        with self._products.use(recording.product) as api:
            download = api.download(recording.recording_id)
        if download is None:
            return None
        if download.size is not None:
            return download.size
        return self._downloader.describe(download.url, Deadline(self._run.call_seconds)).size

    def finish(self, summary: Summary) -> None:
        """Save that the cleanup's worklists were checked, if this run reached their end."""
        is_complete = (
            self._has_swept and summary.stopped_by is None and not summary.outcomes["failed"]
        )
        if is_complete and not self._dry_run:
            self._store.copies.save_sweep(self._now - SWEEP_MARGIN)

    def more_counts(self, summary: Summary) -> Mapping[str, int]:  # noqa: ARG002
        """Return the bytes to copy, and how urgent the copies are."""
        return {
            "bytes": self._bytes,
            "expiring_uncopied": len(self._expiring),
            "oldest_waiting_seconds": int((self._now - self._oldest).total_seconds()),
        }
