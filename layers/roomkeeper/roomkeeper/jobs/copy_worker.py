"""Copies the recordings that the queue delivers, and records the results in the table.

An item-specific failure defers a copy: the sweep queues it again, with a longer delay each time.
After any other failure, SQS redelivers the message a few times. Then the sweep queues the copy
again. A message goes to the dead-letter queue only if the function itself fails repeatedly.
"""

import os
import time
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Literal
from urllib.parse import urlsplit

from aws_lambda_powertools.metrics import MetricUnit

from roomkeeper import holds
from roomkeeper.aws import AwsError, sdk
from roomkeeper.aws.bucket import Bucket
from roomkeeper.aws.copy_queue import RETRY, CopyQueue, recording_id_in
from roomkeeper.domain import copies
from roomkeeper.domain.copies import Copy, CopyFailed, FileType
from roomkeeper.domain.recordings import Recording, WorklistEntry
from roomkeeper.errors import RoomkeeperError
from roomkeeper.jobs import fairness, runner
from roomkeeper.jobs.copier import Continued, Copied, Copier
from roomkeeper.jobs.copying import Copying
from roomkeeper.jobs.job import open_store
from roomkeeper.jobs.runner import Context, Event, logger, metrics
from roomkeeper.jobs.source import Downloads
from roomkeeper.settings import CopySettings
from roomkeeper.store import Store, correlation
from roomkeeper.vonage import RecordingsApi
from roomkeeper.vonage.connect import Clients
from roomkeeper.vonage.downloads import Downloader, DownloadFailed, DownloadInterrupted
from roomkeeper.vonage.recordings_api import Download
from roomkeeper.vonage.retry import Deadline

DELIVERIES = 3
"""The most deliveries of a message whose copy fails, unless the failure is item-specific."""

RETRY_SECONDS = 60
"""Seconds before the second delivery, doubled before each later one."""

MISSING_AFTER = timedelta(days=1)
"""A recording that Vonage does not have counts as deleted by Vonage this long after its upload."""

MAX_DELAY = timedelta(hours=6)
"""The longest delay between two attempts. In the 12 hours before Vonage deletes the file, in which
the sweep counts it as `expiring_uncopied`, it allows several attempts."""

_WITHOUT_FILE = ("recording:expired", "recording:failed", "recording:stored")
"""The final states of recordings without a file to download, now or later."""

_WITH_FILE = (CopyFailed, DownloadFailed, DownloadInterrupted)
"""The failures of a copy once Vonage's API has returned the file's URL."""

RELEASE_SECONDS = 10.0
"""Seconds that are reserved for the last writes of an invocation."""

Result = Literal[
    "copied", "continued", "in_progress", "nothing_to_do", "no_file", "not_needed", "deleted"
]


def copy_queued(event: Event, context: Context) -> Mapping[str, Any]:
    """Copy the recordings of an SQS event; return the messages that SQS must deliver again.

    Raises:
        NotConfigured, SecretUnavailable: Vonage cannot be called. All messages are delivered again.
    """
    seconds = context.get_remaining_time_in_millis() / 1000
    settings = CopySettings.from_env(os.environ)
    queue = CopyQueue(sdk.sqs(RETRY), settings.queue_url)
    store = open_store(settings.table_name, deleted_days=settings.deleted_days, copies=True)
    with runner.vonage_clients(runner.run_for_queue(context, Copying)) as clients:
        worker = CopyWorker(store, clients, queue, settings, Deadline(seconds))
        failed = [record for record in event["Records"] if not worker.take(record)]
    return {"batchItemFailures": [{"itemIdentifier": each["messageId"]} for each in failed]}


class CopyWorker:
    """Copies recordings within one invocation, which ends at `deadline`."""

    def __init__(
        self,
        store: Store,
        clients: Clients,
        queue: CopyQueue,
        settings: CopySettings,
        deadline: Deadline,
    ) -> None:
        self._store = store
        self._clients = clients
        self._queue = queue
        self._settings = settings
        self._deadline = deadline
        self._bucket = Bucket(settings.bucket, storage_class=settings.storage_class)

    def take(self, record: Mapping[str, Any]) -> bool:
        """Copy the recording that a message names; return False if SQS must deliver it again."""
        recording_id = recording_id_in(record)
        if recording_id is None:
            logger.error("message names no recording")
            return False
        try:
            result = self.copy(recording_id)
        except RoomkeeperError as error:
            return self._failed(record, recording_id, error)
        count_failures(0)
        logger.info("message handled", recording_id=recording_id, result=result)
        return True

    def _failed(self, record: Mapping[str, Any], recording_id: str, error: RoomkeeperError) -> bool:
        """Log a failure; return False if SQS must deliver the message again, after a delay."""
        logger.warning(
            "copy failed", recording_id=recording_id, error=str(error), kind=type(error).__name__
        )
        count_failures(1)
        delivery = int(record["attributes"]["ApproximateReceiveCount"])
        if error.is_item_specific or delivery >= DELIVERIES:
            return True  # the sweep retries it
        try:
            self._queue.retry_in(record, RETRY_SECONDS << (delivery - 1))
        except AwsError as exc:
            logger.warning("delay of the message failed", error=str(exc))
        return False

    def copy(self, recording_id: str) -> Result:
        """Copy a recording, unless it has a copy, or another invocation is copying it.

        Raises:
            CopyFailed, VonageError, AwsError, StoreUnavailable, CorruptItem: there is no copy. An
                item-specific failure defers the recording.
        """
        recording = self._store.recordings.get(recording_id)
        if recording is None or "recording:uploaded" not in recording.seen:
            return "nothing_to_do"
        if recording.deleted_at and not recording.unrecorded_copy:
            self._remove_upload(recording)
            return "nothing_to_do"
        if not recording.lacks_copy:
            self._skip(recording)
            return "not_needed"
        claim, now = str(uuid.uuid4()), datetime.now(UTC)
        ends_at = now + timedelta(seconds=max(0.0, self._deadline.remaining()))
        if not self._store.copies.claim(recording_id, claim, ends_at, now):
            return "in_progress"
        try:
            # An invocation that has just released its claim may have made progress.
            return self._copy(self._store.recordings.get(recording_id) or recording, claim)
        except RoomkeeperError as error:
            if error.is_item_specific:
                self._defer(recording, confirmed=isinstance(error, _WITH_FILE))
            raise
        finally:
            self._store.copies.release(recording_id, claim)

    def _remove_upload(self, recording: Recording) -> None:
        """Remove the unfinished upload of a recording that is deleted."""
        upload, until = recording.copy, recording.copy_claimed_until
        if upload and upload.upload_id and not (until and until > datetime.now(UTC)):
            self._bucket.abort(upload.key, upload.upload_id)

    def _skip(self, recording: Recording) -> None:
        """Take a recording that needs no copy off the worklist, and apply its hold to its copy."""
        if "awaiting_copy" in (recording.worklist or ""):
            self._store.copies.skip(recording)
        self._keep_if_on_hold(recording.recording_id)

    def _copy(self, recording: Recording, claim: str) -> Result:
        """Copy a claimed recording. Of a deleted one, only a copy that was made before counts."""
        started_at, id_ = time.monotonic(), recording.recording_id
        api = self._clients.recordings_of(recording.product)

        def download() -> Download | None:
            return None if recording.deleted_at else api.download(id_)

        first = download()
        outcome = self._copier().copy(
            *self._target(recording, first),
            recording.copy,
            _after(first, download),
            lambda copy: self._store.copies.save(id_, claim, copy),
            Deadline(self._deadline.remaining() - RELEASE_SECONDS),
        )
        match outcome:
            case Copied(copy):
                self._mark_copied(recording, claim, copy, time.monotonic() - started_at)
                return "copied"
            case Continued():
                self._store.copies.release(id_, claim)  # before the next invocation claims it
                self._queue.send(id_)
                return "continued"
            case _:
                return self._record_missing_file(recording, api)

    def _copier(self) -> Copier:
        downloader = Downloader(allows_loopback=self._settings.allows_loopback)
        return Copier(self._bucket, downloader)

    def _target(self, recording: Recording, download: Download | None) -> tuple[str, FileType]:
        """Return the key and type of the copy; those of the copy that was started, if any."""
        key = recording.copy.key if recording.copy else ""
        name = key or (urlsplit(download.url).path if download else "")
        file_type: FileType = "zip" if name.lower().endswith(".zip") else "mp4"
        day = recording.started_at or recording.uploaded_at or datetime.now(UTC)
        new = copies.object_key(day, recording.session_id, recording.recording_id, file_type)
        return key or new, file_type

    def _mark_copied(self, recording: Recording, claim: str, copy: Copy, seconds: float) -> None:
        now = datetime.now(UTC)
        ttl = self._settings.copy_expires_at(now)
        is_new = self._store.copies.mark_copied(recording, claim, copy, ttl, now)
        self._keep_if_on_hold(recording.recording_id)
        if not is_new:
            return
        metrics.add_metric("RecordingCopied", unit=MetricUnit.Count, value=1)
        metrics.add_metric("CopiedBytes", unit=MetricUnit.Bytes, value=copy.size)
        metrics.add_metric("CopySeconds", unit=MetricUnit.Seconds, value=seconds)
        logger.info(
            "recording copied",
            recording_id=recording.recording_id,
            bytes=copy.size,
            seconds=round(seconds, 3),
            correlation_id=correlation.event_id_for_recording(
                recording.recording_id, "recording:copied"
            ),
        )

    def _keep_if_on_hold(self, recording_id: str) -> None:
        """Keep the copy of a recording that was put on hold before the copy was made."""
        known = self._store.recordings.get(recording_id)
        if not (known and known.hold and known.copied_at and known.copy):
            return
        self._store.recordings.keep_if_on_hold(recording_id)
        if known.copy.bucket == self._bucket.name:  # otherwise, the stack has no access to it
            holds.apply_to_copy(self._store, self._bucket, known)

    def _record_missing_file(self, recording: Recording, api: RecordingsApi) -> Result:
        """Record why Vonage has no file; defer the recording if the file may still appear."""
        found, now = api.get(recording.recording_id), datetime.now(UTC)
        if found is not None and found.event in _WITHOUT_FILE:
            self._store.recordings.reconcile(found, now)
            return "no_file"
        if found is None and now - (recording.uploaded_at or now) > MISSING_AFTER:
            self._store.recordings.mark_deleted(recording.recording_id, "vonage", now)
            return "deleted"
        self._defer(recording, confirmed=found is not None)
        return "no_file"

    def _defer(self, recording: Recording, *, confirmed: bool) -> None:
        """Schedule the next attempt, unless the recording has left its worklist meanwhile.

        `confirmed` is True if Vonage's API has just returned the recording.
        """
        known = self._store.recordings.get(recording.recording_id)
        if known and known.worklist and known.since and "awaiting_copy" in known.worklist:
            entry = WorklistEntry("recording", known.recording_id, known.since, known.worklist)
            self._store.worklists.defer(entry, datetime.now(UTC), _delay, confirmed=confirmed)


def _delay(attempts: int) -> timedelta:
    return min(fairness.delay(attempts), MAX_DELAY)


def count_failures(number: int) -> None:
    """Count copies that failed; 0 for a message that was handled."""
    metrics.add_metric("CopyFailed", unit=MetricUnit.Count, value=number)


def _after(first: Download | None, more: Downloads) -> Downloads:
    """Return a function that returns the download `first`, then fresh ones."""
    remaining = [first]

    def next_download() -> Download | None:
        return remaining.pop() if remaining else more()

    return next_download
