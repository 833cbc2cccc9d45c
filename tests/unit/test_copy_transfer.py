"""How much of a file is read again after a crash: never more than a copy may have in flight."""

import base64
import hashlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomkeeper.aws.bucket import StoredObject
from roomkeeper.domain import copies
from roomkeeper.domain.copies import Copy, UploadedPart
from roomkeeper.jobs import source
from roomkeeper.jobs.copier import Copied, Copier
from roomkeeper.vonage.downloads import RemoteFile
from roomkeeper.vonage.recordings_api import Download
from roomkeeper.vonage.retry import Deadline

KIB = 1024
PART_SIZE, IN_FLIGHT, PIECE_SIZE = 3 * KIB, 9 * KIB, KIB
"""Smaller than the real ones, and in the same proportion."""

CONTENT = bytes(range(256)) * (6 * PART_SIZE // 256) + b"end"
NEVER = 10**9


class Killed(BaseException):
    """The process was killed; none of its later calls has an effect."""


Slowness = Literal["sending", "odd parts"]
"""S3 takes a part only when as much as possible is read ahead of it, or parts out of order."""


class World:
    """The file, the bucket and the table. The process is killed at its `kill_at`-th step."""

    name = "copies"

    def __init__(self, slow: Slowness = "sending") -> None:
        self._slow = slow
        self.requested = 0
        self.object: bytes | None = None
        self.saved: Copy | None = None
        self._changed = threading.Condition()
        self._parts: dict[int, bytes] = {}
        self._read_until = 0
        self._steps, self._kill_at = 0, NEVER

    def run(self, kill_at: int = NEVER) -> bool:
        """Copy the file from the saved progress; return whether the copy was completed."""
        self._steps, self._kill_at, self._read_until = 0, kill_at, 0
        copier = Copier(self, self)  # type: ignore[arg-type]
        arguments: Any = (self.saved, lambda: Download(url="https://a"), self.save, Deadline(600))
        try:
            return isinstance(copier.copy("recordings/a.mp4", "mp4", *arguments), Copied)
        except Killed:
            return False

    def _step(self) -> None:
        with self._changed:
            self._steps += 1
            if self._steps >= self._kill_at:
                self._changed.notify_all()
                raise Killed

    # --- the file and the table -------------------------------------------------------------------

    def describe(self, _url: str, _deadline: Deadline) -> RemoteFile:
        self._step()
        return RemoteFile(size=len(CONTENT), etag='"1"')

    def read(
        self, _url: str, _file: RemoteFile, start: int, into: memoryview, _deadline: Deadline
    ) -> None:
        self._step()
        with self._changed:
            self.requested += len(into)
            self._read_until = max(self._read_until, start + len(into))
            self._changed.notify_all()
        into[:] = CONTENT[start : start + len(into)]
        self._step()

    def close(self) -> None:
        pass

    def save(self, copy: Copy) -> None:
        self._step()
        self.saved = copy
        self._step()

    # --- the bucket -------------------------------------------------------------------------------

    def start(self, _key: str, _file_type: str) -> str:
        self._step()
        self._parts = {}
        self._step()
        return "upload"

    def parts(self, _key: str, _upload_id: str) -> Sequence[UploadedPart]:
        self._step()
        return [_uploaded(number, data) for number, data in self._parts.items()]

    def send(
        self, _key: str, _upload_id: str, number: int, data: memoryview, sha256: str
    ) -> UploadedPart:
        self._step()
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_over or self._takes(number), 60)
        assert _uploaded(number, data).sha256 == sha256
        self._step()
        with self._changed:
            self._parts[number] = bytes(data)
            self._changed.notify_all()
        self._step()
        return _uploaded(number, data)

    @property
    def _is_over(self) -> bool:
        return self._steps >= self._kill_at

    def _takes(self, number: int) -> bool:
        start = (number - 1) * PART_SIZE
        if self._slow == "sending":
            return self._read_until >= min(len(CONTENT), start + IN_FLIGHT)
        is_last = start + PART_SIZE >= len(CONTENT)
        return number % 2 == 0 or is_last or number + 1 in self._parts

    def complete(
        self, _key: str, _upload_id: str, parts: Sequence[UploadedPart], _size: int
    ) -> StoredObject:
        self._step()
        assert [part.number for part in parts] == sorted(self._parts)
        self.object = b"".join(self._parts[number] for number in sorted(self._parts))
        self._step()
        stored = self.find("")
        assert stored
        return stored

    def find(self, _key: str) -> StoredObject | None:
        if self.object is None:
            return None
        checksum = self.saved.s3_checksum if self.saved else None
        return StoredObject(size=len(self.object), sha256=checksum, version_id=None)

    def abort(self, _key: str, _upload_id: str) -> None:
        self._step()
        self._parts = {}


def _uploaded(number: int, data: bytes | memoryview) -> UploadedPart:
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return UploadedPart(number=number, size=len(data), etag="e", sha256=digest)


SIZES: Mapping[Any, Mapping[str, int]] = {
    copies: {"MIB": KIB, "PART_SIZE": PART_SIZE, "IN_FLIGHT": IN_FLIGHT, "MAX_SINGLE": PART_SIZE},
    source: {"PIECE_SIZE": PIECE_SIZE},
}


@pytest.fixture(scope="module", autouse=True)
def _small_sizes() -> Any:
    with pytest.MonkeyPatch.context() as patched:
        for module, values in SIZES.items():
            for name, value in values.items():
                patched.setattr(module, name, value)
        yield


def require_copied(world: World) -> None:
    assert world.object == CONTENT
    assert world.saved is not None
    assert world.saved.sha256 == _uploaded(1, CONTENT).sha256


@pytest.mark.parametrize("slow", get_args(Slowness))
def test_without_a_crash_no_byte_is_read_twice(slow: Slowness) -> None:
    world = World(slow)
    assert world.run()
    require_copied(world)
    assert world.requested == len(CONTENT)


@pytest.mark.parametrize("slow", get_args(Slowness))
def test_after_a_crash_at_any_step_no_more_is_read_again_than_may_be_in_flight(
    slow: Slowness,
) -> None:
    again, kill_at = list[int](), 0
    while True:
        world, kill_at = World(slow), kill_at + 1
        if world.run(kill_at):
            break
        assert world.run()
        require_copied(world)
        again.append(world.requested - len(CONTENT))
    assert len(again) > 50
    assert max(again) == IN_FLIGHT


@settings(max_examples=10, deadline=None)
@given(st.sampled_from(get_args(Slowness)), st.lists(st.integers(1, 100), min_size=2, max_size=8))
def test_each_of_many_crashes_costs_no_more_than_one(slow: Slowness, kills: list[int]) -> None:
    world = World(slow)
    done = [world.run(kill_at) for kill_at in kills]
    assert done[-1] or world.run()
    require_copied(world)
    assert world.requested - len(CONTENT) <= done.count(False) * IN_FLIGHT
