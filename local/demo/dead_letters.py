"""The demonstration's part about dead letters: one is redriven."""

import json
from typing import Any

from local.demo import steps, timeline
from local.demo.report import Report
from local.stack import LocalStack
from operations import redrive
from operations.subscriber import Subscriber

REASON = "the event bus rejected the event"
EVENTS = 4
"""A recording's events: started, ended, uploaded, copied."""


def show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    """Put a message into the dead-letter queue and redrive it; add the check."""
    with report.timed("dead letters"):
        _show(report, local, subscriber)


def _show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    timeline.heading("Dead letters: an event could not be published, and is redriven")
    recording_id = local.vonage.hold_meeting()["recording_ids"][0]
    first = _events(subscriber, recording_id, EVENTS)
    _dead_letter(local, recording_id)
    timeline.say(
        "The dead-letter queue gets a message as event_publisher leaves it there if "
        f"{REASON}. It names the item of recording {recording_id[:8]}."
    )
    redriven, left = redrive.redrive(local.operated)
    timeline.say(f"make redrive: {redriven} dead letter published, {len(left)} left in the queue.")
    ids = {steps.event_id(event) for event in first}
    again = _events(subscriber, recording_id, 2 * len(first))[len(first) :]
    repeated = [event for event in again if steps.event_id(event) in ids]
    timeline.say(
        f"{len(again)} events arrive again, {len(repeated)} of them with their original ids, by "
        "which subscribers recognize duplicates."
    )
    report.check(
        "a redriven dead letter publishes its events with their original ids",
        ok=redriven == 1 and not left and len(repeated) == len(again) == len(first) > 0,
        detail=f"{redriven} redriven, {len(repeated)} of {len(first)} events came again",
    )


def _dead_letter(local: LocalStack, recording_id: str) -> None:
    local.stack.client("sqs").send_message(
        QueueUrl=local.stack.outputs["DeadLetterQueueUrl"],
        MessageBody=json.dumps({"reason": REASON, "key": f"RECORDING#{recording_id}"}),
    )


def _events(subscriber: Subscriber, recording_id: str, count: int) -> list[dict[str, Any]]:
    """Wait for `count` events about the recording; return all of them in order of arrival."""

    def about(events: Any) -> list[dict[str, Any]]:
        return [
            event for event in events if event["detail"]["data"].get("recording_id") == recording_id
        ]

    return about(
        subscriber.wait_for(lambda events: len(about(events)) >= count, steps.EVENTS_WITHIN)
    )
