"""Copies of recordings in the operator's bucket: their keys, parts and verification. No I/O."""

import base64
import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from roomkeeper.errors import RoomkeeperError

MIB = 1024 * 1024

PART_SIZE = 8 * MIB
"""The size of a part in bytes, unless the file is too large for parts of this size."""

IN_FLIGHT = 32 * MIB
"""The most bytes of a file that are read but not yet acknowledged by S3. After a crash, at most
these are read again."""

MAX_SINGLE = 16 * MIB
"""The largest file, in bytes, that is sent with one request."""

MAX_PARTS = 10_000
MAX_PART_SIZE = 5 * 1024 * MIB
MAX_SIZE = MAX_PARTS * MAX_PART_SIZE
"""S3's limits of a multipart upload: parts, and bytes of a part and of an object.

Source: "Amazon S3 multipart upload limits" in the Amazon S3 user guide.
"""

FileType = Literal["mp4", "zip"]
"""`mp4` for a composed recording, `zip` for one with a file for each stream."""


class CopyFailed(RoomkeeperError):
    """A recording cannot be copied; no object was made. Other recordings may succeed."""

    @property
    def is_item_specific(self) -> bool:
        """True: only this file is affected."""
        return True


class WrongSize(CopyFailed):
    """The file is empty, is larger than S3's limit, or has another size than Vonage reports."""


class WrongChecksum(CopyFailed):
    """The file's SHA-256 is not the one that Vonage reports."""


class Part(Struct, frozen=True, kw_only=True):
    """A part of a file: its number from 1, its offset and its length in bytes."""

    number: int
    start: int
    length: int


class UploadedPart(Struct, frozen=True, kw_only=True):
    """A part that S3 has. `sha256` is in base64."""

    number: int
    size: int
    etag: str
    sha256: str


class HashState(Struct, frozen=True, kw_only=True):
    """The state of the computation of a file's SHA-256 after the first `parts` parts."""

    parts: int
    state: bytes


class Copy(Struct, frozen=True, kw_only=True):
    """A copy of a recording, in progress or complete.

    `hash_states` has the states of the file's SHA-256 after the last part that was sent, and after
    each earlier part that S3 may not have received yet. After a crash, the copy resumes from the
    state that belongs to the last part that S3 has.

    `sha256` is known when all parts are sent, `copied_at` when the object exists and is verified.
    """

    bucket: str
    key: str
    size: int
    """Bytes."""
    part_size: int
    """Bytes."""
    source_etag: str
    started_at: datetime
    upload_id: str | None = None
    """S3's id of the multipart upload; None for a file of one part."""
    hash_states: Sequence[HashState] = ()
    sha256: str | None = None
    """The SHA-256 of the whole file in base64."""
    s3_checksum: str | None = None
    """S3's own SHA-256 of the object: of the file, or of the checksums of its parts."""
    version_id: str | None = None
    """S3's version of the object; None in a bucket without versioning."""
    copied_at: datetime | None = None

    def hash_state(self, parts: int) -> bytes | None:
        """Return the state of the hash after `parts` parts; None if it is not known."""
        return next((each.state for each in self.hash_states if each.parts == parts), None)

    def with_hash_state(self, parts: int, state: bytes) -> "Copy":
        """Return the copy with this state added, without those that are too old to resume from."""
        first = parts - parts_in_flight(self.part_size)
        kept = [each for each in self.hash_states if first <= each.parts < parts]
        return replace(self, hash_states=(*kept, HashState(parts=parts, state=state)))


def part_size_for(size: int) -> int:
    """Return the part size in bytes for a file of `size` bytes: 8 MiB, or as many MiB as needed.

    Raises:
        WrongSize: the file is empty, or larger than S3's limit.
    """
    if size <= 0:
        raise WrongSize("The file is empty.")
    if size > MAX_SIZE:
        raise WrongSize(f"The file has {size} bytes, more than the {MAX_SIZE} of an S3 object.")
    least = -(-size // MAX_PARTS)
    return max(PART_SIZE, -(-least // MIB) * MIB)


def parts_in_flight(part_size: int) -> int:
    """Return how many parts may be read before S3 has the first of them."""
    return max(2, IN_FLIGHT // part_size)


def requests_for(size: int) -> int:
    """Return the number of requests that upload a file of `size` bytes to S3."""
    return 1 if size <= MAX_SINGLE else -(-size // part_size_for(size)) + 2


def next_part(size: int, part_size: int, done: int) -> Part | None:
    """Return the part after the first `done` parts; None if there is none."""
    start = done * part_size
    if start >= size:
        return None
    return Part(number=done + 1, start=start, length=min(part_size, size - start))


def ranges(part: Part, length: int) -> Sequence[Part]:
    """Return the pieces of a part, each of at most `length` bytes, numbered from 1."""
    offsets = range(0, part.length, length)
    return [
        Part(number=index, start=part.start + offset, length=min(length, part.length - offset))
        for index, offset in enumerate(offsets, start=1)
    ]


def uploaded_prefix(
    size: int, part_size: int, uploaded: Sequence[UploadedPart]
) -> Sequence[UploadedPart]:
    """Return the parts from the first one up to a gap, a wrong size or a missing checksum.

    All other parts are left out and will be sent again.
    """
    by_number = {part.number: part for part in uploaded}
    prefix: list[UploadedPart] = []
    while expected := next_part(size, part_size, len(prefix)):
        found = by_number.get(expected.number)
        if found is None or found.size != expected.length or not found.sha256:
            break
        prefix.append(found)
    return prefix


def composite_checksum(parts: Sequence[UploadedPart]) -> str:
    """Return S3's checksum of an object that is made of `parts`.

    Source: "Checksums of checksums" in "Checking object integrity", the Amazon S3 user guide.
    """
    digests = b"".join(base64.b64decode(part.sha256) for part in parts)
    return f"{base64.b64encode(hashlib.sha256(digests).digest()).decode()}-{len(parts)}"


def verify_size(actual: int, reported: int | None) -> None:
    """Raise WrongSize unless a file has the size that Vonage reports, if it reports one."""
    if reported is not None and actual != reported:
        raise WrongSize(f"The file has {actual} bytes, but Vonage reports {reported}.")


def verify_sha256(actual: str, reported: str | None) -> None:
    """Raise WrongChecksum unless a file has the SHA-256 that Vonage reports, if it reports one."""
    if reported and not hmac.compare_digest(actual.encode(), reported.encode()):
        raise WrongChecksum(f"The SHA-256 of the file is {actual}, but Vonage reports {reported}.")


def object_key(
    started_at: datetime, session_id: str, recording_id: str, file_type: FileType
) -> str:
    """Return the key of a copy: `recordings/2026/11/25/<session id>/<recording id>.mp4`.

    The day is that of `started_at` in its own time zone. Ids are escaped, so that different ids
    have different keys, and none can leave its folder.
    """
    day = f"{started_at:%Y/%m/%d}"
    return f"recordings/{day}/{_escaped(session_id)}/{_escaped(recording_id)}.{file_type}"


_SAFE = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")


def _escaped(text: str) -> str:
    """Return `text` with each other byte than letters, digits, - and _ as `=XX` (hexadecimal).

    The result needs no URL quoting. `%XX` would be decoded by some tools and proxies.
    """
    return "".join(
        chr(byte) if byte in _SAFE else f"={byte:02X}"
        for byte in text.encode("utf-8", "surrogatepass")
    )
