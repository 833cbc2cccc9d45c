"""Alarms that fire: what goes wrong on the deployed stack comes to the subscriber of its topic.

The local CloudWatch takes no metrics out of logs, as AWS does ("Embedded metric format" in the
CloudWatch guide): here the test takes them from there and puts them in. It has no
access log either: tests/unit/test_alarms.py holds the alarms on what is counted from that.
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


def lack_the_secret(deployed: Deployed) -> None:
    with functions.configured(
        deployed, deployed.id_of("CallbackIntake"), CALLBACK_SECRET_ARN="missing"
    ):
        assert deployed.post("{}", "/callbacks/any").status_code == 503


def be_refused_by_vonage(deployed: Deployed) -> None:
    deployed.vonage.fault("list_rooms", status=401, times=1)
    assert ManagementApi(deployed.stack).call("GET", "/rooms").status_code == 502


@pytest.fixture
def mailbox(deployed: Deployed) -> Iterator[Callable[[], list[str]]]:
    """A queue at the topic of the alarms; it returns what has come so far."""
    sqs, sns = deployed.stack.client("sqs"), deployed.stack.client("sns")
    url = sqs.create_queue(QueueName=f"alarms-{uuid.uuid4().hex[:8]}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]
    let_in = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn["QueueArn"],
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [let_in]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    subscription = sns.subscribe(
        TopicArn=deployed.id_of("AlarmTopic"), Protocol="sqs", Endpoint=arn["QueueArn"]
    )["SubscriptionArn"]
    received: list[str] = []

    def receive() -> list[str]:
        for message in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1).get("Messages", []):
            told = json.loads(json.loads(message["Body"])["Message"])
            if told["NewStateValue"] == "ALARM":
                received.append(told["AlarmName"])
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return received

    yield receive
    sns.unsubscribe(SubscriptionArn=subscription)
    sqs.delete_queue(QueueUrl=url)


@pytest.mark.parametrize(
    ("alarm", "function", "happen"),
    [
        ("CallbackSecretAlarm", "CallbackIntake", lack_the_secret),
        ("VonageRefusalAlarm", "ManagementApi", be_refused_by_vonage),
    ],
)
def test_what_goes_wrong_is_told(
    deployed: Deployed,
    mailbox: Callable[[], list[str]],
    alarm: str,
    function: str,
    happen: Callable[[Deployed], None],
) -> None:
    name = deployed.id_of(alarm)
    cloudwatch = deployed.stack.client("cloudwatch")
    [watched] = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"]
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="to begin with")
    since = datetime.now(UTC)

    happen(deployed)

    told: list[dict[str, Any]] = []

    def is_enough() -> bool:
        told[:] = measured(deployed, function, since, watched)
        return sum(float(each["Value"]) for each in told) >= float(watched["Threshold"])

    assert wait_until(is_enough, WITHIN)
    cloudwatch.put_metric_data(Namespace=watched["Namespace"], MetricData=told)
    assert wait_until(lambda: name in mailbox(), WITHIN)


def measured(
    deployed: Deployed, function: str, since: datetime, watched: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return what a function's log tells of the metric that is watched, by its dimensions."""
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
