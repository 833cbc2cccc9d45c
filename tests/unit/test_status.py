"""`make status` shows the stack's state, also if some parts cannot be read."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import boto3
import pytest

from local.testing.builders import a_recording_started, a_recording_uploaded, a_session_ended
from operations import layout, status, worklists
from roomkeeper.domain.recordings import DEFERRED, Worklist
from roomkeeper.jobs import runner
from roomkeeper.store import Store
from tests.support.operator_stack import QUEUE_NAME, AStack, Refusing
from tests.unit.conftest import Table
from tests.unit.test_trace import ALogs

TWO_HOURS_AGO = datetime.now(UTC) - timedelta(hours=2, minutes=1)


def a_run(service: str, at: datetime = TWO_HOURS_AGO, **report: Any) -> str:
    line = {"message": status.RUN_ENDED, "service": service, "timestamp": at.isoformat()}
    return json.dumps(
        {
            **line,
            "stopped_by": None,
            "failed": 0,
            "remaining": 0,
            "function_memory_size": 512,
            **report,
        }
    )


@pytest.fixture
def stack(moto: None, table: Table) -> Iterator[AStack]:
    made = AStack(table.name, logs=ALogs([], *["Complete"] * 3))
    sqs = boto3.client("sqs")
    made.outputs["DeadLetterQueueUrl"] = sqs.create_queue(QueueName=QUEUE_NAME)["QueueUrl"]
    queue = made.outputs["DeadLetterQueueUrl"]
    yield made
    sqs.delete_queue(QueueUrl=queue)


def shown(stack: Any, capsys: pytest.CaptureFixture[str]) -> str:
    assert status.show(stack)
    return capsys.readouterr().out


def test_state_account_region_and_code_are_shown(
    stack: AStack, capsys: pytest.CaptureFixture[str]
) -> None:
    arn = "arn:aws:lambda:eu-west-1:123456789012:layer:RoomkeeperLayer1a2b:7"
    stack.outputs["Version"] = "0.1.0"
    stack.resources["AWS::Lambda::LayerVersion"] = {"RoomkeeperLayer1a2b": arn}
    text = shown(stack, capsys)
    for each in ("CREATE_COMPLETE", "account 123456789012, region eu-west-1", "layer version 7"):
        assert each in text
    assert re.search(r"^  version +0\.1\.0$", text, re.MULTILINE)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "Meetings"),
        ({"Products": "both"}, "Meetings and Video"),
        ({"Products": "video"}, "Video"),
    ],
)
def test_the_products_are_shown(
    given: dict[str, str], expected: str, stack: AStack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.parameters = given
    assert re.search(rf"^  products +{expected}$", shown(stack, capsys), re.MULTILINE)


def test_only_parameters_that_differ_are_shown_each_with_its_default(
    stack: AStack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.parameters = {
        "LogRetentionDays": "7",
        "SessionRetentionDays": "400",
        "CleanupDryRun": "true",
    }
    text = shown(stack, capsys)
    assert "7  (default: 30)" in text
    assert "true  (default: false)" in text
    assert "SessionRetentionDays" not in text


def test_the_last_run_of_each_job_is_shown_with_its_counts(
    stack: AStack, capsys: pytest.CaptureFixture[str]
) -> None:
    earlier = TWO_HOURS_AGO - timedelta(hours=1)
    logs = ALogs(
        [
            a_run(
                "recording_cleanup", due=5, deleted=4, on_hold=0, failed=1, stopped_by="deadline"
            ),
            a_run("recording_reconciler", dry_run=True, recovered=2),
            a_run("recording_cleanup", earlier, deleted=99),
            json.dumps(
                {
                    "message": "run finished and over",
                    "service": "recording_cleanup",
                    "timestamp": datetime.now(UTC).isoformat(),
                }
            ),
            "REPORT RequestId: x run finished",
        ]
    )
    stack._clients["logs"] = logs
    text = shown(stack, capsys)
    assert "2 hours ago, stopped by deadline: deleted 4, due 5, failed 1, remaining 0" in text
    assert "2 hours ago (dry run), finished: recovered 2, failed 0, remaining 0" in text
    assert "no run in the last two days" in text
    assert "deleted 99" not in text
    assert logs.query["queryString"].endswith("sort @timestamp desc")


def test_a_jobs_report_is_looked_for_by_the_message_that_it_has(
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert status.RUN_ENDED in runner._log_report.__code__.co_consts


def test_waiting_items_are_counted_by_worklist_with_the_oldest(
    stack: AStack, table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(table.client, table.name, session_days=9, event_days=9)
    long_ago = datetime.now(UTC) - timedelta(days=3, hours=1)
    for number in range(5):
        uploaded = a_recording_uploaded(recording_id=f"r{number}")
        store.apply(uploaded, long_ago + timedelta(hours=number))
    store.apply(a_recording_started(recording_id="begun"), long_ago)
    store.apply(a_session_ended(), TWO_HOURS_AGO)
    text = shown(stack, capsys)
    assert "5, oldest 3 days ago (recordings whose retention" in text
    assert "1, oldest 3 days ago (recordings that wait" in text
    assert "1, oldest 2 hours ago (ended sessions" in text
    assert "0 (room extensions" in text


def test_every_worklist_of_the_jobs_is_described_and_counted() -> None:
    known = {name.removeprefix(DEFERRED) for name in get_args(Worklist)}
    assert known | {"extension"} == worklists.WORKLISTS.keys()


def test_deferred_items_are_counted_apart(
    stack: AStack, table: Table, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(table.client, table.name)
    store.apply(a_recording_uploaded(recording_id="refused"), TWO_HOURS_AGO)
    [entry] = store.worklists.read("retained", TWO_HOURS_AGO)
    store.worklists.defer(entry, TWO_HOURS_AGO, lambda _: timedelta(hours=1), confirmed=False)
    text = shown(stack, capsys)
    assert re.search(r"deferred_retained +1, next attempt", text)
    assert "deferred_confirmed" not in text


def test_video_has_no_room_extension(stack: AStack, capsys: pytest.CaptureFixture[str]) -> None:
    stack.parameters = {"Products": "video"}
    text = shown(stack, capsys)
    assert re.search(r"room_expiry_extender +not deployed: rooms exist in Meetings only", text)


def test_a_stack_that_copies_nothing_has_no_copier(
    stack: AStack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert re.search(
        r"recording_copier +not deployed: CopyRecordings is false", shown(stack, capsys)
    )


def test_the_last_run_of_the_copier_is_shown(
    stack: AStack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack.parameters = {"CopyRecordings": "true"}
    assert re.search(r"recording_copier +no run in the last two days", shown(stack, capsys))
    stack._clients["logs"] = ALogs([a_run("recording_copier", queued=3)])
    assert re.search(r"recording_copier +2 hours ago, finished: queued 3", shown(stack, capsys))


def test_a_worklist_is_counted_no_further_than_a_few_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    class Endless:
        """A table whose index never ends."""

        calls = 0

        def query(self, **_query: Any) -> Any:
            self.calls += 1
            page: dict[str, Any] = {"Count": 1000, "LastEvaluatedKey": {"pk": {"S": "x"}}}
            page["Items"] = [{"since": {"S": "2026-11-20T00:00:00.000Z"}}]
            return page

    dynamodb = Endless()
    counted = worklists.length(AStack("table", dynamodb=dynamodb), "retained")  # type: ignore[arg-type]
    assert (counted.count, counted.is_exact) == (8 * worklists.MAX_PAGES * 1000, False)
    assert dynamodb.calls == 8 * (worklists.MAX_PAGES + 1)


def test_dead_letters_are_counted_with_the_age_of_the_oldest(
    stack: AStack, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = stack.outputs["DeadLetterQueueUrl"]
    for _ in range(2):
        boto3.client("sqs").send_message(QueueUrl=queue, MessageBody="{}")
    assert "2, the oldest of unknown age" in shown(stack, capsys)

    class Measured:
        def get_metric_statistics(self, **query: Any) -> Any:
            assert query["Dimensions"] == [{"Name": "QueueName", "Value": QUEUE_NAME}]
            now = datetime.now(UTC)
            points = [(now - timedelta(minutes=9), 1.0), (now - timedelta(minutes=1), 7300.0)]
            return {"Datapoints": [{"Timestamp": at, "Maximum": age} for at, age in points]}

        def get_paginator(self, _: str) -> Any:
            return self

        def paginate(self, **_: Any) -> Any:
            return []

    stack._clients["cloudwatch"] = Measured()
    assert "2, the oldest 2 hours old. Run make redrive" in shown(stack, capsys)


def test_dead_letters_of_copies_are_counted_apart(
    stack: AStack, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "of copies" not in shown(stack, capsys)
    queue = boto3.client("sqs").create_queue(QueueName="copies")["QueueUrl"]
    stack.outputs["CopyDeadLetterQueueUrl"] = queue
    assert "Dead letters\n  none\n  of copies: none" in shown(stack, capsys)
    boto3.client("sqs").send_message(QueueUrl=queue, MessageBody="{}")
    assert "none\n  of copies: 1, the oldest of unknown age" in shown(stack, capsys)
    boto3.client("sqs").delete_queue(QueueUrl=queue)


class Limited:
    """CloudWatch with AWS's limit of names per call, which moto does not check."""

    def get_paginator(self, operation: str) -> Any:
        class Paginator:
            def paginate(self, AlarmNames: list[str]) -> Any:  # noqa: N803
                assert 0 < len(AlarmNames) <= 100
                return (
                    boto3.client("cloudwatch")
                    .get_paginator("describe_alarms")
                    .paginate(AlarmNames=AlarmNames)
                )

        assert operation == "describe_alarms"
        return Paginator()


def put_alarm(name: str, description: str) -> None:
    boto3.client("cloudwatch").put_metric_alarm(
        AlarmName=name,
        AlarmDescription=description,
        MetricName="m",
        Namespace="n",
        Period=60,
        EvaluationPeriods=1,
        Statistic="Sum",
        Threshold=0,
        ComparisonOperator="GreaterThanThreshold",
    )


def set_to_alarm(name: str) -> None:
    boto3.client("cloudwatch").set_alarm_state(
        AlarmName=name, StateValue="ALARM", StateReason="a test"
    )


def test_alarms_that_fire_are_named(stack: AStack, capsys: pytest.CaptureFixture[str]) -> None:
    names = {f"Alarm{number}": f"a-stack-Alarm{number}-XYZ" for number in range(120)}
    for name in names.values():
        put_alarm(name, f"{name} means trouble")
    for number in (3, 117):
        set_to_alarm(names[f"Alarm{number}"])
    stack.resources["AWS::CloudFormation::Stack"] = {"Monitoring": "a-stack-Monitoring-XYZ"}
    stack.nested["a-stack-Monitoring-XYZ"] = {"AWS::CloudWatch::Alarm": names}
    stack._clients["cloudwatch"] = Limited()
    text = shown(stack, capsys)
    assert "2 of 120 in state ALARM" in text
    assert "Alarm3, " in text
    assert "a-stack-Alarm117-XYZ means trouble" in text
    assert "Alarm4" not in text


def test_alarms_of_several_jobs_are_told_apart(
    stack: AStack, capsys: pytest.CaptureFixture[str]
) -> None:
    for job in ("CleanupJob", "CopierJob"):
        put_alarm(f"a-stack-{job}-FailureAlarm-XYZ", job)
        stack.resources.setdefault("AWS::CloudFormation::Stack", {})[job] = f"a-stack-{job}"
        own = {"AWS::CloudWatch::Alarm": {"FailureAlarm": f"a-stack-{job}-FailureAlarm-XYZ"}}
        stack.nested[f"a-stack-{job}"] = own
    set_to_alarm("a-stack-CleanupJob-FailureAlarm-XYZ")
    text = shown(stack, capsys)
    assert "1 of 2 in state ALARM" in text
    assert "CleanupJob/FailureAlarm, " in text


def test_a_part_that_cannot_be_read_does_not_hide_the_others(
    stack: AStack, capsys: pytest.CaptureFixture[str]
) -> None:
    stack._clients["sqs"] = Refusing()
    assert not status.show(stack)  # type: ignore[arg-type]
    text = capsys.readouterr().out
    assert "Dead letters\n  cannot be read: These AWS credentials lack a permission" in text
    assert "0 of 0 in state ALARM" in text


def test_on_a_terminal_of_60_columns_no_line_is_longer_unless_a_word_is(
    stack: AStack, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    stack.outputs["DashboardUrl"] = f"https://{'x' * 80}"
    lines = shown(stack, capsys).splitlines()
    assert [line for line in lines if len(line) > 60] == [
        f"    {stack.outputs['DeadLetterQueueUrl']}",
        f"    https://{'x' * 80}",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 seconds"), (1, "1 second"), (59, "59 seconds"), (90, "1 minute"), (90_000, "1 day")],
)
def test_a_duration_has_its_largest_unit(seconds: int, text: str) -> None:
    assert status._duration(timedelta(seconds=seconds)) == text


def test_text_from_outside_cannot_control_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    layout.field("a\x1b[2Jname", "\x1b]0;title\x07 \u202e")
    layout.line("\x1b[31mred")
    layout.heading("\rhidden")
    assert not {"\x1b", "\x07", "\u202e", "\r"} & set(capsys.readouterr().out)
