"""`make bench-lambda` reads REPORT lines, and Lambda's metrics where there are none."""

import json
from datetime import UTC, datetime, timedelta

import boto3
import pytest
from botocore.stub import ANY, Stubber

from operations import bench_lambda
from operations.bench_lambda import Invocation

COLD = (
    "REPORT RequestId: 3f4c\tDuration: 120.50 ms\tBilled Duration: 121 ms\tMemory Size: 512 MB\t"
    "Max Memory Used: 71 MB\tInit Duration: 310.25 ms\t\n"
)
WARM = (
    "REPORT RequestId: 9a1b\tDuration: 4.30 ms\tBilled Duration: 5 ms\tMemory Size: 512 MB\t"
    "Max Memory Used: 73 MB\t\n"
)
JSON_LINE = {
    "time": "2026-11-26T01:00:00.000Z",
    "type": "platform.report",
    "record": {
        "requestId": "9a1b",
        "metrics": {
            "durationMs": 4.3,
            "billedDurationMs": 5,
            "memorySizeMB": 512,
            "maxMemoryUsedMB": 73,
        },
        "status": "success",
    },
}
END = datetime(2026, 11, 26, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_a_report_line_has_the_figures_of_an_invocation() -> None:
    assert bench_lambda.invocation(COLD) == Invocation(120.5, 121, 512, 71, 310.25)
    assert bench_lambda.invocation(WARM) == Invocation(4.3, 5, 512, 73)
    assert bench_lambda.invocation(json.dumps(JSON_LINE)) == Invocation(4.3, 5, 512, 73)


@pytest.mark.parametrize(
    "text",
    [
        "START RequestId: 3f4c Version: $LATEST",
        json.dumps({"message": "REPORT RequestId: of a caller", "level": "INFO"}),
        json.dumps(JSON_LINE | {"type": "platform.start"}),
        "",
    ],
)
def test_other_lines_are_left_out(text: str) -> None:
    assert bench_lambda.invocation(text) is None


def test_a_row_sums_up_invocations_and_counts_cold_starts() -> None:
    found = [each for each in map(bench_lambda.invocation, (COLD, WARM, WARM)) if each]
    durations = bench_lambda.from_reports(found)
    assert bench_lambda.row("EventPublisher", durations, found) == [
        *("EventPublisher", "3", "4", "109", "118"),
        *("0.1", "1", "310", "73 of 512", "REPORT lines"),
    ]


def test_a_function_without_report_lines_is_measured_by_its_metrics() -> None:
    client = boto3.client("cloudwatch", region_name="eu-west-1")
    common = {
        "Namespace": "AWS/Lambda",
        "Dimensions": [{"Name": "FunctionName", "Value": "intake"}],
        "StartTime": END - DAY,
        "EndTime": END,
        "Period": 86_400,
    }
    percentiles = {"p50": 4.0, "p95": 9.0, "p99": 240.0}
    with Stubber(client) as stub:
        stub.add_response(
            "get_metric_statistics",
            {"Datapoints": [{"Sum": 1200.0}]},
            common | {"MetricName": "Invocations", "Statistics": ["Sum"]},
        )
        stub.add_response(
            "get_metric_statistics",
            {"Datapoints": [{"ExtendedStatistics": percentiles}]},
            common | {"MetricName": "Duration", "ExtendedStatistics": ANY},
        )
        durations = bench_lambda.from_metrics(client, "intake", END - DAY, END)
    assert durations is not None
    assert bench_lambda.row("CallbackIntake", durations, ()) == [
        *("CallbackIntake", "1,200", "4", "9", "240", "", "", "", "", "metrics")
    ]


def test_a_function_that_was_not_invoked_has_no_durations() -> None:
    client = boto3.client("cloudwatch", region_name="eu-west-1")
    with Stubber(client) as stub:
        for _ in range(2):
            stub.add_response("get_metric_statistics", {"Datapoints": []})
        assert bench_lambda.from_metrics(client, "intake", END - DAY, END) is None
