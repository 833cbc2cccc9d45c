"""A record that cannot be published: alone in the dead-letter queue, until the fault is mended."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.faults import rules
from local.faults.control import FaultControl
from local.waiting import eventually
from operations import redrive
from tests import functions
from tests.balance import Account, dead_letters
from tests.deployed import WITHIN, Deployed

pytestmark = pytest.mark.local_stack


@pytest.fixture
def poison() -> str:
    """The id of the recording whose event nobody takes."""
    return str(uuid.uuid4())


@contextmanager
def giving_up_after(deployed: Deployed, retries: int) -> Iterator[None]:
    """Have Lambda hand a failed stretch of the stream over again no more often than that."""
    functions_ = deployed.stack.client("lambda")
    name = functions.named(deployed)["EventPublisher"]
    [known] = functions_.list_event_source_mappings(FunctionName=name)["EventSourceMappings"]
    mapping = known["UUID"]
    functions_.update_event_source_mapping(UUID=mapping, MaximumRetryAttempts=retries)
    try:
        yield
    finally:
        functions_.update_event_source_mapping(
            UUID=mapping, MaximumRetryAttempts=known["MaximumRetryAttempts"]
        )


def tell_of(deployed: Deployed, poison: str) -> None:
    """Have the poison's callback come among those of some meetings, which are all taken."""
    body = {"event": "recording:started", "recording_id": poison, "session_id": "a-session"}
    deployed.vonage.hold_meetings(2, senders=4, drop=0.0)
    assert deployed.post(json.dumps(body)).status_code == 204
    deployed.vonage.hold_meetings(2, senders=4, drop=0.0)


def require_that_it_waits_alone(deployed: Deployed, account: Account) -> None:
    """Fail unless all the others arrive, and it is in the dead-letter queue."""
    balance = account.balance()
    assert (balance.missing, balance.invented) == (set(), set())
    assert eventually(lambda: dead_letters(deployed) == 1, WITHIN)


def test_an_event_that_the_bus_refuses_waits_alone_until_the_fault_is_mended(
    deployed: Deployed, faults: FaultControl, poison: str
) -> None:
    account = Account(deployed)
    faults.set([rules.refusing(poison)])

    tell_of(deployed, poison)

    require_that_it_waits_alone(deployed, account)
    sent, left = redrive.redrive(deployed.stack)
    assert (sent, len(left)) == (0, 1)
    require_that_it_waits_alone(deployed, account)

    faults.set([])
    assert redrive.redrive(deployed.stack) == (1, [])
    account.balance({("recording:started", poison)}).require()


def test_a_record_on_which_the_function_fails_holds_up_the_others_no_longer_than_its_retries(
    deployed: Deployed, faults: FaultControl, poison: str
) -> None:
    account = Account(deployed)
    faults.set([rules.denying(poison)])

    with giving_up_after(deployed, retries=2):
        tell_of(deployed, poison)
        require_that_it_waits_alone(deployed, account)

    faults.set([])
    assert redrive.redrive(deployed.stack) == (1, [])
    account.balance({("recording:started", poison)}).require()
