"""A recording's file at Vonage, read in pieces, each over one of several connections."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from roomkeeper.domain import copies
from roomkeeper.domain.copies import Part
from roomkeeper.vonage.downloads import CONTEXT, Downloader, LinkExpired, RemoteFile
from roomkeeper.vonage.recordings_api import Download
from roomkeeper.vonage.retry import Deadline

CONNECTIONS = 8
"""The number of pieces that are read at once."""

PIECE_SIZE = 2 * copies.MIB
"""The maximum size of a piece, in bytes. Larger pieces need fewer requests, but more memory."""

FRESH_LINKS = 3
"""The most fresh links in succession that may expire without a piece having been read."""

Result = TypeVar("Result")

Downloads = Callable[[], Download | None]
"""A function that returns a fresh download from Vonage's API; None if there is no file."""


class NoDownload(Exception):
    """Vonage has no file to download."""


class Source:
    """The file of a recording. A link that expires is replaced by a fresh one.

    Safe to use from many threads. `pool` reads the pieces; the number of its threads is that of the
    connections.

    All methods raise NoDownload if Vonage has no file any more, and VonageError if the file cannot
    be downloaded, now or at all.
    """

    def __init__(
        self,
        downloader: Downloader,
        downloads: Downloads,
        deadline: Deadline,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._downloader = downloader
        self._downloads = downloads
        self._deadline = deadline
        self._pool = pool
        self._lock = threading.Lock()
        self._download: Download | None = None
        self._is_gone = False
        self._fresh_links = 0

    @property
    def download(self) -> Download:
        """The current download, requested when it is first needed."""
        with self._lock:
            return self._download or self._renew()

    def describe(self) -> RemoteFile:
        """Return size and ETag of the file."""
        return self._with_link(lambda url: self._downloader.describe(url, self._deadline))

    def start(self, file: RemoteFile, part: Part, into: memoryview) -> "Reading":
        """Start to fill `into` with a part of the file; parts are read in the order of calls."""
        pieces = copies.ranges(part, PIECE_SIZE)
        return Reading([self._start(file, part, piece, into) for piece in pieces])

    def _start(self, file: RemoteFile, part: Part, piece: Part, into: memoryview) -> "Piece":
        offset = piece.start - part.start
        memory = into[offset : offset + piece.length]
        return self._pool.submit(self._fill, file, piece, memory)

    def _fill(self, file: RemoteFile, piece: Part, memory: memoryview) -> memoryview:
        """Return the memory of a piece once it is filled."""
        self._with_link(
            lambda url: self._downloader.read(url, file, piece.start, memory, self._deadline)
        )
        return memory

    def _with_link(self, act: Callable[[str], Result]) -> Result:
        """Return the result of `act` with the current link, or with a fresh one if that expired.

        Raises:
            LinkExpired: fresh links have expired, too.
        """
        while True:
            used = self.download
            try:
                result = act(used.url)
            except LinkExpired:
                self._replace(used)
            else:
                self._fresh_links = 0
                return result

    def _replace(self, expired: Download) -> None:
        """Replace an expired link, unless another thread has done so."""
        with self._lock:
            if self._download is not expired:
                return
            if self._fresh_links == FRESH_LINKS:
                raise LinkExpired("Fresh links have expired, too", CONTEXT)
            self._fresh_links += 1
            self._renew()

    def _renew(self) -> Download:
        """Return a fresh download. Once Vonage has no file, it is not asked again."""
        if not self._is_gone:
            self._download = self._downloads()
            self._is_gone = self._download is None
        if self._download is None:
            raise NoDownload
        return self._download


Piece = Future[memoryview]
"""The future of a piece. Its result is the piece's memory, once that is filled."""


class Reading:
    """A part that is being read."""

    def __init__(self, pieces: list[Piece]) -> None:
        self.pieces = pieces
        """The pieces, in the order of the file."""

    def stop(self) -> None:
        """Cancel the reading; return once nothing writes into the part's memory."""
        for each in self.pieces:
            each.cancel()
        wait(self.pieces)

    def __iter__(self) -> Iterator[memoryview]:
        """Yield the memory of each piece once it is filled."""
        for each in self.pieces:
            yield each.result()
