"""The example that mails a link to each copy: the mail's text, and the rights of its link."""

import importlib.util
import json
from collections.abc import Iterator
from types import ModuleType
from typing import Any
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest
from moto import mock_aws

from local.testing.template import ROOT
from tests.support.mails import link_in

FILE = ROOT / "examples/copied_mail/mailer/app.py"
EVENT = json.loads((ROOT / "events/published/recording-copied.json").read_text())
COPY = EVENT["detail"]["data"]


@pytest.fixture
def mailer(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The function's module, whose clients are moto's."""
    with mock_aws():
        topic = boto3.client("sns").create_topic(Name="mails")["TopicArn"]
        monkeypatch.setenv("TOPIC_ARN", topic)
        monkeypatch.setenv("LINK_ROLE_ARN", "arn:aws-us-gov:iam::123456789012:role/link")
        spec = importlib.util.spec_from_file_location("mailer", FILE)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


def mail_about(mailer: ModuleType, event: dict[str, Any]) -> str:
    """Have the function send a mail, and return its text."""
    sqs, sns = boto3.client("sqs"), boto3.client("sns")
    queue = sqs.create_queue(QueueName="mails")["QueueUrl"]
    [topic] = sns.list_topics()["Topics"]
    arn = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic["TopicArn"], Protocol="sqs", Endpoint=arn["QueueArn"])
    mailer.handler(event, None)
    [message] = sqs.receive_message(QueueUrl=queue)["Messages"]
    return str(json.loads(message["Body"])["Message"])


def test_a_link_downloads_this_version_for_an_hour(mailer: ModuleType) -> None:
    link = urlsplit(link_in(mail_about(mailer, EVENT)))
    query = parse_qs(link.query)
    assert link.path == f"/{COPY['key']}"
    assert (query["versionId"], query["X-Amz-Expires"]) == ([COPY["version_id"]], ["3600"])
    assert "X-Amz-Security-Token" in query  # of the role's session, not of the function


def test_a_link_may_read_nothing_but_its_file(mailer: ModuleType) -> None:
    read, decrypt = mailer.only(COPY)["Statement"]
    assert read["Resource"] == f"arn:aws-us-gov:s3:::{COPY['bucket']}/{COPY['key']}"
    assert {*read["Action"], decrypt["Action"]} == {
        "s3:GetObject",
        "s3:GetObjectVersion",
        "kms:Decrypt",
    }


def test_a_bucket_without_versions_has_links_too(mailer: ModuleType) -> None:
    data = {name: value for name, value in COPY.items() if name != "version_id"}
    mail = mail_about(mailer, {"detail": {"data": data}})
    assert "versionId" not in link_in(mail)


def test_text_of_a_caller_does_not_get_into_a_mail(mailer: ModuleType) -> None:
    ids = dict.fromkeys(("recording_id", "session_id", "room_id"), "x\nhttps://bad.example\n")
    mail = mail_about(mailer, {"detail": {"data": {**COPY, **ids}}})
    assert "bad.example" not in mail
