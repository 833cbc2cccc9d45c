import base64
import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Annotated, Any

import pytest
from msgspec import Meta

from local.waiting import wait_until
from roomkeeper.aws import sdk
from roomkeeper.aws.secrets import SecretUnavailable
from roomkeeper.errors import RoomkeeperError
from roomkeeper.http_api import InvalidRequest
from roomkeeper.jobs import runner
from roomkeeper.jobs.batch import BatchIncomplete, Summary, deadline_in
from roomkeeper.jobs.job import remaining, work
from roomkeeper.jobs.report import DryRunPlan, Report
from roomkeeper.jobs.runner import Options, Run
from roomkeeper.settings import Misconfigured
from roomkeeper.store import StoreUnavailable
from roomkeeper.vonage import BadRequest, Forbidden, Unauthorized, VonageError
from roomkeeper.vonage.connect import NotConfigured
from roomkeeper.vonage.errors import RequestContext

ENVIRONMENT = {
    "DRY_RUN": "false",
    "JOB_CONCURRENCY": "2",
    "JOB_RATE_PER_SECOND": "1000",
    "JOB_CONSECUTIVE_FAILURES": "3",
    "POWERTOOLS_SERVICE_NAME": "test",
}


class DaysOptions(Options, frozen=True, kw_only=True):
    days: Annotated[int, Meta(ge=1)] | None = None


class Invocation:
    """A Lambda context with `seconds` left."""

    def __init__(self, seconds: float = 900.0) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


class Job:
    """A job that records its run and returns or raises as configured."""

    options_type = DaysOptions

    def __init__(
        self, failed: int = 0, error: Exception | None = None, seconds_per_item: float = 20.0
    ) -> None:
        self.item_seconds = seconds_per_item
        self.summary = Summary(sample_errors=["because"] * failed)
        self.summary.outcomes.update({"done": 3, "failed": failed})
        self.error = error
        self.ran: Run[DaysOptions] | None = None

    def seconds_per_item(self, call_seconds: float) -> float:
        assert call_seconds < self.item_seconds
        return self.item_seconds

    def start(self, run: Run[DaysOptions]) -> Report:
        self.ran = run
        if self.error:
            raise self.error
        return Report(
            dry_run=run.dry_run,
            counts={"done": 3, "remaining": 1},
            summary=self.summary,
            planned=[{"id": "a"}],
        )

    @property
    def run(self) -> Run[DaysOptions]:
        assert self.ran is not None
        return self.ran


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    runner.metrics.clear_metrics()
    yield
    runner.metrics.clear_metrics()  # Powertools shares them with the functions of other tests


def over_http(body: str | None = None, **more: Any) -> dict[str, Any]:
    caller = {"iam": {"userArn": "arn:aws:iam::123456789012:user/ada"}}
    context = {"http": {"method": "POST"}, "authorizer": caller}
    return {"requestContext": context, "body": body} | more


def handle(event: dict[str, Any], job: Job, seconds: float = 900.0) -> dict[str, Any]:
    return runner.handle(event, Invocation(seconds), job)


def test_a_scheduled_run_returns_its_report() -> None:
    assert handle({}, Job()) == {
        "dry_run": False,
        "done": 3,
        "remaining": 1,
        "failed": 0,
        "stopped_by": None,
        "sample_errors": [],
    }


def test_a_scheduled_run_with_failures_raises_after_emitting_its_metrics() -> None:
    with pytest.raises(BatchIncomplete, match="failed 2"):
        handle({}, Job(failed=2))

    assert set(runner.metrics.metric_set) == {"Done", "Remaining", "Failed"}


def test_counts_of_zero_are_no_metrics() -> None:
    handle({}, Job())
    assert set(runner.metrics.metric_set) == {"Done", "Remaining"}


def test_a_dry_run_emits_no_metric_that_could_raise_an_alarm() -> None:
    assert handle({"dry_run": True}, Job(failed=0))["done"] == 3
    assert set(runner.metrics.metric_set) == {"DryRun"}


def test_a_run_on_demand_returns_its_report_despite_failures() -> None:
    response = handle(over_http(), Job(failed=2))

    assert response["statusCode"] == 200
    assert json.loads(response["body"])["failed"] == 2


@pytest.mark.parametrize(
    "event",
    [
        {"days": 3, "limit": 5},
        over_http('{"days": 3, "limit": 5}'),
        over_http(base64.b64encode(b'{"days": 3, "limit": 5}').decode(), isBase64Encoded=True),
    ],
    ids=["direct", "over HTTP", "over HTTP, encoded"],
)
def test_options_are_read_from_the_event_or_its_body(event: dict[str, Any]) -> None:
    job = Job()
    handle(event, job)

    assert job.run.options == DaysOptions(days=3, limit=5)


@pytest.mark.parametrize(
    ("deployed", "option", "expected"),
    [
        ("true", None, True),
        ("false", None, False),
        ("true", False, False),
        ("false", True, True),
    ],
)
def test_the_dry_run_option_overrides_the_deployed_setting(
    monkeypatch: pytest.MonkeyPatch, deployed: str, option: bool | None, expected: bool
) -> None:
    monkeypatch.setenv("DRY_RUN", deployed)
    job = Job()

    response = handle({} if option is None else {"dry_run": option}, job)

    assert job.run.dry_run is expected
    assert ("planned" in response) is expected


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("{", "truncated"),
        ("[]", "Expected `object`"),
        ('{"days": 0}', "`$.days`"),
        ('{"limit": "all"}', "`$.limit`"),
        ('{"dry_run": "yes"}', "`$.dry_run`"),
        ('{"dryrun": true}', "unknown field `dryrun`"),
        ('{"a":' * 50_000, ""),
    ],
)
def test_invalid_options_get_400_and_nothing_runs(body: str, expected: str) -> None:
    job = Job()
    response = handle(over_http(body), job)

    assert response["statusCode"] == 400
    error = json.loads(response["body"])["error"]
    assert error["code"] == "invalid_request"
    assert expected in error["message"]
    assert job.ran is None


def test_a_direct_invocation_with_invalid_options_raises() -> None:
    with pytest.raises(InvalidRequest, match="unknown field"):
        handle({"dryrun": True}, Job())


def test_an_unsigned_request_gets_403_and_nothing_runs() -> None:
    job = Job()
    response = handle({"requestContext": {"http": {"method": "POST"}}}, job)
    assert (response["statusCode"], json.loads(response["body"])) == (403, {"message": "Forbidden"})
    assert job.ran is None


def test_a_run_that_cannot_start_gets_503_over_http_and_raises_otherwise() -> None:
    job = Job(error=SecretUnavailable("The secret cannot be read."))

    response = handle(over_http(), job)

    assert response["statusCode"] == 503
    assert response["headers"]["Retry-After"] == "5"
    assert json.loads(response["body"])["error"]["code"] == "unavailable"
    with pytest.raises(SecretUnavailable):
        handle({}, job)


def test_a_scheduled_run_without_stored_credentials_is_no_error(
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = Job(error=NotConfigured("The secret holds no Vonage credentials yet."))

    assert handle({}, job) == {"not_configured": True}

    [line] = [record for record in caplog.records if record.message == "not configured yet"]
    assert line.levelname == "INFO"


def test_missing_credentials_have_their_own_error_code_over_http() -> None:
    response = handle(over_http(), Job(error=NotConfigured("Store them with make configure.")))

    assert response["statusCode"] == 503
    assert json.loads(response["body"])["error"] == {
        "code": "not_configured",
        "message": "Store them with make configure.",
    }


def use_secret(monkeypatch: pytest.MonkeyPatch, secret: dict[str, str]) -> None:
    """Let the jobs of a stack that serves the Meetings API read this content of its secret."""
    monkeypatch.setenv("VONAGE_BASE_URL", "https://vonage.example")
    monkeypatch.setenv("VONAGE_SECRET_ARN", "vonage")
    monkeypatch.setenv("SERVED_PRODUCTS", "meetings")
    response = {"SecretString": json.dumps(secret), "CreatedDate": 0}
    monkeypatch.setattr(sdk, "secrets_manager", lambda _policy: Secrets(response))


@pytest.mark.parametrize(
    ("secret", "value"),
    [
        ({"application_id": "", "private_key": "", "api_key": "", "api_secret": ""}, 1),
        ({}, 1),
        ({"api_key": "key", "api_secret": "secret"}, 0),
    ],
)
def test_a_run_emits_a_metric_for_missing_credentials(
    secret: dict[str, str],
    value: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use_secret(monkeypatch, secret)
    with suppress(NotConfigured), runner.vonage_clients(a_run()):
        pass

    [line] = [line for line in capsys.readouterr().out.splitlines() if "NotConfigured" in line]
    metric = json.loads(line)
    assert (metric["NotConfigured"], metric["service"]) == ([value], "vonage")


@pytest.mark.parametrize(
    ("secret", "values"), [({}, [1]), ({"api_key": "key", "api_secret": "secret"}, [])]
)
def test_the_room_extension_does_not_say_that_all_products_have_credentials(
    secret: dict[str, str],
    values: list[int],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It reads one product's secret. NotConfiguredAlarm takes the lowest value of an hour."""
    use_secret(monkeypatch, secret)
    with suppress(NotConfigured):
        runner.rooms_client(a_run()).close()

    lines = [line for line in capsys.readouterr().out.splitlines() if "NotConfigured" in line]
    assert [json.loads(line)["NotConfigured"] for line in lines] == [[each] for each in values]


def test_incomplete_credentials_are_an_error_and_not_unconfigured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VONAGE_BASE_URL", "https://vonage.example")
    monkeypatch.setenv("VONAGE_SECRET_ARN", "vonage")
    monkeypatch.setenv("SERVED_PRODUCTS", "meetings")
    response = {"SecretString": '{"api_key": "key"}', "CreatedDate": 0}
    monkeypatch.setattr(sdk, "secrets_manager", lambda _policy: Secrets(response))
    with pytest.raises(SecretUnavailable) as raised:
        runner.rooms_client(a_run())
    assert not isinstance(raised.value, NotConfigured)


class Secrets:
    """A Secrets Manager client that always returns the same response."""

    def __init__(self, response: dict[str, Any]) -> None:
        self._response = response

    def get_secret_value(self, **_: str) -> dict[str, Any]:
        return self._response


@pytest.mark.parametrize(
    ("limit", "seconds", "expected"), [(None, 900.0, 88_000), (200, 900.0, 20), (5, 900.0, 1)]
)
def test_deferred_items_get_a_tenth_of_a_runs_capacity(
    limit: int | None, seconds: float, expected: int
) -> None:
    job = Job()
    handle({"limit": limit}, job, seconds)
    assert job.run.deferred_at_most == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (SecretUnavailable, 503, "unavailable"),
        (StoreUnavailable, 503, "unavailable"),
        (RoomkeeperError, 500, "internal_error"),
    ],
)
def test_account_details_are_logged_and_not_returned_to_the_caller(
    caplog: pytest.LogCaptureFixture, kind: type[RoomkeeperError], status: int, code: str
) -> None:
    cause = "AccessDenied: arn:aws:secretsmanager:eu-west-1:123456789012:secret:vonage"

    response = handle(over_http(), Job(error=kind(cause)))

    assert response["statusCode"] == status
    assert json.loads(response["body"])["error"]["code"] == code
    assert "arn:aws" not in response["body"]
    assert "its log has the cause" in response["body"]
    [logged] = [record for record in caplog.records if record.message == "run refused"]
    assert vars(logged)["error"] == cause


def test_invalid_parameters_get_500_without_retry_after() -> None:
    job = Job(error=Misconfigured("RoomExtensionUsedWithinDays is 500, SessionRetentionDays 400."))

    response = handle(over_http(), job)

    assert response["statusCode"] == 500
    assert "Retry-After" not in response["headers"]
    assert json.loads(response["body"])["error"] == {
        "code": "misconfigured",
        "message": "RoomExtensionUsedWithinDays is 500, SessionRetentionDays 400.",
    }
    with pytest.raises(Misconfigured):
        handle({}, job)


@pytest.mark.parametrize(
    ("event", "seconds", "ends_by"),
    [({}, 900.0, 900.0), ({}, 20.0, 20.0), (over_http(), 900.0, 28.0), (over_http(), 25.0, 25.0)],
)
def test_items_start_only_while_the_last_one_can_finish_in_time(
    event: dict[str, Any], seconds: float, ends_by: float
) -> None:
    job = Job(seconds_per_item=22.0)
    before = deadline_in(ends_by)
    handle(event, job, seconds)

    limits = job.run.limits
    assert before <= limits.deadline <= deadline_in(ends_by)
    assert limits.last_start == limits.deadline - 22.0


def test_time_spent_before_the_batch_counts_towards_the_runs_deadline() -> None:
    job = Job()
    handle({}, job, seconds=20.4)
    assert wait_until(lambda: time.monotonic() >= job.run.limits.last_start, 30)

    summary = work(job.run, range(10), lambda _: "done")

    assert (summary.processed, summary.stopped_by) == (0, "deadline")


def test_a_dry_run_lists_at_most_n_plans_of_each_kind_without_duplicates() -> None:
    planned = DryRunPlan(most=2)
    plans = [{"id": id_} for id_ in "aabbcd"]

    are_new = [planned.add(plan, "extend") for plan in plans]
    planned.add({"id": "z"}, "unused")

    assert planned.listed == [{"id": "a"}, {"id": "b"}, {"id": "z"}]
    assert are_new == [True, False, True, False, True, True]


def test_a_dry_run_plan_is_thread_safe() -> None:
    planned = DryRunPlan(most=500)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: planned.add({"id": str(n % 700)}), range(7000)))

    assert len({plan["id"] for plan in planned.listed}) == len(planned.listed) == 500


def test_due_items_that_were_not_processed_are_remaining() -> None:
    summary = Summary(outcomes=Counter(done=3, failed=1))

    assert [
        remaining(10, summary),
        remaining(10, summary, 2),
        remaining(3, summary),
    ] == [
        6,
        4,
        0,
    ]


def a_run(**options: Any) -> Run[DaysOptions]:
    job = Job()
    handle(options, job)
    return job.run


def test_a_run_processes_at_most_limit_items() -> None:
    assert work(a_run(limit=4), range(10**9), lambda _: "done").outcomes == {"done": 4}


@pytest.mark.parametrize(
    ("error", "stopped_by"), [(Unauthorized, "unauthorized"), (Forbidden, None), (BadRequest, None)]
)
def test_only_unauthorized_errors_end_the_batch(
    error: type[VonageError], stopped_by: str | None
) -> None:
    def act(_item: int) -> str:
        raise error("no", RequestContext("GET", "/"))

    assert work(a_run(), range(100), act).stopped_by == stopped_by


def test_credentials_that_vonage_refuses_while_items_are_read_end_the_batch() -> None:
    def items() -> Iterator[int]:
        yield 1
        raise Unauthorized("no", RequestContext("GET", "/rooms", 401))

    summary = work(a_run(), items(), lambda _: "done")
    assert (summary.stopped_by, summary.outcomes["done"]) == ("unauthorized", 1)
