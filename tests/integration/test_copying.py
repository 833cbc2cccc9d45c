"""The copier between a hostile source and a strict S3 makes only verified objects."""

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import boto3
import pytest
from msgspec.structs import replace

from local.testing.builders import instant_retries
from roomkeeper.aws import AwsError
from roomkeeper.aws.bucket import Bucket
from roomkeeper.domain import copies
from roomkeeper.domain.copies import IN_FLIGHT, PART_SIZE, Copy, WrongChecksum, WrongSize
from roomkeeper.jobs.copier import AlreadyStored, Continued, Copied, Copier, NoFile, Outcome
from roomkeeper.jobs.source import CONNECTIONS, PIECE_SIZE
from roomkeeper.vonage.downloads import (
    Downloader,
    DownloadFailed,
    DownloadInterrupted,
    DownloadRefused,
    FileChanged,
    LinkExpired,
)
from roomkeeper.vonage.recordings_api import Download
from roomkeeper.vonage.retry import Deadline, RetryPolicy
from tests.integration.copying_support import (
    FileServer,
    Handler,
    RangeRequest,
    serving,
    some_bytes,
)
from tests.integration.s3_support import S3Server, s3

KEY = "recordings/2026/11/25/session/recording.mp4"
CONTENT = some_bytes(3 * PART_SIZE + 1_000_000)
OTHER = some_bytes(len(CONTENT), seed=2)
SMALL = some_bytes(1000)
SHORT_DELAYS = RetryPolicy(base_delay=0.001, max_delay=0.01)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3() as server:
        for name, value in {
            "AWS_ENDPOINT_URL": server.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "eu-west-1",
            "NO_PROXY": "127.0.0.1,localhost",
        }.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
        yield server


@pytest.fixture
def files() -> Iterator[FileServer]:
    with serving(CONTENT) as server:
        yield server


class AfterPart(Deadline):
    """A deadline that is near once this part of the file is requested, and far away before."""

    def __init__(self, files: FileServer, number: int) -> None:
        super().__init__(600)
        self._files = files
        self._start = (number - 1) * PART_SIZE

    def remaining(self) -> float:
        asked = any(each.if_match and each.start >= self._start for each in self._files.requests)
        return 30.0 if asked else 600.0


class Attempts:
    """Copies a file in several attempts, each with the progress that was saved last."""

    def __init__(self, files: FileServer) -> None:
        self.files = files
        self.retry = SHORT_DELAYS
        self.saved: list[Copy] = []
        self.save: Callable[[Copy], None] = self._save
        self.downloads = 0
        self.sha256: str | None = None
        self.size: int | None = None

    def __call__(self, deadline: Any = None, downloads: Callable[[], Any] | None = None) -> Outcome:
        copier = Copier(
            Bucket("copies"),
            Downloader(allows_loopback=True, retry=self.retry, no_progress_timeout=60),
        )
        started = self.saved[-1] if self.saved else None
        return copier.copy(
            KEY,
            "mp4",
            started,
            downloads or self._download,
            self.save,
            deadline or Deadline(600),
        )

    def _save(self, copy: Copy) -> None:
        self.saved.append(copy)

    def _download(self) -> Download:
        self.downloads += 1
        return Download(url=self.files.url, size=self.size, sha256=self.sha256)


@pytest.fixture
def attempt(files: FileServer, store: S3Server, monkeypatch: pytest.MonkeyPatch) -> Attempts:
    monkeypatch.setattr(copies, "IN_FLIGHT", 2 * PART_SIZE)  # less than the file
    return Attempts(files)


def copied(outcome: Outcome) -> Copy:
    assert isinstance(outcome, Copied)
    return outcome.copy


def assert_no_object(store: S3Server) -> None:
    assert store.objects == {}
    assert store.writes == 0


@pytest.mark.parametrize("content", [SMALL, CONTENT[:PART_SIZE], CONTENT], ids=len)
def test_a_file_is_copied_byte_for_byte(content: bytes, attempt: Attempts, store: S3Server) -> None:
    attempt.files.content = content
    attempt.sha256, attempt.size = attempt.files.sha256, len(content)
    copy = copied(attempt())
    stored = store.objects[KEY]
    assert stored.content == content
    assert (copy.bucket, copy.key, copy.size) == ("copies", KEY, len(content))
    assert (copy.sha256, copy.version_id) == (attempt.files.sha256, stored.version)
    assert copy.s3_checksum == stored.checksum
    assert copy.copied_at
    assert store.uploads == {}


def test_without_a_checksum_of_vonage_the_sha256_is_known(attempt: Attempts) -> None:
    assert copied(attempt()).sha256 == attempt.files.sha256


def test_no_byte_is_read_twice(attempt: Attempts) -> None:
    attempt()
    assert attempt.files.bytes_requested() == len(CONTENT)


def test_several_ranges_are_read_concurrently(attempt: Attempts) -> None:
    """No response is sent until as many requests have arrived as there are connections."""
    together = threading.Barrier(CONNECTIONS, timeout=60)

    def hold(_handler: Handler, request: RangeRequest) -> bool:
        if request.if_match and request.start < CONNECTIONS * PIECE_SIZE:
            together.wait()
        return False

    attempt.files.fault = hold
    copied(attempt())


def test_at_the_deadline_a_copy_stops_and_the_next_invocation_continues_it(
    attempt: Attempts, store: S3Server
) -> None:
    attempt.sha256 = attempt.files.sha256
    outcome = attempt(AfterPart(attempt.files, 1))
    assert isinstance(outcome, Continued)
    assert outcome.copy == attempt.saved[-1]
    assert_no_object(store)
    [upload] = store.uploads.values()
    assert sorted(upload.parts) in ([1], [1, 2])
    assert copied(attempt()).sha256 == attempt.files.sha256
    assert sorted(store.sent_parts()) == [1, 2, 3, 4]
    assert attempt.files.bytes_requested() == len(CONTENT)


def test_a_checksum_is_verified_over_all_invocations(attempt: Attempts, store: S3Server) -> None:
    attempt.sha256 = "A" * 43 + "="
    assert isinstance(attempt(AfterPart(attempt.files, 1)), Continued)
    with pytest.raises(WrongChecksum):
        attempt()
    assert_no_object(store)
    assert store.uploads == {}


def test_parts_whose_hash_state_was_lost_are_read_again(attempt: Attempts, store: S3Server) -> None:
    attempt.sha256 = attempt.files.sha256
    attempt(AfterPart(attempt.files, 1))
    attempt.saved = attempt.saved[:1]
    assert copied(attempt()).sha256 == attempt.files.sha256
    assert store.objects[KEY].content == CONTENT


def test_an_upload_that_was_removed_is_started_again(attempt: Attempts, store: S3Server) -> None:
    attempt(AfterPart(attempt.files, 1))
    store.uploads.clear()
    copied(attempt())
    assert store.objects[KEY].content == CONTENT


def test_an_upload_that_s3_never_completes_is_started_again(
    attempt: Attempts, store: S3Server
) -> None:
    """After a conflict, as with a deletion during the upload, S3 refuses every completion of it."""
    conflicts: list[str] = []

    def refuse(method: str, path: str) -> int | None:
        if method == "POST" and "uploadId=upload-1" in path:
            conflicts.append(path)
            return 409
        return None

    store.fault = refuse
    for _ in range(2):  # at first, the conflict may be with a completion that is still in progress
        assert_no_object(store)
        with pytest.raises(AwsError, match="exists"):
            attempt()
    assert copied(attempt()).sha256 == attempt.files.sha256
    assert len(conflicts) == 2
    assert store.objects[KEY].content == CONTENT
    assert store.uploads == {}


def test_a_completion_that_is_still_in_progress_is_not_disturbed(
    attempt: Attempts, store: S3Server
) -> None:
    store.fault = lambda method, path: 409 if method == "POST" and "uploadId" in path else None
    with pytest.raises(AwsError, match="exists"):
        attempt()
    assert [*store.uploads] == ["upload-1"]
    store.fault = lambda _method, _path: None
    copied(attempt())
    assert len(store.sent_parts()) == 4


@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=len)
def test_no_object_is_made_if_the_checksum_is_wrong(
    content: bytes, attempt: Attempts, store: S3Server
) -> None:
    attempt.files.content = content
    attempt.sha256 = "A" * 43 + "="
    with pytest.raises(WrongChecksum):
        attempt()
    assert_no_object(store)
    assert store.uploads == {}


def test_no_object_is_made_of_an_empty_file(attempt: Attempts, store: S3Server) -> None:
    attempt.files.content = b""
    with pytest.raises(WrongSize, match="empty"):
        attempt()
    assert_no_object(store)


def test_no_object_is_made_if_the_size_differs_from_vonages(
    attempt: Attempts, store: S3Server
) -> None:
    attempt.size = len(CONTENT) + 1
    with pytest.raises(WrongSize):
        attempt()
    assert_no_object(store)
    assert store.requests == []


def test_a_file_that_changes_on_the_way_is_copied_anew(attempt: Attempts, store: S3Server) -> None:
    def change(handler: Handler, request: RangeRequest) -> bool:
        if request.start >= PART_SIZE and handler.files.content is CONTENT:
            handler.files.content, handler.files.etag = OTHER, '"etag-2"'
        return False

    attempt.files.fault = change
    copied(attempt())
    assert store.objects[KEY].content == OTHER
    assert store.uploads == {}


def test_a_file_that_changed_between_invocations_is_copied_anew(
    attempt: Attempts, store: S3Server
) -> None:
    attempt(AfterPart(attempt.files, 1))
    attempt.files.content, attempt.files.etag = OTHER, '"etag-2"'
    copied(attempt())
    assert store.objects[KEY].content == OTHER
    assert store.uploads == {}


def test_no_object_is_made_of_a_file_that_keeps_changing(
    attempt: Attempts, store: S3Server
) -> None:
    def change(handler: Handler, request: RangeRequest) -> bool:
        if request.start >= PART_SIZE:
            handler.refuse(412)
        return request.start >= PART_SIZE

    attempt.files.fault = change
    with pytest.raises(FileChanged):
        attempt()
    assert_no_object(store)
    assert store.uploads == {}


def test_an_expired_link_is_replaced_by_a_fresh_one(attempt: Attempts, store: S3Server) -> None:
    def expire(handler: Handler, request: RangeRequest) -> bool:
        if request.start >= PART_SIZE and attempt.downloads == 1:
            handler.refuse(403)
            return True
        return False

    attempt.files.fault = expire
    copied(attempt())
    assert store.objects[KEY].content == CONTENT
    assert attempt.downloads == 2


def test_links_that_have_all_expired_are_an_error(attempt: Attempts, store: S3Server) -> None:
    attempt.files.fault = lambda handler, request: bool(request.if_match and handler.refuse(403))
    with pytest.raises(LinkExpired):
        attempt()
    assert attempt.downloads == 4
    assert_no_object(store)


def test_without_a_file_at_vonage_the_started_upload_is_removed(
    attempt: Attempts, store: S3Server
) -> None:
    attempt(AfterPart(attempt.files, 1))
    assert attempt(downloads=lambda: None) == NoFile()
    assert store.uploads == {}
    assert_no_object(store)


def test_an_upload_is_removed_if_the_file_is_gone_when_the_link_expires(
    attempt: Attempts, store: S3Server
) -> None:
    """All readers find it out at once. One asks Vonage, and the others do not ask again."""
    together = threading.Barrier(CONNECTIONS, timeout=60)
    asked: list[Download | None] = []

    def gone(handler: Handler, request: RangeRequest) -> bool:
        if request.if_match:
            together.wait()
            handler.refuse(404)
        return bool(request.if_match)

    def downloads() -> Download | None:
        asked.append(None if asked else Download(url=attempt.files.url))
        return asked[-1]

    attempt.files.fault = gone
    assert attempt(downloads=downloads) == NoFile()
    assert len(asked) == 2
    assert store.uploads == {}
    assert_no_object(store)


@pytest.mark.parametrize(
    ("headers", "error"),
    [
        ({"Content_Length": "99999999999"}, DownloadRefused),
        ({"Content_Length": "5"}, DownloadRefused),
        ({"Content_Encoding": "gzip"}, DownloadRefused),
    ],
)
def test_no_object_is_made_of_a_hostile_response(
    headers: dict[str, str], error: type[DownloadFailed], attempt: Attempts, store: S3Server
) -> None:
    def respond(handler: Handler, request: RangeRequest) -> bool:
        if request.start < PART_SIZE:
            return False
        handler.start_body(request, **headers)
        return True

    attempt.files.fault = respond
    with pytest.raises(error):
        attempt()
    assert_no_object(store)
    assert store.uploads == {}


def test_a_redirect_to_the_metadata_address_is_not_followed(
    attempt: Attempts, store: S3Server
) -> None:
    location = "http://169.254.169.254/latest/meta-data/iam/"
    attempt.files.fault = lambda handler, _: handler.refuse(302, Location=location)
    with pytest.raises(DownloadRefused, match="redirect"):
        attempt()
    assert store.requests == []


def test_no_object_is_made_if_every_read_is_interrupted(attempt: Attempts, store: S3Server) -> None:
    def cut_off(handler: Handler, request: RangeRequest) -> bool:
        if request.start < PART_SIZE:
            return False
        handler.start_body(request)
        handler.close_connection = True
        return True

    attempt.files.fault, attempt.retry = cut_off, instant_retries()
    with pytest.raises(DownloadInterrupted):
        attempt()
    assert_no_object(store)


def test_faults_on_both_sides_change_nothing_in_the_copy(
    attempt: Attempts, store: S3Server
) -> None:
    chance = random.Random(1)

    def source_fault(handler: Handler, request: RangeRequest) -> bool:
        kind = chance.randrange(15) if request.if_match else 9
        if kind == 0:
            handler.refuse(503)
        elif kind == 1:
            handler.start_body(request)
            handler.wfile.write(CONTENT[request.start : (request.start + request.end) // 2])
        handler.close_connection = kind < 3
        return kind < 3

    failing = {"count": 0}

    def s3_fault(_method: str, _path: str) -> int | None:
        failing["count"] += 1
        return {1: 500, 3: 503, 4: 500, 7: 503}.get(failing["count"])

    attempt.files.fault, store.fault = source_fault, s3_fault
    attempt.sha256 = attempt.files.sha256
    copied(attempt())
    assert store.objects[KEY].content == CONTENT
    assert store.writes == 1


def test_a_part_that_is_corrupted_on_the_way_to_s3_is_refused(
    attempt: Attempts, store: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = Bucket.send

    def corrupted(bucket: Bucket, key: str, upload: str, number: int, data: Any, sha: str) -> Any:
        return genuine(bucket, key, upload, number, bytearray(len(data)), sha)

    monkeypatch.setattr(Bucket, "send", corrupted)
    with pytest.raises(AwsError, match="BadDigest"):
        attempt()
    assert_no_object(store)


@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=len)
def test_a_second_copy_does_not_replace_the_first(
    content: bytes, attempt: Attempts, store: S3Server
) -> None:
    attempt.files.content = content
    first = copied(attempt())
    attempt.saved = []
    second = copied(attempt())
    assert (second.version_id, second.sha256) == (first.version_id, first.sha256)
    assert store.writes == 1
    assert store.uploads == {}


@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=len)
def test_a_response_that_is_lost_after_the_object_was_made_is_no_failure(
    content: bytes, attempt: Attempts, store: S3Server
) -> None:
    attempt.files.content = content
    lost: list[str] = []

    def lose(method: str, path: str) -> bool:
        if store.writes and not lost and method != "HEAD":
            lost.append(path)
            return True
        return False

    store.after = lose
    copied(attempt())
    assert len(lost) == 1
    assert store.writes == 1


@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=len)
def test_a_crash_after_the_object_was_made_is_found_out_without_the_source(
    content: bytes, attempt: Attempts, store: S3Server
) -> None:
    attempt.files.content = content
    first = copied(attempt())
    requests = len(attempt.files.requests)
    assert copied(attempt()).version_id == first.version_id
    assert len(attempt.files.requests) == requests


@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=len)
def test_a_copy_that_was_started_in_an_earlier_bucket_names_the_bucket_of_its_object(
    content: bytes, attempt: Attempts, store: S3Server
) -> None:
    attempt.files.content = content
    first = copied(attempt())
    attempt.saved.append(replace(attempt.saved[-1], bucket="an-earlier-bucket"))
    again = copied(attempt())
    assert (again.bucket, again.version_id) == ("copies", first.version_id)
    assert store.writes == 1


@pytest.mark.parametrize("content", [SMALL, CONTENT], ids=len)
def test_another_object_under_the_key_is_never_replaced(
    content: bytes, attempt: Attempts, store: S3Server
) -> None:
    attempt.files.content = some_bytes(len(content), seed=3)
    copied(attempt())
    attempt.files.content, attempt.saved = content, []
    with pytest.raises(AlreadyStored):
        attempt()
    assert store.writes == 1
    assert store.uploads == {}


def test_if_the_progress_cannot_be_saved_no_upload_remains(
    attempt: Attempts, store: S3Server
) -> None:
    class Lost(Exception):
        pass

    def refuse(_copy: Copy) -> None:
        raise Lost

    attempt.save = refuse
    with pytest.raises(Lost):
        attempt()
    assert store.uploads == {}


def test_a_presigned_url_names_the_version(store: S3Server) -> None:
    url = Bucket("copies").url(KEY, "version-7", timedelta(minutes=5))
    assert url.startswith(f"{store.url}/copies/{KEY}?")
    assert "versionId=version-7" in url
    assert "Expires" in url


@pytest.mark.parametrize("point", ["uploads", "partNumber=3", "uploadId"])
def test_a_killed_copy_is_continued(
    point: str, files: FileServer, store: S3Server, tmp_path: Path
) -> None:
    """The process is killed when S3 receives the request that starts or completes the upload, or
    that has its third part. The unit tests of the transfer have the other moments.
    """
    killed: list[subprocess.Popen[bytes]] = []
    moments = {"seen": 0}

    def kill_at(moment: bool) -> None:
        with files.lock:
            moments["seen"] += moment
            if moments["seen"] == 1 and moment and killed:
                killed[0].kill()

    def s3_fault(method: str, path: str) -> None:
        kill_at(point in path and (point != "uploadId" or method == "POST"))

    store.fault = s3_fault
    command = [
        sys.executable,
        "-m",
        "tests.integration.copying_process",
        files.url,
        files.sha256,
        str(tmp_path / "progress"),
    ]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(command, env=env) as first:
        killed.append(first)
        assert first.wait(120) == -9
    store.fault = lambda _method, _path: None
    subprocess.run(command, env=env, check=True, timeout=120)
    assert store.objects["recordings/a.mp4"].content == CONTENT
    assert store.writes == 1
    assert store.uploads == {} or point == "uploads"
    assert files.bytes_requested() <= len(CONTENT) + IN_FLIGHT
