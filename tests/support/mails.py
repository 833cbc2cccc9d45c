"""Receives the mails of an SNS topic in a queue."""

import json
import re
import secrets

from local.waiting import wait_until
from operations.stack import Stack
from tests.support.deployed import WITHIN


class Mails:
    """The mails that the topic of a stack (output `TopicArn`) sends from now on."""

    def __init__(self, stack: Stack) -> None:
        self._sqs, self._sns = stack.client("sqs"), stack.client("sns")
        topic = stack.outputs["TopicArn"]
        self._queue = self._sqs.create_queue(QueueName=f"mails-{secrets.token_hex(4)}")["QueueUrl"]
        arn = self._sqs.get_queue_attributes(QueueUrl=self._queue, AttributeNames=["QueueArn"])[
            "Attributes"
        ]["QueueArn"]
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "sns.amazonaws.com"},
            "Action": "sqs:SendMessage",
            "Resource": arn,
            "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
        }
        policy = {"Version": "2012-10-17", "Statement": [statement]}
        self._sqs.set_queue_attributes(
            QueueUrl=self._queue, Attributes={"Policy": json.dumps(policy)}
        )
        self._subscription = self._sns.subscribe(
            TopicArn=topic, Protocol="sqs", Endpoint=arn, ReturnSubscriptionArn=True
        )["SubscriptionArn"]
        self._received: list[str] = []

    def about(self, text: str) -> str:
        """Wait for a mail that contains `text`, and return it."""
        found: list[str] = []

        def has_arrived() -> bool:
            response = self._sqs.receive_message(QueueUrl=self._queue, MaxNumberOfMessages=10)
            self._received += [
                json.loads(message["Body"])["Message"] for message in response.get("Messages", [])
            ]
            found[:] = [mail for mail in self._received if text in mail]
            return bool(found)

        assert wait_until(has_arrived, WITHIN), self._received
        return found[0]

    def close(self) -> None:
        """Remove the subscription and its queue."""
        self._sns.unsubscribe(SubscriptionArn=self._subscription)
        self._sqs.delete_queue(QueueUrl=self._queue)


def link_in(mail: str) -> str:
    """Return the only link in a mail."""
    [link] = re.findall(r"^https?://\S+$", mail, re.MULTILINE)
    return str(link)
