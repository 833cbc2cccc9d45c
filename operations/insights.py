"""What the functions of a stack have logged, asked for with CloudWatch Logs Insights."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from operations.stack import Stack, StackError, resource_ids

MOST = 10_000
"""The most lines that one response has. Source: "StartQuery" in the CloudWatch Logs reference."""

Line = Mapping[str, Any]
"""A function's structured line: `message`, `service`, `timestamp`, and what belongs to it."""


_COMMON = {
    "timestamp",
    "message",
    "service",
    "name",
    "level",
    "location",
    "cold_start",
    "function_name",
    "function_memory_size",
    "function_arn",
    "function_request_id",
    "xray_trace_id",
    "sampling_rate",
}
"""Fields of every line (Powertools for AWS Lambda, Logger, "Standard structured keys")."""


def lines(stack: Stack, mentioning: Sequence[str], since: datetime) -> list[Line]:
    """Return the structured lines that mention any of these ids, as they were logged.

    Raises:
        StackError: the logs cannot be asked; the message says why.
    """
    found = _query(stack, f"filter @message like /{_any_of(mentioning)}/", since)
    return sorted(filter(None, map(structured, found)), key=time_of)


def last_by_service(stack: Stack, message: str, since: datetime) -> dict[str, Line]:
    """Return the newest structured line with this message of each service that logged one.

    Raises:
        StackError: the logs cannot be asked; the message says why.
    """
    found = _query(stack, f"filter @message like /{_any_of([message])}/", since, order="desc")
    lines = [each for each in map(structured, found) if each and each["message"] == message]
    return {str(each.get("service", "")): each for each in sorted(lines, key=time_of)}


def own_fields(line: Line) -> dict[str, Any]:
    """Return what a line says beside its message: its fields but for those that all lines have."""
    return {name: value for name, value in line.items() if name not in _COMMON}


def time_of(line: Line) -> datetime:
    """Return when a line was logged, to the millisecond."""
    return datetime.fromisoformat(line["timestamp"]).astimezone(UTC)


def log_groups(stack: Stack) -> list[str]:
    """Return the names of the stack's log groups."""
    return [*resource_ids(stack, "AWS::Logs::LogGroup").values()]


def _query(stack: Stack, condition: str, since: datetime, order: str = "asc") -> list[str]:
    """Return the messages of the log events that fulfil a condition: the first MOST by `order`."""
    try:
        return list(_messages(stack, condition, since, order))
    except (ClientError, BotoCoreError) as problem:
        raise StackError(
            f"The logs of the stack {stack.name} cannot be asked: {problem}. It takes permission "
            "for logs:StartQuery, logs:GetQueryResults and cloudformation:ListStackResources."
        ) from problem


def _messages(stack: Stack, condition: str, since: datetime, order: str) -> Iterator[str]:
    logs = stack.client("logs")
    query = logs.start_query(
        logGroupNames=log_groups(stack),
        startTime=int(since.timestamp()),
        endTime=int(time.time()) + 1,
        queryString=f"fields @timestamp, @message | {condition} | sort @timestamp {order}",
        limit=MOST,
    )["queryId"]
    while (answer := logs.get_query_results(queryId=query))["status"] in ("Scheduled", "Running"):
        time.sleep(0.5)  # there is nothing to wait on; CloudWatch ends each query by itself
    if answer["status"] != "Complete":
        raise StackError(f"CloudWatch gave the query up: {answer['status']}. Try again.")
    for row in answer["results"]:
        yield {field["field"]: field["value"] for field in row}["@message"]


def _any_of(ids: Sequence[str]) -> str:
    """Return a regular expression for any of the ids, as they are written in JSON."""
    return "|".join(re.escape(json.dumps(id_, ensure_ascii=False)[1:-1]) for id_ in ids)


def structured(text: str) -> Line | None:
    """Return a line of ours; None for one that Lambda itself or a metric wrote."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and {"message", "timestamp"} <= line.keys() else None
