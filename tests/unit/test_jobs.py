import base64
import json
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Annotated, Any

import pytest
from msgspec import Meta

from roomkeeper.aws import sdk
from roomkeeper.aws.secrets import SecretUnavailable
from roomkeeper.errors import RoomkeeperError
from roomkeeper.http_api import InvalidRequest
from roomkeeper.jobs import runner
from roomkeeper.jobs.batch import BatchIncomplete, Summary, deadline_in
from roomkeeper.jobs.runner import Options, Report, Run
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
    """A Lambda context with so many seconds left."""

    def __init__(self, seconds: float = 900.0) -> None:
        self.seconds = seconds

    def get_remaining_time_in_millis(self) -> int:
        return int(self.seconds * 1000)


class Job:
    """A job that remembers its run and answers as told."""

    def __init__(self, failed: int = 0, error: Exception | None = None) -> None:
        self.summary = Summary(sample_errors=["because"] * failed)
        self.summary.outcomes.update({"done": 3, "failed": failed})
        self.error = error
        self.ran: Run[DaysOptions] | None = None

    def __call__(self, run: Run[DaysOptions]) -> Report:
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
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    runner.metrics.clear_metrics()


def over_http(body: str | None = None, **more: Any) -> dict[str, Any]:
    caller = {"iam": {"userArn": "arn:aws:iam::123456789012:user/ada"}}
    context = {"http": {"method": "POST"}, "authorizer": caller}
    return {"requestContext": context, "body": body} | more


def handle(event: dict[str, Any], job: Job, seconds: float = 900.0) -> dict[str, Any]:
    return runner.handle(event, Invocation(seconds), DaysOptions, job)


def test_a_scheduled_run_returns_its_report() -> None:
    assert handle({}, Job()) == {
        "dry_run": False,
        "done": 3,
        "remaining": 1,
        "failed": 0,
        "stopped_by": None,
        "sample_errors": [],
    }


def test_a_scheduled_run_in_which_something_failed_raises_once_all_is_told() -> None:
    with pytest.raises(BatchIncomplete, match="failed 2"):
        handle({}, Job(failed=2))

    assert set(runner.metrics.metric_set) == {"Done", "Remaining", "Failed"}


def test_a_rehearsal_counts_nothing_that_could_raise_an_alarm() -> None:
    assert handle({"dry_run": True}, Job(failed=0))["done"] == 3
    assert set(runner.metrics.metric_set) == {"DryRun"}


def test_a_run_on_demand_answers_with_its_report_whatever_failed() -> None:
    answer = handle(over_http(), Job(failed=2))

    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["failed"] == 2


@pytest.mark.parametrize(
    "event",
    [
        {"days": 3, "limit": 5},
        over_http('{"days": 3, "limit": 5}'),
        over_http(base64.b64encode(b'{"days": 3, "limit": 5}').decode(), isBase64Encoded=True),
    ],
    ids=["direct", "over HTTP", "over HTTP, encoded"],
)
def test_options_come_from_the_event_or_its_body(event: dict[str, Any]) -> None:
    job = Job()
    handle(event, job)

    assert job.run.options == DaysOptions(days=3, limit=5)


@pytest.mark.parametrize(
    ("deployed", "asked", "expected"),
    [
        ("true", None, True),
        ("false", None, False),
        ("true", False, False),
        ("false", True, True),
    ],
)
def test_what_is_asked_for_wins_over_how_it_is_deployed(
    monkeypatch: pytest.MonkeyPatch, deployed: str, asked: bool | None, expected: bool
) -> None:
    monkeypatch.setenv("DRY_RUN", deployed)
    job = Job()

    answer = handle({} if asked is None else {"dry_run": asked}, job)

    assert job.run.dry_run is expected
    assert ("planned" in answer) is expected


@pytest.mark.parametrize(
    ("body", "complaint"),
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
def test_options_that_make_no_sense_are_refused_and_nothing_is_run(
    body: str, complaint: str
) -> None:
    job = Job()
    answer = handle(over_http(body), job)

    assert answer["statusCode"] == 400
    error = json.loads(answer["body"])["error"]
    assert error["code"] == "invalid_request"
    assert complaint in error["message"]
    assert job.ran is None


def test_a_direct_invocation_with_options_that_make_no_sense_raises() -> None:
    with pytest.raises(InvalidRequest, match="unknown field"):
        handle({"dryrun": True}, Job())


def test_a_request_that_nobody_signed_runs_nothing() -> None:
    job = Job()
    answer = handle({"requestContext": {"http": {"method": "POST"}}}, job)
    assert (answer["statusCode"], json.loads(answer["body"])) == (403, {"message": "Forbidden"})
    assert job.ran is None


def test_a_run_that_cannot_begin_is_unavailable_over_http_and_raises_otherwise() -> None:
    job = Job(error=SecretUnavailable("The secret cannot be read."))

    answer = handle(over_http(), job)

    assert answer["statusCode"] == 503
    assert answer["headers"]["Retry-After"] == "5"
    assert json.loads(answer["body"])["error"]["code"] == "unavailable"
    with pytest.raises(SecretUnavailable):
        handle({}, job)


def test_a_scheduled_run_without_stored_credentials_ends_quietly(
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = Job(error=NotConfigured("The secret holds no Vonage credentials yet."))

    assert handle({}, job) == {"not_configured": True}

    [line] = [record for record in caplog.records if record.message == "not configured yet"]
    assert line.levelname == "INFO"


def test_over_http_missing_credentials_have_their_own_code_and_say_what_to_do() -> None:
    answer = handle(over_http(), Job(error=NotConfigured("Store them with make configure.")))

    assert answer["statusCode"] == 503
    assert json.loads(answer["body"])["error"] == {
        "code": "not_configured",
        "message": "Store them with make configure.",
    }


@pytest.mark.parametrize(
    ("held", "value"),
    [
        ({"application_id": "", "private_key": "", "api_key": "", "api_secret": ""}, 1),
        ({}, 1),
        ({"api_key": "key", "api_secret": "secret"}, 0),
    ],
)
def test_a_run_puts_out_whether_credentials_are_stored(
    held: dict[str, str],
    value: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("VONAGE_BASE_URL", "https://vonage.example")
    monkeypatch.setenv("VONAGE_SECRET_ARN", "vonage")
    answer = {"SecretString": json.dumps(held), "CreatedDate": 0}
    monkeypatch.setattr(sdk, "secrets_manager", lambda _policy: Secrets(answer))
    with suppress(NotConfigured):
        runner.vonage_client(a_run()).close()

    [line] = [line for line in capsys.readouterr().out.splitlines() if "NotConfigured" in line]
    told = json.loads(line)
    assert (told["NotConfigured"], told["service"]) == ([value], "vonage")


def test_half_of_a_pair_of_credentials_is_a_mistake_and_not_a_state(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("VONAGE_BASE_URL", "https://vonage.example")
    monkeypatch.setenv("VONAGE_SECRET_ARN", "vonage")
    answer = {"SecretString": '{"api_key": "key"}', "CreatedDate": 0}
    monkeypatch.setattr(sdk, "secrets_manager", lambda _policy: Secrets(answer))
    with pytest.raises(SecretUnavailable) as refused:
        runner.vonage_client(a_run())
    assert not isinstance(refused.value, NotConfigured)


class Secrets:
    """Secrets Manager, which always answers so."""

    def __init__(self, answer: dict[str, Any]) -> None:
        self._answer = answer

    def get_secret_value(self, **_: str) -> dict[str, Any]:
        return self._answer


@pytest.mark.parametrize(
    ("limit", "seconds", "most"), [(None, 900.0, 86_000), (200, 900.0, 20), (5, 900.0, 1)]
)
def test_a_tenth_of_what_a_run_can_do_may_be_deferred_items(
    limit: int | None, seconds: float, most: int
) -> None:
    job = Job()
    handle({"limit": limit}, job, seconds)
    assert job.run.deferred_at_most == pytest.approx(most, rel=0.05)


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (SecretUnavailable, 503, "unavailable"),
        (StoreUnavailable, 503, "unavailable"),
        (RoomkeeperError, 500, "internal_error"),
    ],
)
def test_what_our_account_holds_is_told_to_the_log_and_not_to_the_caller(
    caplog: pytest.LogCaptureFixture, kind: type[RoomkeeperError], status: int, code: str
) -> None:
    cause = "AccessDenied: arn:aws:secretsmanager:eu-west-1:123456789012:secret:vonage"

    answer = handle(over_http(), Job(error=kind(cause)))

    assert answer["statusCode"] == status
    assert json.loads(answer["body"])["error"]["code"] == code
    assert "arn:aws" not in answer["body"]
    assert "its log has the cause" in answer["body"]
    [logged] = [record for record in caplog.records if record.message == "run refused"]
    assert vars(logged)["problem"] == cause


def test_parameters_that_cannot_be_are_named_and_trying_again_is_not_advised() -> None:
    job = Job(error=Misconfigured("OnlyRoomsUsedWithinDays is 500, SessionDays 400."))

    answer = handle(over_http(), job)

    assert answer["statusCode"] == 500
    assert "Retry-After" not in answer["headers"]
    assert json.loads(answer["body"])["error"] == {
        "code": "misconfigured",
        "message": "OnlyRoomsUsedWithinDays is 500, SessionDays 400.",
    }
    with pytest.raises(Misconfigured):
        handle({}, job)


@pytest.mark.parametrize(
    ("event", "seconds", "accept_until"),
    [({}, 900.0, 865.0), ({}, 20.0, 0.0), (over_http(), 900.0, 5.0), (over_http(), 25.0, 2.0)],
)
def test_items_are_begun_only_while_the_last_can_still_end_in_time(
    event: dict[str, Any], seconds: float, accept_until: float
) -> None:
    job = Job()
    before = deadline_in(accept_until)
    handle(event, job, seconds)

    assert before <= job.run.limits.deadline <= deadline_in(accept_until)
    assert accept_until + runner.CALLS_PER_ITEM * job.run.call_seconds < max(seconds, 30)


def test_what_a_job_reads_before_its_round_is_taken_off_its_time() -> None:
    summaries = []

    def run(run: Run[DaysOptions]) -> Report:
        time.sleep(0.2)  # counting what is due
        summaries.append(runner.work(run, range(10), lambda _: "done"))
        return Report(dry_run=run.dry_run, counts={}, summary=summaries[0])

    runner.handle({}, Invocation(32.4), DaysOptions, run)

    assert (summaries[0].processed, summaries[0].stopped_by) == (0, "deadline")


def test_a_rehearsal_lists_as_much_of_each_kind_as_it_may_and_nothing_twice() -> None:
    planned = runner.DryRunPlan(most=2)
    plans = [{"id": place} for place in "aabbcd"]

    news = [planned.add(plan, "extend") for plan in plans]
    planned.add({"id": "z"}, "unused")

    assert planned.listed == [{"id": "a"}, {"id": "b"}, {"id": "z"}]
    assert news == [True, False, True, False, True, True]


def test_a_rehearsals_list_takes_plans_from_many_threads() -> None:
    planned = runner.DryRunPlan(most=500)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda place: planned.add({"id": str(place % 700)}), range(7000)))

    assert len({plan["id"] for plan in planned.listed}) == len(planned.listed) == 500


def test_what_was_not_come_to_is_left() -> None:
    summary = Summary(outcomes=Counter(done=3, failed=1))

    assert [
        runner.remaining(10, summary),
        runner.remaining(10, summary, 2),
        runner.remaining(3, summary),
    ] == [
        6,
        4,
        0,
    ]


def a_run(**options: Any) -> Run[DaysOptions]:
    job = Job()
    handle(options, job)
    return job.run


def test_no_more_items_are_worked_on_than_asked_for() -> None:
    assert runner.work(a_run(limit=4), range(10**9), lambda _: "done").outcomes == {"done": 4}


@pytest.mark.parametrize(
    ("error", "stopped_by"), [(Unauthorized, "unauthorized"), (Forbidden, None), (BadRequest, None)]
)
def test_only_credentials_that_are_not_taken_end_the_round(
    error: type[VonageError], stopped_by: str | None
) -> None:
    def act(_item: int) -> str:
        raise error("no", RequestContext("GET", "/"))

    assert runner.work(a_run(), range(100), act).stopped_by == stopped_by
