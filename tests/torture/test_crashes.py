"""Functions killed in the middle of their work, at random moments: the balance is the same."""

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
from tests.support import functions, jobs, leaks
from tests.support.balance import Account, Balance
from tests.support.deployed import WITHIN, Deployed
from tests.support.figures import Figures
from tests.support.jobs import JobFailed
from tests.torture import work

pytestmark = pytest.mark.local_stack

JOBS = {name: work.JOBS[name] for name in ("RecordingCleanup", "RoomExpiryExtender")}
"""The jobs that change what Vonage has."""


@pytest.fixture
def times(full: bool) -> int:
    """How often each function is killed."""
    return 50 if full else 1


class Killer:
    """Kills a function's processes at moments that a seed decides."""

    def __init__(self, deployed: Deployed, function: str) -> None:
        self._deployed = deployed
        self._name = functions.named(deployed)[function]
        self._dice = random.Random(function)
        self._pause = threading.Event().wait
        self._others = {*jobs.processes()} - {*jobs.workers(deployed, self._name)}

    def kill_under_load(self, times: int) -> int:
        """Kill a process that is at work, that many times, if there is one often enough."""
        kills = 0
        for _ in range(3 * times):
            self._await_work()
            kills += self._kill()
            if kills == times:
                break
        return kills

    def cut_off(
        self, give_work: Callable[[], list[str]], run: Callable[[], object], times: int
    ) -> tuple[int, set[str]]:
        """Start `run` over and over and kill the function once it has got something done.

        A run that was over before its moment came is no crash, and another is tried instead.

        Returns:
            How often it fell, and the ids of all that it was given to work on.
        """
        fallen, given = 0, set[str]()
        for _ in range(3 * times):
            given.update(give_work())
            fallen += self._falls(run)
            if fallen == times:
                break
        return fallen, given

    def _falls(self, run: Callable[[], object]) -> bool:
        """Start `run` and kill the function once it has got something done; was it in time?"""
        written = self._written()
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(run)
            wait_until(lambda: self._written() > written or running.done(), WITHIN)
            self._pause(self._dice.uniform(0.0, 0.6))
            self._kill()
        return isinstance(running.exception(), JobFailed)

    def _await_work(self) -> None:
        """Return at some moment when the function has got something done, and is at more."""
        written = self._written()
        self._pause(self._dice.uniform(0.0, 0.3))
        wait_until(lambda: self._written() > written, WITHIN)
        wait_until(lambda: bool(self._at_work()), WITHIN, pause=0.005)
        self._pause(self._dice.uniform(0.0, 0.03))

    def _written(self) -> int:
        """Return how many bytes the function has written into its log."""
        log = leaks.LOCAL / "functions" / f"{self._name}.log"
        return log.stat().st_size if log.exists() else 0

    def _at_work(self) -> list[int]:
        return list(filter(jobs.is_at_work, jobs.workers(self._deployed, self._name, self._others)))

    def _kill(self) -> bool:
        """Kill a process in the middle of an invocation; return whether there was one."""
        working = self._at_work()
        if working:
            with suppress(ProcessLookupError):
                os.kill(self._dice.choice(working), signal.SIGKILL)
        return bool(working)


def entered(figures: Figures, balance: Balance, kills: int, undone: Iterable[str] = ()) -> Balance:
    """Enter how many crashes there were, and all that they have cost."""
    lost = len(balance.lost) + len(balance.missing) + len(set(undone))
    figures.add("crashes", tried=kills, lost=lost)
    return balance.entered(figures)


def test_intake_and_publishing_lose_nothing_when_they_are_killed(
    deployed: Deployed, figures: Figures, times: int
) -> None:
    deployed.vonage.settings(attempts=100, backoff=0.05)
    account = Account(deployed)
    killers = [Killer(deployed, name) for name in ("CallbackIntake", "EventPublisher")]

    with ThreadPoolExecutor(2) as pool:
        killing = [pool.submit(killer.kill_under_load, times) for killer in killers]
        sent = seed = 0
        while not all(each.done() for each in killing):
            seed += 1
            held = deployed.vonage.hold_meetings(5, senders=4, drop=0.0, seed=seed)
            sent += held["callbacks"]
            let_publishing_catch_up(deployed, account.events_before + sent)
    kills = [each.result() for each in killing]

    balance = entered(figures, account.balance(), sum(kills))
    balance.require()
    assert balance.refused == 0
    assert kills == [times, times]


def let_publishing_catch_up(deployed: Deployed, due: int) -> None:
    """Return when it is not far behind: what is sent faster than that would outlast the test."""
    deployed.subscriber.wait_for(lambda events: len(events) > due - 100, 3)


def test_cleanup_and_extension_lose_nothing_when_they_are_killed(
    deployed: Deployed, figures: Figures, times: int
) -> None:
    work.finish_all(deployed, JOBS.values())  # what other tests have left
    account = Account(deployed)
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
    entered(figures, account.balance(due), deletions + extensions, undone).require()
    assert not undone
    assert (deletions, extensions) == (times, times)


@contextmanager
def slowed_down(deployed: Deployed) -> Iterator[None]:
    """Have jobs take their time, so that there is a middle of a run to be killed in."""
    names = functions.named(deployed)
    with ExitStack() as exits:
        for name in JOBS:
            slow = functions.configured(deployed, names[name], JOB_CONCURRENCY="1")
            exits.enter_context(slow)
        for operation in ("delete_recording", "update_room"):
            deployed.vonage.fault(operation, latency=0.3)
        exits.callback(deployed.vonage.clear_faults)
        yield
