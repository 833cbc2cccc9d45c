"""`python -m local.demo`: runs the demonstration.

It lists its checks at the end. If a check fails, the exit code is 1.
"""

import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from local import stack
from local.demo import cleanup, copies, dead_letters, management, meeting, rooms, timeline, video
from local.demo.report import Report
from local.servers import BUILD, LocalStackError
from local.stack import LocalStack
from operations.arguments import Parser
from operations.environment import use_only_this_machine
from operations.stack import Stack
from operations.subscriber import Subscriber

PARTS = (meeting, video, management, copies, cleanup, rooms, dead_letters)
PARAMETERS = {"CopyRecordings": "true"}
"""The stack's parameters that differ from those of samconfig.toml's environment `local`."""


def main() -> int:
    """Run the demonstration; return the exit code."""
    parser = Parser("demo")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write a report to this file"
    )
    options = parser.parse_args()
    if options.json and (options.json.is_dir() or not options.json.absolute().parent.is_dir()):
        parser.error(f"{options.json} cannot be written: choose a file in an existing folder")
    report = Report()
    use_only_this_machine()
    try:
        with report.timed("all"):
            _run(report)
    except LocalStackError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted. The local stack is stopped.", file=sys.stderr)
        return 130
    timeline.show_lives(report.lives)
    timeline.show_checks(report.checks, report.seconds["all"])
    timeline.show_next()
    if options.json:
        options.json.write_bytes(report.shareable())
    return 0 if report.all_hold else 1


def _run(report: Report) -> None:
    timeline.heading("Starting")
    with _started(report) as local:
        subscriber = Subscriber(local.stack, "demo")
        for part in PARTS:
            with timeline.busy():
                part.show(report, local, subscriber)
        _check_dead_letters(report, local.stack)


@contextmanager
def _started(report: Report) -> Iterator[LocalStack]:
    start = time.monotonic()
    with ExitStack() as running:
        with timeline.steps() as say:
            local = running.enter_context(
                stack.running(BUILD / "local/demo", say, parameters=PARAMETERS)
            )
        report.seconds["start"] = round(time.monotonic() - start, 2)
        yield local


def _check_dead_letters(report: Report, deployed: Stack) -> None:
    counted = deployed.client("sqs").get_queue_attributes(
        QueueUrl=deployed.outputs["DeadLetterQueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages"],
    )["Attributes"]["ApproximateNumberOfMessages"]
    report.check(
        "the dead-letter queue is empty", ok=counted == "0", detail=f"{counted} messages in it"
    )


if __name__ == "__main__":
    sys.exit(main())
