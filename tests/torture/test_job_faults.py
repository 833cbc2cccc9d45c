"""Faults between AWS and the functions that change resources at Vonage: all work is done once."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from requests import Response

from local.clients.management import ManagementApi
from local.faults.control import FaultControl
from local.waiting import wait_until
from tests.support import functions, jobs
from tests.support.deployed import WITHIN, Deployed
from tests.support.jobs import JobFailed
from tests.support.leaks import Past
from tests.support.ledger import Ledger
from tests.support.measurements import Measurements
from tests.torture import work

pytestmark = pytest.mark.local_stack


class Caller:
    """Calls the management API and retries 502, 503 and 504, as the API's description says."""

    def __init__(self, deployed: Deployed, past: Past) -> None:
        self._deployed = deployed
        self._past = past

    def each(self, method: str, ids: Iterable[str], suffix: str = "", **options: Any) -> None:
        """Call the API for each of these recordings, four at the same time."""
        with ThreadPoolExecutor(4) as pool:
            calls = [
                pool.submit(self._call, method, f"/recordings/{id_}{suffix}", **options)
                for id_ in ids
            ]
        for call in calls:
            call.result()

    def _call(self, method: str, path: str, **options: Any) -> None:
        api = ManagementApi(self._deployed.stack)

        def is_done() -> bool:
            response: Response = api.call(method, path, **options)
            if not response.ok:
                self._past.errors.append(response.text)
                assert response.status_code in (502, 503, 504), response.text
            return response.ok

        assert wait_until(is_done, WITHIN)


def run_all(deployed: Deployed) -> None:
    """Run every job once, in parallel."""

    def run(output: str) -> None:
        with suppress(JobFailed):
            jobs.run(deployed, output)

    with ThreadPoolExecutor(len(work.JOBS)) as pool:
        list(pool.map(run, work.JOBS.values()))


def test_jobs_and_callers_finish_and_publish_although_every_fifth_call_to_aws_fails(
    deployed: Deployed, past: Past, faults: FaultControl, measurements: Measurements, full: bool
) -> None:
    count, runs = (100, 3) if full else (3, 1)
    work.finish_all(deployed)  # items of other tests
    ledger = Ledger(deployed)
    old, rooms = work.old_recordings(deployed, count), work.lapsing_rooms(deployed, count)
    found = work.lost_uploads(deployed, count)
    unwanted, on_hold = jobs.uploads(deployed, count), jobs.uploads(deployed, count)
    caller = Caller(deployed, past)
    for name in functions.named(deployed).values():  # a new process reads the secret
        jobs.kill_all(deployed, name)

    faults.inject(0.2)
    for _ in range(runs):
        run_all(deployed)
    caller.each("DELETE", unwanted)
    caller.each("PUT", on_hold, "/hold", json={"reason": "a trial"})
    caller.each("GET", on_hold)
    assert faults.injected()["dynamodb"]
    faults.set([])
    work.finish_all(deployed)

    assert not work.undone(deployed, [*old, *unwanted], rooms)
    assert all(each.hold for each in deployed.store().recordings.get_many(on_hold).values())
    due = {("recording:deleted", id_) for id_ in (*old, *unwanted)}
    due |= {("recording:uploaded", id_) for id_ in found} | {
        ("room:extended", id_) for id_ in rooms
    }
    ledger.close(due).record(measurements).require()
