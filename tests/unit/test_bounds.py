"""Functions end before their timeout, even in the worst case of their calls.

In the worst case, every attempt but the last fails at its timeout, and every delay between two
attempts is the longest. The delays are those of botocore's standard retry mode, which are longer
than those of the intake's client.
"""

from typing import Any

import pytest

from local.testing.template import properties
from roomkeeper import store
from roomkeeper.aws import bus, secrets
from roomkeeper.handlers import event_publisher as publisher
from roomkeeper.handlers import management_api as management
from roomkeeper.jobs import runner
from roomkeeper.jobs.cleanup import Cleanup
from roomkeeper.jobs.copying import Copying
from roomkeeper.jobs.job import Job
from roomkeeper.jobs.reconciliation import Reconciliation
from roomkeeper.jobs.room_extension import RoomExtension

COLD_START = 1.0
"""Seconds of a cold start that count against a function's timeout; imports do not count."""

SMALL_COLD_START = 3.0
"""The same with 256 MB, a seventh of a CPU: creating three clients takes about a second."""

GATEWAY = 30.0
"""Seconds after which API Gateway stops waiting for a function."""

SECRET = secrets.SECRET_RETRY.worst_case


def timeout(function: str) -> float:
    """Return the timeout of a function, in seconds."""
    return float(properties(function)["Timeout"])


def test_the_intake_reads_the_versions_of_its_secret_and_writes() -> None:
    """A read of the secret gets the current version, the list, and at most two earlier versions."""
    secret = max(3 * SECRET, SECRET + secrets.READ_TIMEOUT + SECRET)
    assert COLD_START + secret + store.RETRY.worst_case < timeout("CallbackIntake")


def test_the_publisher_reads_rooms_publishes_and_sends_to_the_dlq() -> None:
    sending = bus.PUBLISH_TIMEOUT + bus.RETRY.worst_case
    others = store.RETRY.worst_case + publisher.SQS_RETRY.worst_case
    assert SMALL_COLD_START + others + sending < timeout("EventPublisher")


def test_the_management_api_deletes_a_recording_that_only_vonage_has() -> None:
    """No request needs more calls than this: read, GET, DELETE, a second GET, and a write."""
    known_here = 2 * store.SHORT_RETRY.worst_case
    at_vonage = 3 * management.VONAGE_SECONDS
    assert SECRET + known_here + at_vonage + COLD_START < timeout("ManagementApi") < GATEWAY


def test_the_management_api_lists_a_sessions_recordings() -> None:
    read = 3 * store.SHORT_RETRY.worst_case
    assert COLD_START + SECRET + management.VONAGE_SECONDS + read < timeout("ManagementApi")


def test_the_management_api_holds_a_recording_and_its_copy() -> None:
    """A hold reads the credentials of both products, and the item before and after the write."""
    table = 3 * store.SHORT_RETRY.worst_case
    others = 2 * SECRET + management.S3_RETRY.worst_case
    assert COLD_START + others + table < timeout("ManagementApi")


@pytest.mark.parametrize("job", [Cleanup, Reconciliation, RoomExtension, Copying])
def test_a_job_over_http_has_time_to_start_and_to_finish_its_last_item(
    job: type[Job[Any, Any]],
) -> None:
    limits = runner._OVER_HTTP
    assert limits.total + COLD_START < GATEWAY
    assert limits.total - job.seconds_per_item(limits.call) > SECRET


def test_an_item_may_take_the_time_of_its_calls_and_of_its_writes() -> None:
    writes = Job.writes_per_item * store.SHORT_RETRY.worst_case
    assert Job.seconds_per_item(4.0) == Job.calls_per_item * 4.0 + writes
