"""`make redrive`: sends again what waits in the dead-letter queue.

Three kinds of message wait there: a record that event_publisher has set aside, whole; the key alone
of one that the queue could not take; and Lambda's note on a batch that failed for good, which names
the stretch of the table's stream to read.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError

from operations.command import command
from operations.stack import Stack, deployed_stack

Record = Mapping[str, Any]


class NotSent(Exception):
    """A message that has to stay in the queue; the message says why."""


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


def redrive(stack: Stack) -> tuple[int, list[str]]:
    """Send each message that waits now, once; return how many went, and why each other did not."""
    sent = 0
    left: dict[str, str] = {}
    sqs, queue = stack.client("sqs"), stack.outputs["DeadLetterQueueUrl"]
    for message in _waiting(sqs, queue):
        try:
            _publish(stack, list(_records(stack, json.loads(message["Body"]))))
        except NotSent as problem:
            left[message["ReceiptHandle"]] = str(problem)
            continue
        sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        sent += 1
    for handle in left:  # the next redrive is to find them, however soon it comes
        sqs.change_message_visibility(QueueUrl=queue, ReceiptHandle=handle, VisibilityTimeout=0)
    return sent, list(left.values())


def _waiting(sqs: Any, queue: str) -> Iterator[dict[str, Any]]:
    """Yield each message that is visible now, once."""
    seen: set[str] = set()
    while messages := sqs.receive_message(
        QueueUrl=queue, MaxNumberOfMessages=10, VisibilityTimeout=300, WaitTimeSeconds=2
    ).get("Messages", []):
        new = [message for message in messages if message["MessageId"] not in seen]
        seen |= {message["MessageId"] for message in messages}
        yield from new


def _records(stack: Stack, letter: Mapping[str, Any]) -> Iterator[Record]:
    if "record" in letter:
        yield letter["record"]
    elif "key" in letter:
        yield _as_it_is_now(stack, letter["key"])
    elif "DDBStreamBatchInfo" in letter:
        yield from _from_stream(stack.client("dynamodbstreams"), letter["DDBStreamBatchInfo"])
    else:
        raise NotSent("a message that is neither a record, nor a key, nor a note from Lambda")


def _as_it_is_now(stack: Stack, key: str) -> Record:
    """Return a record by which all that the table has under `key` is new.

    So events that were published before come again, under the ids that they had.
    """
    found = stack.client("dynamodb").get_item(
        TableName=stack.outputs["TableName"], Key={"pk": {"S": key}}, ConsistentRead=True
    )
    if "Item" not in found:
        raise NotSent(
            f"the table has no item {key} any more, of which the queue could take the key alone; "
            "delete the message when its event is not missed"
        )
    change = {
        "ApproximateCreationDateTime": datetime.now(UTC),
        "Keys": {"pk": {"S": key}},
        "NewImage": found["Item"],
        "SequenceNumber": "1",
    }
    return {"eventName": "INSERT", "dynamodb": change}


def _from_stream(streams: Any, stretch: Mapping[str, Any]) -> Iterator[Record]:
    """Yield the records of a stretch of the stream, which forgets them after 24 hours."""
    try:
        page = streams.get_shard_iterator(
            StreamArn=stretch["streamArn"],
            ShardId=stretch["shardId"],
            ShardIteratorType="AT_SEQUENCE_NUMBER",
            SequenceNumber=stretch["startSequenceNumber"],
        )["ShardIterator"]
        left = stretch["batchSize"]
        while left and page:
            answer = streams.get_records(ShardIterator=page, Limit=left)
            yield from answer["Records"]
            left -= len(answer["Records"])
            page = answer.get("NextShardIterator") if answer["Records"] else None
    except ClientError as problem:
        raise NotSent(
            f"the stream no longer has the records of {stretch['approximateArrivalOfFirstRecord']}:"
            f" {problem}"
        ) from problem


def _publish(stack: Stack, records: list[Record]) -> None:
    answer = stack.client("lambda").invoke(
        FunctionName=stack.outputs["EventPublisherName"],
        Payload=json.dumps({"Records": records, "redrive": True}, default=_as_in_an_event),
    )
    result = json.load(answer["Payload"])
    if "FunctionError" in answer:
        raise NotSent(f"event_publisher failed: {result.get('errorMessage', result)}")
    if result["batchItemFailures"]:
        raise NotSent("its events still cannot be published; see event_publisher's log for why")


def _as_in_an_event(value: object) -> float:
    """Return a time as Lambda writes it in a stream's event; the SDK hands over a datetime."""
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"not to be had as JSON: {type(value).__name__}")


if __name__ == "__main__":
    sys.exit(main())
