"""Functions killed in the middle of their work, at random moments: the balance is the same."""

import os
import random
import signal
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from local import aging
from roomkeeper.times import iso
from tests import functions, jobs
from tests.balance import Account, Balance
from tests.deployed import Deployed
from tests.figures import Figures
from tests.jobs import DAY, JobFailed

pytestmark = pytest.mark.local_stack

KEEP = "roomkeeper:keep"
JOBS = {"RecordingCleanup": "RecordingCleanupName", "RoomExpiryExtender": "RoomExpiryExtenderName"}
"""The jobs, with the outputs that name their functions."""


@pytest.fixture
def times(full: bool) -> int:
    """How often each function is killed."""
    return 50 if full else 3


class Killer:
    """Kills a function's processes at moments that a seed decides."""

    def __init__(self, deployed: Deployed, function: str) -> None:
        self._deployed = deployed
        self._name = functions.named(deployed)[function]
        self._dice = random.Random(function)
        self._pause = threading.Event().wait

    def kill_under_load(self, times: int) -> None:
        """Kill one process that is at work, that many times."""
        while times:
            self._pause(self._dice.uniform(0.05, 0.8))
            times -= self._kill()

    def cut_off(self, run: Callable[[], object], times: int) -> None:
        """Start `run` over and over, and kill the function during it, that many times."""
        while times:
            with ThreadPoolExecutor(1) as pool:
                running = pool.submit(run)
                self._pause(self._dice.uniform(0.3, 2.5))
                self._kill()
            times -= "Worker process" in str(running.exception())

    def _kill(self) -> bool:
        """Kill a process in the middle of an invocation; return whether there was one."""
        working = list(filter(jobs.is_at_work, jobs.workers(self._deployed, self._name)))
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
    deployed.vonage.settings(attempts=100)
    account = Account(deployed)
    killers = [Killer(deployed, name) for name in ("CallbackIntake", "EventPublisher")]

    with ThreadPoolExecutor(2) as pool:
        killing = [pool.submit(killer.kill_under_load, times) for killer in killers]
        seed = 0
        while not all(each.done() for each in killing):
            deployed.vonage.hold_meetings(10, senders=4, drop=0.0, seed=(seed := seed + 1))
    for each in killing:
        each.result()

    balance = entered(figures, account.balance(), 2 * times)
    balance.require()
    assert balance.refused == 0


def test_cleanup_and_extension_lose_nothing_when_they_are_killed(
    deployed: Deployed, figures: Figures, times: int
) -> None:
    for output in JOBS.values():
        finish(deployed, output)  # what other tests have left
    account = Account(deployed)
    recordings = jobs.uploads(deployed, 12 * times)
    aging.back_date(deployed.stack, aging.recordings(recordings), 31 * DAY)
    soon = datetime.now(UTC) + timedelta(days=2)
    rooms = deployed.vonage.add_rooms(12 * times, expires_at=iso(soon), metadata=KEEP)

    with ThreadPoolExecutor(2) as pool:
        killing = [
            pool.submit(Killer(deployed, name).cut_off, partial(jobs.run, deployed, output), times)
            for name, output in JOBS.items()
        ]
    for each in killing:
        each.result()
    for output in JOBS.values():
        finish(deployed, output)

    kept = {each["id"] for each in deployed.vonage.recordings() if not each["deleted"]}
    lapsing = {each["id"] for each in deployed.vonage.rooms() if each["expires_at"] == iso(soon)}
    undone = (kept & set(recordings)) | (lapsing & set(rooms))
    deleted = {("recording:deleted", id_) for id_ in recordings}
    extended = {("room:extended", id_) for id_ in rooms}
    balance = entered(figures, account.balance(deleted | extended), 2 * times, undone)
    balance.require()
    assert not undone


def finish(deployed: Deployed, output: str) -> None:
    """Run a job until there is nothing left for it to do."""
    done = ("deleted", "gone_already", "extended", "completed", "left")
    while True:
        with suppress(JobFailed):
            report = jobs.run(deployed, output)
            if not any(report.get(name) for name in done):
                return
