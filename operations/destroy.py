"""`make destroy`: deletes the stack, and says what is kept. The table is."""

import argparse
import sys

from botocore.exceptions import BotoCoreError, ClientError, WaiterError

from operations.stack import Stack, StackError

_KEPT = """\
The stack {stack} is deleted, with its functions, logs, secrets, event bus and archive.
Kept, with all that it holds and all that it costs: the table {table}
  To delete it, too, for good:   aws dynamodb delete-table --table-name {table}
  To put it to use again:        docs/upgrading.md, "A table that was kept"
Kept as well: SAM's bucket with the code (the stack aws-sam-cli-managed-default, which other
applications share). Take the callback URL out of Vonage's settings: nothing answers it any more."""


def main() -> int:
    """Delete the stack once its name was typed; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m operations.destroy")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    parser.add_argument("--confirm", default="", help="its name again, to type none")
    options = parser.parse_args()
    try:
        stack = Stack(options.stack)
        print(_warning(stack))
        if not _is_confirmed(stack.name, options.confirm):
            print("That is not the stack's name. Nothing was deleted.", file=sys.stderr)
            return 1
        print(destroy(stack))
    except StackError as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def destroy(stack: Stack) -> str:
    """Delete the stack, wait until it is gone, and return what is kept.

    Raises:
        StackError: it is not there, or it could not be deleted whole.
    """
    table = stack.outputs["TableName"]
    formation = stack.client("cloudformation")
    try:
        formation.delete_stack(StackName=stack.name)
        gone = formation.get_waiter("stack_delete_complete")
        gone.wait(StackName=stack.name, WaiterConfig={"Delay": 5, "MaxAttempts": 360})
    except (ClientError, BotoCoreError, WaiterError) as problem:
        raise StackError(
            f"The stack {stack.name} could not be deleted whole: {problem}. Its events in "
            "CloudFormation say what is in the way; then run make destroy again."
        ) from problem
    return _KEPT.format(stack=stack.name, table=table)


def _warning(stack: Stack) -> str:
    letters = stack.client("sqs").get_queue_attributes(
        QueueUrl=stack.outputs["DeadLetterQueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages"],
    )["Attributes"]["ApproximateNumberOfMessages"]
    lost = f" {letters} dead letters go with it: make redrive sends them." if letters != "0" else ""
    return f"This deletes the stack {stack.name} ({stack.whereabouts()}) but for its table.{lost}"


def _is_confirmed(name: str, given: str) -> bool:
    if not given and sys.stdin.isatty():
        given = input("Type the stack's name to go on: ").strip()
    return given == name


if __name__ == "__main__":
    sys.exit(main())
