"""The queue of recordings to be copied. A message is a recording's id, as a JSON string.

Source: "Amazon SQS" in the Lambda developer guide, for the form of the function's events.
"""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from roomkeeper.aws.retries import RetryPolicy

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

RETRY = RetryPolicy(max_attempts=3, timeout=3)

MAX_WAITING = 1000
"""Messages in the queue above which the sweep adds no more: they would mostly be repetitions."""


class CopyQueue:
    """The queue at `url`; `client` is an SQS client of `roomkeeper.aws`. Safe for many threads.

    All methods raise AwsError if SQS refuses, or still fails after all attempts.
    """

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, recording_id: str) -> None:
        """Queue a recording. Repetitions do no harm."""
        self._client.send_message(QueueUrl=self._url, MessageBody=json.dumps(recording_id))

    def capacity(self) -> int:
        """Return how many messages the sweep may add; the number in the queue is approximate."""
        attributes = self._client.get_queue_attributes(
            QueueUrl=self._url, AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]
        return max(0, MAX_WAITING - int(attributes["ApproximateNumberOfMessages"]))

    def retry_in(self, record: Mapping[str, Any], seconds: int) -> None:
        """Let SQS redeliver a message after `seconds` instead of its visibility timeout."""
        self._client.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=seconds
        )


def recording_id_in(record: Mapping[str, Any]) -> str | None:
    """Return the recording's id in a message; None if the message is not of this form."""
    try:
        found = json.loads(record["body"])
    except ValueError:
        return None
    return found if isinstance(found, str) and found else None
