"""Copies one recording from Vonage into the operator's bucket; creates only verified objects.

A small file is read into memory and sent with one request. A larger one is sent part by part
(`transfer`). Both are read over several connections at once: a source that limits the speed of each
connection is then read several times as fast.

S3's list of parts shows the progress of an upload. The state of the file's SHA-256 is saved before
each part is sent, so that a later invocation can verify the file without reading it again.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from msgspec import Struct
from msgspec.structs import replace

from roomkeeper.aws import AwsError
from roomkeeper.aws.bucket import Bucket, StoredObject
from roomkeeper.domain import copies
from roomkeeper.domain.copies import Copy, CopyFailed, FileType, Part, UploadedPart
from roomkeeper.jobs.source import CONNECTIONS, Downloads, NoDownload, Source
from roomkeeper.jobs.transfer import Transfer
from roomkeeper.resumable_hash import Sha256, is_resumable, sha256
from roomkeeper.vonage.downloads import Downloader, DownloadRefused, FileChanged, RemoteFile
from roomkeeper.vonage.retry import Deadline

RESERVE = 60.0
"""In the last seconds before the deadline, no part is started: one takes this long with retries."""

MAX_PART_IN_MEMORY = 64 * copies.MIB
"""The largest part size, in bytes, for a function's memory. It suffices for files of 625 GiB."""

RESTARTS = 2
"""The number of times that an invocation starts a copy over because the file changed."""


class AlreadyStored(CopyFailed):
    """The bucket has another object under the recording's key. It is never replaced."""


class Copied(Struct, frozen=True):
    """The object exists and is verified."""

    copy: Copy


class Continued(Struct, frozen=True):
    """The deadline passed before the copy was complete; the next invocation resumes it."""

    copy: Copy


class NoFile(Struct, frozen=True):
    """Vonage has no file to download; a started upload was removed."""


Outcome = Copied | Continued | NoFile

Save = Callable[[Copy], None]
"""Saves the progress of a copy. If it raises, the copy stops."""


class Copier:
    """Copies recordings into a bucket, one at a time. `now` is the time of day in UTC."""

    def __init__(
        self,
        bucket: Bucket,
        downloader: Downloader,
        *,
        connections: int = CONNECTIONS,
        reserve: float = RESERVE,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._bucket = bucket
        self._downloader = downloader
        self._connections = connections
        self._reserve = reserve
        self._now = now

    def copy(
        self,
        key: str,
        file_type: FileType,
        started: Copy | None,
        downloads: Downloads,
        save: Save,
        deadline: Deadline,
    ) -> Outcome:
        """Copy a recording's file to `key`, or resume the copy that was `started`.

        Raises:
            CopyFailed: the file is empty, or differs from the size or SHA-256 that Vonage reports.
            VonageError: the file cannot be downloaded, now or at all.
            AwsError: S3 refuses, or still fails after all attempts.
        """
        with ThreadPoolExecutor(self._connections) as readers, ThreadPoolExecutor() as senders:
            source = Source(self._downloader, downloads, deadline, readers)
            task = _Task(key, file_type, source, save, deadline, senders)
            try:
                return self._copy(task, started)
            except NoDownload:
                self._abort(started)
                return NoFile()
            finally:
                self._downloader.close()

    def _copy(self, task: "_Task", started: Copy | None) -> Outcome:
        """Copy, starting over when the file changes."""
        if started and (made := self._made_before(started)):
            return Copied(made)
        for _ in range(RESTARTS):
            try:
                return self._attempt(task, started)
            except FileChanged:
                started = None
        return self._attempt(task, started)

    def _attempt(self, task: "_Task", started: Copy | None) -> Outcome:
        file = task.source.describe()
        copies.verify_size(file.size, task.source.download.size)
        part_size = copies.part_size_for(file.size)
        if part_size > MAX_PART_IN_MEMORY:
            raise copies.WrongSize(f"The file has {file.size} bytes, too many for this function.")
        if started and not self._is_of(started, task, file):
            self._abort(started)
            started = None
        copy = started or Copy(
            bucket=self._bucket.name,
            key=task.key,
            size=file.size,
            part_size=part_size,
            source_etag=file.etag,
            started_at=self._now(),
        )
        if file.size <= copies.MAX_SINGLE:
            return self._copy_whole(task, file, copy)
        return self._copy_parts(task, file, copy)

    def _is_of(self, started: Copy, task: "_Task", file: RemoteFile) -> bool:
        mine = (started.bucket, started.key, started.size, started.source_etag)
        return mine == (self._bucket.name, task.key, file.size, file.etag)

    def _copy_whole(self, task: "_Task", file: RemoteFile, copy: Copy) -> Outcome:
        data, whole = bytearray(file.size), sha256()
        part = Part(number=1, start=0, length=file.size)
        reading = task.source.start(file, part, memoryview(data))
        try:
            for piece in reading:
                whole.update(piece)
        finally:
            reading.stop()
        digest = whole.digest()
        copies.verify_sha256(digest, task.source.download.sha256)
        copy = replace(copy, sha256=digest, s3_checksum=digest)
        task.save(copy)
        return self._made(copy, self._bucket.put(task.key, task.file_type, data, digest))

    def _copy_parts(self, task: "_Task", file: RemoteFile, copy: Copy) -> Outcome:
        upload = self._upload(task, copy)
        try:
            if not self._transfer(task, file, upload):
                return Continued(upload.copy)
            return self._complete(task, upload)
        except (NoDownload, FileChanged, DownloadRefused, CopyFailed):
            self._abort(upload.copy)
            raise

    def _upload(self, task: "_Task", copy: Copy) -> "_Upload":
        """Return the upload to resume, or a new one."""
        if copy.upload_id and (parts := self._bucket.parts(copy.key, copy.upload_id)) is not None:
            return _Upload.resumed(self._bucket, copy, parts, task)
        upload_id = self._bucket.start(task.key, task.file_type)
        copy = replace(copy, upload_id=upload_id, hash_states=(), sha256=None, s3_checksum=None)
        try:
            task.save(copy)
        except BaseException:
            self._bucket.abort(task.key, upload_id)
            raise
        return _Upload(self._bucket, copy, [], sha256(), task)

    def _transfer(self, task: "_Task", file: RemoteFile, upload: "_Upload") -> bool:
        """Read and send the missing parts; return whether S3 has all of them."""
        transfer = Transfer(
            task.source,
            file,
            upload.copy.part_size,
            upload,
            task.senders,
            task.deadline,
            self._reserve,
        )
        return transfer.run()

    def _complete(self, task: "_Task", upload: "_Upload") -> Copied:
        """Make the object, once the whole file is verified."""
        digest = upload.hash.digest()
        copies.verify_sha256(digest, task.source.download.sha256)
        checksum = copies.composite_checksum(upload.parts)
        was_tried = upload.copy.s3_checksum is not None
        copy = replace(upload.copy, sha256=digest, s3_checksum=checksum)
        task.save(copy)
        assert copy.upload_id  # noqa: S101 - an upload has one
        stored = self._bucket.complete(copy.key, copy.upload_id, upload.parts, copy.size)
        return self._made(copy, stored, starts_over=was_tried)

    def _made(
        self, copy: Copy, stored: StoredObject | None, *, starts_over: bool = False
    ) -> Copied:
        """Return the copy that was just made, or that another invocation made before.

        After a conflict, such as with a deletion of the key, S3 never completes the upload. But the
        conflict may also be with a completion that is still in progress. So the upload is removed
        only with `starts_over`, if the completion was tried in an earlier invocation.

        Source: "CompleteMultipartUpload" in the Amazon S3 API reference, `If-None-Match`.
        """
        if stored is None:
            made = self._made_before(copy)
            if made is None:
                if starts_over:
                    self._abort(copy)
                message = "S3 did not complete the upload, and no object exists"
                raise AwsError("NotCompleted", message, "", True)
            if copy.upload_id:
                self._bucket.abort(copy.key, copy.upload_id)
            return Copied(made)
        return Copied(self._finished(copy, stored))

    def _made_before(self, copy: Copy) -> Copy | None:
        """Return the copy if its object exists; None if there is none, or in another bucket only.

        Raises:
            AlreadyStored: the object has another size or checksum.
        """
        if copy.sha256 is None or copy.bucket != self._bucket.name:
            return None
        if (stored := self._bucket.find(copy.key)) is None:
            return None
        if (stored.size, stored.sha256) != (copy.size, copy.s3_checksum):
            raise AlreadyStored(f"{copy.bucket} has another object under {copy.key}.")
        return self._finished(copy, stored)

    def _finished(self, copy: Copy, stored: StoredObject) -> Copy:
        return replace(
            copy,
            version_id=stored.version_id,
            copied_at=self._now(),
            upload_id=None,
            hash_states=(),
        )

    def _abort(self, copy: Copy | None) -> None:
        if copy and copy.upload_id:
            self._bucket.abort(copy.key, copy.upload_id)


class _Task(Struct, frozen=True):
    key: str
    file_type: FileType
    source: Source
    save: Save
    deadline: Deadline
    senders: ThreadPoolExecutor


class _Upload:
    """A multipart upload in progress: its parts, and the hash of the file.

    `hash` is ahead of `parts`, because a part is hashed before it is sent. In between, the state of
    the hash is saved. One write saves the states of all parts that were hashed in the meantime.
    """

    def __init__(
        self,
        bucket: Bucket,
        copy: Copy,
        parts: Sequence[UploadedPart],
        file_hash: Sha256,
        task: _Task,
    ) -> None:
        self._bucket = bucket
        self._task = task
        self.copy = copy
        self.parts = list(parts)
        self.hash = file_hash
        self._saving = threading.Lock()
        self._saved = len(parts)

    @classmethod
    def resumed(
        cls, bucket: Bucket, copy: Copy, uploaded: Sequence[UploadedPart], task: _Task
    ) -> "_Upload":
        """Return an upload after the last part that S3 has and whose hash state is known."""
        prefix = copies.uploaded_prefix(copy.size, copy.part_size, uploaded)
        for count in range(len(prefix), 0, -1):
            state = copy.hash_state(count)
            if state is not None and is_resumable():
                return cls(bucket, copy, prefix[:count], sha256(state), task)
        return cls(bucket, copy, [], sha256(), task)

    def mark_hashed(self, part: Part) -> None:
        """Record that `hash` covers the file up to the end of this part."""
        if (state := self.hash.state) is not None:
            self.copy = self.copy.with_hash_state(part.number, state)

    def send(self, part: Part, data: memoryview) -> UploadedPart:
        """Send a part that was hashed, once the state of the hash after it is saved."""
        self._save(part)
        digest = sha256()
        digest.update(data)
        assert self.copy.upload_id  # noqa: S101 - an upload has one
        return self._bucket.send(
            self.copy.key, self.copy.upload_id, part.number, data, digest.digest()
        )

    def _save(self, part: Part) -> None:
        """Save the states of the hash, unless one after this part is saved already."""
        with self._saving:
            states = (copy := self.copy).hash_states
            if states and self._saved < part.number:
                self._task.save(copy)
                self._saved = states[-1].parts
