"""Alarms fire: a failure on the deployed stack notifies the subscriber of the alarm topic.

AWS extracts metrics from logs ("Embedded metric format" in the CloudWatch guide). The local
CloudWatch does not, so the test does. The local AWS has no access log either:
tests/unit/test_alarms.py covers the alarms on the metrics counted from that.
"""

import json
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from local.clients.management import ManagementApi
from local.waiting import wait_until
from tests.support import functions
from tests.support.deployed import WITHIN, Deployed

pytestmark = pytest.mark.local_stack


def miss_the_secret(deployed: Deployed) -> None:
    with functions.configured(
        deployed, deployed.id_of("CallbackIntake"), CALLBACK_SECRET_ARN="missing"
    ):
        assert deployed.post("{}", "/callbacks/any").status_code == 503


def be_refused_by_vonage(deployed: Deployed) -> None:
    deployed.vonage.fault("list_rooms", status=401, times=1)
    assert ManagementApi(deployed.stack).call("GET", "/rooms").status_code == 502


@pytest.fixture
def mailbox(deployed: Deployed) -> Iterator[Callable[[], list[str]]]:
    """A queue subscribed to the alarm topic; calling it returns the names of all alarms so far."""
    sqs, sns = deployed.stack.client("sqs"), deployed.stack.client("sns")
    url = sqs.create_queue(QueueName=f"alarms-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    allow_sns = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn["QueueArn"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allow_sns]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    subscription = sns.subscribe(
        TopicArn=deployed.id_of("AlarmTopic"), Protocol="sqs", Endpoint=arn["QueueArn"]
    )["SubscriptionArn"]
    received: list[str] = []

    def receive() -> list[str]:
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
            notification = json.loads(json.loads(message["Body"])["Message"])
            if notification["NewStateValue"] == "ALARM":
                received.append(notification["AlarmName"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return received

    yield receive
    sns.unsubscribe(SubscriptionArn=subscription)
    sqs.delete_queue(QueueUrl=url)


@pytest.mark.parametrize(
    ("alarm", "function", "fail"),
    [
        ("CallbackSecretAlarm", "CallbackIntake", miss_the_secret),
        ("VonageRefusalAlarm", "ManagementApi", be_refused_by_vonage),
    ],
)
def test_a_failure_fires_its_alarm(
    deployed: Deployed,
    mailbox: Callable[[], list[str]],
    alarm: str,
    function: str,
    fail: Callable[[Deployed], None],
) -> None:
    name = deployed.id_of(alarm)
    cloudwatch = deployed.stack.client("cloudwatch")
    [watched] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="start of the test")
    since = datetime.now(UTC)

    fail(deployed)

    data: list[dict[str, Any]] = []

    def is_enough() -> bool:
        data[:] = logged_metric(deployed, function, since, watched)
        return sum(float(each["Value"]) for each in data) >= float(watched["Threshold"])

    assert wait_until(is_enough, WITHIN)
    cloudwatch.put_metric_data(Namespace=watched["Namespace"], MetricData=data)
    assert wait_until(lambda: name in mailbox(), WITHIN)


def logged_metric(
    deployed: Deployed, function: str, since: datetime, watched: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the data points of an alarm's metric in a function's log since a time."""
    pages = deployed.stack.client("logs").get_paginator("filter_log_events")
    events = pages.paginate(
        logGroupName=deployed.id_of(f"{function}Logs"), startTime=int(since.timestamp() * 1000)
    )
    lines = [
        json.loads(e["message"])
        for page in events
        for e in page["events"]
        if "_aws" in e["message"]
    ]
    wanted = {each["Name"]: each["Value"] for each in watched["Dimensions"]}
    return [
        {"MetricName": name, "Dimensions": watched["Dimensions"], "Value": line[name][0]}
        for line in lines
        for name in [watched["MetricName"]]
        if name in line and {each: line.get(each) for each in wanted} == wanted
    ]
