"""Subscribes to a stack's event bus with a rule and an SQS queue, as any service could."""

import json
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from botocore.exceptions import ClientError

from operations.signals import exit_on_signals, uninterrupted
from operations.stack import Stack

Events = Sequence[dict[str, Any]]

_RETENTION_SECONDS = 3600
"""How long SQS keeps an event if the queue is left behind."""

_ABSENT = {
    "ResourceNotFoundException",
    "AWS.SimpleQueueService.NonExistentQueue",
    "QueueDoesNotExist",  # the same error from endpoints without the older code
}


class Subscriber:
    """A queue that receives the events of a stack's bus from now on: all, or those of a product.

    A new rule can miss events for a short time (EventBridge API Reference, PutRule).
    """

    def __init__(self, stack: Stack, name: str, product: str = "") -> None:
        """Create the rule and the queue, both called `name`; delete both if that fails.

        `product` limits the events to those of one product; empty means all.
        """
        self.name = name
        self._pattern: dict[str, Any] = {"source": ["roomkeeper"]}
        if product:
            self._pattern["detail"] = {"data": {"product": [product]}}
        self._sqs = stack.client("sqs")
        self._events = stack.client("events")
        self._bus = stack.outputs["EventBusName"]
        self.received: list[dict[str, Any]] = []
        try:
            self._queue = self._create_queue()
            self._subscribe()
        except BaseException:  # Ctrl-C too
            self.close()
            raise

    def wait_for(self, enough: Callable[[Events], bool], within: float) -> Events:
        """Receive until `enough` returns True or `within` seconds pass; return all received events.

        Events have EventBridge's own form: `detail-type`, `detail`, `source` and so on.
        """
        deadline = time.monotonic() + within
        while not enough(self.received) and time.monotonic() < deadline:
            self._receive(wait_seconds=1)
        return self.received

    def wait_for_more(self, than: int, within: float) -> Events:
        """Receive until more `than` that many events arrived; return the events after them."""
        return self.wait_for(lambda events: len(events) > than, within)[than:]

    def receive_all(self) -> Events:
        """Receive until the queue is empty; return all events received so far."""
        while self._receive(wait_seconds=1):
            pass
        return self.received

    def close(self) -> None:
        """Delete the rule and the queue, if they exist."""
        rule = {"EventBusName": self._bus}
        _unless_absent(self._events.remove_targets, Rule=self.name, Ids=["queue"], **rule)
        _unless_absent(self._events.delete_rule, Name=self.name, **rule)
        if found := _unless_absent(self._sqs.get_queue_url, QueueName=self.name):
            _unless_absent(self._sqs.delete_queue, QueueUrl=found["QueueUrl"])

    def _create_queue(self) -> str:
        created = self._sqs.create_queue(
            QueueName=self.name, Attributes={"MessageRetentionPeriod": str(_RETENTION_SECONDS)}
        )
        url: str = created["QueueUrl"]
        return url

    def _subscribe(self) -> None:
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
        rule = self._events.put_rule(
            Name=self.name,
            EventBusName=self._bus,
            EventPattern=json.dumps(self._pattern),
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
            Rule=self.name, EventBusName=self._bus, Targets=[{"Id": "queue", "Arn": arn}]
        )

    def _receive(self, wait_seconds: int) -> int:
        messages = self._sqs.receive_message(
            QueueUrl=self._queue, MaxNumberOfMessages=10, WaitTimeSeconds=wait_seconds
        ).get("Messages", [])
        if messages:
            self.received += [json.loads(message["Body"]) for message in messages]
            done = [
                {"Id": str(index), "ReceiptHandle": message["ReceiptHandle"]}
                for index, message in enumerate(messages)
            ]
            self._sqs.delete_message_batch(QueueUrl=self._queue, Entries=done)
        return len(messages)


@contextmanager
def temporary(stack: Stack, purpose: str, product: str = "") -> Iterator[Subscriber]:
    """Subscribe while the context lasts; signals that end the command also delete rule and queue.

    Both are called make-PURPOSE- plus eight random digits, so that leftovers of a killed command
    can be recognized.
    """
    with exit_on_signals():
        subscriber = Subscriber(stack, f"make-{purpose}-{secrets.token_hex(4)}", product)
        try:
            yield subscriber
        finally:
            with uninterrupted():
                subscriber.close()


def _unless_absent(operation: Callable[..., Any], **arguments: Any) -> Any:
    """Return the operation's response; None if its resource does not exist."""
    try:
        return operation(**arguments)
    except ClientError as error:
        if error.response["Error"]["Code"] not in _ABSENT:
            raise
        return None
