"""`make destroy`: deletes the stack, and says what is kept. It can be repeated until it is gone."""

import argparse
import sys
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from operations import stack_states
from operations.command import command, fail
from operations.event_rules import foreign_rules
from operations.stack import Stack, StackError, resource_ids

_DELETED = """\
The stack {stack} is deleted, with its functions, logs, secrets, event bus and archive."""
_KEPT_TABLE = """\
Kept, with all that it holds and all that it costs: the table {table}
  To put it to use again, see docs/upgrading.md, "A table that was kept".
  To delete it, too, for good:  aws dynamodb delete-table --table-name {table}"""
_REMINDER = """\
Kept as well: SAM's bucket with the code (the stack aws-sam-cli-managed-default, which other
applications share). Take the callback URL out of Vonage's settings: nothing answers it any more."""


@command
def main() -> int:
    """Delete the stack once its name was typed; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m operations.destroy")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    parser.add_argument("--confirm", default="", help="its name again, to type none")
    options = parser.parse_args()
    stack = Stack(options.stack)
    if stack.status is None:
        print(f"There is no stack {stack.name} ({stack.whereabouts()}): nothing is to be deleted.")
        return 0
    require_deletable(stack)
    print(_warning(stack))
    if not _is_confirmed(stack.name, options.confirm):
        return fail("That is not the stack's name. Nothing was deleted.")
    print(destroy(stack))
    return 0


def require_deletable(stack: Stack) -> None:
    """Raise a StackError if the stack is not to be deleted, or cannot be deleted whole, now."""
    if reason := stack_states.why_not_deletable(stack.name, stack.status):
        raise StackError(reason)
    stack.require_roomkeepers()
    if rules := foreign_rules(stack):
        raise StackError(
            f"Nothing was deleted. The event bus of stack {stack.name} has rules of others, and a "
            "bus that has rules cannot be deleted:\n  "
            + "\n  ".join(rules)
            + "\nHave these rules deleted, with the stacks that they belong to, then run make "
            "destroy again."
        )


def destroy(stack: Stack) -> str:
    """Delete the stack, wait until it is gone, and return what is kept.

    Raises:
        StackError: it could not be deleted whole.
    """
    delete(stack)
    tables = [_KEPT_TABLE.format(table=table) for table in kept_tables(stack)]
    return "\n".join([_DELETED.format(stack=stack.name), *tables, _REMINDER])


def delete(stack: Stack) -> None:
    """Delete the stack and wait until it is gone. A deletion that fails is tried once more.

    It can fail by chance: API Gateway refuses concurrent changes of one API's resources.

    Raises:
        StackError: it could not be deleted whole; the message says what is left, and why.
    """
    if _delete_once(stack) == "DELETE_FAILED":
        print("Some resources could not be deleted: the deletion is tried once more.")
        if _delete_once(stack) == "DELETE_FAILED":
            raise StackError(
                f"The stack {stack.name} could not be deleted whole: {_left(stack)}. Remove what "
                "is in the way, then run make destroy again."
            )


def kept_tables(stack: Stack) -> list[str]:
    """Return the names of the tables that outlive the deleted stack.

    Its events tell, which CloudFormation keeps for 90 days after the deletion, whatever became of
    the stack's outputs. Source: CloudFormation API Reference, DescribeStackEvents.
    """
    pages = stack.client("cloudformation").get_paginator("describe_stack_events")
    return sorted(
        {
            event["PhysicalResourceId"]
            for page in pages.paginate(StackName=stack.id)
            for event in page["StackEvents"]
            if event["ResourceType"] == "AWS::DynamoDB::Table"
            and event["ResourceStatus"] == "DELETE_SKIPPED"
        }
    )


def _delete_once(stack: Stack) -> str:
    """Ask for the deletion, wait for its end, and return the status then.

    Raises:
        StackError: the deletion was refused, or takes longer than half an hour.
    """
    formation = stack.client("cloudformation")
    try:
        formation.delete_stack(StackName=stack.id)
    except ClientError as error:
        message = error.response["Error"]["Message"]
        raise StackError(f"AWS refuses to delete stack {stack.name}: {message}") from error
    try:
        gone = formation.get_waiter("stack_delete_complete")
        gone.wait(StackName=stack.id, WaiterConfig={"Delay": 5, "MaxAttempts": 360})
    except WaiterError as error:
        return _status_after(stack, error)
    return "DELETE_COMPLETE"


def _status_after(stack: Stack, error: WaiterError) -> str:
    last: Any = error.last_response
    stacks = last.get("Stacks", [])
    if stacks and stacks[0]["StackStatus"] == "DELETE_IN_PROGRESS":
        raise StackError(
            f"The stack {stack.name} is still being deleted after half an hour: run make destroy "
            "again, which waits for it."
        )
    if not stacks:
        raise StackError(f"The deletion of stack {stack.name} cannot be followed: {error}")
    return "DELETE_FAILED"


def _left(stack: Stack) -> str:
    """Return which resources could not be deleted, and why."""
    pages = stack.client("cloudformation").get_paginator("list_stack_resources")
    return "; ".join(
        f"{each['LogicalResourceId']} ({each.get('ResourceStatusReason', 'no reason given')})"
        for page in pages.paginate(StackName=stack.id)
        for each in page["StackResourceSummaries"]
        if each["ResourceStatus"] == "DELETE_FAILED"
    )


def _warning(stack: Stack) -> str:
    count = _dead_letters(stack)
    lost = f" {count} dead letters go with it: make redrive sends them." if count else ""
    return f"This deletes the stack {stack.name} ({stack.whereabouts()}) but for its table.{lost}"


def _dead_letters(stack: Stack) -> int:
    """Return about how many messages wait in the stack's queues; 0 where there is none."""
    sqs = stack.client("sqs")
    return sum(_waiting(sqs, url) for url in resource_ids(stack, "AWS::SQS::Queue").values())


def _waiting(sqs: Any, url: str) -> int:
    name = "ApproximateNumberOfMessages"
    try:
        answer = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    except sqs.exceptions.QueueDoesNotExist:
        return 0
    return int(answer["Attributes"][name])


def _is_confirmed(name: str, given: str) -> bool:
    if not given and sys.stdin.isatty():
        given = input("Type the stack's name to go on: ").strip()
    return given == name


if __name__ == "__main__":
    sys.exit(main())
