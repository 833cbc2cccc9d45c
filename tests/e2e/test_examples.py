"""The example subscribers, deployed as their READMEs say, receive the events of meetings."""

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from local import vonage
from local.clients.management import ManagementApi
from local.waiting import wait_until
from operations.stack import Stack
from tests.support import examples
from tests.support.deployed import WITHIN, Deployed
from tests.support.examples import OTHER_ACCOUNT

pytestmark = pytest.mark.local_stack

FILE = (Path(vonage.__file__).parent / "archive.mp4").read_bytes()


@pytest.fixture(scope="module")
def subscribers(deployed: Deployed) -> Iterator[dict[str, Stack]]:
    """The stacks of all examples, by folder; deleted when these tests are over.

    Otherwise each event of later tests would start a process of the example functions.
    """
    bus = {"EventBusName": deployed.stack.outputs["EventBusName"]}
    ours = deployed.stack.outputs["EventBusArn"].split(":")[4]

    def single(folder: str) -> Stack:
        return examples.deploy(deployed.stack, f"{folder}/template.yaml", bus)

    def across() -> Stack:
        there = examples.deploy(
            deployed.stack,
            "cross_account/subscriber_account.yaml",
            {"RoomkeeperAccount": ours},
            OTHER_ACCOUNT,
        )
        target = {"SubscriberBusArn": there.outputs["EventBusArn"]}
        examples.deploy(deployed.stack, "cross_account/roomkeeper_account.yaml", bus | target)
        return there

    with ThreadPoolExecutor() as pool:
        two = [pool.submit(single, folder) for folder in ("sqs_consumer", "uploaded_lambda")]
        there = pool.submit(across)
        consumer, copier = (each.result() for each in two)
        yield {
            "sqs_consumer": consumer,
            "uploaded_lambda": copier,
            "cross_account": there.result(),
        }
    for stack in (consumer, copier):
        formation = stack.client("cloudformation")
        formation.delete_stack(StackName=stack.name)
        gone = formation.get_waiter("stack_delete_complete")
        gone.wait(StackName=stack.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


# --- the queue with its consumer ------------------------------------------------------------------


def recorded(consumer: Stack, room_id: str) -> tuple[int, int]:
    """Return the number of recordings that the consumer counted for a room, and their seconds."""
    item = (
        consumer.client("dynamodb")
        .get_item(
            TableName=consumer.outputs["TableName"],
            Key={"pk": {"S": f"ROOM#{room_id}"}},
            ConsistentRead=True,
        )
        .get("Item", {})
    )
    number = {"N": "0"}
    return int(item.get("recordings", number)["N"]), int(item.get("seconds", number)["N"])


def has_nothing_left(consumer: Stack) -> bool:
    """Return whether the consumer's queue is empty."""
    names = "ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"
    counts = consumer.client("sqs").get_queue_attributes(
        QueueUrl=consumer.outputs["QueueUrl"], AttributeNames=list(names)
    )["Attributes"]
    return all(counts[name] == "0" for name in names)


def test_each_recording_counts_once_however_often_it_is_published(
    deployed: Deployed, subscribers: dict[str, Stack]
) -> None:
    consumer = subscribers["sqs_consumer"]
    meeting = deployed.vonage.hold_meeting(recordings=2, repeat={"recording:uploaded": 1})
    room_id, recording_id = meeting["room_id"], meeting["recording_ids"][0]
    assert wait_until(lambda: recorded(consumer, room_id) == (2, 76), WITHIN)
    before = len(deployed.events_about(recording_id, count=3))

    response = ManagementApi(deployed.stack).call("POST", f"/recordings/{recording_id}/republish")
    assert response.status_code == 202
    deployed.events_about(recording_id, count=before + 1)  # the queue has it, too

    assert wait_until(lambda: has_nothing_left(consumer), WITHIN)
    assert recorded(consumer, room_id) == (2, 76)


def test_repeats_of_an_archive_replay_do_not_count(
    deployed: Deployed, subscribers: dict[str, Stack]
) -> None:
    consumer, events = subscribers["sqs_consumer"], deployed.stack.client("events")
    bus, name = deployed.stack.outputs["EventBusArn"], f"replayed-{uuid.uuid4()}"
    # The local stack has no archive of its own.
    archive = events.create_archive(ArchiveName=name[:48], EventSourceArn=bus)["ArchiveArn"]
    meeting = deployed.vonage.hold_meeting()
    [recording_id], room_id = meeting["recording_ids"], meeting["room_id"]
    first = deployed.events_about(recording_id, count=3)

    events.start_replay(
        ReplayName=name,
        EventSourceArn=archive,
        EventStartTime=datetime.now(UTC) - timedelta(hours=1),
        EventEndTime=datetime.now(UTC),
        Destination={"Arn": bus},
    )
    both = deployed.events_about(recording_id, count=6)
    events.delete_archive(ArchiveName=name[:48])

    replayed = [event for event in both if event.get("replay-name") == name]
    assert ids(replayed) == ids(first)
    assert wait_until(lambda: has_nothing_left(consumer), WITHIN)
    assert recorded(consumer, room_id) == (1, 38)


def ids(events: list[dict[str, Any]]) -> set[str]:
    """Return the event ids, which are equal for repeats."""
    return {event["detail"]["metadata"]["event_id"] for event in events}


def test_an_invalid_message_goes_to_the_dead_letter_queue_and_delays_no_other(
    deployed: Deployed, subscribers: dict[str, Stack]
) -> None:
    consumer = subscribers["sqs_consumer"]
    sqs, queue = consumer.client("sqs"), consumer.outputs["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    nonsense = json.dumps({"nonsense": str(uuid.uuid4())})
    sqs.send_message(QueueUrl=queue, MessageBody=nonsense)
    meeting = deployed.vonage.hold_meeting()

    assert wait_until(lambda: recorded(consumer, meeting["room_id"]) == (1, 38), WITHIN)
    found: list[str] = []

    def is_dead_lettered() -> bool:
        response = sqs.receive_message(QueueUrl=consumer.outputs["DeadLettersUrl"])
        found.extend(message["Body"] for message in response.get("Messages", []))
        return nonsense in found

    assert wait_until(is_dead_lettered, WITHIN)


# --- the function that copies uploads ----------------------------------------------------------


def test_a_recording_is_copied_before_its_url_expires(
    deployed: Deployed, subscribers: dict[str, Stack]
) -> None:
    copier = subscribers["uploaded_lambda"]
    meeting = deployed.vonage.hold_meeting()
    key = f"{meeting['session_id']}/{meeting['recording_ids'][0]}.mp4"
    s3, bucket = copier.client("s3"), copier.outputs["BucketName"]

    def keys() -> list[str]:
        listed = s3.list_objects_v2(Bucket=bucket, Prefix=key).get("Contents", [])
        return [each["Key"] for each in listed]

    assert wait_until(lambda: keys() == [key], WITHIN)
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == FILE


@pytest.mark.parametrize("host", ["EMULATOR", "127.0.0.1:1"], ids=["refused", "unreachable"])
def test_a_failed_copy_names_the_recording_and_not_its_url(
    host: str, deployed: Deployed, subscribers: dict[str, Stack]
) -> None:
    copier = subscribers["uploaded_lambda"]
    base = deployed.vonage.base if host == "EMULATOR" else f"http://{host}"
    data = {
        "recording_id": "a-recording",
        "session_id": "a-session",
        "url": f"{base}/46339892/a-recording/archive.mp4?Signature=a-secret",
    }
    response = copier.client("lambda").invoke(
        FunctionName=copier.outputs["CopierName"], Payload=json.dumps({"detail": {"data": data}})
    )
    error = response["Payload"].read().decode()
    assert response["FunctionError"]
    assert "a-recording: " in error
    assert "a-secret" not in error


# --- the other account ----------------------------------------------------------------------------


def test_another_account_receives_events_of_recordings_without_urls(
    deployed: Deployed, subscribers: dict[str, Stack]
) -> None:
    there = subscribers["cross_account"]
    meeting = deployed.vonage.hold_meeting()
    [recording_id] = meeting["recording_ids"]
    found: list[dict[str, Any]] = []

    def has_arrived() -> bool:
        response = there.client("sqs").receive_message(
            QueueUrl=there.outputs["QueueUrl"], MaxNumberOfMessages=10
        )
        found.extend(json.loads(message["Body"]) for message in response.get("Messages", []))
        return any(event["detail"]["data"]["recording_id"] == recording_id for event in found)

    assert OTHER_ACCOUNT in there.outputs["EventBusArn"]
    assert wait_until(has_arrived, WITHIN)
    assert "recording:uploaded" not in {event["detail-type"] for event in found}
    assert {event["account"] for event in found} == {
        deployed.stack.outputs["EventBusArn"].split(":")[4]
    }
