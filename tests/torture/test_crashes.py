"""Functions killed at random moments during their work: nothing is lost."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import partial

import pytest

from local.waiting import wait_until
from tests.support import functions, jobs
from tests.support.deployed import WITHIN, Deployed
from tests.support.jobs import JobFailed
from tests.support.ledger import Ledger, Totals
from tests.support.measurements import Measurements
from tests.support.suites import LOCAL
from tests.torture import work

pytestmark = pytest.mark.local_stack

JOBS = {name: work.JOBS[name] for name in ("RecordingCleanup", "RoomExpiryExtender")}
"""The jobs that change resources at Vonage."""


@pytest.fixture
def times(full: bool) -> int:
    """The number of times each function is killed."""
    return 50 if full else 1


class Killer:
    """Kills a function's processes at random moments; the function's name is the seed."""

    def __init__(self, deployed: Deployed, function: str) -> None:
        self._deployed = deployed
        self._name = functions.named(deployed)[function]
        self._random = random.Random(function)
        self._wait = threading.Event().wait
        self._others = {*jobs.processes()} - {*jobs.workers(deployed, self._name)}

    def kill_under_load(self, times: int) -> int:
        """Kill a busy process `times` times; return how often one was killed.

        A process that became idle just before the kill is not killed, and another one is awaited.
        """
        return sum(wait_until(self._kills_at_work, WITHIN) for _ in range(times))

    def cut_off(
        self, give_work: Callable[[], list[str]], run: Callable[[], object], times: int
    ) -> tuple[int, set[str]]:
        """Start `run` repeatedly and kill the function after it has made some progress.

        A run that ends before the kill does not count as a crash, and another one is started.

        Returns:
            The number of crashes, and the ids of all items that it was given.
        """
        crashes, given = 0, set[str]()
        for _ in range(10 * times):
            given.update(give_work())
            crashes += self._crashes(run)
            if crashes == times:
                break
        return crashes, given

    def _crashes(self, run: Callable[[], object]) -> bool:
        """Start `run`, kill the function after some progress, and return whether the run failed."""
        written = self._written()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run)
            wait_until(lambda: self._written() > written or running.done(), WITHIN)
            self._wait(self._random.uniform(0.0, 0.6))
            self._kill()
        return isinstance(running.exception(), JobFailed)

    def _kills_at_work(self) -> bool:
        self._await_work()
        return self._kill()

    def _await_work(self) -> None:
        """Return at a random moment when the function has made progress and is busy."""
        written = self._written()
        self._wait(self._random.uniform(0.0, 0.3))
        wait_until(lambda: self._written() > written, WITHIN)
        wait_until(lambda: bool(self._at_work()), WITHIN, interval=0.005)
        self._wait(self._random.uniform(0.0, 0.03))

    def _written(self) -> int:
        """Return the size of the function's log in bytes."""
        log = LOCAL / "functions" / f"{self._name}.log"
        return log.stat().st_size if log.exists() else 0

    def _at_work(self) -> list[int]:
        return jobs.at_work(self._deployed, self._name, self._others)

    def _kill(self) -> bool:
        """Kill a process that handles an invocation; return whether there was one."""
        working = self._at_work()
        if working:
            with suppress(ProcessLookupError):
                os.kill(self._random.choice(working), signal.SIGKILL)
        return bool(working)


def record(
    measurements: Measurements, totals: Totals, kills: int, undone: Iterable[str] = ()
) -> Totals:
    """Add the number of crashes and their losses to the measurements; return `totals`."""
    lost = len(totals.lost) + len(totals.missing) + len(set(undone))
    measurements.add("crashes", tried=kills, lost=lost)
    return totals.record(measurements)


def test_intake_and_publishing_lose_nothing_when_they_are_killed(
    deployed: Deployed, measurements: Measurements, times: int
) -> None:
    deployed.vonage.settings(attempts=100, backoff=0.05, video_retries="brief")
    ledger = Ledger(deployed)
    killers = [Killer(deployed, name) for name in ("CallbackIntake", "EventPublisher")]

    with ThreadPoolExecutor(2) as pool:
        killing = [pool.submit(killer.kill_under_load, times) for killer in killers]
        sent = seed = 0
        while not all(each.done() for each in killing):
            seed += 1
            meetings = deployed.vonage.hold_meetings(5, senders=4, drop=0.0, seed=seed)
            sessions = deployed.vonage.video.play_sessions(1, senders=4, drop=0.0, seed=seed)
            sent += meetings["callbacks"] + sessions["callbacks"]
            let_publishing_catch_up(deployed, ledger.events_before + sent)
    kills = [each.result() for each in killing]

    totals = record(measurements, ledger.close(), sum(kills))
    totals.require()
    assert totals.refused == 0
    assert kills == [times, times]


def let_publishing_catch_up(deployed: Deployed, due: int) -> None:
    """Wait up to 3 seconds until fewer than 100 events are due, so that no backlog builds up."""
    deployed.subscriber.wait_for(lambda events: len(events) > due - 100, 3)


def test_cleanup_and_extension_lose_nothing_when_they_are_killed(
    deployed: Deployed, measurements: Measurements, times: int
) -> None:
    work.finish_all(deployed, JOBS.values())  # items of other tests
    ledger = Ledger(deployed)
    given = {"RecordingCleanup": partial(work.old_recordings, deployed, 5)}
    given["RoomExpiryExtender"] = partial(work.lapsing_rooms, deployed, 5)

    with slowed_down(deployed), ThreadPoolExecutor(2) as pool:
        cleanup, extension = [
            pool.submit(
                Killer(deployed, name).cut_off,
                given[name],
                partial(jobs.run, deployed, output),
                times,
            )
            for name, output in JOBS.items()
        ]
    work.finish_all(deployed, JOBS.values())

    (deletions, recordings), (extensions, rooms) = cleanup.result(), extension.result()
    undone = work.undone(deployed, recordings, rooms)
    due = {("recording:deleted", id_) for id_ in recordings}
    due |= {("room:extended", id_) for id_ in rooms}
    record(measurements, ledger.close(due), deletions + extensions, undone).require()
    assert not undone
    assert (deletions, extensions) == (times, times)


@contextmanager
def slowed_down(deployed: Deployed) -> Iterator[None]:
    """Slow the jobs down within the context, so that they can be killed during a run."""
    names = functions.named(deployed)
    with ExitStack() as exits:
        for name in JOBS:
            slow = functions.configured(deployed, names[name], JOB_CONCURRENCY="1")
            exits.enter_context(slow)
        for operation in ("delete_recording", "update_room"):
            deployed.vonage.fault(operation, latency=0.3)
        exits.callback(deployed.vonage.clear_faults)
        yield
