"""A recording's file at Vonage, read part by part, each over several connections at once."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from roomkeeper.domain import copies
from roomkeeper.domain.copies import Part
from roomkeeper.resumable_hash import Sha256
from roomkeeper.vonage.downloads import CONTEXT, Downloader, LinkExpired, RemoteFile
from roomkeeper.vonage.recordings_api import Download
from roomkeeper.vonage.retry import Deadline

CONNECTIONS = 8
"""The number of ranges of a part that are read at once."""

FRESH_LINKS = 3
"""The number of fresh links for one part, after which an expired link is an error."""

MIN_RANGE = copies.MIB

Downloads = Callable[[], Download | None]
"""Returns a fresh download from Vonage's API; None if there is no file."""


class NoDownload(Exception):
    """Vonage has no file to download."""


class Source:
    """The file of a recording. A link that expires is replaced by a fresh one.

    `pool` reads the ranges of a part, at most `connections` of them at once.

    All methods raise NoDownload if Vonage has no file any more, and VonageError if the file cannot
    be downloaded, now or at all.
    """

    def __init__(
        self,
        downloader: Downloader,
        downloads: Downloads,
        deadline: Deadline,
        pool: ThreadPoolExecutor,
        connections: int = CONNECTIONS,
    ) -> None:
        self.pool = pool
        self._downloader = downloader
        self._downloads = downloads
        self._deadline = deadline
        self._connections = connections
        self._download: Download | None = None

    @property
    def download(self) -> Download:
        """The current download, which is asked for when it is first needed."""
        return self._download or self.renew()

    def renew(self) -> Download:
        """Return a fresh download, which is the current one from now on."""
        self._download = self._downloads()
        if self._download is None:
            raise NoDownload
        return self._download

    def describe(self) -> RemoteFile:
        """Return size and ETag of the file."""
        try:
            return self._downloader.describe(self.download.url, self._deadline)
        except LinkExpired:
            return self._downloader.describe(self.renew().url, self._deadline)

    def read(
        self, file: RemoteFile, part: Part, view: memoryview, hashes: Sequence[Sha256]
    ) -> None:
        """Fill `view` with a part over several connections, and add it to the hashes in order.

        The first pieces are hashed while the others arrive.
        """
        length = max(MIN_RANGE, -(-part.length // self._connections))
        reading = _Reading(self, file, part, view)
        try:
            pieces = copies.ranges(part, length)
            for piece in pieces:
                reading.start(piece)
            for piece in pieces:
                with reading.arrived(piece) as data:
                    for each in hashes:
                        each.update(data)
        finally:
            wait(reading.futures)

    def fill(self, url: str, file: RemoteFile, start: int, into: memoryview) -> None:
        """Fill `into` with the bytes of the file from `start`, over one connection."""
        self._downloader.read(url, file, start, into, self._deadline)


class _Reading:
    """The pieces of a part that are being read into memory."""

    def __init__(
        self,
        source: "Source",
        file: RemoteFile,
        part: Part,
        view: memoryview,
    ) -> None:
        self._source = source
        self._file = file
        self._part = part
        self._view = view
        self._by_piece: dict[int, tuple[Download, Future[None]]] = {}
        self._fresh_links = 0

    @property
    def futures(self) -> Sequence[Future[None]]:
        """The reads that were started last for each piece."""
        return [future for _, future in self._by_piece.values()]

    def start(self, piece: Part) -> None:
        """Start to read a piece, with the current link."""
        used = self._source.download
        self._by_piece[piece.number] = used, self._source.pool.submit(self._fill, used.url, piece)

    def arrived(self, piece: Part) -> memoryview:
        """Return the memory of a piece once it is filled; with a fresh link if that has expired.

        Raises:
            LinkExpired: fresh links have expired, too.
        """
        while True:
            used, future = self._by_piece[piece.number]
            try:
                future.result()
                return self._memory(piece)
            except LinkExpired:
                if used is self._source.download:  # no other piece has renewed it
                    self._renew()
                self.start(piece)

    def _renew(self) -> None:
        if self._fresh_links == FRESH_LINKS:
            raise LinkExpired("Fresh links have expired, too", CONTEXT)
        self._fresh_links += 1
        self._source.renew()

    def _fill(self, url: str, piece: Part) -> None:
        with self._memory(piece) as into:
            self._source.fill(url, self._file, piece.start, into)

    def _memory(self, piece: Part) -> memoryview:
        offset = piece.start - self._part.start
        return self._view[offset : offset + piece.length]
