"""The log lines of a stack's functions, queried with CloudWatch Logs Insights."""

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from operations.account import explain
from operations.stack import Stack, StackError, resource_ids

MAX_LINES = 10_000
"""The most lines in one response. Source: "StartQuery" in the CloudWatch Logs API reference."""

_ACCESS_LOG = "HttpApiAccessLogs"

Line = Mapping[str, Any]
"""A structured log line: `message`, `service`, `timestamp` and the message's own fields."""


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
    """Return the structured lines that mention any of these ids, each as a whole, oldest first.

    Raises:
        StackError: the logs cannot be queried; the message says why.
    """
    ids = _any_of(mentioning)
    as_a_whole = re.compile(rf"(?<![\w-])(?:{ids})(?![\w-])").search
    found = filter(as_a_whole, _query(stack, f"filter @message like /{ids}/", since))
    return sorted(filter(None, map(structured, found)), key=time_of)


def last_by_service(stack: Stack, message: str, since: datetime) -> dict[str, Line]:
    """Return each service's newest structured line with this message, by service.

    Raises:
        StackError: the logs cannot be queried; the message says why.
    """
    found = _query(stack, f"filter @message like /{_any_of([message])}/", since, order="desc")
    lines = [each for each in map(structured, found) if each and each["message"] == message]
    return {str(each.get("service", "")): each for each in sorted(lines, key=time_of)}


def own_fields(line: Line) -> dict[str, Any]:
    """Return the fields of a line without those that every line has."""
    return {name: value for name, value in line.items() if name not in _COMMON}


def time_of(line: Line) -> datetime:
    """Return the time at which a line was logged, to the millisecond."""
    return datetime.fromisoformat(line["timestamp"]).astimezone(UTC)


def log_groups(stack: Stack) -> list[str]:
    """Return the names of the functions' log groups.

    The API's access log has no structured lines, and operators have no permission to query it.
    """
    found = resource_ids(stack, "AWS::Logs::LogGroup")
    return [group for name, group in found.items() if name != _ACCESS_LOG]


def _query(stack: Stack, condition: str, since: datetime, order: str = "asc") -> list[str]:
    """Return the messages of the matching log events: the first MAX_LINES in this `order`."""
    try:
        return list(_messages(stack, condition, since, order))
    except (ClientError, BotoCoreError) as exc:
        raise StackError(
            f"The logs of the stack {stack.name} cannot be queried. {explain(exc)} This needs "
            "permission for logs:StartQuery, logs:GetQueryResults and "
            "cloudformation:ListStackResources."
        ) from exc


def _messages(stack: Stack, condition: str, since: datetime, order: str) -> Iterator[str]:
    logs = stack.client("logs")
    query = logs.start_query(
        logGroupNames=log_groups(stack),
        startTime=int(since.timestamp()),
        endTime=int(time.time()) + 1,
        queryString=f"fields @timestamp, @message | {condition} | sort @timestamp {order}",
        limit=MAX_LINES,
    )["queryId"]
    while (response := logs.get_query_results(queryId=query))["status"] in ("Scheduled", "Running"):
        time.sleep(0.5)  # boto3 has no waiter for queries; CloudWatch limits their duration
    if response["status"] != "Complete":
        raise StackError(f"The log query ended with status {response['status']}. Run it again.")
    for row in response["results"]:
        yield {field["field"]: field["value"] for field in row}["@message"]


def _any_of(ids: Sequence[str]) -> str:
    """Return a regular expression that matches any of the ids as JSON writes them."""
    return "|".join(re.escape(json.dumps(id_, ensure_ascii=False)[1:-1]) for id_ in ids)


def structured(text: str) -> Line | None:
    """Return the structured line in `text`; None for a line of Lambda itself or a metric."""
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and {"message", "timestamp"} <= line.keys() else None
