"""`make redrive`: publishes the events behind the messages in the dead-letter queue.

There are three kinds of message: a record that event_publisher could not publish; the key of such a
record, if the record is too large for the queue; and Lambda's failure record of a batch that ran
out of retries, which names a range of the table's stream.

A message is deleted only after event_publisher accepted all of its records. After any error it
stays. Publishing twice does no harm, because an event keeps its id.
"""

import base64
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from operations.arguments import Parser
from operations.command import command
from operations.layout import progress
from operations.stack import Stack, deployed_stack
from operations.terminal import escape

MAX_RECORDS = 100
"""Records per invocation: the BatchSize of the event source mapping."""

MAX_PAYLOAD_BYTES = 5_000_000
"""Bytes of records per invocation. Lambda accepts 6 MB ("Lambda quotas" in its guide).

The largest record fits: an item of 400 KB before and after a change, with all characters escaped.
"""

POLL_SECONDS = 2
"""Seconds to wait for a message: without waiting, SQS may overlook one."""

READ_TIMEOUT = 90
"""Seconds to wait for an invocation. This exceeds the function's own timeout of 60 s: an SDK that
times out first or retries would publish the same records twice at the same time."""

VISIBILITY_SECONDS = 300
RENEW_SECONDS = 60
"""A message is invisible to others for VISIBILITY_SECONDS. While it is processed, this is renewed
every RENEW_SECONDS, between steps that each take at most READ_TIMEOUT."""

MAX_EMPTY_PAGES = 1_000
"""Consecutive empty pages of the stream after which the record counts as missing."""

_UNKNOWN_MESSAGE = "a message that is neither a record, nor a key, nor a failure record of Lambda"

Record = Mapping[str, Any]
Renew = Callable[[], None]
"""Keeps the message invisible to others; called regularly while it is processed."""


class NotSent(Exception):
    """A message must stay in the queue; the text says why, and what to do."""


class _Trimmed(NotSent):
    """The stream no longer contains the requested record."""


@command
def main() -> int:
    """Redrive the stack's dead-letter queue; return the exit code: 0 if it is empty afterwards."""
    parser = Parser("redrive")
    parser.add_stack()
    stack = deployed_stack(parser.parse_args().stack)
    with progress("Publishing the dead letters"):
        sent, left = redrive(stack)
    for reason in left:
        print(f"left in the queue: {escape(reason)}", file=sys.stderr)
    print(f"{sent} dead letters published, {len(left)} left in the queue.")
    return 1 if left else 0


def redrive(stack: Stack, clock: Callable[[], float] = time.monotonic) -> tuple[int, list[str]]:
    """Publish each message of the queue once.

    Returns:
        The number of published messages, and for each other message its id and why it stays.
    """
    queue = _Queue(stack.client("sqs"), stack.outputs["DeadLetterQueueUrl"], clock)
    publisher = _Publisher(stack)
    sent, reasons = 0, []
    try:
        for message in queue.messages():
            try:
                _send(publisher, queue, message)
                sent += 1
            except NotSent as error:
                reasons.append(f"message {message.id}: {error}")
    finally:
        queue.release()  # also on Ctrl-C
    return sent, reasons


def _send(publisher: "_Publisher", queue: "_Queue", message: "_Message") -> None:
    try:
        publisher.publish(message.body, lambda: queue.renew(message))
        queue.delete(message)
    except (ClientError, BotoCoreError) as error:
        raise NotSent(f"{_reason(error)}; run make redrive again") from error


# --- the queue ------------------------------------------------------------------------------------


@dataclass
class _Message:
    id: str
    body: str
    handle: str
    renewed_at: float


class _Queue:
    """The dead-letter queue, and the messages that this redrive received from it."""

    def __init__(self, sqs: Any, url: str, clock: Callable[[], float]) -> None:
        self._sqs = sqs
        self._url = url
        self._clock = clock
        self._received: dict[str, _Message] = {}
        self._deleted: set[str] = set()

    def messages(self) -> Iterator[_Message]:
        """Yield each visible message once.

        Messages are received one by one, because each is invisible only for a limited time. If
        there are so many that some become visible again meanwhile, this ends after as many known
        ones in a row as there are.
        """
        repeated = 0
        while repeated <= len(self._received) and (found := self._receive()):
            repeated = repeated + 1 if found.id in self._received else 0
            self._received[found.id] = found  # the handle of an earlier receipt may have expired
            if not repeated:
                yield found

    def renew(self, message: _Message) -> None:
        """Keep a message invisible to others."""
        if self._clock() - message.renewed_at >= RENEW_SECONDS:
            self._make_invisible(message, VISIBILITY_SECONDS)
            message.renewed_at = self._clock()

    def delete(self, message: _Message) -> None:
        """Delete a message that was published."""
        self._sqs.delete_message(QueueUrl=self._url, ReceiptHandle=message.handle)
        self._deleted.add(message.id)

    def release(self) -> None:
        """Make the remaining messages visible, so that the next redrive finds them at once."""
        for message in self._received.values():
            if message.id not in self._deleted:
                with suppress(ClientError):  # it becomes visible by itself within five minutes
                    self._make_invisible(message, 0)

    def _receive(self) -> _Message | None:
        received = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=1,
            VisibilityTimeout=VISIBILITY_SECONDS,
            WaitTimeSeconds=POLL_SECONDS,
        )
        for message in received.get("Messages", []):
            return _Message(
                message["MessageId"], message["Body"], message["ReceiptHandle"], self._clock()
            )
        return None

    def _make_invisible(self, message: _Message, seconds: int) -> None:
        self._sqs.change_message_visibility(
            QueueUrl=self._url, ReceiptHandle=message.handle, VisibilityTimeout=seconds
        )


# --- the records behind a message -----------------------------------------------------------------


class _Publisher:
    """Invokes event_publisher with the records behind messages."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def publish(self, body: str, renew: Renew) -> None:
        """Publish every record of a message.

        Raises:
            NotSent: not all were published. The next redrive publishes all of them again.
        """
        for batch in _batches(self._records(_parse(body), renew)):
            renew()
            self._invoke(batch)

    def _records(self, message: Mapping[str, Any], renew: Renew) -> Iterable[Record]:
        if "record" in message:
            return [message["record"]]
        if "key" in message:
            return [self._current(str(message["key"]))]
        if "DDBStreamBatchInfo" in message:
            return StreamRange.of(message["DDBStreamBatchInfo"]).read(self._streams, renew)
        raise NotSent(_UNKNOWN_MESSAGE)

    def _current(self, key: str) -> Record:
        """Return a record that shows the item with this `key` as newly inserted.

        Events that were published before are therefore published again, with the same ids.
        """
        found = self._stack.client("dynamodb").get_item(
            TableName=self._stack.outputs["TableName"],
            Key={"pk": {"S": key}},
            ConsistentRead=True,
        )
        if "Item" not in found:
            raise NotSent(
                f"the message has only the key {key}, and the table no longer has that item, so "
                "its event cannot be published; delete the message"
            )
        change = {
            "ApproximateCreationDateTime": datetime.now(UTC),
            "Keys": {"pk": {"S": key}},
            "NewImage": found["Item"],
            "SequenceNumber": "1",
        }
        return {"eventName": "INSERT", "dynamodb": change}

    def _invoke(self, records: list[str]) -> None:
        response = self._lambda.invoke(
            FunctionName=self._stack.outputs["EventPublisherName"],
            Payload=f'{{"redrive": true, "Records": [{",".join(records)}]}}',
        )
        result = json.load(response["Payload"])
        if "FunctionError" in response:
            raise NotSent(f"event_publisher failed: {result.get('errorMessage', result)}")
        if result["batchItemFailures"]:
            raise NotSent("event_publisher still cannot publish its events; see its log")

    @cached_property
    def _lambda(self) -> Any:
        once = Config(read_timeout=READ_TIMEOUT, retries={"total_max_attempts": 1})
        return self._stack.client("lambda", config=once)

    @cached_property
    def _streams(self) -> Any:
        return self._stack.client("dynamodbstreams")


@dataclass(frozen=True)
class StreamRange:
    """A range of records in one shard of the table's stream, `start` and `end` included.

    The range also contains records that the event source's filter skipped, so it can hold more
    than Lambda's failure record counts. event_publisher creates no events for those.

    Source: "Record a batch's failure" (on-failure destination) in the Lambda guide on DynamoDB
    streams; "GetRecords" in the DynamoDB Streams API reference.
    """

    stream_arn: str
    shard_id: str
    start: str
    end: str
    written: str
    """The times at which the first and the last record were written, for messages."""

    @classmethod
    def of(cls, note: Mapping[str, Any]) -> "StreamRange":
        """Return the range named by Lambda's record of a failed batch (DDBStreamBatchInfo).

        Raises:
            NotSent: it does not name a range.
        """
        try:
            first = note["approximateArrivalOfFirstRecord"]
            last = note.get("approximateArrivalOfLastRecord", first)
            numbers = note["startSequenceNumber"], note["endSequenceNumber"]
            list(map(int, numbers))
            return cls(note["streamArn"], note["shardId"], *numbers, f"{first} to {last}")
        except (KeyError, TypeError, ValueError) as error:
            raise NotSent(
                f"a failure record of Lambda that names no range ({error!r}); delete the message"
            ) from error

    def read(self, streams: Any, renew: Renew) -> Iterator[Record]:
        """Yield the records of the range that the stream still has.

        Raises:
            NotSent: at the end, if the stream no longer had all of them.
        """
        try:
            yield from self._read_from("AT_SEQUENCE_NUMBER", streams, renew)
        except _Trimmed as error:
            yield from self._read_from("TRIM_HORIZON", streams, renew)
            raise self._lost() from error

    def _read_from(self, position: str, streams: Any, renew: Renew) -> Iterator[Record]:
        """Yield the records of the range, starting at a position.

        A page can be empty although records follow, so only a record at or after `end` ends the
        range. Sequence numbers differ in length, so compare them as numbers.
        """
        start, end = int(self.start), int(self.end)
        for record in self._shard(position, streams, renew):
            number = int(record["dynamodb"]["SequenceNumber"])
            if start <= number <= end:
                yield record
            if number >= end:
                return
        raise self._lost()

    def _shard(self, position: str, streams: Any, renew: Renew) -> Iterator[Record]:
        empty = 0
        shard = {"StreamArn": self.stream_arn, "ShardId": self.shard_id}
        at = {"SequenceNumber": self.start} if position == "AT_SEQUENCE_NUMBER" else {}
        first = self._call(streams.get_shard_iterator, ShardIteratorType=position, **shard, **at)
        iterator = first["ShardIterator"]
        while iterator and empty < MAX_EMPTY_PAGES:
            renew()
            page = self._call(streams.get_records, ShardIterator=iterator)
            yield from page["Records"]
            empty = 0 if page["Records"] else empty + 1
            iterator = page.get("NextShardIterator")  # absent at the end of a closed shard

    def _call(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return operation(**arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "TrimmedDataAccessException":
                raise _Trimmed(str(self._lost())) from error
            if code == "ResourceNotFoundException":  # of the shard or the stream
                raise self._lost() from error
            raise

    def _lost(self) -> NotSent:
        return NotSent(
            "the stream keeps records for 24 hours and no longer has all records written from "
            f"{self.written}, so their events cannot be redriven; the items are still in the "
            "table: publish them by their keys, then delete the message, as docs/operations.md "
            "describes under Dead letters"
        )


def _parse(body: str) -> Mapping[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise NotSent(f"a message that is not JSON ({error})") from error
    if not isinstance(message, dict):
        raise NotSent(_UNKNOWN_MESSAGE)
    return message


def _batches(records: Iterable[Record]) -> Iterator[list[str]]:
    """Yield batches of records, as JSON, that each fit one invocation.

    If reading raises NotSent, yield the records read so far first.
    """
    batch: list[str] = []
    size = 0
    try:
        for record in records:
            text = json.dumps(record, default=_as_in_an_event)  # ASCII: one byte per character
            if batch and (len(batch) == MAX_RECORDS or size + len(text) > MAX_PAYLOAD_BYTES):
                yield batch
                batch, size = [], 0
            batch.append(text)
            size += len(text) + 1
    except NotSent:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _as_in_an_event(value: object) -> float | str:
    """Return a time or bytes in the form of Lambda's stream events."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"not serializable as JSON: {type(value).__name__}")


def _reason(error: Exception) -> str:
    return str(error).rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
