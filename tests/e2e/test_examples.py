"""The example subscribers, deployed as their READMEs say, receive the events of meetings."""

import json
import re
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests

from local import vonage
from local.clients.management import ManagementApi
from local.waiting import wait_until
from operations.stack import Stack
from tests.support import examples
from tests.support.deployed import WITHIN, Deployed
from tests.support.examples import OTHER_ACCOUNT
from tests.support.mails import Mails, link_in

pytestmark = pytest.mark.local_stack

EMAIL = "recordings@example.org"
FILE = (Path(vonage.__file__).parent / "archive.mp4").read_bytes()


@pytest.fixture(scope="module")
def subscribers(copying: Deployed) -> Iterator[dict[str, Stack]]:
    """The stacks of all examples, by folder; deleted when these tests are over.

    Otherwise each event of later tests would start a process of the example functions.
    """
    bus = {"EventBusName": copying.stack.outputs["EventBusName"]}
    copies = {"CopyBucketName": copying.stack.outputs["CopyBucketName"], "Email": EMAIL}
    ours = copying.stack.outputs["EventBusArn"].split(":")[4]

    def single(folder: str, parameters: dict[str, str]) -> Stack:
        return examples.deploy(copying.stack, f"{folder}/template.yaml", bus | parameters)

    def across() -> Stack:
        there = examples.deploy(
            copying.stack,
            "cross_account/subscriber_account.yaml",
            {"RoomkeeperAccount": ours},
            OTHER_ACCOUNT,
        )
        target = {"SubscriberBusArn": there.outputs["EventBusArn"]}
        examples.deploy(copying.stack, "cross_account/roomkeeper_account.yaml", bus | target)
        return there

    with ThreadPoolExecutor() as pool:
        two = [pool.submit(single, "sqs_consumer", {}), pool.submit(single, "copied_mail", copies)]
        there = pool.submit(across)
        consumer, mailer = (each.result() for each in two)
        yield {
            "sqs_consumer": consumer,
            "copied_mail": mailer,
            "cross_account": there.result(),
        }
    for stack in (consumer, mailer):
        formation = stack.client("cloudformation")
        formation.delete_stack(StackName=stack.name)
        gone = formation.get_waiter("stack_delete_complete")
        gone.wait(StackName=stack.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})


# --- the queue with its consumer ------------------------------------------------------------------


def recorded(consumer: Stack, session_id: str) -> tuple[int, int]:
    """Return how many recordings the consumer counted for a session, and their seconds."""
    item = (
        consumer.client("dynamodb")
        .get_item(
            TableName=consumer.outputs["TableName"],
            Key={"pk": {"S": f"SESSION#{session_id}"}},
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
    copying: Deployed, subscribers: dict[str, Stack]
) -> None:
    consumer = subscribers["sqs_consumer"]
    meeting = copying.vonage.hold_meeting(recordings=2, repeat={"recording:uploaded": 1})
    session_id, recording_id = meeting["session_id"], meeting["recording_ids"][0]
    assert wait_until(lambda: recorded(consumer, session_id) == (2, 76), WITHIN)
    before = len(copying.events_about(recording_id, count=4))

    response = ManagementApi(copying.stack).call("POST", f"/recordings/{recording_id}/republish")
    assert response.status_code == 202
    copying.events_about(recording_id, count=before + 1)  # the queue has the message, too

    assert wait_until(lambda: has_nothing_left(consumer), WITHIN)
    assert recorded(consumer, session_id) == (2, 76)


def test_repeats_of_an_archive_replay_do_not_count(
    copying: Deployed, subscribers: dict[str, Stack]
) -> None:
    consumer, events = subscribers["sqs_consumer"], copying.stack.client("events")
    bus, name = copying.stack.outputs["EventBusArn"], f"replayed-{uuid.uuid4()}"
    # The local stack has no archive of its own.
    archive = events.create_archive(ArchiveName=name[:48], EventSourceArn=bus)["ArchiveArn"]
    meeting = copying.vonage.hold_meeting()
    [recording_id], session_id = meeting["recording_ids"], meeting["session_id"]
    first = copying.events_about(recording_id, count=4)

    events.start_replay(
        ReplayName=name,
        EventSourceArn=archive,
        EventStartTime=datetime.now(UTC) - timedelta(hours=1),
        EventEndTime=datetime.now(UTC),
        Destination={"Arn": bus},
    )
    both = copying.events_about(recording_id, count=8)
    events.delete_archive(ArchiveName=name[:48])

    replayed = [event for event in both if event.get("replay-name") == name]
    assert ids(replayed) == ids(first)
    assert wait_until(lambda: has_nothing_left(consumer), WITHIN)
    assert recorded(consumer, session_id) == (1, 38)


def ids(events: list[dict[str, Any]]) -> set[str]:
    """Return the event ids, which are equal for repeats."""
    return {event["detail"]["metadata"]["event_id"] for event in events}


def test_an_invalid_message_goes_to_the_dead_letter_queue_and_delays_no_other(
    copying: Deployed, subscribers: dict[str, Stack]
) -> None:
    consumer = subscribers["sqs_consumer"]
    sqs, queue = consumer.client("sqs"), consumer.outputs["QueueUrl"]
    sqs.set_queue_attributes(QueueUrl=queue, Attributes={"VisibilityTimeout": "1"})
    nonsense = json.dumps({"nonsense": str(uuid.uuid4())})
    sqs.send_message(QueueUrl=queue, MessageBody=nonsense)
    meeting = copying.vonage.hold_meeting()

    assert wait_until(lambda: recorded(consumer, meeting["session_id"]) == (1, 38), WITHIN)
    found: list[str] = []

    def is_dead_lettered() -> bool:
        response = sqs.receive_message(QueueUrl=consumer.outputs["DeadLettersUrl"])
        found.extend(message["Body"] for message in response.get("Messages", []))
        return nonsense in found

    assert wait_until(is_dead_lettered, WITHIN)


# --- the function that sends a mail about each copy -----------------------------------------------


@pytest.fixture
def mails(subscribers: dict[str, Stack]) -> Iterator[Mails]:
    """The mails that SNS sends, received by a queue beside the address."""
    mails = Mails(subscribers["copied_mail"])
    yield mails
    mails.close()


def test_a_mail_has_a_link_that_downloads_the_verified_copy(
    copying: Deployed, mails: Mails
) -> None:
    [recording_id] = copying.vonage.hold_meeting()["recording_ids"]
    text = mails.about(f"/{recording_id}.mp4")
    [copied] = [
        event["detail"]["data"]
        for event in copying.events_about(recording_id, count=4)
        if event["detail-type"] == "recording:copied"
    ]
    assert f"s3://{copied['bucket']}/{copied['key']}\n" in text
    assert copied["sha256"] in text
    assert requests.get(link_in(text), timeout=WITHIN).content == FILE


def test_a_mail_names_the_end_of_its_link(copying: Deployed, mails: Mails) -> None:
    [recording_id] = copying.vonage.hold_meeting()["recording_ids"]
    text = mails.about(f"/{recording_id}.mp4")
    query = parse_qs(urlsplit(link_in(text)).query)
    signed_at = datetime.strptime(query["X-Amz-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    [until_text] = re.findall(r"until (.+) UTC", text)
    ends_at = datetime.strptime(until_text, "%d %B %Y %H:%M").replace(tzinfo=UTC)

    assert query["X-Amz-Expires"] == ["3600"]
    assert abs(ends_at - signed_at - timedelta(hours=1)) < timedelta(minutes=2)


def test_the_mails_go_to_the_address(subscribers: dict[str, Stack]) -> None:
    mailer = subscribers["copied_mail"]
    subscriptions = mailer.client("sns").list_subscriptions_by_topic(
        TopicArn=mailer.outputs["TopicArn"]
    )["Subscriptions"]
    assert ("email", EMAIL) in [(each["Protocol"], each["Endpoint"]) for each in subscriptions]


def test_a_link_opens_no_other_object_than_a_copy(
    copying: Deployed, subscribers: dict[str, Stack], mails: Mails
) -> None:
    mailer, bucket = subscribers["copied_mail"], copying.stack.outputs["CopyBucketName"]
    s3 = copying.stack.client("s3")
    status = {}
    for key in ("recordings/2026/a.mp4", "elsewhere/a.mp4"):
        version_id = s3.put_object(Bucket=bucket, Key=key, Body=FILE)["VersionId"]
        copy = {"bucket": bucket, "key": key, "size": len(FILE), "sha256": "x"}
        event = {"detail": {"data": {**copy, "version_id": version_id}}}
        mailer.client("lambda").invoke(
            FunctionName=mailer.outputs["MailerName"], Payload=json.dumps(event)
        )
        status[key] = requests.get(link_in(mails.about(key)), timeout=WITHIN).status_code
    assert status == {"recordings/2026/a.mp4": 200, "elsewhere/a.mp4": 403}


def test_an_event_whose_mail_failed_waits_in_the_dead_letter_queue(
    copying: Deployed, subscribers: dict[str, Stack]
) -> None:
    mailer, marker = subscribers["copied_mail"], str(uuid.uuid4())
    client = mailer.client("lambda")
    name = mailer.outputs["MailerName"]
    latest = {"FunctionName": name, "Qualifier": "$LATEST"}  # as in the SAM CLI's template
    client.put_function_event_invoke_config(
        **latest,
        MaximumRetryAttempts=0,  # Lambda's two retries would be minutes apart
        DestinationConfig=client.get_function_event_invoke_config(**latest)["DestinationConfig"],
    )
    event = {"detail": {"data": {"no": marker}}}
    client.invoke(FunctionName=name, InvocationType="Event", Payload=json.dumps(event))
    found: list[str] = []

    def is_dead_lettered() -> bool:
        response = mailer.client("sqs").receive_message(QueueUrl=mailer.outputs["DeadLettersUrl"])
        found.extend(message["Body"] for message in response.get("Messages", []))
        return any(marker in body for body in found)

    assert wait_until(is_dead_lettered, WITHIN)


# --- the other account ----------------------------------------------------------------------------


def test_another_account_receives_events_of_recordings_without_urls(
    copying: Deployed, subscribers: dict[str, Stack]
) -> None:
    there = subscribers["cross_account"]
    meeting = copying.vonage.hold_meeting()
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
        copying.stack.outputs["EventBusArn"].split(":")[4]
    }
