"""The operator's commands redrive and callback-url on a deployed stack."""

import json
import uuid
from typing import Any

import pytest

from local.testing.builders import a_body
from local.waiting import wait_until
from operations import callback_url, redrive
from operations.stack import Stack, StackError
from tests.support.deployed import WITHIN, Deployed


def a_stream_record(deployed: Deployed, recording_id: str) -> dict[str, Any]:
    """Store a callback and return the stream record of the write, as Lambda passes it on."""
    body = {"event": "recording:started", "recording_id": recording_id, "session_id": "session"}
    assert deployed.post(json.dumps(body)).status_code == 204
    image = deployed.item(f"RECORDING#{recording_id}")
    assert image is not None
    return {
        "eventName": "INSERT",
        "eventSource": "aws:dynamodb",
        "dynamodb": {
            "ApproximateCreationDateTime": 1635868580,
            "Keys": {"pk": image["pk"]},
            "NewImage": image,
            "SequenceNumber": "1",
        },
    }


def send_to_dlq(deployed: Deployed, content: dict[str, Any]) -> None:
    """Send a message to the dead-letter queue."""
    deployed.stack.client("sqs").send_message(
        QueueUrl=deployed.stack.outputs["DeadLetterQueueUrl"], MessageBody=json.dumps(content)
    )


@pytest.fixture
def recording_id() -> str:
    return str(uuid.uuid4())


def test_a_dead_lettered_record_is_published_by_redrive(
    deployed: Deployed, recording_id: str
) -> None:
    record = a_stream_record(deployed, recording_id)
    deployed.events_about(recording_id, count=1)
    send_to_dlq(deployed, {"reason": "a test", "record": record})

    assert redrive.redrive(deployed.stack) == (1, [])

    events = deployed.events_about(recording_id, count=2)
    assert len({event["detail"]["metadata"]["event_id"] for event in events}) == 1
    assert redrive.redrive(deployed.stack) == (0, [])


def test_a_failed_batch_is_read_again_from_the_stream(
    deployed: Deployed, recording_id: str
) -> None:
    a_stream_record(deployed, recording_id)
    deployed.events_about(recording_id, count=1)
    table = deployed.stack.client("dynamodb").describe_table(
        TableName=deployed.stack.outputs["TableName"]
    )["Table"]
    streams = deployed.stack.client("dynamodbstreams")
    shard, record = last_record(streams, table["LatestStreamArn"])
    number = record["dynamodb"]["SequenceNumber"]
    send_to_dlq(
        deployed,
        {
            "DDBStreamBatchInfo": {
                "streamArn": table["LatestStreamArn"],
                "shardId": shard,
                "startSequenceNumber": number,
                "endSequenceNumber": number,
                "approximateArrivalOfFirstRecord": "2026-11-22T12:00:00Z",
                "batchSize": 1,
            }
        },
    )

    assert redrive.redrive(deployed.stack) == (1, [])

    assert len(deployed.events_about(recording_id, count=2)) == 2


def last_record(streams: Any, stream_arn: str) -> tuple[str, dict[str, Any]]:
    shards = streams.describe_stream(StreamArn=stream_arn)["StreamDescription"]["Shards"]
    found: list[tuple[str, dict[str, Any]]] = []
    for shard in shards:
        page = streams.get_shard_iterator(
            StreamArn=stream_arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while page and (response := streams.get_records(ShardIterator=page))["Records"]:
            found += [(shard["ShardId"], record) for record in response["Records"]]
            page = response.get("NextShardIterator")
    return max(found, key=lambda each: each[1]["dynamodb"]["ApproximateCreationDateTime"])


def test_only_an_invalid_record_goes_to_the_dead_letter_queue(
    deployed: Deployed, recording_id: str
) -> None:
    poison = {"pk": {"S": f"EVENT#{recording_id}"}, "event": {"S": "unknown:event"}}
    poison["detail"] = {"S": "{}"}
    deployed.stack.client("dynamodb").put_item(
        TableName=deployed.stack.outputs["TableName"], Item=poison
    )
    a_stream_record(deployed, recording_id)

    assert len(deployed.events_about(recording_id, count=1)) == 1
    message = receive_dead_letter(deployed)
    assert message["record"]["dynamodb"]["Keys"] == {"pk": {"S": f"EVENT#{recording_id}"}}
    assert "unknown:event" in message["reason"]


def receive_dead_letter(deployed: Deployed) -> dict[str, Any]:
    sqs, queue = deployed.stack.client("sqs"), deployed.stack.outputs["DeadLetterQueueUrl"]
    found: list[dict[str, Any]] = []

    def has_come() -> bool:
        found.extend(sqs.receive_message(QueueUrl=queue, WaitTimeSeconds=1).get("Messages", []))
        return bool(found)

    assert wait_until(has_come, WITHIN)
    [message] = found
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    content: dict[str, Any] = json.loads(message["Body"])
    return content


def test_the_current_item_of_a_message_with_only_a_key_is_published(
    deployed: Deployed, recording_id: str
) -> None:
    body = a_body("recording:started", recording_id=recording_id)
    assert deployed.post(body).status_code == 204
    [first] = deployed.events_about(recording_id, count=1)
    send_to_dlq(deployed, {"reason": "too large", "key": f"RECORDING#{recording_id}"})

    assert redrive.redrive(deployed.stack) == (1, [])

    [_, again] = deployed.events_about(recording_id, count=2)
    assert again["detail"]["data"] == first["detail"]["data"]
    assert again["detail"]["metadata"]["event_id"] == first["detail"]["metadata"]["event_id"]


def test_a_message_with_the_key_of_a_deleted_item_stays_with_the_reason(
    deployed: Deployed, recording_id: str
) -> None:
    send_to_dlq(deployed, {"reason": "too large", "key": f"RECORDING#{recording_id}"})

    sent, [reason] = redrive.redrive(deployed.stack)

    assert sent == 0
    assert f"only the key RECORDING#{recording_id}, and the table no longer has that item" in reason
    receive_dead_letter(deployed)


def test_a_message_of_another_origin_stays_with_the_reason(deployed: Deployed) -> None:
    send_to_dlq(deployed, {"what": "is this"})

    sent, left = redrive.redrive(deployed.stack)

    assert (sent, len(left)) == (0, 1)
    assert "neither a record, nor a key, nor a failure record" in left[0]
    deployed.stack.client("sqs").purge_queue(QueueUrl=deployed.stack.outputs["DeadLetterQueueUrl"])


def test_the_callback_urls_are_printed_whole(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["callback_url", "--stack", deployed.stack.name])
    monkeypatch.setattr(callback_url, "deployed_stack", lambda _: deployed.stack)

    assert callback_url.main() == 0

    urls = [deployed.stack.callback_url("meetings"), deployed.stack.callback_url("video")]
    assert capsys.readouterr().out.splitlines() == urls


def test_a_missing_stack_is_named_with_what_to_do(deployed: Deployed) -> None:
    missing = Stack("no-such-stack", deployed.stack._session, deployed.stack._endpoint)

    with pytest.raises(StackError, match=r"no-such-stack does not exist.*make deploy"):
        _ = missing.outputs["TableName"]
