"""Alarms watch what there is: AWS's own metrics of our resources, and what the functions emit."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from functions.callback_intake import app as intake
from functions.recording_reconciler.app import ReconciliationOptions
from roomkeeper import access, jobs
from roomkeeper.authenticity import Unauthorized
from roomkeeper.jobs import Report
from roomkeeper.rounds import Summary
from roomkeeper.settings import SecretUnavailable
from roomkeeper.store import StoreUnavailable
from tests.builders import AContext
from tests.template import NAMESPACE, ROOT, environment, properties, resources
from tests.unit.conftest import Output

ALARMS = resources("AWS::CloudWatch::Alarm")

AWS_METRICS = {
    # "Lambda metrics" in the Lambda guide; IteratorAge of functions that read a stream.
    "AWS/Lambda": {"Errors", "Throttles", "Invocations", "IteratorAge"},
    # "Monitor CloudWatch metrics for HTTP APIs" in the API Gateway guide.
    "AWS/ApiGateway": {"5xx"},
    # "Available CloudWatch metrics for Amazon SQS" in the SQS guide.
    "AWS/SQS": {"ApproximateNumberOfMessagesVisible"},
}
WATCHED = {
    "FunctionName": "AWS::Serverless::Function",
    "ApiId": "AWS::ApiGatewayV2::Api",
    "QueueName": "AWS::SQS::Queue",
}
"""What type of resource a dimension of AWS's metrics names."""

OURS = {name for name in ALARMS if properties(name)["Namespace"] == {"Sub": NAMESPACE}}


def dimensions(alarm: str) -> dict[str, Any]:
    return {each["Name"]: each["Value"] for each in properties(alarm).get("Dimensions", [])}


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_tells_when_it_begins_and_when_it_is_over(name: str) -> None:
    alarm = properties(name)
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
    assert alarm["TreatMissingData"] in ("notBreaching", "breaching", "ignore", "missing")


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_looks_back_no_further_than_cloudwatch_does(name: str) -> None:
    alarm = properties(name)
    longest = 7 * 86_400 if alarm["Period"] >= 3600 else 86_400
    assert alarm["Period"] * alarm["EvaluationPeriods"] <= longest


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_described_with_what_to_do(name: str) -> None:
    operations = (ROOT / "docs/operations.md").read_text()
    assert f"`{name}`" in operations
    [section] = re.findall(
        r"See docs/operations\.md, (.*)\.$", properties(name)["AlarmDescription"]
    )
    assert f"\n## {section}\n" in operations


# --- AWS's own metrics ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*ALARMS} - OURS))
def test_an_alarm_watches_a_metric_that_aws_has_of_one_of_our_resources(name: str) -> None:
    alarm = properties(name)
    assert alarm["MetricName"] in AWS_METRICS[alarm["Namespace"]]
    [(kind, value)] = dimensions(name).items()
    target = value.get("Ref") or value["GetAtt"].partition(".")[0]
    assert target in resources(WATCHED[kind])


def test_only_a_function_that_reads_a_stream_has_an_iterator_age() -> None:
    watching = [name for name in ALARMS if properties(name)["MetricName"] == "IteratorAge"]
    assert [dimensions(name)["FunctionName"]["Ref"] for name in watching] == ["EventPublisher"]
    assert properties("EventPublisher")["Events"]


def test_one_attempt_of_a_publisher_that_lags_is_enough_to_tell() -> None:
    # There is an age only when the function is invoked; when it fails that is ever more seldom.
    alarm = properties("EventPublisherLagAlarm")
    assert alarm["EvaluationPeriods"] == 1
    assert alarm["Period"] * 1000 + alarm["Threshold"] <= 600_000  # ten minutes


def test_letters_that_wait_in_a_queue_that_sqs_no_longer_measures_stay_told() -> None:
    watching = [name for name in ALARMS if properties(name)["TreatMissingData"] == "ignore"]
    assert watching == ["DeadLetterAlarm"]
    assert properties("DeadLetterAlarm")["Namespace"] == "AWS/SQS"


@pytest.mark.parametrize("schedule", resources("AWS::Scheduler::Schedule"))
def test_a_schedule_that_starts_nothing_for_a_day_is_told_of(schedule: str) -> None:
    function = properties(schedule)["Target"]["Arn"]["GetAtt"].removesuffix(".Arn")
    alarm = properties(f"{function}MissedAlarm")
    assert (alarm["MetricName"], alarm["Statistic"]) == ("Invocations", "Sum")
    assert dimensions(f"{function}MissedAlarm") == {"FunctionName": {"Ref": function}}
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    assert alarm["TreatMissingData"] == "breaching"
    hours = alarm["Period"] * alarm["EvaluationPeriods"] / 3600
    assert hours >= 25  # two starts a day apart leave as many as 24 clock hours without one
    # A schedule that is switched off is not waited for.
    state = properties(schedule).get("State", {"If": [None]})
    condition = resources("AWS::CloudWatch::Alarm")[f"{function}MissedAlarm"].get("Condition")
    assert state["If"][0] == condition


# --- our own --------------------------------------------------------------------------------------


def refuse() -> None:
    intake._refuse(Unauthorized("no"))
    intake.metrics.flush_metrics()


def lack_the_table() -> None:
    intake._ask_again(StoreUnavailable("throttled"), {})
    intake.metrics.flush_metrics()


def lack_the_secret() -> None:
    intake._ask_again(SecretUnavailable("empty"), {})
    intake.metrics.flush_metrics()


def lose_a_recording() -> None:
    report = Report(dry_run=False, counts={"due": 1, "lost": 1, "left": 0}, summary=Summary())
    jobs.handle({}, Invocation(), ReconciliationOptions, lambda _: report)
    jobs.metrics.flush_metrics()


def give_an_upload_up() -> None:
    counts = {"due": 1, "never_uploaded": 1, "left": 0}
    report = Report(dry_run=False, counts=counts, summary=Summary())
    jobs.handle({}, Invocation(), ReconciliationOptions, lambda _: report)
    jobs.metrics.flush_metrics()


class Invocation(AContext):
    def get_remaining_time_in_millis(self) -> int:
        return 900_000


EMITTED: dict[str, tuple[str, Callable[[], None]]] = {
    "CallbackRefusalAlarm": ("CallbackIntake", refuse),
    "CallbackTableAlarm": ("CallbackIntake", lack_the_table),
    "CallbackSecretAlarm": ("CallbackIntake", lack_the_secret),
    "RecordingLossAlarm": ("RecordingReconciler", lose_a_recording),
    "RecordingUploadAlarm": ("RecordingReconciler", give_an_upload_up),
    "VonageRefusalAlarm": ("RecordingCleanup", access.count_refusal),
    "NotConfiguredAlarm": ("RecordingCleanup", lambda: access.count_not_configured(1)),
}
"""For each alarm on a metric of ours: a function that emits it, and what makes it do so."""


@pytest.mark.parametrize("name", EMITTED)
def test_an_alarm_watches_what_a_function_emits(
    name: str, monkeypatch: pytest.MonkeyPatch, output: Output
) -> None:
    function, happen = EMITTED[name]
    for variable, value in environment(function).items():
        monkeypatch.setenv(variable, value)
    for metrics in (intake.metrics, jobs.metrics):
        monkeypatch.setattr(
            metrics.provider, "service", environment(function)["POWERTOOLS_SERVICE_NAME"]
        )

    happen()

    [line] = [line for line in output.lines if properties(name)["MetricName"] in line]
    [told] = line["_aws"]["CloudWatchMetrics"]
    assert told["Namespace"] == NAMESPACE
    assert properties(name)["Namespace"] == {"Sub": NAMESPACE}
    assert properties(name)["MetricName"] in [metric["Name"] for metric in told["Metrics"]]
    assert [sorted(dimensions(name))] == [sorted(each) for each in told["Dimensions"]]
    assert {each: line[each] for each in dimensions(name)} == dimensions(name)


def test_missing_credentials_are_told_of_after_a_day_and_only_while_none_are_stored() -> None:
    alarm = properties("NotConfiguredAlarm")
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 86_400
    # Of an hour in which credentials were stored the lowest value, 0, counts.
    assert (alarm["Statistic"], alarm["Threshold"]) == ("Minimum", 0)
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    # Runs are up to 6 hours apart: a missing hour must count neither as 0 nor as 1.
    watching = [name for name in ALARMS if properties(name)["TreatMissingData"] == "missing"]
    assert watching == ["NotConfiguredAlarm"]
    assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"]


def test_throttled_requests_are_counted_from_the_access_log() -> None:
    counted = properties("RequestThrottled")
    [metric] = counted["MetricTransformations"]
    alarm = properties("HttpApiThrottleAlarm")
    assert (metric["MetricNamespace"], metric["MetricName"]) == (
        alarm["Namespace"],
        alarm["MetricName"],
    )
    assert dimensions("HttpApiThrottleAlarm") == {}
    assert counted["LogGroupName"] == {"Ref": "HttpApiAccessLogs"}
    logged = json.loads(properties("HttpApiStage")["AccessLogSettings"]["Format"])
    assert logged["status"] == "$context.status"
    assert counted["FilterPattern"] == '{ $.status = "429" }'


def test_every_alarm_on_a_metric_of_ours_is_held_to_what_emits_it() -> None:
    assert {*EMITTED, "HttpApiThrottleAlarm"} == OURS
