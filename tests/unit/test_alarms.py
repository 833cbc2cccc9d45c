"""Alarms watch existing metrics: AWS's own of the stack's resources, and those of the functions."""

import json
import re
from collections.abc import Callable
from itertools import product
from typing import Any

import boto3
import pytest

from local.testing.builders import TOKEN, AContext, a_body, a_record, a_request
from local.testing.sdk import endpoints
from local.testing.template import (
    NAMESPACE,
    ROOT,
    environment,
    monitoring,
    properties,
    resources,
    template,
)
from operations.template import condition_holds, job_stacks, load
from roomkeeper.aws.secrets import SecretUnavailable
from roomkeeper.callbacks.authenticity import Unauthorized
from roomkeeper.handlers import callback_intake as intake
from roomkeeper.handlers import event_publisher as publisher
from roomkeeper.jobs import copy_worker, runner
from roomkeeper.jobs.batch import Summary
from roomkeeper.jobs.copying import Copying
from roomkeeper.jobs.reconciliation import Reconciliation, ReconciliationOptions
from roomkeeper.jobs.report import Report
from roomkeeper.jobs.runner import Options, Run
from roomkeeper.publisher import Published
from roomkeeper.store import StoreUnavailable
from roomkeeper.vonage import connect
from tests.support.filter_pattern import matches
from tests.unit.conftest import Output, Table

ALARMS = resources("AWS::CloudWatch::Alarm")

AWS_METRICS = {
    # "Types of metrics for Lambda functions" in the Lambda guide. IteratorAge and
    # DestinationDeliveryFailures are those of functions that read a stream.
    "AWS/Lambda": {
        *("Errors", "Throttles", "Invocations", "IteratorAge"),
        *("DestinationDeliveryFailures", "DroppedEventCount"),
    },
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
"""The resource type that each dimension of AWS's metrics names."""

MAPPINGS = {
    f"{function}{event}"
    for function in resources("AWS::Serverless::Function")
    for event in properties(function).get("Events", {})
}
"""Event source mappings by the logical ids that SAM gives them: the function's and the event's.

Source: "Generated CloudFormation resources for AWS SAM" in its guide.
"""

MATH = {name for name in ALARMS if "Metrics" in properties(name)}
"""Alarms on an expression of several metrics."""

OURS = {name for name in {*ALARMS} - MATH if properties(name)["Namespace"] == {"Sub": NAMESPACE}}


def dimensions(alarm: str) -> dict[str, Any]:
    return named(properties(alarm).get("Dimensions", []))


def named(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["Name"]: each["Value"] for each in found}


def period(alarm: str) -> int:
    """Return the seconds of an alarm's period, the same for all metrics of an expression."""
    if alarm not in MATH:
        return int(properties(alarm)["Period"])
    metrics = properties(alarm)["Metrics"]
    [seconds] = {each["MetricStat"]["Period"] for each in metrics if "MetricStat" in each}
    return int(seconds)


# --- all of them ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_notifies_when_it_starts_and_when_it_ends(name: str) -> None:
    alarm = properties(name)
    assert alarm["AlarmActions"] == alarm["OKActions"] == [{"Ref": "AlarmTopic"}]
    assert alarm["TreatMissingData"] in ("notBreaching", "breaching", "ignore", "missing")


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_looks_back_no_further_than_cloudwatch_does(name: str) -> None:
    longest = 7 * 86_400 if period(name) >= 3600 else 86_400
    periods = properties(name)["EvaluationPeriods"]
    if isinstance(periods, dict):
        periods = template()["Parameters"][periods["Ref"]]["MaxValue"]
    assert period(name) * periods <= longest


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_is_described_with_what_to_do(name: str) -> None:
    operations = (ROOT / "docs/operations.md").read_text()
    assert f"`{name}`" in operations
    [section] = re.findall(
        r"See docs/operations\.md, (.*)\.$", properties(name)["AlarmDescription"]
    )
    assert f"\n## {section}\n" in operations


# --- AWS's own metrics ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted({*ALARMS} - OURS - MATH))
def test_an_alarm_watches_a_metric_that_aws_has_of_one_of_our_resources(name: str) -> None:
    alarm = properties(name)
    assert alarm["MetricName"] in AWS_METRICS[alarm["Namespace"]]
    [(kind, value)] = dimensions(name).items()
    target = value.get("Ref") or value["GetAtt"].partition(".")[0]
    known = MAPPINGS if kind == "EventSourceMappingUUID" else resources(WATCHED[kind])
    assert target in known


def test_only_a_function_that_reads_a_stream_has_an_iterator_age() -> None:
    watching = [n for n in ALARMS if properties(n).get("MetricName") == "IteratorAge"]
    assert [dimensions(name)["FunctionName"]["Ref"] for name in watching] == ["EventPublisher"]
    assert properties("EventPublisher")["Events"]


def test_a_single_attempt_of_a_lagging_publisher_raises_the_alarm() -> None:
    # The age is measured at invocations only, which become rare while the function fails.
    alarm = properties("EventPublisherLagAlarm")
    assert alarm["EvaluationPeriods"] == 1
    assert alarm["Period"] * 1000 + alarm["Threshold"] <= 600_000  # ten minutes


def test_dropped_records_without_a_failure_record_raise_an_alarm_immediately() -> None:
    """If the on-failure destination fails, too, events are lost without a dead letter."""
    alarm = properties("EventPublisherDestinationAlarm")
    assert alarm["MetricName"] == "DestinationDeliveryFailures"
    assert dimensions("EventPublisherDestinationAlarm") == {
        "FunctionName": {"Ref": "EventPublisher"}
    }
    assert (alarm["Statistic"], alarm["Threshold"], alarm["EvaluationPeriods"]) == ("Sum", 0, 1)


def test_the_event_source_is_configured_to_count_dropped_records() -> None:
    """Event source mappings have metrics of their own only where MetricsConfig asks for them.

    Source: "Types of metrics for Lambda functions", Event source mapping metrics, in its guide.
    """
    [(event, source)] = properties("EventPublisher")["Events"].items()
    assert source["Properties"]["MetricsConfig"] == {"Metrics": ["EventCount"]}
    alarm = properties("EventPublisherDroppedAlarm")
    assert alarm["MetricName"] == "DroppedEventCount"
    assert dimensions("EventPublisherDroppedAlarm") == {
        "EventSourceMappingUUID": {"Ref": f"EventPublisher{event}"}
    }
    assert (alarm["Statistic"], alarm["Threshold"], alarm["EvaluationPeriods"]) == ("Sum", 0, 1)


def test_dead_letters_in_a_queue_without_metrics_keep_their_alarm() -> None:
    watching = [name for name in ALARMS if properties(name)["TreatMissingData"] == "ignore"]
    assert watching == ["DeadLetterAlarm", "CopyDeadLetterAlarm"]
    assert {properties(name)["Namespace"] for name in watching} == {"AWS/SQS"}


@pytest.mark.parametrize("job", job_stacks())
def test_a_schedule_that_starts_nothing_for_a_day_raises_an_alarm(job: str) -> None:
    if job == "RecordingCopierJob":  # its queue invokes it, too
        assert f"{job}/MissedAlarm" not in ALARMS
        alarm = properties("RecordingCopierMissedAlarm")
        assert (alarm["MetricName"], alarm["Statistic"]) == ("OldestWaitingSeconds", "SampleCount")
    else:
        alarm, function = (
            properties(f"{job}/MissedAlarm"),
            properties(job)["Parameters"]["Function"],
        )
        assert (alarm["MetricName"], alarm["Statistic"]) == ("Invocations", "Sum")
        assert dimensions(f"{job}/MissedAlarm") == {"FunctionName": function}
    assert (alarm["ComparisonOperator"], alarm["Threshold"]) == ("LessThanThreshold", 1)
    assert alarm["TreatMissingData"] == "breaching"
    hours = alarm["Period"] * alarm["EvaluationPeriods"] / 3600
    assert hours >= 25  # two starts a day apart leave as many as 24 clock hours without one


WATCHED_JOB = {"ScheduleState": "ENABLED", "WatchInvocations": "true"}
"""The parameters of a job whose invocations are waited for."""


def test_a_schedule_that_is_switched_off_is_not_waited_for() -> None:
    nested = load(ROOT / "operations/job.yaml")
    assert nested["Resources"]["MissedAlarm"]["Condition"] == "WatchesInvocations"
    condition = nested["Conditions"]["WatchesInvocations"]
    for state, watch in product(("ENABLED", "DISABLED"), ("true", "false")):
        given = {"ScheduleState": state, "WatchInvocations": watch}
        assert condition_holds(condition, given) == (given == WATCHED_JOB)
    states = {name: properties(name)["Parameters"].get("ScheduleState") for name in job_stacks()}
    assert states.pop("RecordingCleanupJob") == {"If": ["DeletesRecordings", "ENABLED", "DISABLED"]}
    assert set(states.values()) == {None}


# --- our own --------------------------------------------------------------------------------------


def lack_the_table() -> None:
    intake._ask_again(StoreUnavailable("throttled"), None)


def lack_the_secret() -> None:
    intake._ask_again(SecretUnavailable("empty"), None)


def lose_a_recording() -> None:
    reconcile(due=1, lost=1, remaining=0)


def give_an_upload_up() -> None:
    reconcile(due=1, never_uploaded=1, remaining=0)


def fail_to_copy() -> None:
    copy_worker.count_failures(1)
    runner.metrics.flush_metrics()


def sweep(expiring: int = 1, oldest: int = 60) -> None:
    """Have a sweep report what waits."""

    class Reported(Copying):
        @classmethod
        def start(cls, run: Run[Options]) -> Report:
            counts = {"expiring_uncopied": expiring, "oldest_waiting_seconds": oldest}
            return Report(dry_run=run.dry_run, counts=counts, summary=Summary())

    runner.handle({}, Invocation(), Reported)
    runner.metrics.flush_metrics()


def reconcile(**counts: int) -> None:
    """Have a reconciliation report these counts."""

    class Reported(Reconciliation):
        @classmethod
        def start(cls, run: Run[ReconciliationOptions]) -> Report:
            return Report(dry_run=run.dry_run, counts=counts, summary=Summary())

    runner.handle({}, Invocation(), Reported)
    runner.metrics.flush_metrics()


class Invocation(AContext):
    def get_remaining_time_in_millis(self) -> int:
        return 900_000


ONE_FAILED_UNCOPIED = Published(
    published=1, recordings_failed=1, refused=0, lost_uncopied=1, unavailable=()
)


def publish(result: Published) -> None:
    """Have the publisher count the result of a batch."""
    publisher._count(result)
    publisher.metrics.flush_metrics()


EMITTED: dict[str, tuple[str, Callable[[], None]]] = {
    "CallbackTableAlarm": ("CallbackIntake", lack_the_table),
    "CallbackSecretAlarm": ("CallbackIntake", lack_the_secret),
    "CallbackTokenAlarm": ("CallbackIntake", intake.count_unusable_token),
    "RecordingLossAlarm": ("RecordingReconciler", lose_a_recording),
    "RecordingFailureAlarm": ("EventPublisher", lambda: publish(ONE_FAILED_UNCOPIED)),
    "CopyLossAlarm": ("EventPublisher", lambda: publish(ONE_FAILED_UNCOPIED)),
    "RecordingUploadAlarm": ("RecordingReconciler", give_an_upload_up),
    "CopyFailureAlarm": ("RecordingCopier", fail_to_copy),
    "CopyExpiringAlarm": ("RecordingCopier", sweep),
    "RecordingCopierMissedAlarm": ("RecordingCopier", lambda: sweep(0, 0)),  # nothing waits
    "VonageRefusalAlarm": ("RecordingCleanup", connect.count_unauthorized),
    "NotConfiguredAlarm": ("RecordingCleanup", lambda: connect.count_not_configured(1)),
}
"""For each alarm on a functions' metric: the function, and an action that emits the metric."""


@pytest.mark.parametrize("name", EMITTED)
def test_an_alarm_watches_what_a_function_emits(
    name: str, monkeypatch: pytest.MonkeyPatch, output: Output
) -> None:
    function, happen = EMITTED[name]
    for variable, value in environment(function).items():
        monkeypatch.setenv(variable, value)
    for metrics in (intake.metrics, publisher.metrics, runner.metrics):
        monkeypatch.setattr(
            metrics.provider, "service", environment(function)["POWERTOOLS_SERVICE_NAME"]
        )

    happen()

    [line] = [line for line in output.lines if properties(name)["MetricName"] in line]
    [emitted] = line["_aws"]["CloudWatchMetrics"]
    assert emitted["Namespace"] == NAMESPACE
    assert properties(name)["Namespace"] == {"Sub": NAMESPACE}
    assert properties(name)["MetricName"] in [metric["Name"] for metric in emitted["Metrics"]]
    assert [sorted(dimensions(name))] == [sorted(each) for each in emitted["Dimensions"]]
    assert {each: line[each] for each in dimensions(name)} == dimensions(name)


def test_missing_credentials_raise_an_alarm_after_a_day_until_they_are_stored() -> None:
    alarm = properties("NotConfiguredAlarm")
    assert alarm["Period"] * alarm["EvaluationPeriods"] == 86_400
    # The lowest value counts: 0 in the hour in which credentials are stored.
    assert (alarm["Statistic"], alarm["Threshold"]) == ("Minimum", 0)
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    # Runs are up to 6 hours apart: a missing hour must count neither as 0 nor as 1.
    watching = [name for name in ALARMS if properties(name)["TreatMissingData"] == "missing"]
    assert watching == ["NotConfiguredAlarm"]
    assert alarm["DatapointsToAlarm"] == alarm["EvaluationPeriods"]


# --- on the access log ----------------------------------------------------------------------------

ON_ACCESS_LOG = {
    "CallbackRefusalAlarm": "CallbackRefused",
    "CallbackSilenceAlarm": "CallbackAcknowledged",
    "HttpApiFloodAlarm": "RequestRejected",
    "HttpApiRejectedPostsAlarm": "PostRejected",
    "HttpApiThrottleAlarm": "RequestThrottled",
}
"""The metric filter behind each alarm."""

WITH_TOKEN = "POST /callbacks/{token}"


def a_line(status: int, route: str = WITH_TOKEN, **fields: str) -> dict[str, str]:
    """Return a line of the access log; unknown values are "-"."""
    line = dict.fromkeys(json.loads(properties("HttpApiStage")["AccessLogSettings"]["Format"]), "-")
    shown = {"method": "POST", "routeKey": route, "status": str(status)}
    return {**line, **shown, "integrationStatus": "200"} | fields


def a_rejection(status: int, route: str = "-", **fields: str) -> dict[str, str]:
    """Return the line of a request that API Gateway rejected, so that no function was called."""
    return a_line(status, route) | {"integrationStatus": "-"} | fields


@pytest.mark.parametrize("alarm", ON_ACCESS_LOG)
def test_an_alarm_watches_what_is_counted_from_the_access_log(alarm: str) -> None:
    counting = properties(ON_ACCESS_LOG[alarm])
    [metric] = counting["MetricTransformations"]
    watched = properties(alarm)
    assert counting["LogGroupName"] == {"Ref": "HttpApiAccessLogs"}
    assert metric["MetricNamespace"] == watched["Namespace"] == {"Sub": NAMESPACE}
    assert metric["MetricName"] == watched["MetricName"] == ON_ACCESS_LOG[alarm]
    assert (metric["MetricValue"], watched["Statistic"]) == ("1", "Sum")
    assert {each["Key"] for each in metric.get("Dimensions", [])} == dimensions(alarm).keys()


def test_the_metric_filters_compare_fields_of_the_access_log() -> None:
    logged = json.loads(properties("HttpApiStage")["AccessLogSettings"]["Format"])
    assert logged["status"] == "$context.status"
    assert logged["method"] == "$context.httpMethod"
    assert logged["routeKey"] == "$context.routeKey"
    assert logged["integrationStatus"] == "$context.integrationStatus"


@pytest.mark.parametrize(
    ("line", "counted"),
    [
        (a_line(204), {"CallbackAcknowledged"}),
        (a_line(204, "POST /callbacks"), {"CallbackAcknowledged"}),
        (a_line(204, "DELETE /recordings/{recording_id}", method="DELETE"), set()),
        (a_line(401), {"CallbackRefused"}),
        (a_line(400, "POST /callbacks"), {"CallbackRefused"}),
        (a_line(413), {"CallbackRefused"}),
        (a_line(503), set()),
        (a_line(404, "POST /recordings/{recording_id}/republish"), set()),
        (a_line(404, "GET /rooms/{room_id}", method="GET"), set()),
        (a_rejection(429, WITH_TOKEN), {"RequestThrottled", "RequestRejected"}),
        (a_rejection(404), {"PostRejected", "RequestRejected"}),
        (a_rejection(400), {"PostRejected", "RequestRejected"}),
        (a_rejection(403, "POST /jobs/cleanup"), {"PostRejected", "RequestRejected"}),
        (a_rejection(404, method="GET"), {"RequestRejected"}),
        (a_rejection(403, "GET /rooms", method="GET"), {"RequestRejected"}),
        (a_rejection(404, method="OPTIONS"), {"RequestRejected"}),
        (a_rejection(500, WITH_TOKEN), set()),
    ],
)
def test_each_request_is_counted_by_its_outcome(line: dict[str, str], counted: set[str]) -> None:
    filters = {name: properties(name) for name in resources("AWS::Logs::MetricFilter")}
    found = {
        name
        for name, each in filters.items()
        if each["LogGroupName"] == {"Ref": "HttpApiAccessLogs"}
        and matches(each["FilterPattern"], line)
    }
    assert found == counted


def test_refusals_are_counted_by_status_and_the_alarm_watches_the_unauthorized() -> None:
    [metric] = properties("CallbackRefused")["MetricTransformations"]
    assert metric["Dimensions"] == [{"Key": "status", "Value": "$.status"}]
    assert dimensions("CallbackRefusalAlarm") == {"status": str(Unauthorized.status)}


def test_silence_raises_an_alarm_only_where_the_operator_asks_for_it() -> None:
    alarm = resources("AWS::CloudWatch::Alarm")["CallbackSilenceAlarm"]
    assert template()["Parameters"]["CallbackSilenceHours"]["Default"] == 0
    assert alarm["Condition"] == "HasSilenceAlarm"
    asked_for = {"Not": [{"Equals": [{"Ref": "CallbackSilenceHours"}, "0"]}]}
    assert monitoring()["Conditions"]["HasSilenceAlarm"] == asked_for
    assert alarm["Properties"]["Period"] == 3600
    assert alarm["Properties"]["EvaluationPeriods"] == {"Ref": "CallbackSilenceHours"}
    assert alarm["Properties"]["TreatMissingData"] == "breaching"


def test_every_alarm_on_an_own_metric_is_tested_against_its_emitter() -> None:
    assert {*EMITTED, *ON_ACCESS_LOG} == OURS


# --- accepted, but not published ------------------------------------------------------------------


@pytest.fixture
def accepted(
    table: Table,
    moto_server: str,
    patient_intake: None,
    monkeypatch: pytest.MonkeyPatch,
    output: Output,
) -> list[dict[str, Any]]:
    """The intake's log lines about a callback and its repeat."""
    secret = boto3.client("secretsmanager").create_secret(
        Name=table.name, SecretString=json.dumps({"token": TOKEN})
    )
    ours = {"TABLE_NAME": table.name, "CALLBACK_SECRET_ARN": secret["ARN"]}
    for name, value in (environment("CallbackIntake") | endpoints(moto_server) | ours).items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        assert intake.handler(a_request(a_body("room:expired")), AContext())["statusCode"] == 204
    return [line for line in output.lines if line.get("message") == "callback accepted"]


def test_new_callbacks_are_counted_from_the_intakes_log(accepted: list[dict[str, Any]]) -> None:
    """Each of them makes an event due; a repeat makes none."""
    counted = properties("NewCallback")
    assert counted["LogGroupName"] == {"Ref": "CallbackIntakeLogs"}
    assert counted["FilterPattern"] == (
        '{ ($.message = "callback accepted") && ($.is_new IS TRUE) }'
    )
    assert [line["is_new"] for line in accepted] == [True, False]


def test_an_alarm_fires_when_callbacks_are_accepted_and_nothing_is_published() -> None:
    alarming, accepted, published = properties("NothingPublishedAlarm")["Metrics"]
    # A publisher that is never invoked emits no zeros: its metric has no data at all.
    assert alarming["Expression"] == "IF(FILL(accepted, 0) > 0 AND FILL(published, 0) == 0, 1, 0)"
    assert [accepted["Id"], published["Id"]] == ["accepted", "published"]
    assert [each.get("ReturnData", True) for each in (alarming, accepted, published)] == [
        True, False, False
    ]  # fmt: skip
    [counted] = properties("NewCallback")["MetricTransformations"]
    assert accepted["MetricStat"]["Metric"] == {
        "Namespace": counted["MetricNamespace"],
        "MetricName": counted["MetricName"],
    }
    assert published["MetricStat"]["Metric"]["Namespace"] == {"Sub": NAMESPACE}
    assert [each["MetricStat"]["Stat"] for each in (accepted, published)] == ["Sum", "Sum"]


def test_the_alarm_on_published_events_watches_what_the_publisher_emits(
    monkeypatch: pytest.MonkeyPatch, output: Output
) -> None:
    for name, value in environment("EventPublisher").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(publisher.metrics.provider, "service", "event_publisher")
    publisher.handler({"Records": [a_record({"pk": {"S": "COUNTER#1"}})]}, AContext())

    watched = properties("NothingPublishedAlarm")["Metrics"][-1]["MetricStat"]["Metric"]
    [line] = [line for line in output.lines if watched["MetricName"] in line]
    [emitted] = line["_aws"]["CloudWatchMetrics"]
    [names] = emitted["Dimensions"]
    assert {name: line[name] for name in names} == named(watched["Dimensions"])


def test_a_callback_that_is_published_in_the_next_period_is_no_alarm() -> None:
    """A single period does not raise the alarm: two within an hour are needed."""
    alarm = properties("NothingPublishedAlarm")
    assert (alarm["DatapointsToAlarm"], alarm["EvaluationPeriods"]) == (2, 12)
    assert period("NothingPublishedAlarm") * alarm["EvaluationPeriods"] == 3600
