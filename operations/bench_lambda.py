"""`make bench-lambda STACK=`: measures a deployed stack's functions, from logs and metrics.

A function's REPORT lines have the duration, billed duration, start time and memory of each
invocation. The callback intake writes none while its invocations succeed, so its durations come
from Lambda's metrics, which have no memory and no start times.

Source: "Viewing CloudWatch logs for Lambda functions" and "Types of metrics for Lambda functions"
in the Lambda guide.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from statistics import quantiles
from typing import Any

import msgspec
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct
from rich.console import Console
from rich.table import Table

from operations.account import explain
from operations.arguments import Parser, within
from operations.command import command
from operations.layout import progress
from operations.stack import Stack, StackError, deployed_stack, resource_ids

PERCENTILES = (50, 95, 99)
COLUMNS = (
    *("function", "invocations", *(f"p{each} ms" for each in PERCENTILES)),
    *("billed s", "cold starts", "init p50 ms", "memory MB", "from"),
)
MAX_DAYS = 15
"""CloudWatch keeps points of a minute for 15 days."""

_FIELD = re.compile(
    r"(Billed Duration|Init Duration|Duration|Memory Size|Max Memory Used): ([\d.]+)"
)


class Invocation(Struct, frozen=True):
    """The values of a REPORT line: milliseconds and megabytes. `init` is that of a cold start."""

    duration: float
    billed: float
    memory_size: float
    max_memory: float
    init: float | None = None


class Durations(Struct, frozen=True):
    """Percentiles of a function's duration in ms, by PERCENTILES, and its invocations."""

    invocations: int
    percentiles: Sequence[float]
    source: str


def invocation(text: str) -> Invocation | None:
    """Return the values of a log line; None if it is no REPORT line.

    Lambda writes it as text or, for a function with the log format JSON, as `platform.report`.
    """
    found = _reported_fields(text)
    if not found:
        return None
    return Invocation(
        duration=found["Duration"],
        billed=found["Billed Duration"],
        memory_size=found["Memory Size"],
        max_memory=found["Max Memory Used"],
        init=found.get("Init Duration"),
    )


def _reported_fields(text: str) -> dict[str, float]:
    if text.startswith("REPORT RequestId:"):
        return {name: float(value) for name, value in _FIELD.findall(text)}
    try:
        line = msgspec.json.decode(text, type=_JsonLine)
    except msgspec.DecodeError:
        return {}
    if line.type != "platform.report":
        return {}
    metrics = line.record["metrics"]
    return {name: metrics[key] for name, key in _JSON_FIELDS.items() if key in metrics}


class _JsonLine(Struct):
    type: str
    record: dict[str, Any]


_JSON_FIELDS = {
    "Duration": "durationMs",
    "Billed Duration": "billedDurationMs",
    "Memory Size": "memorySizeMB",
    "Max Memory Used": "maxMemoryUsedMB",
    "Init Duration": "initDurationMs",
}
"""The fields' names in `platform.report`. Source: "Lambda Telemetry API Event schema reference"."""


def reported(logs: Any, group: str, start: datetime) -> Iterator[Invocation]:
    """Yield the invocations since `start` that a log group has REPORT lines of."""
    pages = logs.get_paginator("filter_log_events").paginate(
        logGroupName=group,
        startTime=int(start.timestamp() * 1000),
        filterPattern='?"REPORT RequestId:" ?"platform.report"',
    )
    for page in pages:
        for event in page["events"]:
            if found := invocation(event["message"]):
                yield found


def from_metrics(
    cloudwatch: Any, function: str, start: datetime, end: datetime
) -> Durations | None:
    """Return a function's durations by Lambda's metrics; None without an invocation."""
    common = {
        "Namespace": "AWS/Lambda",
        "Dimensions": [{"Name": "FunctionName", "Value": function}],
        "StartTime": start,
        "EndTime": end,
        "Period": int((end - start).total_seconds()) // 60 * 60,
    }
    counted = cloudwatch.get_metric_statistics(
        MetricName="Invocations", Statistics=["Sum"], **common
    )["Datapoints"]
    names = [f"p{percent}" for percent in PERCENTILES]
    points = cloudwatch.get_metric_statistics(
        MetricName="Duration", ExtendedStatistics=names, **common
    )["Datapoints"]
    if not counted or not points:
        return None
    # The period spans all of it, and may be cut in two at its boundaries: the busier half counts.
    latest = max(points, key=lambda point: max(point["ExtendedStatistics"].values()))
    return Durations(
        int(sum(point["Sum"] for point in counted)),
        [latest["ExtendedStatistics"][name] for name in names],
        "metrics",
    )


def from_reports(invocations: Sequence[Invocation]) -> Durations:
    """Return the durations of at least one invocation."""
    durations = [each.duration for each in invocations]
    return Durations(len(durations), percentiles(durations), "REPORT lines")


def percentiles(values: Sequence[float]) -> list[float]:
    """Return PERCENTILES of at least one value, interpolated."""
    if len(values) == 1:
        return [values[0]] * len(PERCENTILES)
    cuts = quantiles(values, n=100, method="inclusive")
    return [cuts[percent - 1] for percent in PERCENTILES]


def row(name: str, durations: Durations, invocations: Sequence[Invocation]) -> list[str]:
    """Return a function's row of the table."""
    starts = [each.init for each in invocations if each.init is not None]
    memory = max((each.max_memory for each in invocations), default=None)
    size = max((each.memory_size for each in invocations), default=None)
    return [
        name,
        f"{durations.invocations:,}",
        *(f"{each:,.0f}" for each in durations.percentiles),
        f"{sum(each.billed for each in invocations) / 1000:,.1f}" if invocations else "",
        f"{len(starts):,}" if invocations else "",
        f"{percentiles(starts)[0]:,.0f}" if starts else "",
        f"{memory:,.0f} of {size:,.0f}" if memory is not None else "",
        durations.source,
    ]


def measure(stack: Stack, start: datetime, end: datetime) -> Iterator[list[str]]:
    """Yield a row for each function that was invoked between `start` and `end`."""
    logs, cloudwatch = stack.client("logs"), stack.client("cloudwatch")
    groups = resource_ids(stack, "AWS::Logs::LogGroup")
    for name, function in sorted(resource_ids(stack, "AWS::Lambda::Function").items()):
        invocations = list(reported(logs, groups[f"{name}Logs"], start))
        if invocations:
            yield row(name, from_reports(invocations), invocations)
        elif durations := from_metrics(cloudwatch, function, start, end):
            yield row(name, durations, ())


@command
def main() -> int:
    """Print the table of a stack's functions; return the exit code."""
    parser = Parser("bench-lambda")
    parser.add_stack()
    parser.add_argument("--days", type=within(1, MAX_DAYS), default=1, help="how far back")
    options = parser.parse_args()
    end = datetime.now(UTC)
    start = end - timedelta(days=options.days)
    stack = deployed_stack(options.stack)
    try:
        with progress("Reading the logs and metrics"):
            rows = list(measure(stack, start, end))
    except (ClientError, BotoCoreError) as error:
        raise StackError(
            f"The stack cannot be measured. {explain(error)} This needs permission for "
            "logs:FilterLogEvents, cloudwatch:GetMetricStatistics and "
            "cloudformation:ListStackResources."
        ) from error
    if not rows:
        print("No function was invoked in that time. Look further back with DAYS=.")
        return 0
    shown = Table(box=None, pad_edge=False)
    for name in COLUMNS:
        shown.add_column(name, overflow="fold")
    for each in rows:
        shown.add_row(*each)
    Console().print(shown)
    return 0


if __name__ == "__main__":
    sys.exit(main())
