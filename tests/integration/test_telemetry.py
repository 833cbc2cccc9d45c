"""The dashboard, log queries and `make trace` use only metrics and fields that functions emit."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct

from local.testing.template import ROOT, dashboard, properties, resources, template
from operations import trace
from tests.support.env import Env
from tests.support.telemetry import Metric, Telemetry, everything

# Source: "Metrics" in the guides of Lambda, of SQS and of API Gateway's HTTP APIs.
OF_AWS = {
    "AWS/Lambda": (
        "FunctionName",
        "AWS::Serverless::Function",
        {"Duration", "Errors", "IteratorAge", "DestinationDeliveryFailures"},
    ),
    "AWS/SQS": ("QueueName", "AWS::SQS::Queue", {"ApproximateNumberOfMessagesVisible"}),
    "AWS/ApiGateway": ("ApiId", "AWS::ApiGatewayV2::Api", {"Latency", "Count", "4xx", "5xx"}),
}
WORDS = {
    *("fields", "filter", "sort", "stats", "limit", "count", "latest", "bin", "by", "as", "asc"),
    *("desc", "in", "and", "or", "not", "like", "SOURCE"),
}
BODY = dashboard().replace("${!", "$!{")
WIDGETS = json.loads(re.sub(r"\$\{(.+?)\}", r"\1", BODY))["widgets"]
DOCUMENT = (ROOT / "docs/operations.md").read_text()
QUERIES = dict(
    re.findall(
        r"^\*\*(.+?)\*\*[^\n]*:\n\n((?:    .+\n)+)",
        DOCUMENT.partition("## Log queries\n")[2].partition("\n## ")[0],
        re.MULTILINE,
    )
)


@pytest.fixture(scope="module")
def _collected() -> list[Telemetry]:
    return []


@pytest.fixture
def telemetry(env: Env, _collected: list[Telemetry]) -> Telemetry:
    """The telemetry of all functions, collected once."""
    if not _collected:
        _collected.append(everything(env))
    return _collected[0]


class WidgetMetric(Struct, frozen=True):
    """A metric in a widget."""

    namespace: str
    name: str
    dimensions: tuple[str, ...]


def metrics_of(widget: dict[str, Any]) -> Iterator[WidgetMetric]:
    """Yield a widget's metrics, with the abbreviations "..." and "." expanded."""
    above: list[str] = []
    for metric in widget["properties"].get("metrics", []):
        row = [part for part in metric if isinstance(part, str)]
        if not row:
            continue
        if row[0] == "...":
            row = above[: len(above) - len(row) + 1] + row[1:]
        above = [above[i] if part == "." else part for i, part in enumerate(row)]
        yield WidgetMetric(above[0], above[1], tuple(above[2:]))


def searches(widget: dict[str, Any]) -> Iterator[Metric]:
    """Yield the metrics in a widget's SEARCH expressions."""
    for metric in widget["properties"].get("metrics", []):
        for part in metric:
            if isinstance(part, dict) and "expression" in part:
                found = re.search(
                    r"SEARCH\('\{\"Roomkeeper/AWS::StackName\",([\w,]+)\} "
                    r"(?:service=\"(\w+)\" )?MetricName=\"(\w+)\"'",
                    part["expression"],
                )
                assert found, f"not understood: {part['expression']}"
                yield Metric(found[2] or "", found[3], frozenset(found[1].split(",")))


def counted_from_logs() -> set[Metric]:
    """Return the metrics of the template's metric filters, which no function emits."""
    filters = [properties(name) for name in resources("AWS::Logs::MetricFilter")]
    metrics = [metric for each in filters for metric in each["MetricTransformations"]]
    return {
        Metric("", metric["MetricName"], frozenset(d["Key"] for d in metric.get("Dimensions", [])))
        for metric in metrics
    }


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget["properties"]["title"])
def test_a_widget_shows_metrics_that_the_functions_emit(
    widget: dict[str, Any], telemetry: Telemetry
) -> None:
    for metric in metrics_of(widget):
        if metric.namespace == "Roomkeeper/AWS::StackName":
            dimension, service = metric.dimensions
            assert dimension == "service"
            assert Metric(service, metric.name, frozenset({"service"})) in telemetry.metrics
            continue
        dimension, kind, names = OF_AWS[metric.namespace]
        assert metric.name in names
        assert metric.dimensions[0] == dimension
        resource = template()["Resources"][metric.dimensions[1].partition(".")[0]]
        assert resource["Type"] == kind
    for wanted in searches(widget):
        assert wanted in telemetry.metrics | counted_from_logs()
    if widget["type"] == "log":
        require_known_fields(widget["properties"]["query"], telemetry)
    assert widget["type"] == "log" or [*metrics_of(widget), *searches(widget)]


@pytest.mark.parametrize("question", QUERIES)
def test_a_documented_log_query_uses_fields_that_the_functions_log(
    question: str, telemetry: Telemetry
) -> None:
    require_known_fields(QUERIES[question], telemetry)


def require_known_fields(query: str, telemetry: Telemetry) -> None:
    """Fail if a query has a field or a message that no function logs."""
    access_log = json.loads(properties("HttpApiStage")["AccessLogSettings"]["Format"])
    known = telemetry.fields | access_log.keys()
    quoted = re.findall(r"message (?:= |in \[)([^\]|\n]+?)(?=\]| and |$| \|)", query, re.MULTILINE)
    for message in re.findall(r"[\"']([a-z ]+)[\"']", " ".join(quoted)):
        assert message in telemetry.messages
    aliases = set(re.findall(r" as (\w+)", query))
    plain = re.sub(r"\"[^\"]*\"|'[^']*'|/[^/]*/|@\w+|\b\d+\w*", " ", query)
    fields = set(re.findall(r"[A-Za-z_]\w*", plain)) - WORDS - aliases
    assert fields <= known


def test_the_documented_log_queries_are_found() -> None:
    assert len(QUERIES) >= 10


def test_trace_describes_only_messages_that_the_functions_log(telemetry: Telemetry) -> None:
    assert trace._PHRASES.keys() <= telemetry.messages


def test_every_line_about_the_cause_of_an_event_has_the_events_id(telemetry: Telemetry) -> None:
    causes = {
        "callback accepted",
        "callback not stored",
        "event published",
        "event not published",
        "recording deleted",
        "recording copied",
        "missed callback recovered",
        "recording lost",
        "room extended",
    }
    assert causes <= telemetry.messages
    assert all(line["correlation_id"] for line in telemetry.lines if line["message"] in causes)
