"""`make destroy`: deletes the stack and lists what is kept. It can be repeated after a failure."""

import sys
from typing import Any

from botocore.exceptions import ClientError, WaiterError

from operations import stack_states
from operations.arguments import Parser
from operations.command import command, fail, on_interrupt
from operations.event_rules import foreign_rules
from operations.stack import Stack, StackError, resource_ids

_DELETED = """\
The stack {stack} is deleted, with its functions, logs, secrets, event bus and archive."""
_KEPT_TABLE = """\
Kept, with its data, and still billed: the table {table}
  To use it again, see docs/upgrading.md, "A table that was kept".
  To delete it for good:  aws dynamodb delete-table --table-name {table}"""
_KEPT_BUCKET = """\
Kept, with the copies of recordings, and still billed: the bucket {bucket}
  For another stack to use its copies, deploy with CopyRecordings=true and CopyBucket={bucket}
  To delete it for good, delete all versions of its objects, then the bucket."""
_REMINDER = """\
Also kept: SAM's bucket with the code (stack aws-sam-cli-managed-default, which other applications
share). Remove the callback URL from Vonage's settings: it no longer works."""

_QUEUES_OF_COPIES = {"CopyQueue", "CopyDeadLetterQueue"}
"""Queues whose messages only name recordings, which the table still has."""


@command
def main() -> int:
    """Delete the stack after the operator confirmed its name; return the exit code."""
    parser = Parser("destroy")
    parser.add_stack()
    parser.add_argument("--confirm", default="", help="the name again, to skip the prompt")
    options = parser.parse_args()
    stack = Stack(options.stack)
    if stack.status is None:
        print(f"There is no stack {stack.name} ({stack.account_and_region()}): nothing to delete.")
        return 0
    require_deletable(stack)
    print(_warning(stack))
    if not _is_confirmed(stack.name, options.confirm):
        return fail(f"The stack's name, {stack.name}, was not confirmed. Nothing was deleted.")
    print(destroy(stack))
    return 0


def require_deletable(stack: Stack) -> None:
    """Raise a StackError unless the stack is Roomkeeper's and can be deleted now, completely."""
    if reason := stack_states.why_not_deletable(stack.name, stack.status):
        raise StackError(reason)
    stack.require_roomkeepers()
    if rules := foreign_rules(stack):
        raise StackError(
            f"Nothing was deleted. The event bus of stack {stack.name} has rules that are not part "
            "of the stack, and AWS does not delete a bus that has rules:\n  "
            + "\n  ".join(rules)
            + "\nDelete these rules, or the stacks that they belong to, then run make destroy "
            "again."
        )


def destroy(stack: Stack) -> str:
    """Delete the stack, wait for the end, and return a message that lists what is kept.

    Raises:
        StackError: the stack could not be deleted completely.
    """
    delete(stack)
    return "\n".join([_DELETED.format(stack=stack.name), *what_is_kept(stack), _REMINDER])


def what_is_kept(stack: Stack) -> list[str]:
    """Return a message for each table and bucket that outlives the deleted stack."""
    tables = [_KEPT_TABLE.format(table=each) for each in kept(stack, "AWS::DynamoDB::Table")]
    buckets = [_KEPT_BUCKET.format(bucket=each) for each in kept(stack, "AWS::S3::Bucket")]
    return [*tables, *buckets]


def delete(stack: Stack) -> None:
    """Delete the stack and wait for the end. A failed deletion is retried once.

    A deletion can fail by chance: API Gateway rejects concurrent changes of one API's resources.

    Raises:
        StackError: the stack could not be deleted completely; the message says what is left and
            why.
    """
    with on_interrupt("The deletion continues on AWS; make destroy waits for its end."):
        if _delete_once(stack) != "DELETE_FAILED":
            return
        print("Some resources could not be deleted. Trying once more.")
        if _delete_once(stack) == "DELETE_FAILED":
            raise StackError(
                f"The stack {stack.name} could not be deleted completely. Left: "
                f"{_remaining(stack)}. Resolve these reasons, then run make destroy again."
            )


def kept(stack: Stack, resource_type: str) -> list[str]:
    """Return the names of the resources of a type that outlive the deleted stack.

    They are read from the stack's events, which CloudFormation keeps for 90 days after the
    deletion. Source: CloudFormation API Reference, DescribeStackEvents.
    """
    pages = stack.client("cloudformation").get_paginator("describe_stack_events")
    return sorted(
        {
            event["PhysicalResourceId"]
            for page in pages.paginate(StackName=stack.id)
            for event in page["StackEvents"]
            if event["ResourceType"] == resource_type
            and event["ResourceStatus"] == "DELETE_SKIPPED"
        }
    )


def _delete_once(stack: Stack) -> str:
    """Request the deletion, wait for its end, and return the final status.

    Raises:
        StackError: the deletion was rejected, or takes longer than half an hour.
    """
    formation = stack.client("cloudformation")
    try:
        formation.delete_stack(StackName=stack.id)
    except ClientError as error:
        message = error.response["Error"]["Message"]
        raise StackError(f"AWS rejected the deletion of stack {stack.name}: {message}") from error
    try:
        deleted = formation.get_waiter("stack_delete_complete")
        deleted.wait(StackName=stack.id, WaiterConfig={"Delay": 5, "MaxAttempts": 360})
    except WaiterError as error:
        return _status_after(stack, error)
    return "DELETE_COMPLETE"


def _status_after(stack: Stack, error: WaiterError) -> str:
    last: Any = error.last_response
    stacks = last.get("Stacks", [])
    if stacks and stacks[0]["StackStatus"] == "DELETE_IN_PROGRESS":
        raise StackError(
            f"The stack {stack.name} is still being deleted after half an hour. Run make destroy "
            "again to keep waiting."
        )
    if not stacks:
        raise StackError(f"The state of stack {stack.name} cannot be read: {error}")
    return "DELETE_FAILED"


def _remaining(stack: Stack) -> str:
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
    lost = (
        f" Its queue has {count} dead letters, which are lost unless you run make redrive first."
        if count
        else ""
    )
    where = stack.account_and_region()
    kinds = {"table": "AWS::DynamoDB::Table", "bucket": "AWS::S3::Bucket"}
    there = [f"its {name}" for name, kind in kinds.items() if resource_ids(stack, kind)]
    kept_data = f", except {' and '.join(there)}" if there else ""
    return f"This deletes the stack {stack.name} ({where}){kept_data}.{lost}"


def _dead_letters(stack: Stack) -> int:
    """Return the approximate number of messages that hold events; 0 without a queue."""
    sqs = stack.client("sqs")
    queues = resource_ids(stack, "AWS::SQS::Queue")
    return sum(_length(sqs, url) for name, url in queues.items() if name not in _QUEUES_OF_COPIES)


def _length(sqs: Any, url: str) -> int:
    name = "ApproximateNumberOfMessages"
    try:
        response = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    except sqs.exceptions.QueueDoesNotExist:
        return 0
    return int(response["Attributes"][name])


def _is_confirmed(name: str, given: str) -> bool:
    if not given and sys.stdin.isatty():
        given = input("Type the stack's name to continue: ").strip()
    return given == name


if __name__ == "__main__":
    sys.exit(main())
