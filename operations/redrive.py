"""`make redrive`: publishes again what waits in the dead-letter queue.

There are three kinds of message: a whole record that event_publisher could not publish; the key
of such a record, if the record is too large for the queue; and Lambda's note on a batch that it
gave up, which names the records' place in the table's stream.

A message is deleted only after event_publisher took every record that it stands for. Whatever goes
wrong before that, it stays. Publishing twice does no harm: an event keeps its id.
"""

import argparse
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

from operations.command import command
from operations.stack import Stack, deployed_stack

MAX_RECORDS = 100
"""Records of one invocation: as many as the event source mapping hands over (BatchSize)."""

MAX_PAYLOAD_BYTES = 5_000_000
"""Bytes of one invocation's records. Lambda takes 6 MB ("Lambda quotas" in its guide).

The largest record fits: an item of 400 KB, before and after a change, every character escaped.
"""

READ_TIMEOUT = 90
"""Seconds to wait for an invocation. The function's own timeout is 60: an SDK that gives up first,
or that tries again, would have the same records published twice at once."""

VISIBILITY_SECONDS = 300
RENEW_SECONDS = 60
"""A message is invisible to others for VISIBILITY_SECONDS. That is renewed while it is worked on,
whenever RENEW_SECONDS have passed; no step in between takes longer than READ_TIMEOUT."""

MAX_EMPTY_PAGES = 1_000
"""Empty pages in a row after which the stream is not read on: it has no such record."""

Record = Mapping[str, Any]
Renew = Callable[[], None]
"""Keeps the message invisible to others; called again and again while it is worked on."""


class NotSent(Exception):
    """A message has to stay in the queue; the text says why, and what to do."""


class _Trimmed(NotSent):
    """The stream has forgotten the record that was asked for."""


@command
def main() -> int:
    """Redrive the stack's dead letters; return the exit code: 0 when none is left behind."""
    parser = argparse.ArgumentParser(prog="python -m operations.redrive")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    sent, left = redrive(deployed_stack(parser.parse_args().stack))
    for reason in left:
        print(f"left in the queue: {reason}", file=sys.stderr)
    print(f"{sent} dead letters sent, {len(left)} left in the queue.")
    return 1 if left else 0


def redrive(stack: Stack, clock: Callable[[], float] = time.monotonic) -> tuple[int, list[str]]:
    """Publish each message of the queue, once; return how many went, and why each other stays."""
    queue = _Queue(stack.client("sqs"), stack.outputs["DeadLetterQueueUrl"], clock)
    publisher = _Publisher(stack)
    sent, reasons = 0, []
    try:
        for message in queue.messages():
            try:
                _send(publisher, queue, message)
                sent += 1
            except NotSent as error:
                reasons.append(str(error))
    finally:
        queue.release()  # also when the command is interrupted
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
    """The dead-letter queue, and which of its messages this redrive has received."""

    def __init__(self, sqs: Any, url: str, clock: Callable[[], float]) -> None:
        self._sqs = sqs
        self._url = url
        self._clock = clock
        self._received: dict[str, _Message] = {}
        self._deleted: set[str] = set()

    def messages(self) -> Iterator[_Message]:
        """Yield each message that is visible, once, as it is received.

        Messages are received one by one, since each is invisible from then on for a limited time.
        """
        while found := self._receive():
            is_new = found.id not in self._received
            self._received[found.id] = found  # an earlier receipt's handle may have expired
            if is_new:
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
        """Let the next redrive find what this one leaves, however soon it comes."""
        for message in self._received.values():
            if message.id not in self._deleted:
                with suppress(ClientError):  # it is visible already, or will be in five minutes
                    self._make_invisible(message, 0)

    def _receive(self) -> _Message | None:
        received = self._sqs.receive_message(
            QueueUrl=self._url,
            MaxNumberOfMessages=1,
            VisibilityTimeout=VISIBILITY_SECONDS,
            WaitTimeSeconds=2,
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


# --- what a message stands for --------------------------------------------------------------------


class _Publisher:
    """Has event_publisher publish what messages stand for."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    def publish(self, body: str, renew: Renew) -> None:
        """Return once every record that a message stands for was published.

        Raises:
            NotSent: not all were; those that were are published again by the next redrive.
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
        raise NotSent("a message that is neither a record, nor a key, nor a note from Lambda")

    def _current(self, key: str) -> Record:
        """Return a record by which everything in the item under `key` is new.

        So events that were published before come again, under the ids that they had.
        """
        found = self._stack.client("dynamodb").get_item(
            TableName=self._stack.outputs["TableName"],
            Key={"pk": {"S": key}},
            ConsistentRead=True,
        )
        if "Item" not in found:
            raise NotSent(
                f"the table has no item {key} any more, of which the queue could take the key "
                "alone; delete the message when its event is not missed"
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
            raise NotSent("its events still cannot be published; see event_publisher's log for why")

    @cached_property
    def _lambda(self) -> Any:
        once = Config(read_timeout=READ_TIMEOUT, retries={"total_max_attempts": 1})
        return self._stack.client("lambda", config=once)

    @cached_property
    def _streams(self) -> Any:
        return self._stack.client("dynamodbstreams")


@dataclass(frozen=True)
class StreamRange:
    """The records of one shard of the table's stream, from `start` to `end`, both included.

    The stream holds more of them than Lambda counts in its note: those that the event source's
    filter kept out are there, too. event_publisher makes no event of those.

    Source: "Record a batch's failure" (on-failure destination) in the Lambda guide on DynamoDB
    streams; "GetRecords" in the DynamoDB Streams API reference.
    """

    stream_arn: str
    shard_id: str
    start: str
    end: str
    written: str
    """When the first and last of the records were written, for messages."""

    @classmethod
    def of(cls, note: Mapping[str, Any]) -> "StreamRange":
        """Return the range that Lambda's note on a failed batch (DDBStreamBatchInfo) names.

        Raises:
            NotSent: it names none.
        """
        try:
            first = note["approximateArrivalOfFirstRecord"]
            last = note.get("approximateArrivalOfLastRecord", first)
            numbers = note["startSequenceNumber"], note["endSequenceNumber"]
            list(map(int, numbers))
            return cls(note["streamArn"], note["shardId"], *numbers, f"{first} to {last}")
        except (KeyError, TypeError, ValueError) as error:
            raise NotSent(
                f"a note from Lambda that names no records ({error!r}); delete the message"
            ) from error

    def read(self, streams: Any, renew: Renew) -> Iterator[Record]:
        """Yield every record of the range; if the stream has forgotten the first, all others.

        Raises:
            NotSent: at the end, if the stream did not have them all any more.
        """
        try:
            yield from self._read_from("AT_SEQUENCE_NUMBER", streams, renew)
        except _Trimmed as error:
            yield from self._read_from("TRIM_HORIZON", streams, renew)
            raise self._lost() from error

    def _read_from(self, position: str, streams: Any, renew: Renew) -> Iterator[Record]:
        """Yield the records of the range from a position on.

        A page may be empty though records follow, so only a record at or behind `end` ends the
        range. Sequence numbers differ in length and are compared as numbers.
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
        begin = self._ask(streams.get_shard_iterator, ShardIteratorType=position, **shard, **at)
        iterator = begin["ShardIterator"]
        while iterator and empty < MAX_EMPTY_PAGES:
            renew()
            page = self._ask(streams.get_records, ShardIterator=iterator)
            yield from page["Records"]
            empty = 0 if page["Records"] else empty + 1
            iterator = page.get("NextShardIterator")  # there is none once the shard is at its end

    def _ask(self, operation: Callable[..., Any], **arguments: Any) -> Any:
        try:
            return operation(**arguments)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code == "TrimmedDataAccessException":
                raise _Trimmed(str(self._lost())) from error
            if code == "ResourceNotFoundException":  # the shard, or the stream with its table
                raise self._lost() from error
            raise

    def _lost(self) -> NotSent:
        return NotSent(
            "the stream, which keeps records for 24 hours, has forgotten some of those that were "
            f"written from {self.written}, so their events cannot be redriven; the items are still "
            "in the table: publish those by their keys, then delete the message, as described in "
            "docs/operations.md, Dead letters."
        )


def _parse(body: str) -> Mapping[str, Any]:
    try:
        message = json.loads(body)
    except ValueError as error:
        raise NotSent(f"a message that is no JSON ({error})") from error
    if not isinstance(message, dict):
        raise NotSent("a message that is neither a record, nor a key, nor a note from Lambda")
    return message


def _batches(records: Iterable[Record]) -> Iterator[list[str]]:
    """Yield the records, as JSON, in parts that one invocation takes.

    If reading them raises NotSent, that is raised once those read before were yielded.
    """
    batch: list[str] = []
    size = 0
    try:
        for record in records:
            text = json.dumps(record, default=_as_in_an_event)  # ASCII: a character is a byte
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
    """Return a time or bytes as Lambda writes them in a stream's event."""
    if isinstance(value, datetime):
        return value.timestamp()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"not to be had as JSON: {type(value).__name__}")


def _reason(error: Exception) -> str:
    return str(error).rstrip(".")


if __name__ == "__main__":
    sys.exit(main())
