"""That functions end by themselves: what their calls take at most is less than the time they have.

The reckoning has every call fail in every try but the last, and each of those take all its time.
"""

from roomkeeper import bus, jobs, settings, store
from roomkeeper.handlers import event_publisher as publisher
from roomkeeper.handlers import management_api as management
from tests.template import properties

COLD_START = 1.0
"""Seconds; three times of what it takes."""

GATEWAY = 30.0
"""Seconds after which API Gateway gives a function up."""

SECRET = settings.PATIENCE.longest


def timeout(function: str) -> float:
    """Return the seconds that a function has."""
    return float(properties(function)["Timeout"])


def test_the_intake_reads_the_versions_of_its_secret_and_writes() -> None:
    """The current version, the list and one more before the deadline, then one after it."""
    secret = max(3 * SECRET, SECRET + settings.READ_TIMEOUT + SECRET)
    assert COLD_START + secret + store.PATIENCE.longest < timeout("CallbackIntake")


def test_the_publisher_reads_rooms_and_sends_and_sets_aside() -> None:
    sending = bus.LONGEST + bus.PATIENCE.longest
    others = store.PATIENCE.longest + publisher.QUEUE_PATIENCE.longest
    assert COLD_START + others + sending < timeout("EventPublisher")


def test_the_management_api_deletes_a_recording_that_only_vonage_knows() -> None:
    """Read, look up, delete, look up once more, note: no request takes more."""
    known_here = 2 * store.BRIEF.longest
    at_vonage = 3 * management.VONAGE_SECONDS
    assert SECRET + known_here + at_vonage + COLD_START < timeout("ManagementApi") < GATEWAY


def test_the_management_api_lists_a_sessions_recordings() -> None:
    read = 3 * store.BRIEF.longest
    assert COLD_START + SECRET + management.VONAGE_SECONDS + read < timeout("ManagementApi")


def test_a_job_over_http_ends_its_last_item_and_leaves_time_to_begin_some() -> None:
    patience = jobs._OVER_HTTP
    assert patience.whole + COLD_START < GATEWAY
    assert patience.writes >= jobs.OPERATIONS_PER_ITEM * store.BRIEF.longest
    assert patience.for_new_items(900) > SECRET
