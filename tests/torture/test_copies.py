"""Copies are made once and completely while the source, S3 and the function fail."""

import os
import random
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

import local.clients.jobs
from local import servers
from local.faults.control import FaultControl
from local.waiting import wait_until
from roomkeeper.domain.copies import IN_FLIGHT, MIB
from tests.support import functions, jobs
from tests.support.deployed import WITHIN, Deployed
from tests.support.measurements import Measurements
from tests.torture.copying import COPIER, Copies, attempts, read_again, sha256_at_vonage

pytestmark = pytest.mark.local_stack

SOURCE_FAULTS: Sequence[Mapping[str, Any]] = (
    {"reset": True},
    {"reset": True, "cut_after": 100_000},
    {"truncate": 1},
    {"status": 429, "retry_after": 1},
    {"status": 503},
    {"status": 500},
    {"status": 403},  # the link has expired
)
"""The faults in a fifth of the requests for a file."""

SLOW: Mapping[str, Any] = {"probability": 0.05, "times": 5}
"""How many requests for files are slow."""

SLOW_RATE, LESS_SLOW_RATE = 20_000, 1_000_000
"""Bytes per second of slow requests: a range takes longer than a request may, or some seconds."""

API_FAULTS: Sequence[Mapping[str, Any]] = ({"status": 503}, {"reset": True}, {"status": 429})


@pytest.fixture(scope="module")
def copier_proxy(copying: Deployed) -> Iterator[FaultControl]:
    """A proxy that the copier uses to reach AWS during these tests."""
    with ExitStack() as exits:
        proxy = servers.start_faults(copying.stack.base_url, copying.folder)
        exits.callback(proxy.stop)
        name = copying.stack.outputs[COPIER]
        exits.enter_context(functions.configured(copying, name, AWS_ENDPOINT_URL=proxy.url))
        yield FaultControl(proxy.url)


@pytest.fixture(autouse=True)
def _without_faults_in_the_end(copying: Deployed) -> Iterator[None]:
    yield
    copying.vonage.clear_faults()


def sizes(*, full: bool) -> list[int]:
    """Return the sizes of the recordings in bytes: many small ones, and a few large ones."""
    generator = random.Random(15)
    small = [int(1000 * 1000 ** generator.random()) for _ in range(140 if full else 5)]
    medium = [int(MIB * 24 ** generator.random()) for _ in range(52 if full else 2)]
    large = [50_000_000] * 6 + [300_000_000] * 2 if full else [40_000_000]
    return [1000, *small[1:], *medium, *large]


def test_every_recording_is_copied_once_although_every_fifth_call_fails(
    copying: Deployed, copier_proxy: FaultControl, measurements: Measurements, full: bool
) -> None:
    copies = Copies(copying)
    fail_at_the_source(copying, 0.2, SLOW_RATE if full else LESS_SLOW_RATE)
    *others, largest = sizes(full=full)

    with cleaning_up(copying) as deleted:
        [changed] = copies.upload([largest])
        expected = {changed: change_while_it_is_copied(copying, copies, changed)}
        copier_proxy.inject(0.2)  # not before: what keeps a copy from beginning is tried again late
        ids = copies.upload(others)
        copies.age(copies.uncopied(ids))
        expected |= {id_: {sha256_at_vonage(copying, id_)} for id_ in ids}
        ids.append(changed)
        is_done = copies.finish(ids, 900)
        injected = copier_proxy.injected()
        copier_proxy.set([])
        copying.vonage.clear_faults()

    assert is_done, [each.recording_id for each in copies.uncopied(ids)]
    assert injected["s3"] or not full  # the short form makes some twenty calls
    assert injected["dynamodb"]
    copies.require(expected, measurements)
    assert copies.stray_parts() == []
    assert sum(deleted) or not full
    copies.drop(ids)


def fail_at_the_source(copying: Deployed, rate: float, slow_rate: int) -> None:
    """Make this share of the requests for files and of the calls of the API fail."""
    copying.vonage.fault("download", rate=slow_rate, **SLOW)
    share(copying, "download", SOURCE_FAULTS, rate)
    for operation in ("get_recording", "get_archive"):
        share(copying, operation, API_FAULTS, rate)


def share(
    copying: Deployed, operation: str, faults: Sequence[Mapping[str, Any]], rate: float
) -> None:
    """Switch on faults whose probabilities add up to `rate`: they are tried in order."""
    left = 1.0
    for seed, fault in enumerate(faults):
        each = rate / len(faults)
        copying.vonage.fault(operation, probability=each / left, seed=seed, **fault)
        left -= each


@contextmanager
def cleaning_up(copying: Deployed) -> Iterator[list[int]]:
    """Run the cleanup again and again within the context; yield how many each run deleted."""
    deleted, is_over = list[int](), threading.Event()

    def clean_up() -> None:
        while not is_over.wait(1):
            response = local.clients.jobs.post(copying.stack, "cleanup", {})
            if response.ok:  # else the machine is too busy, and the next run does it
                deleted.append(response.json()["deleted"])

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(clean_up)
        try:
            yield deleted
        finally:
            is_over.set()
        running.result()


def change_while_it_is_copied(copying: Deployed, copies: Copies, recording_id: str) -> set[str]:
    """Replace a file once its copy has begun; return the SHA-256s that the copy may have.

    It may have that of the old file only if all of it was read before: a copy never has parts of
    both. The last bytes may be read in the moment before the change.
    """
    before = sha256_at_vonage(copying, recording_id)

    def has_begun() -> bool:
        recording = copies.store.get(recording_id)
        return bool(recording and recording.copy)

    assert wait_until(has_begun, WITHIN)
    copying.vonage.video.change_file(recording_id, replace_content=True)
    return {before, sha256_at_vonage(copying, recording_id)}


# --- kills ----------------------------------------------------------------------------------------


def test_a_killed_copy_is_continued_and_reads_no_more_again_than_was_in_flight(
    copying: Deployed, measurements: Measurements, full: bool
) -> None:
    files, kills, size = (10, 5, 100_000_000) if full else (1, 2, 60_000_000)
    copies, generator = Copies(copying), random.Random(files)
    ids = [kill_a_copy(copying, copies, kills, size, generator) for _ in range(files)]

    made = {id_: attempts(copying, id_) for id_ in ids}
    again = [count for each in made.values() for count in read_again(each)]
    measurements.add(
        "killed copies",
        kills=files * kills,
        resumed=len(again),
        read_twice=sum(again),
        most_read_twice=max(again, default=0),
    )
    assert max(again, default=0) <= IN_FLIGHT
    assert len(again) >= files * kills // 2  # in the middle of a file
    copies.require({id_: {sha256_at_vonage(copying, id_)} for id_ in ids}, measurements)
    assert copies.stray_parts() == []
    copies.drop(ids)


def kill_a_copy(
    copying: Deployed, copies: Copies, times: int, size: int, generator: random.Random
) -> str:
    """Kill the function while it copies a file of `size` bytes, then let it finish; return the id.

    After each kill, the invocation's time is over.
    """
    copying.vonage.fault("download", rate=MIB)  # on each of the connections
    [recording_id] = copies.upload([size])
    for killed in range(times):
        await_copying(copies, recording_id)
        await_reading(copying, recording_id, killed)
        threading.Event().wait(generator.uniform(0.5, 3.0))
        assert kill(copying)
        killed_copies = copies.uncopied([recording_id])
        copies.end_claims(killed_copies)
        copies.age(killed_copies)
        assert wait_until(copies.sweep, WITHIN)
    copying.vonage.clear_faults()
    assert copies.finish([recording_id], 2 * WITHIN)
    return recording_id


def await_copying(copies: Copies, recording_id: str) -> None:
    """Wait until an invocation copies a recording."""
    assert wait_until(lambda: copies.is_claimed(recording_id), WITHIN)


def await_reading(copying: Deployed, recording_id: str, before: int) -> None:
    """Wait until an attempt to copy a recording reads the file, after `before` earlier ones did."""
    reads = wait_until(lambda: len(attempts(copying, recording_id)) > before, WITHIN, interval=0.2)
    assert reads


def kill(copying: Deployed) -> int:
    """Kill the copier's processes that are at work; return how many there were."""
    killed = 0
    for worker in jobs.at_work(copying, copying.stack.outputs[COPIER]):
        with suppress(ProcessLookupError):
            os.kill(worker, signal.SIGKILL)
            killed += 1
    return killed


# --- hostile sources ------------------------------------------------------------------------------

METADATA = "http://169.254.169.254/latest/meta-data/iam/security-credentials/"

HOSTILE: Mapping[str, Mapping[str, Any]] = {
    "an endless body": {"endless": True},
    "a body that is too short": {"content_length": 5},
    "a body that is too long": {"content_length": 10_000_000_000},
    "a redirect to the metadata address": {"status": 302, "location": METADATA},
    "a gzip bomb": {"gzip": True},
    "no range": {"status": 200, "body": "x" * 1000},
}


def test_hostile_sources_never_become_objects(
    copying: Deployed, measurements: Measurements
) -> None:
    copies = Copies(copying)
    ids = []
    for fault in HOSTILE.values():
        copying.vonage.fault("download", **fault)
        [id_] = copies.upload([1_000_000])
        require_refused(copies, id_)
        copying.vonage.clear_faults()
        ids.append(id_)
    [empty] = copies.upload([0])
    require_refused(copies, empty)
    copying.vonage.video.change_file(empty, size=1000)
    ids.append(empty)

    assert copies.finish(ids, WITHIN)
    copies.require({id_: {sha256_at_vonage(copying, id_)} for id_ in ids}, measurements)
    assert copies.stray_parts() == []


def require_refused(copies: Copies, recording_id: str) -> None:
    """Wait until a copy has failed for a reason of its own; fail if any object or upload exists."""

    def is_refused() -> bool:
        known = copies.store.get(recording_id)
        assert known is None or known.copied_at is None
        is_deferred = known and (known.worklist or "").startswith("deferred_awaiting_copy#")
        return bool(is_deferred and known and known.copy_claimed_until is None)

    assert wait_until(is_refused, WITHIN)
    assert copies.stray_parts() == []
