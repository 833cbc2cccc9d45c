"""A record that cannot be published: alone in the dead-letter queue, until the fault is mended."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from local.faults import rules
from local.faults.control import FaultControl
from local.waiting import wait_until
from operations import redrive
from tests.support import functions
from tests.support.balance import Account, dead_letters
from tests.support.deployed import WITHIN, Deployed

pytestmark = pytest.mark.local_stack


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


def tell_of(deployed: Deployed, *recording_ids: str) -> None:
    """Have recordings' callbacks come among those of meetings, which are all taken."""
    deployed.vonage.hold_meetings(2, senders=4, drop=0.0)
    for id_ in recording_ids:
        body = {"event": "recording:started", "recording_id": id_, "session_id": "a-session"}
        assert deployed.post(json.dumps(body)).status_code == 204
    deployed.vonage.hold_meetings(2, senders=4, drop=0.0)


def test_poison_waits_alone_in_the_dead_letter_queue_until_its_cause_is_mended(
    deployed: Deployed, faults: FaultControl
) -> None:
    """One event spoils every call; one is never let in, till Lambda gives up; one is refused."""
    account = Account(deployed)
    poison = [str(uuid.uuid4()) for _ in range(3)]
    faults.set(
        [
            rules.failing(poison[0], "ValidationException", 400),
            rules.failing(poison[1], "AccessDeniedException", 403),
            rules.refusing(poison[2]),
        ]
    )

    with giving_up_after(deployed, retries=2):
        tell_of(deployed, *poison)
        balance = account.balance()  # of all the others
        assert wait_until(lambda: dead_letters(deployed) == 3, WITHIN)
    assert (balance.lost, balance.missing, balance.invented) == ([], set(), set())

    sent, left = redrive.redrive(deployed.stack)
    assert (sent, len(left)) == (0, 3)
    assert dead_letters(deployed) == 3

    faults.set([])
    assert redrive.redrive(deployed.stack) == (3, [])
    account.balance({("recording:started", id_) for id_ in poison}).require()
