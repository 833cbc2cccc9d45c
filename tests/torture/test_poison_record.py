"""Only a record that cannot be published goes to the dead-letter queue, until it is redriven."""

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
from tests.support.deployed import WITHIN, Deployed
from tests.support.ledger import Ledger, dead_letters

pytestmark = pytest.mark.local_stack


@contextmanager
def giving_up_after(deployed: Deployed, retries: int) -> Iterator[None]:
    """Limit Lambda's retries of a failed stream batch within the context."""
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


def post_callbacks(deployed: Deployed, *recording_ids: str) -> None:
    """Post the callbacks of recordings between those of meetings."""
    deployed.vonage.hold_meetings(2, senders=4, drop=0.0)
    for id_ in recording_ids:
        body = {"event": "recording:started", "recording_id": id_, "session_id": "a-session"}
        assert deployed.post(json.dumps(body)).status_code == 204
    deployed.vonage.hold_meetings(2, senders=4, drop=0.0)


def test_only_poison_records_wait_in_the_dead_letter_queue_until_their_cause_is_fixed(
    deployed: Deployed, faults: FaultControl
) -> None:
    """One event invalidates whole calls, one is denied until retries end, one entry is refused."""
    ledger = Ledger(deployed)
    poison = [str(uuid.uuid4()) for _ in range(3)]
    faults.set(
        [
            rules.failing(poison[0], "ValidationException", 400),
            rules.failing(poison[1], "AccessDeniedException", 403),
            rules.refusing(poison[2]),
        ]
    )

    with giving_up_after(deployed, retries=2):
        post_callbacks(deployed, *poison)
        totals = ledger.close()  # of all other callbacks
        assert wait_until(lambda: dead_letters(deployed) == 3, WITHIN)
    assert (totals.lost, totals.missing, totals.invented) == ([], set(), set())

    sent, left = redrive.redrive(deployed.stack)
    assert (sent, len(left)) == (0, 3)
    assert dead_letters(deployed) == 3

    faults.set([])
    assert redrive.redrive(deployed.stack) == (3, [])
    ledger.close({("recording:started", id_) for id_ in poison}).require()
