"""Functions end before their timeout, even in the worst case of their calls.

In the worst case, every attempt but the last fails at its timeout, and every delay between two
attempts is the longest. The delays are those of botocore's standard retry mode, which are longer
than those of the intake's client.
"""

import time
from typing import Any

import pytest

from local.testing.builders import AContext
from local.testing.template import environment, properties
from roomkeeper.aws import bus, retries, secrets
from roomkeeper.handlers import event_publisher as publisher
from roomkeeper.handlers import management_api as management
from roomkeeper.jobs import runner
from roomkeeper.jobs.cleanup import Cleanup
from roomkeeper.jobs.copying import Copying
from roomkeeper.jobs.job import Job
from roomkeeper.jobs.reconciliation import Reconciliation
from roomkeeper.jobs.room_extension import RoomExtension
from roomkeeper.jobs.runner import Run
from roomkeeper.vonage import ApiKey, connect
from roomkeeper.vonage.connect import Clients
from roomkeeper.vonage.meetings import MeetingsClient

COLD_START = 1.0
"""Seconds of a cold start that count against a function's timeout; imports do not count."""

SMALL_COLD_START = 3.0
"""The same with 256 MB, a seventh of a CPU: creating three clients takes about a second."""

GATEWAY = 30.0
"""Seconds after which API Gateway stops waiting for a function."""

SECRET = retries.SECRET_RETRY.worst_case
TABLE = retries.SHORT_TABLE_RETRY.worst_case


def timeout(function: str) -> float:
    """Return the timeout of a function, in seconds."""
    return float(properties(function)["Timeout"])


def test_the_intake_reads_the_versions_of_its_secret_and_writes() -> None:
    """A read of the secret gets the current version, the list, and at most two earlier versions."""
    secret = max(3 * SECRET, SECRET + secrets.READ_TIMEOUT + SECRET)
    assert COLD_START + secret + retries.TABLE_RETRY.worst_case < timeout("CallbackIntake")


def test_the_publisher_reads_rooms_publishes_and_sends_to_the_dlq() -> None:
    sending = bus.PUBLISH_TIMEOUT + bus.RETRY.worst_case
    others = retries.TABLE_RETRY.worst_case + publisher.SQS_RETRY.worst_case
    assert SMALL_COLD_START + others + sending < timeout("EventPublisher")


def test_the_management_api_can_ask_both_products_before_it_has_to_keep_time_for_its_write() -> (
    None
):
    """Two secrets, a read, and a call to each product; tests of its deadline have the rest."""
    before = COLD_START + 2 * SECRET + TABLE + 2 * management.VONAGE_SECONDS
    after = management.STORE_SECONDS + management.RESPONSE_SECONDS
    assert before + after <= timeout("ManagementApi") < GATEWAY
    assert TABLE < management.STORE_SECONDS


def test_the_management_api_holds_a_recording_and_its_copy() -> None:
    """A hold reads the credentials of both products, and the item before and after the write."""
    table = 3 * TABLE
    others = 2 * SECRET + management.S3_RETRY.worst_case
    assert COLD_START + others + table + management.RESPONSE_SECONDS < timeout("ManagementApi")


@pytest.mark.parametrize("job", [Cleanup, Reconciliation, RoomExtension, Copying])
def test_a_job_over_http_has_time_to_start_and_to_finish_its_last_item(
    job: type[Job[Any, Any]],
) -> None:
    limits = runner._OVER_HTTP
    assert limits.total + COLD_START < GATEWAY
    assert limits.total - job.seconds_per_item(limits.call) > SECRET


@pytest.mark.parametrize("job", [Cleanup, Reconciliation, RoomExtension, Copying])
def test_a_jobs_calls_to_vonage_leave_the_time_for_the_writes_of_an_item(
    job: type[Job[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many calls an item needs: a deletion of an archive may need six."""
    for name, value in environment("RecordingCleanup").items():
        monkeypatch.setenv(name, value)
    any_job: Any = job
    run: Run[Any] = runner._new_run({}, AContext(), any_job, runner._BY_SCHEDULE)
    client = MeetingsClient("http://vonage", ApiKey("key", "secret"), total_timeout=60.0)
    monkeypatch.setattr(connect, "clients", lambda *_, **__: Clients(meetings=client))

    for made in (runner.vonage_clients(run).meetings, runner.rooms_client(run)):
        assert made is not None
        writes = job.writes_per_item * TABLE
        assert made._seconds() <= run.limits.deadline - time.monotonic() - writes + 1.0
        assert made._seconds() < 60.0


def test_an_item_may_take_the_time_of_its_calls_and_of_its_writes() -> None:
    writes = Job.writes_per_item * TABLE
    assert Job.seconds_per_item(4.0) == Job.calls_per_item * 4.0 + writes
