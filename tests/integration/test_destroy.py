"""A stack is deleted completely, also after a partial deletion, unless it has subscribers."""

from collections.abc import Iterator

import boto3
import pytest

from tests.integration.operator_support import (
    Account,
    Operator,
    Put,
    a_stack,
    make_resources,
    only_moto,
    putting,
)
from tests.support.cloudformation import NAME


@pytest.fixture
def account() -> Iterator[Account]:
    """An account with the resources of a stack, created by moto."""
    with only_moto():
        yield make_resources()


@pytest.fixture
def given(account: Account, monkeypatch: pytest.MonkeyPatch) -> Iterator[Put]:
    """Set the state of the account's stack."""
    with putting(monkeypatch) as put:
        yield put


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Operator:
    return Operator(monkeypatch, capsys)


# --- deleting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "DELETE_FAILED", "CREATE_FAILED"])
def test_the_table_that_is_kept_is_named_with_or_without_outputs(
    status: str, account: Account, given: Put, operator: Operator
) -> None:
    given(a_stack(account, status, outputs={}))

    assert "the table the-table" in operator.run("destroy").text


def test_the_bucket_of_the_copies_is_kept_and_named(
    account: Account, given: Put, operator: Operator
) -> None:
    bucket = ("AWS::S3::Bucket", "roomkeeper-copiesbucket-1a2b", "CREATE_COMPLETE")
    given(a_stack(account, "CREATE_COMPLETE", resources=[*account.resources, bucket]))

    text = operator.run("destroy").text

    assert "eu-west-1), except its table and its bucket.\n" in text
    assert "still billed: the bucket roomkeeper-copiesbucket-1a2b" in text


def test_a_table_deleted_with_a_failed_creation_is_not_listed_as_kept(
    account: Account, given: Put, operator: Operator
) -> None:
    table = ("AWS::DynamoDB::Table", "the-table", "DELETE_COMPLETE")
    given(a_stack(account, "ROLLBACK_COMPLETE", resources=[table]))

    ran = operator.run("destroy")

    assert ran.code == 0
    assert "table" not in ran.text


def test_a_failed_deletion_is_retried_once(
    account: Account, given: Put, operator: Operator
) -> None:
    formation = a_stack(account, "CREATE_COMPLETE", deletions=["DELETE_FAILED", "DELETE_COMPLETE"])
    given(formation)

    ran = operator.run("destroy")

    assert ran.code == 0
    assert formation.calls.count("DeleteStack") == 2


def test_a_deletion_that_fails_twice_names_the_remaining_resources_and_can_be_repeated(
    account: Account, given: Put, operator: Operator
) -> None:
    left = ("AWS::ApiGatewayV2::Api", "an-api", "DELETE_FAILED")
    formation = a_stack(
        account,
        "CREATE_COMPLETE",
        resources=[*account.resources, left],
        deletions=["DELETE_FAILED", "DELETE_FAILED", "DELETE_COMPLETE"],
    )
    given(formation)

    failed, repeated, once_more = (operator.run("destroy") for _ in range(3))

    assert failed.code == 1
    assert "could not be deleted completely. Left: Api (because it is in use)" in failed.text
    assert "run make destroy again" in failed.text
    assert (repeated.code, once_more.code) == (0, 0)
    assert f"There is no stack {NAME}" in once_more.text


def test_nothing_is_deleted_while_others_have_rules_on_the_bus_and_these_are_named(
    account: Account, given: Put, operator: Operator
) -> None:
    formation = a_stack(account, "DELETE_FAILED", outputs={})
    given(formation)
    theirs = "arn:aws:events:eu-west-1:222222222222:event-bus/theirs"
    events = boto3.client("events")
    events.put_rule(Name="an-audit", EventBusName=NAME, EventPattern="{}")
    events.put_targets(Rule="an-audit", EventBusName=NAME, Targets=[{"Id": "1", "Arn": theirs}])

    ran = operator.run("destroy")

    assert ran.code == 1
    assert f"an-audit on the bus {NAME} -> {theirs} (account 222222222222)" in ran.text
    assert "Nothing was deleted." in ran.text
    assert "DeleteStack" not in formation.calls


def test_the_stacks_own_rules_and_those_of_its_archive_are_no_obstacle(
    account: Account, given: Put, operator: Operator
) -> None:
    events = boto3.client("events")
    arn = events.describe_event_bus(Name=NAME)["Arn"]
    events.put_rule(Name="a-rule-of-ours", EventBusName=NAME, EventPattern="{}")
    events.create_archive(ArchiveName="our-archive", EventSourceArn=arn)
    own = [
        ("AWS::Events::Rule", f"{NAME}|a-rule-of-ours", "CREATE_COMPLETE"),
        ("AWS::Events::Archive", "our-archive", "CREATE_COMPLETE"),
    ]
    given(a_stack(account, "CREATE_COMPLETE", resources=[*account.resources, *own]))

    assert operator.run("destroy").code == 0


def test_an_archive_of_another_owner_on_the_bus_is_named(
    account: Account, given: Put, operator: Operator
) -> None:
    events = boto3.client("events")
    arn = events.describe_event_bus(Name=NAME)["Arn"]
    events.create_archive(ArchiveName="theirs", EventSourceArn=arn)
    given(a_stack(account, "CREATE_COMPLETE"))

    ran = operator.run("destroy")

    assert ran.code == 1
    assert "Events-Archive-theirs" in ran.text


@pytest.mark.parametrize("gone", ["AWS::SQS::Queue", "AWS::Events::EventBus"])
def test_missing_resources_do_not_stop_a_deletion(
    gone: str, account: Account, given: Put, operator: Operator
) -> None:
    boto3.client("sqs").delete_queue(QueueUrl=account.outputs["DeadLetterQueueUrl"])
    boto3.client("events").delete_event_bus(Name=NAME)
    rest = [each for each in account.resources if each[0] != gone]
    given(a_stack(account, "DELETE_FAILED", outputs={}, resources=rest))

    assert operator.run("destroy").code == 0


def test_dead_letters_that_a_deletion_would_lose_are_counted(
    account: Account, given: Put, operator: Operator
) -> None:
    queue = account.outputs["DeadLetterQueueUrl"]
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody="{}")
    given(a_stack(account, "DELETE_FAILED", outputs={}))

    assert "1 dead letters, which are lost" in operator.run("destroy").text


def test_waiting_copies_are_no_dead_letters(
    account: Account, given: Put, operator: Operator
) -> None:
    sqs = boto3.client("sqs")
    urls = [
        sqs.create_queue(QueueName=f"{NAME}-{name}-1A2B")["QueueUrl"]
        for name in ("CopyQueue", "CopyDeadLetterQueue")
    ]
    for url in urls:
        sqs.send_message(QueueUrl=url, MessageBody='"a-recording"')
    queues = [("AWS::SQS::Queue", url, "CREATE_COMPLETE") for url in urls]
    given(a_stack(account, "CREATE_COMPLETE", resources=[*account.resources, *queues]))

    assert "dead letters" not in operator.run("destroy").text
