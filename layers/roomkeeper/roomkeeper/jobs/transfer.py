"""The parts of a file on their way from Vonage to S3: read, hashed and sent at the same time.

Parts are read in the order of the file, several pieces at once. A part is hashed as its pieces
arrive, and sent while later parts are read. Its memory is reused only when S3 has this part and all
parts before it. After a crash, at most `copies.parts_in_flight` parts are therefore read again.
"""

from collections import deque
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any, Protocol

from roomkeeper.domain import copies
from roomkeeper.domain.copies import Part, UploadedPart
from roomkeeper.jobs.source import Piece, Reading, Source
from roomkeeper.resumable_hash import Sha256
from roomkeeper.vonage.downloads import DownloadInterrupted, RemoteFile
from roomkeeper.vonage.retry import Deadline


class Upload(Protocol):
    """An upload to S3 in progress."""

    parts: list[UploadedPart]
    """The parts that S3 has, in the order of the file."""

    hash: Sha256
    """The hash of the file up to the last part that was hashed."""

    def mark_hashed(self, part: Part) -> None:
        """Record that `hash` covers the file up to the end of this part."""

    def send(self, part: Part, data: memoryview) -> UploadedPart:
        """Send a part that was hashed. Safe to use from many threads."""


class Transfer:
    """Reads and sends the parts of a file that S3 lacks, within the memory of some parts.

    `pool` sends the parts. No part is started when less than `reserve` seconds are left.
    """

    def __init__(
        self,
        source: Source,
        file: RemoteFile,
        part_size: int,
        upload: Upload,
        pool: ThreadPoolExecutor,
        deadline: Deadline,
        reserve: float,
    ) -> None:
        self._source = source
        self._file = file
        self._part_size = part_size
        self._upload = upload
        self._pool = pool
        self._deadline = deadline
        self._reserve = reserve
        self._started = len(upload.parts)
        self._memory = _Memory(part_size)
        self._reading: deque[tuple[Part, memoryview, Reading]] = deque()
        self._sending: deque[Future[UploadedPart]] = deque()

    def run(self) -> bool:
        """Read and send the missing parts; return whether S3 has all of them.

        Raises:
            NoDownload, VonageError: the file cannot be read.
            AwsError: S3 refuses a part, or still fails after all attempts.
        """
        try:
            self._read_ahead()
            while self._reading or self._sending:
                self._handle_next()
        except DownloadInterrupted:
            if not self._deadline.has_passed:
                raise
            self._finish_sending()
        finally:
            self._stop()
        return len(self._upload.parts) * self._part_size >= self._file.size

    def _handle_next(self) -> None:
        """Hash and send the next part, or wait until S3 has one."""
        if not self._reading:
            wait([self._sending[0]])
            return self._read_ahead()
        part, data, reading = self._reading[0]
        for piece in reading.pieces:
            self._upload.hash.update(self._arrived(piece))
        self._upload.mark_hashed(part)
        self._reading.popleft()
        self._sending.append(self._pool.submit(self._upload.send, part, data))
        return None

    def _arrived(self, piece: Piece) -> memoryview:
        """Return the memory of a piece once it is filled, and read ahead meanwhile."""
        self._read_ahead()
        while not piece.done():
            awaited: list[Future[Any]] = [piece, *list(self._sending)[:1]]
            wait(awaited, return_when=FIRST_COMPLETED)
            self._read_ahead()
        return piece.result()

    def _read_ahead(self) -> None:
        """Start to read the parts for which there is enough memory and time."""
        while self._sending and self._sending[0].done():
            self._sent()
        while self._has_room() and (part := self._next_part()):
            data = self._memory.of(part)
            self._reading.append((part, data, self._source.start(self._file, part, data)))
            self._started += 1

    def _has_room(self) -> bool:
        in_flight = len(self._reading) + len(self._sending)
        is_time_left = self._deadline.remaining() >= self._reserve
        return is_time_left and in_flight < self._memory.parts

    def _next_part(self) -> Part | None:
        return copies.next_part(self._file.size, self._part_size, self._started)

    def _sent(self) -> None:
        self._upload.parts.append(self._sending.popleft().result())

    def _finish_sending(self) -> None:
        while self._sending:
            self._sent()

    def _stop(self) -> None:
        """Return when no thread uses the memory any more."""
        for _, _, reading in self._reading:
            reading.stop()
        wait(self._sending)


class _Memory:
    """The memory for the parts in flight. A part's memory is reused once S3 has the part."""

    def __init__(self, part_size: int) -> None:
        self.parts = copies.parts_in_flight(part_size)
        self._buffers = [bytearray() for _ in range(self.parts)]
        self._part_size = part_size

    def of(self, part: Part) -> memoryview:
        """Return the memory for a part."""
        index = part.number % self.parts
        if not self._buffers[index]:
            self._buffers[index] = bytearray(self._part_size)
        return memoryview(self._buffers[index])[: part.length]
