"""Collects the metrics and log lines of all functions, in success and failure."""

import functools
import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import Any, Literal

import boto3
import pytest
from msgspec import Struct, field

from local.testing import sdk
from local.testing.builders import TOKEN, AContext, a_body, a_record, a_request, sample
from local.testing.template import NAMESPACE, environment
from roomkeeper.aws.bus import Failure
from roomkeeper.callbacks.meetings import parse
from roomkeeper.domain.events import Event
from roomkeeper.handlers import callback_intake as intake
from roomkeeper.handlers import cleanup, copying, reconciliation, room_extension
from roomkeeper.handlers import event_publisher as publisher
from roomkeeper.handlers import management_api as management
from roomkeeper.jobs import runner
from roomkeeper.jobs.batch import BatchIncomplete, Summary
from roomkeeper.jobs.report import Report
from roomkeeper.store import Store
from roomkeeper.times import iso
from tests.support.env import TABLE, Env, an_upload, json_bytes
from tests.support.management import a_request_for

APPS = (intake, publisher, management, cleanup, reconciliation, copying, room_extension)
COPIES = "copies"
LONG_AGO = datetime.now(UTC) - timedelta(days=31)


class Metric(Struct, frozen=True):
    """A metric's name, the names of its dimensions, and the value of the dimension `service`."""

    service: str
    name: str
    dimensions: frozenset[str]


class Telemetry(Struct):
    """The collected metrics and log lines."""

    metrics: set[Metric] = field(default_factory=set)
    lines: list[dict[str, Any]] = field(default_factory=list)

    @property
    def fields(self) -> set[str]:
        """The names of all fields of log lines."""
        return {name for line in self.lines for name in line}

    @property
    def messages(self) -> set[str]:
        """All messages of log lines."""
        return {line["message"] for line in self.lines}

    @contextmanager
    def of(self, function: str) -> Iterator[None]:
        """Collect the output within the context; `function` is the name of the service."""
        with redirect_stdout(StringIO()) as written, _logging_there():
            yield
        for text in written.getvalue().splitlines():
            self._note(json.loads(text), function)

    def _note(self, line: dict[str, Any], function: str) -> None:
        if "_aws" not in line:
            self.lines.append(line | {"service": function})
            return
        [directive] = line["_aws"]["CloudWatchMetrics"]
        assert directive["Namespace"] == NAMESPACE
        [dimensions] = directive["Dimensions"]
        self.metrics |= {
            Metric(function, metric["Name"], frozenset(dimensions))
            for metric in directive["Metrics"]
        }


class _Stdout:
    """A stream to the current sys.stdout, which the context replaces."""

    def write(self, text: str) -> int:
        return sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@contextmanager
def _logging_there() -> Iterator[None]:
    loggers = [*(app.logger for app in APPS if hasattr(app, "logger")), runner.logger]
    with pytest.MonkeyPatch.context() as patch:
        for handler in {handler for logger in loggers for handler in logger.handlers}:
            patch.setattr(handler, "stream", _Stdout())
        yield


class Invocation(AContext):
    """Lambda's context of a job with 15 minutes left."""

    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def everything(env: Env) -> Telemetry:
    """Run each function with a success and with a failure; return the telemetry."""
    telemetry = Telemetry()
    steps = {
        "CallbackIntake": _take_callbacks,
        "EventPublisher": _publish,
        "ManagementApi": _manage,
        "RecordingCleanup": _clean_up,
        "RecordingReconciler": _reconcile,
        "RecordingCopier": _copy,
        "RoomExpiryExtender": _extend,
    }
    for function, step in steps.items():
        with _deployed(env, function) as name, telemetry.of(name), _reachable(function):
            step(env)
    return telemetry


@contextmanager
def _reachable(function: str) -> Iterator[None]:
    """Serve moto over loopback for the one function that calls AWS without boto3."""
    if function != "CallbackIntake":
        yield
        return
    with sdk.moto_server() as url, pytest.MonkeyPatch.context() as patch:
        for name, value in sdk.endpoints(url).items():
            patch.setenv(name, value)
        yield


@contextmanager
def _deployed(env: Env, function: str) -> Iterator[str]:
    """Set a function's environment within the context; yield its service name."""
    known = environment(function) | {"AWS_DEFAULT_REGION": "eu-west-1"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in known.items():
            patch.setenv(name, value)
        for name, value in _stored(env).items():
            patch.setenv(name, value)
        _forget()
        yield known["POWERTOOLS_SERVICE_NAME"]
    _forget()


def _stored(env: Env) -> dict[str, str]:
    return {
        "TABLE_NAME": TABLE,
        "SERVED_PRODUCTS": "meetings",
        "VONAGE_BASE_URL": env.vonage.api_url,
        "VONAGE_SECRET_ARN": _secret("vonage", api_key="key", api_secret="secret"),
        "CALLBACK_SECRET_ARN": _secret("callbacks", token=TOKEN),
        "DEAD_LETTER_QUEUE_URL": _queue("dead-letters"),
        "COPY_QUEUE_URL": _queue("copies"),
        "COPY_BUCKET": COPIES,
        "NO_PROXY": "127.0.0.1",
        "JOB_CONCURRENCY": "1",
        "JOB_CONSECUTIVE_FAILURES": "1",  # one failure stops a batch
        "JOB_RATE_PER_SECOND": "1000",
    }


def _queue(name: str) -> str:
    url: str = boto3.client("sqs").create_queue(QueueName=name)["QueueUrl"]
    return url


def _secret(name: str, **content: str) -> str:
    client = boto3.client("secretsmanager")
    with suppress(client.exceptions.ResourceExistsException):
        client.create_secret(Name=name, SecretString=json.dumps(content))
    return name


def _forget() -> None:
    """Clear the functions' caches, so that they read their settings again."""
    for app in APPS:
        for value in vars(app).values():
            if hasattr(value, "cache_clear") and not isinstance(value, type):
                value.cache_clear()


def _take_callbacks(_books: Env) -> None:
    for event in ("recording:started", "recording:started", "session:started", "archive:ready"):
        intake.handler(a_request(a_body(event)), AContext())
    intake.handler(a_request(b"{}", token="wrong"), AContext())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TABLE_NAME", "missing")
        intake._settings.cache_clear()
        intake._store.cache_clear()
        intake.handler(a_request(a_body("room:expired")), AContext())


def _publish(env: Env) -> None:
    env.receive(an_upload("published"))
    record = a_record(env.item("RECORDING#published"))
    poison = a_record({"pk": {"S": "RECORDING#poison"}, "seen": {"S": "x"}})
    boto3.client("events").create_event_bus(Name="EventBus")
    failure = a_record(env.item("RECORDING#published") | {"seen": {"SS": ["recording:failed"]}})
    publisher.handler({"Records": [record, poison, failure, _loss(env)]}, AContext())
    with pytest.MonkeyPatch.context() as patch:
        for kind in ("refused", "unavailable"):
            patch.setattr(publisher, "_bus", functools.partial(_FailingBus, kind))
            publisher.handler({"Records": [record]}, AContext())


def _loss(env: Env) -> dict[str, Any]:
    """Return the stream's record of a recording that Vonage deletes before its copy."""
    store = Store(env.dynamodb, TABLE, deleted_days=90, copies=True)
    store.apply(parse(json_bytes(an_upload("uncopied"))), LONG_AGO)
    before = env.item("RECORDING#uncopied")
    store.recordings.mark_deleted("uncopied", "vonage", LONG_AGO)
    return a_record(env.item("RECORDING#uncopied"), before)


class _FailingBus:
    """A bus that publishes no event."""

    def __init__(self, kind: Literal["refused", "unavailable"]) -> None:
        self.kind = kind

    def publish(self, events: Sequence[Event]) -> dict[int, Failure]:
        return {index: Failure(self.kind, "no") for index, _ in enumerate(events)}


def _manage(env: Env) -> None:
    [recording_id] = env.uploaded(1, LONG_AGO)
    for route in ("GET", "DELETE", "GET"):
        management.handler(
            a_request_for(f"{route} /recordings/{{recording_id}}", recording_id), AContext()
        )
    [room] = env.vonage.add_rooms(1)
    management.handler(a_request_for("GET /rooms/{room_id}", room), AContext())
    env.vonage.fault("*", status=400, times=1)
    management.handler(a_request_for("GET /rooms/{room_id}", room), AContext())


def _clean_up(env: Env) -> None:
    env.uploaded(3, LONG_AGO)
    env.vonage.fault("delete_recording", status=401, times=1)
    with suppress(BatchIncomplete):
        cleanup.handler({}, Invocation())
    cleanup.handler({"dry_run": True}, Invocation())
    _emit_all_counts(cleanup.handler({}, Invocation()))


def _reconcile(env: Env) -> None:
    meeting = env.vonage.hold_meeting(recordings=1)
    env.receive_all(meeting["callbacks"], LONG_AGO, "recording:uploaded")
    started = {"event": "recording:started", "recording_id": "lost", "session_id": "s"}
    env.receive(started, LONG_AGO)
    reconciliation.handler({"dry_run": True}, Invocation())
    _emit_all_counts(reconciliation.handler({}, Invocation()))


def _copy(env: Env) -> None:
    region = {"LocationConstraint": "eu-west-1"}
    boto3.client("s3").create_bucket(Bucket=COPIES, CreateBucketConfiguration=region)
    store = Store(env.dynamodb, TABLE, deleted_days=90, copies=True)
    copied, failing, waiting = env.vonage.add_recordings(3)["recording_ids"]
    lost = "deleted-at-vonage"
    for recording_id in (copied, failing, lost, waiting):
        store.apply(parse(json_bytes(an_upload(recording_id))), LONG_AGO)
    copying.handler(_queued(copied), Invocation())
    env.vonage.fault("get_recording", status=400, times=1)
    copying.handler(_queued(failing), Invocation())
    copying.handler(_queued(lost), Invocation())
    copying.handler({"dry_run": True}, Invocation())
    _emit_all_counts(copying.handler({}, Invocation()))


def _queued(recording_id: str) -> dict[str, Any]:
    """Return the queue's event for a recording."""
    [record] = sample("functions/recording_copier.json")["Records"]
    return {"Records": [record | {"body": json.dumps(recording_id)}]}


def _extend(env: Env) -> None:
    soon = iso(datetime.now(UTC) + timedelta(days=2))
    env.vonage.add_rooms(1, expires_at=soon, metadata="roomkeeper:keep")
    room_extension.handler({"dry_run": True}, Invocation())
    _emit_all_counts(room_extension.handler({}, Invocation()))


def _emit_all_counts(report: Mapping[str, Any]) -> None:
    """Emit a run's counts as if none were zero: zeros are not emitted."""
    counts = {name: 1 for name, value in report.items() if type(value) is int and name != "failed"}
    summary = Summary(outcomes=Counter(failed=1))
    runner._log_report(Report(dry_run=False, counts=counts, summary=summary))
    runner.metrics.flush_metrics()
