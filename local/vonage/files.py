"""Files of any size behind download URLs. They are generated from an id while they are read.

A file's bytes depend on its id, size and version, and on each byte's position, so a copy with
swapped or missing parts has another hash. No file is stored: 10 GB need no more memory than 10 KB.
"""

import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from threading import RLock

MIB = 1024 * 1024
MAX_SIZE = 2**53 - 1
"""The largest integer that every JSON parser reads exactly."""

FILM = Path(__file__).with_name("archive.mp4").read_bytes()
"""Two seconds of video: the file of every recording whose size is not set."""

_PERIOD = MIB + 7
"""Bytes after which filler repeats. It has no factor in common with the sizes of parts."""
_CHUNK = 256 * 1024
_FREE_BOX = (1).to_bytes(4) + b"free"
"""The start of an MP4 box that players skip, with a 64-bit length."""


@dataclass(frozen=True, slots=True)
class GeneratedFile:
    """A file of `size` bytes. From `len(FILM) + 16` bytes up it is a valid MP4."""

    id: str
    size: int = len(FILM)
    version: int = 0

    @property
    def etag(self) -> str:
        """The entity tag, without quotes."""
        return hashlib.md5(self._identity, usedforsecurity=False).hexdigest()

    def head(self) -> bytes:
        """Return the first bytes: the film and the header of a box around the filler."""
        if self.size == len(FILM) and not self.version:
            return FILM
        if self.size < len(FILM) + 16:
            return b""
        return FILM + _FREE_BOX + (self.size - len(FILM)).to_bytes(8)

    def read(self, start: int, length: int) -> bytes:
        """Return up to `length` bytes from position `start`; fewer only at the end."""
        stop = min(start + length, self.size)
        head = self.head()[start:stop]
        return head + self._filler(start + len(head), stop)

    def chunks(self) -> Iterator[bytes]:
        """Yield the whole file in chunks."""
        for start in range(0, self.size, _CHUNK):
            yield self.read(start, _CHUNK)

    @property
    def _identity(self) -> bytes:
        return f"{self.id}/{self.size}/{self.version}".encode(errors="surrogatepass")

    def _filler(self, start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        offset = (start + _shift(self._identity)) % _PERIOD
        length = stop - start
        repeated = _block()[offset : offset + length]
        while len(repeated) < length:
            repeated += _block()[: length - len(repeated)]
        return repeated


class FileReader(io.RawIOBase):
    """A seekable binary stream over a generated file."""

    def __init__(self, file: GeneratedFile) -> None:
        super().__init__()
        self._file = file
        self._position = 0

    def readable(self) -> bool:
        """Return true."""
        return True

    def seekable(self) -> bool:
        """Return true."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a position; return it."""
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._file.size}
        self._position = origin[whence] + offset
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, at most one chunk; empty at the end."""
        wanted = _CHUNK if size < 0 else min(size, _CHUNK)
        read = self._file.read(self._position, wanted)
        self._position += len(read)
        return read

    def __iter__(self) -> "FileReader":
        return self

    def __next__(self) -> bytes:
        if chunk := self.read():
            return chunk
        raise StopIteration


class Files:
    """The sizes and versions of files, by the id of their recording. `lock` guards all access."""

    def __init__(self, lock: RLock) -> None:
        self._lock = lock
        self.reset()

    def reset(self) -> None:
        """Give every file its default size again."""
        with self._lock:
            self._files: dict[str, GeneratedFile] = {}
            self._hashed: set[GeneratedFile] = set()

    def of(self, recording_id: str) -> GeneratedFile:
        """Return the recording's file."""
        with self._lock:
            return self._files.get(recording_id) or GeneratedFile(recording_id)

    def set_size(self, recording_id: str, size: int) -> None:
        """Set the size of the recording's file in bytes."""
        with self._lock:
            self._files[recording_id] = replace(self.of(recording_id), size=size)

    def replace_content(self, recording_id: str) -> None:
        """Replace the file's bytes and ETag; the size stays."""
        with self._lock:
            file = self.of(recording_id)
            self._files[recording_id] = replace(file, version=file.version + 1)

    def sha256(self, recording_id: str) -> bytes:
        """Return the SHA-256 of a file of any size, and cache it."""
        file = self.of(recording_id)
        digest = sha256(file)
        with self._lock:
            self._hashed.add(file)
        return digest

    def known_sha256(self, recording_id: str, limit: int) -> bytes | None:
        """Return the hash of a file up to `limit` bytes, or of one that was hashed before."""
        with self._lock:
            file = self.of(recording_id)
            return sha256(file) if file.size <= limit or file in self._hashed else None


@lru_cache(maxsize=4096)
def sha256(file: GeneratedFile) -> bytes:
    """Return the hash of the file. It reads the whole file: about 1 GB per second."""
    digest = hashlib.sha256()
    for chunk in file.chunks():
        digest.update(chunk)
    return digest.digest()


@lru_cache(maxsize=1)
def _block() -> bytes:
    return hashlib.shake_256(b"the filler of all generated files").digest(_PERIOD)


@lru_cache(maxsize=256)
def _shift(identity: bytes) -> int:
    return int.from_bytes(hashlib.sha256(identity).digest()[:8]) % _PERIOD
