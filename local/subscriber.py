"""A subscriber to the event bus, as any other service would be: a rule and a queue of its own."""

import json
import time
from collections.abc import Callable, Sequence
from typing import Any

from operations.stack import Stack

Events = Sequence[dict[str, Any]]


class Subscriber:
    """A queue that gets every event of a stack's bus from now on."""

    def __init__(self, stack: Stack, name: str) -> None:
        self._stack = stack
        self._name = name
        self._sqs = stack.client("sqs")
        self._events = stack.client("events")
        self._bus = stack.outputs["EventBusName"]
        self._queue = self._sqs.create_queue(QueueName=name)["QueueUrl"]
        self._subscribe()
        self.received: list[dict[str, Any]] = []

    def wait_for(self, enough: Callable[[Events], bool], within: float) -> Events:
        """Receive until `enough` says so or `within` seconds are over; return all received so far.

        Every event is as EventBridge hands it over: `detail-type`, `detail`, `source` and so on.
        """
        deadline = time.monotonic() + within
        while not enough(self.received) and time.monotonic() < deadline:
            self._receive(wait_seconds=1)
        return self.received

    def wait_for_more(self, than: int, within: float) -> Events:
        """Receive until there are more events `than` so many; return those that came after them."""
        return self.wait_for(lambda events: len(events) > than, within)[than:]

    def drain(self) -> Events:
        """Receive until nothing more comes; return all received so far."""
        while self._receive(wait_seconds=1):
            pass
        return self.received

    def close(self) -> None:
        """Take the rule and the queue away."""
        self._events.remove_targets(Rule=self._name, EventBusName=self._bus, Ids=["queue"])
        self._events.delete_rule(Name=self._name, EventBusName=self._bus)
        self._sqs.delete_queue(QueueUrl=self._queue)

    def _subscribe(self) -> None:
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
        rule = self._events.put_rule(
            Name=self._name,
            EventBusName=self._bus,
            EventPattern=json.dumps({"source": ["roomkeeper"]}),
        )["RuleArn"]
        policy = {
            "Version": "2012-10-17",
            "Statement": {
                "Effect": "Allow",
                "Principal": {"Service": "events.amazonaws.com"},
                "Action": "sqs:SendMessage",
                "Resource": arn,
                "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
            },
        }
        self._sqs.set_queue_attributes(
            QueueUrl=self._queue, Attributes={"Policy": json.dumps(policy)}
        )
        self._events.put_targets(
            Rule=self._name, EventBusName=self._bus, Targets=[{"Id": "queue", "Arn": arn}]
        )

    def _receive(self, wait_seconds: int) -> int:
        messages = self._sqs.receive_message(
            QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds
        ).get("Messages", [])
        if messages:
            self.received += [json.loads(message["Body"]) for message in messages]
            done = [
                {"Id": str(place), "ReceiptHandle": message["ReceiptHandle"]}
                for place, message in enumerate(messages)
            ]
            self._sqs.delete_message_batch(QueueUrl=self._queue, Entries=done)
        return len(messages)
