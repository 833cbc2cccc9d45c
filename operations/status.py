"""`make status`: prints the deployment, the jobs' last runs, the backlog, and the alarms.

It changes nothing. A part that cannot be read prints the reason, and the other parts follow.
"""

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from operations import insights, products, worklists
from operations.account import explain
from operations.arguments import Parser
from operations.command import command
from operations.insights import Line
from operations.layout import field, heading, line, progress
from operations.stack import Stack, StackError, deployed_stack, resource_ids
from operations.template import parameters
from roomkeeper.domain.recordings import DEFERRED

COPY_JOB, ROOM_JOB = "recording_copier", "room_expiry_extender"
JOBS = ("recording_cleanup", "recording_reconciler", COPY_JOB, ROOM_JOB)
RUN_ENDED = "run finished"
"""The message that every job logs at the end of a run, with its report."""

LOGS_BACK = timedelta(hours=48)
"""How far back to search for runs: twice the longest gap between runs that raises no alarm."""

_LAST = ("failed", "remaining")
_NOT_COUNTS = {"dry_run", "stopped_by", "sample_errors", "planned"}
_ALARMS_A_CALL = 100  # CloudWatch API Reference, DescribeAlarms, AlarmNames


@command
def main() -> int:
    """Print the status; return the exit code: 0 if all parts could be read."""
    parser = Parser("status")
    parser.add_stack()
    return 0 if show(deployed_stack(parser.parse_args().stack)) else 1


def show(stack: Stack) -> bool:
    """Print the stack's status, part by part; return whether all parts could be read."""
    show_stack(stack)
    show_outputs(stack)
    show_parameters(stack)
    parts = (show_jobs, show_worklists, show_dead_letters, show_alarms)
    shown = [_is_shown(part, stack) for part in parts]
    return all(shown)


def show_stack(stack: Stack) -> None:
    """Print the stack's state, its account and region, and the version of its code."""
    described = _described(stack)
    heading(f"Stack {stack.name}")
    field("state", described["StackStatus"])
    if reason := described.get("StackStatusReason"):
        field("reason", reason)
    field("account", stack.account_and_region())
    field("deployed", _ago(described.get("LastUpdatedTime") or described["CreationTime"]))
    field("products", products.labels(stack.products))
    if version := stack.outputs.get("Version"):
        field("version", version)
    if code := code_version(stack):
        field("code", code)


def code_version(stack: Stack) -> str:
    """Return the versions of the stack's layers, which contain all code; empty if unknown.

    Whenever a layer's content changes, SAM gives it a new logical id that contains a hash
    (AWS SAM Developer Guide, AWS::Serverless::LayerVersion).
    """
    found = resource_ids(stack, "AWS::Lambda::LayerVersion").items()
    return ", ".join(f"layer version {arn.rpartition(':')[2]} ({name})" for name, arn in found)


def show_outputs(stack: Stack) -> None:
    """Print the stack's outputs."""
    heading("Outputs")
    for name, value in stack.outputs.items():
        field(name, value)


def show_parameters(stack: Stack) -> None:
    """Print the parameters that differ from the template's defaults."""
    heading("Parameters that differ from their defaults")
    different = differing_parameters(stack.parameters)
    for name, (value, default) in different.items():
        field(name, f"{value or '(empty)'}  (default: {default or '(empty)'})")
    if not different:
        line("none")


def differing_parameters(given: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Return value and default of each parameter whose value differs from the default."""
    known = parameters()
    return {
        name: (value, known[name].default)
        for name, value in given.items()
        if name in known and value != known[name].default
    }


def show_jobs(stack: Stack) -> None:
    """Print the last run of each job."""
    with progress("Searching the logs for the last runs"):
        runs = insights.last_by_service(stack, RUN_ENDED, datetime.now(UTC) - LOGS_BACK)
    heading("Last run of each job")
    for job in JOBS:
        field(job, _run(runs[job]) if job in runs else _without_run(stack, job))


def _without_run(stack: Stack, job: str) -> str:
    if job == ROOM_JOB and "meetings" not in stack.products:
        return "not deployed: rooms exist in Meetings only"
    if job == COPY_JOB and stack.parameters.get("CopyRecordings", "false") != "true":
        return "not deployed: CopyRecordings is false"
    return "no run in the last two days"


def _run(run: Line) -> str:
    report = sorted(insights.own_fields(run).items(), key=lambda each: (each[0] in _LAST, each[0]))
    counts = [f"{name} {value}" for name, value in report if _is_count(name, value)]
    ended = f"stopped by {run['stopped_by']}" if run.get("stopped_by") else "finished"
    suffix = " (dry run)" if run.get("dry_run") else ""
    return f"{_ago(insights.time_of(run))}{suffix}, {ended}: {', '.join(counts) or 'nothing to do'}"


def _is_count(name: str, value: object) -> bool:
    """Return whether to show a field as a count. Zeros are hidden, except for those in _LAST."""
    if name in _NOT_COUNTS or isinstance(value, bool) or not isinstance(value, int):
        return False
    return value > 0 or name in _LAST


def show_worklists(stack: Stack) -> None:
    """Print the length of each worklist, and of those of deferred items if they have any."""
    with progress("Counting the worklists"):
        lengths = worklists.lengths(stack)
    heading("Worklists")
    for name, description in worklists.WORKLISTS.items():
        field(name, f"{_length(lengths[name])} ({description})")
        deferred = lengths.get(DEFERRED + name, worklists.Length())
        if deferred.count:
            field(DEFERRED + name, f"{_length(deferred, 'next attempt')} (failed, to be retried)")


def _length(length: worklists.Length, oldest: str = "oldest") -> str:
    if not length.oldest:
        return "0"
    return f"{'' if length.is_exact else 'over '}{length.count}, {oldest} {_ago(length.oldest)}"


def show_dead_letters(stack: Stack) -> None:
    """Print the number of dead letters, and the age of the oldest."""
    heading("Dead letters")
    events = _waiting(stack, stack.outputs["DeadLetterQueueUrl"])
    line(f"{events}. Run make redrive to publish them." if events else "none")
    if url := stack.outputs.get("CopyDeadLetterQueueUrl"):
        copies = _waiting(stack, url)
        line(
            f"of copies: {copies}. The recording copier's log has the cause."
            if copies
            else "of copies: none"
        )


def _waiting(stack: Stack, url: str) -> str:
    """Return the number of messages in a queue and the age of the oldest; "" if it is empty."""
    counted = stack.client("sqs").get_queue_attributes(
        QueueUrl=url,
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    if not (count := sum(map(int, counted.values()))):
        return ""
    age = oldest_message_age(stack, url.rpartition("/")[2])
    return f"{count}, the oldest {f'{_duration(age)} old' if age else 'of unknown age'}"


def oldest_message_age(stack: Stack, queue: str) -> timedelta | None:
    """Return the age of the queue's oldest message; None without a recent measurement.

    This does not receive messages, because a message that was received three times no longer counts
    in the metric (SQS Developer Guide, "Available CloudWatch metrics").
    """
    now = datetime.now(UTC)
    points = stack.client("cloudwatch").get_metric_statistics(
        Namespace="AWS/SQS",
        MetricName="ApproximateAgeOfOldestMessage",
        Dimensions=[{"Name": "QueueName", "Value": queue}],
        StartTime=now - timedelta(minutes=30),
        EndTime=now,
        Period=60,
        Statistics=["Maximum"],
    )["Datapoints"]
    newest = max(points, key=lambda point: point["Timestamp"], default=None)
    return timedelta(seconds=newest["Maximum"]) if newest else None


def show_alarms(stack: Stack) -> None:
    """Print the alarms in state ALARM, and the number of all alarms."""
    with progress("Reading the alarms"):
        names = resource_ids(stack, "AWS::CloudWatch::Alarm")
        alarms = _alarms(stack, list(names.values()))
    logical = {physical: name for name, physical in names.items()}
    firing = [alarm for alarm in alarms if alarm["StateValue"] == "ALARM"]
    heading("Alarms")
    line(f"{len(firing)} of {len(alarms)} in state ALARM")
    for alarm in sorted(firing, key=lambda alarm: str(alarm["AlarmName"])):
        since = _ago(alarm["StateUpdatedTimestamp"])
        line(f"{logical[alarm['AlarmName']]}, {since}: {alarm.get('AlarmDescription', '')}", 4)


def _alarms(stack: Stack, names: list[str]) -> list[Any]:
    """Return the metric alarms with these names."""
    pages = stack.client("cloudwatch").get_paginator("describe_alarms")
    return [
        alarm
        for start in range(0, len(names), _ALARMS_A_CALL)
        for page in pages.paginate(AlarmNames=names[start : start + _ALARMS_A_CALL])
        for alarm in page["MetricAlarms"]
    ]


def _described(stack: Stack) -> Mapping[str, Any]:
    """Return CloudFormation's description of the stack."""
    found = stack.client("cloudformation").describe_stacks(StackName=stack.name)["Stacks"]
    described: Mapping[str, Any] = found[0]
    return described


def _is_shown(part: Callable[[Stack], None], stack: Stack) -> bool:
    try:
        part(stack)
    except StackError as error:
        return _cannot_be_read(part, str(error))
    except (ClientError, BotoCoreError) as error:
        return _cannot_be_read(part, explain(error))
    return True


def _cannot_be_read(part: Callable[[Stack], None], reason: str) -> bool:
    heading(part.__name__.removeprefix("show_").replace("_", " ").capitalize())
    line(f"cannot be read: {reason}")
    return False


def _ago(moment: datetime) -> str:
    return f"{_duration(datetime.now(UTC) - moment)} ago"


def _duration(time: timedelta) -> str:
    """Return a duration in its largest unit, such as `3 days`."""
    seconds = max(0, int(time.total_seconds()))
    units = (("day", 86400), ("hour", 3600), ("minute", 60), ("second", 1))
    for unit, length in units:
        if count := seconds // length:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    return "0 seconds"


if __name__ == "__main__":
    sys.exit(main())
