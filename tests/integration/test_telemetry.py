"""What operators look at, held against what the functions really put out."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec import Struct

from local.testing.template import ROOT, properties, resources, template
from operations import trace
from tests.support.env import Books
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
BODY = properties("Dashboard")["DashboardBody"]["Sub"].replace("${!", "$!{")
WIDGETS = json.loads(re.sub(r"\$\{(.+?)\}", r"\1", BODY))["widgets"]
DOCUMENT = (ROOT / "docs/operations.md").read_text()
QUERIES = dict(
    re.findall(
        r"^\*\*(.+?)\*\*[^\n]*:\n\n((?:    .+\n)+)",
        DOCUMENT.partition("## Questions to the logs\n")[2].partition("\n## ")[0],
        re.MULTILINE,
    )
)


@pytest.fixture(scope="module")
def _found_out() -> list[Telemetry]:
    return []


@pytest.fixture
def told(books: Books, _found_out: list[Telemetry]) -> Telemetry:
    """What all functions put out, which is found out once."""
    if not _found_out:
        _found_out.append(everything(books))
    return _found_out[0]


class Figure(Struct, frozen=True):
    """A metric as a widget names it."""

    namespace: str
    name: str
    dimensions: tuple[str, ...]


def figures(widget: dict[str, Any]) -> Iterator[Figure]:
    """Yield the metrics that a widget names in full, what is repeated in short written out."""
    above: list[str] = []
    for metric in widget["properties"].get("metrics", []):
        row = [part for part in metric if isinstance(part, str)]
        if not row:
            continue
        if row[0] == "...":
            row = above[: len(above) - len(row) + 1] + row[1:]
        above = [above[i] if part == "." else part for i, part in enumerate(row)]
        yield Figure(above[0], above[1], tuple(above[2:]))


def searches(widget: dict[str, Any]) -> Iterator[Metric]:
    """Yield what a widget searches for."""
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
    """Return the metrics that metric filters count; they are no function's."""
    filters = [properties(name) for name in resources("AWS::Logs::MetricFilter")]
    metrics = [metric for each in filters for metric in each["MetricTransformations"]]
    return {
        Metric("", metric["MetricName"], frozenset(d["Key"] for d in metric.get("Dimensions", [])))
        for metric in metrics
    }


@pytest.mark.parametrize("widget", WIDGETS, ids=lambda widget: widget["properties"]["title"])
def test_a_widget_shows_what_the_functions_put_out(widget: dict[str, Any], told: Telemetry) -> None:
    for figure in figures(widget):
        if figure.namespace == "Roomkeeper/AWS::StackName":
            dimension, service = figure.dimensions
            assert dimension == "service"
            assert Metric(service, figure.name, frozenset({"service"})) in told.metrics
            continue
        dimension, kind, names = OF_AWS[figure.namespace]
        assert figure.name in names
        assert figure.dimensions[0] == dimension
        resource = template()["Resources"][figure.dimensions[1].partition(".")[0]]
        assert resource["Type"] == kind
    for wanted in searches(widget):
        assert wanted in told.metrics | counted_from_logs()
    if widget["type"] == "log":
        assert_it_can_be_asked(widget["properties"]["query"], told)
    assert widget["type"] == "log" or [*figures(widget), *searches(widget)]


@pytest.mark.parametrize("question", QUERIES)
def test_a_question_to_the_logs_is_about_what_the_functions_log(
    question: str, told: Telemetry
) -> None:
    assert_it_can_be_asked(QUERIES[question], told)


def assert_it_can_be_asked(query: str, told: Telemetry) -> None:
    """Hold every field and every message in a query against those that are logged."""
    access_log = json.loads(properties("HttpApiStage")["AccessLogSettings"]["Format"])
    known = told.fields | access_log.keys()
    quoted = re.findall(r"message (?:= |in \[)([^\]|\n]+?)(?=\]| and |$| \|)", query, re.MULTILINE)
    for message in re.findall(r"[\"']([a-z ]+)[\"']", " ".join(quoted)):
        assert message in told.messages
    aliases = set(re.findall(r" as (\w+)", query))
    plain = re.sub(r"\"[^\"]*\"|'[^']*'|/[^/]*/|@\w+|\b\d+\w*", " ", query)
    fields = set(re.findall(r"[A-Za-z_]\w*", plain)) - WORDS - aliases
    assert fields <= known


def test_there_are_questions() -> None:
    assert len(QUERIES) >= 10


def test_a_trace_has_words_for_what_is_really_logged(told: Telemetry) -> None:
    assert trace._PHRASES.keys() <= told.messages


def test_every_line_about_something_that_causes_an_event_names_that_event(told: Telemetry) -> None:
    causes = {
        "callback accepted",
        "callback could not be taken now",
        "event published",
        "event not published",
        "recording deleted",
        "missed callback recovered",
        "recording lost",
        "room extended",
    }
    assert causes <= told.messages
    assert all(line["correlation_id"] for line in told.lines if line["message"] in causes)
