"""The rules of copies: parts, keys and verification."""

import base64
import hashlib
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkeeper.aws import AwsError
from roomkeeper.aws.bucket import Bucket
from roomkeeper.domain.copies import (
    MAX_PART_SIZE,
    MAX_PARTS,
    MAX_SIZE,
    MIB,
    PART_SIZE,
    Copy,
    Part,
    UploadedPart,
    WrongChecksum,
    WrongSize,
    composite_checksum,
    next_part,
    object_key,
    part_size_for,
    parts_in_flight,
    ranges,
    requests_for,
    uploaded_prefix,
    verify_sha256,
    verify_size,
)
from roomkeeper.resumable_hash import sha256

NOON = datetime(2026, 3, 7, 12, tzinfo=UTC)


def sha256_of(data: bytes) -> str:
    return base64.b64encode(hashlib.sha256(data).digest()).decode()


TEXT = st.text(max_size=20)


@given(st.integers(1, MAX_SIZE))
def test_every_size_fits_into_the_parts_that_s3_allows(size: int) -> None:
    part_size = part_size_for(size)
    assert PART_SIZE <= part_size <= MAX_PART_SIZE
    assert -(-size // part_size) <= MAX_PARTS
    assert part_size % MIB == 0


@pytest.mark.parametrize(
    ("size", "part_size"),
    [
        (1, 8 * MIB),
        (6 * 10**9, 8 * MIB),
        (10_000 * 8 * MIB, 8 * MIB),
        (10_000 * 8 * MIB + 1, 9 * MIB),
        (MAX_SIZE, MAX_PART_SIZE),
    ],
)
def test_parts_grow_only_when_there_would_be_too_many(size: int, part_size: int) -> None:
    assert part_size_for(size) == part_size


@pytest.mark.parametrize("size", [0, -1, MAX_SIZE + 1])
def test_a_file_that_s3_cannot_hold_is_refused(size: int) -> None:
    with pytest.raises(WrongSize):
        part_size_for(size)


@given(st.integers(1, 5000), st.integers(1, 700))
def test_the_parts_are_the_whole_file_in_order(size: int, part_size: int) -> None:
    parts: list[Part] = []
    while part := next_part(size, part_size, len(parts)):
        parts.append(part)
    assert [part.number for part in parts] == list(range(1, len(parts) + 1))
    assert b"".join(bytes(part.length) for part in parts) == bytes(size)
    assert [part.start for part in parts] == [part_size * index for index in range(len(parts))]
    assert all(part.length == part_size for part in parts[:-1])


@given(st.integers(1, 5000), st.integers(1, 700), st.integers(0, 9), st.integers(1, 300))
def test_the_ranges_are_the_whole_part_in_order(
    size: int, part_size: int, done: int, length: int
) -> None:
    part = next_part(size, part_size, done)
    if part is None:
        assert done * part_size >= size
        return
    position = part.start
    for piece in ranges(part, length):
        assert piece.start == position
        assert 0 < piece.length <= length
        position += piece.length
    assert position == part.start + part.length


def uploaded(number: int, size: int, checksum: str = "x") -> UploadedPart:
    return UploadedPart(number=number, size=size, etag="e", sha256=checksum)


@given(st.sets(st.integers(1, 12)))
def test_uploaded_parts_count_up_to_the_first_gap(numbers: set[int]) -> None:
    parts = [uploaded(number, 10) for number in numbers]
    prefix = [part.number for part in uploaded_prefix(100, 10, parts)]
    assert prefix == list(range(1, len(prefix) + 1))
    assert len(prefix) == 10 or len(prefix) + 1 not in numbers


@pytest.mark.parametrize("wrong", [uploaded(2, 9), uploaded(2, 11), uploaded(2, 10, "")])
def test_a_part_of_another_size_or_without_a_checksum_does_not_count(wrong: UploadedPart) -> None:
    assert len(uploaded_prefix(25, 10, [uploaded(1, 10), wrong, uploaded(3, 5)])) == 1


def test_the_last_part_is_shorter() -> None:
    parts = [uploaded(1, 10), uploaded(2, 10), uploaded(3, 5)]
    assert uploaded_prefix(25, 10, parts) == parts


def test_the_composite_checksum_is_that_of_the_checksums() -> None:
    digests = [hashlib.sha256(each).digest() for each in (b"a", b"b")]
    parts = [
        uploaded(number, 1, base64.b64encode(digest).decode())
        for number, digest in enumerate(digests, start=1)
    ]
    whole = base64.b64encode(hashlib.sha256(b"".join(digests)).digest()).decode()
    assert composite_checksum(parts) == f"{whole}-2"


def test_facts_that_vonage_does_not_report_are_not_compared() -> None:
    verify_size(5, None)
    verify_sha256("x", None)
    verify_sha256("x", "")


def test_facts_that_vonage_reports_must_match() -> None:
    verify_size(5, 5)
    verify_sha256("x", "x")
    with pytest.raises(WrongSize):
        verify_size(5, 6)
    with pytest.raises(WrongChecksum):
        verify_sha256("x", "y")


def test_a_key_has_day_session_and_recording() -> None:
    key = object_key(NOON, "2_MX40-fg", "b40ef09b-3811-4726", "zip")
    assert key == "recordings/2026/03/07/2_MX40-fg/b40ef09b-3811-4726.zip"


@given(TEXT, TEXT)
def test_a_key_has_safe_characters_and_five_slashes_whatever_the_ids(
    session_id: str, recording_id: str
) -> None:
    key = object_key(NOON, session_id, recording_id, "mp4")
    assert key.count("/") == 5
    assert "/.." not in key
    assert key.isascii()
    assert not set(key) & set(" %+?#&\\\"'<>~")


@given(TEXT, TEXT, TEXT, TEXT)
def test_different_ids_have_different_keys(
    session: str, recording: str, other_session: str, other_recording: str
) -> None:
    same = (session, recording) == (other_session, other_recording)
    key = object_key(NOON, session, recording, "mp4")
    assert (key == object_key(NOON, other_session, other_recording, "mp4")) == same


@given(st.lists(st.binary(max_size=200), max_size=12))
def test_a_hash_that_is_continued_from_its_state_is_that_of_all_data(pieces: list[bytes]) -> None:
    state = None
    for piece in pieces:
        continued = sha256(state)
        continued.update(bytearray(piece))
        state = continued.state
        assert state is not None
    assert sha256(state).digest() == sha256_of(b"".join(pieces))


def test_a_hash_can_be_continued_after_its_digest_was_read() -> None:
    ongoing = sha256()
    ongoing.update(bytearray(b"a"))
    assert ongoing.digest() == sha256_of(b"a")
    ongoing.update(bytearray(b"b"))
    assert ongoing.digest() == sha256_of(b"ab")


def test_another_state_is_refused() -> None:
    with pytest.raises(ValueError, match="state"):
        sha256(b"short")


@pytest.mark.parametrize(("part_size", "in_flight"), [(8, 4), (9, 3), (16, 2), (64, 2)])
def test_a_copy_keeps_the_states_of_its_hash_from_which_it_may_go_on(
    part_size: int, in_flight: int
) -> None:
    copy = Copy(
        bucket="b", key="k", size=1, part_size=part_size * MIB, source_etag='"e"', started_at=NOON
    )
    assert parts_in_flight(copy.part_size) == in_flight
    for parts in range(1, 10):
        copy = copy.with_hash_state(parts, bytes([parts]))
        known = [each for each in range(1, 10) if copy.hash_state(each) == bytes([each])]
        assert known == list(range(max(1, parts - in_flight), parts + 1))
    assert [each.parts for each in copy.with_hash_state(8, b"").hash_states][-1] == 8


@pytest.mark.parametrize(
    ("size", "requests"), [(1, 1), (16 * MIB, 1), (16 * MIB + 1, 5), (24 * MIB + 1, 6)]
)
def test_a_small_file_is_sent_with_one_request(size: int, requests: int) -> None:
    assert requests_for(size) == requests


def test_a_response_without_a_length_is_an_error_that_may_pass() -> None:
    listed = {"Contents": [{"Key": "recordings/a.mp4"}]}
    client = SimpleNamespace(
        list_objects_v2=lambda **_: listed, head_object=lambda **_: {"ResponseMetadata": {}}
    )
    with pytest.raises(AwsError) as caught:
        Bucket("copies", client).find("recordings/a.mp4")
    assert caught.value.is_retryable
