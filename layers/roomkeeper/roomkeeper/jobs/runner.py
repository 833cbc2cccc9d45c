"""What every job shares around its round: how it was started, how long it may take, what it tells.

A job runs by its schedule, or on demand: through the HTTP API, or by a direct invocation. A
scheduled event is the options themselves, as JSON; over HTTP they are the body.
"""

import itertools
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from msgspec import Meta, Struct

from roomkeeper import http_api, store
from roomkeeper.aws import sdk
from roomkeeper.aws.secrets import SECRET_RETRY
from roomkeeper.errors import RoomkeeperError
from roomkeeper.http_api import InvalidRequest
from roomkeeper.http_errors import to_http_error
from roomkeeper.jobs.batch import (
    FAILED,
    AbortBatch,
    BatchRunner,
    Limits,
    Outcome,
    Summary,
    deadline_in,
)
from roomkeeper.logs import function_logger
from roomkeeper.settings import JobSettings, VonageSettings
from roomkeeper.vonage import Unauthorized, VonageClient, connect
from roomkeeper.vonage.connect import NotConfigured

logger = function_logger()
metrics = Metrics()

MAX_LISTED = 1000
"""What a rehearsal lists at most of each kind; all of it is counted."""

CALLS_PER_ITEM = 2
"""Calls to Vonage that an item takes at most, which it is let finish when time is up."""

Event = Mapping[str, Any]
Answer = dict[str, Any]
Item = TypeVar("Item")


DEFERRED_SHARE = 10
"""One in so many items of a run may be one that failed before, for a reason of its own."""


class Context(Protocol):
    """What a job asks of Lambda's context."""

    def get_remaining_time_in_millis(self) -> int:
        """Return how long the invocation may still take."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What may be asked of any job. Without `dry_run` it is as deployed, without `limit` no limit.

    `limit` is how many items are worked on at most.
    """

    dry_run: bool | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


OptionsT = TypeVar("OptionsT", bound=Options)


class Run(Struct, Generic[OptionsT], frozen=True, kw_only=True):
    """One run of a job: what is asked of it, since when, and what it may take.

    `call_seconds` is what one call to Vonage may take, its retries included.
    """

    options: OptionsT
    dry_run: bool
    limits: Limits
    call_seconds: float
    now: datetime

    @property
    def deferred_at_most(self) -> int:
        """How many deferred items a run may try again: its share of what the run can do in all."""
        seconds = max(0.0, self.limits.deadline - time.monotonic())
        capacity = min(self.limits.per_second * seconds, self.options.limit or math.inf)
        return max(1, int(capacity / DEFERRED_SHARE))


class Report(Struct, kw_only=True):
    """What a run tells: its counts by name, its round, and what a rehearsal would have done."""

    dry_run: bool
    counts: Mapping[str, int]
    summary: Summary
    planned: Sequence[Mapping[str, str]] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the report as a caller gets it; `planned` is there in a dry run alone."""
        told = {
            "dry_run": self.dry_run,
            **self.counts,
            FAILED: self.summary.outcomes[FAILED],
            "stopped_by": self.summary.stopped_by,
            "sample_errors": self.summary.sample_errors,
        }
        return told | ({"planned": self.planned} if self.dry_run else {})


class DryRunPlan:
    """What a rehearsal would do: the first `most` plans of each kind. Safe to use in threads."""

    def __init__(self, most: int = MAX_LISTED) -> None:
        self._listed: dict[tuple[str, ...], dict[str, str]] = {}
        self._most = most
        self._count: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def listed(self) -> list[dict[str, str]]:
        """Return the plans in the order in which they were noted."""
        return list(self._listed.values())

    def add(self, plan: dict[str, str], options_type: str = "") -> bool:
        """List a plan, if there is room for its kind; return whether it is not listed already."""
        key = tuple(plan.values())
        with self._lock:
            if key in self._listed:
                return False
            if self._count[options_type] < self._most:
                self._count[options_type] += 1
                self._listed[key] = plan
            return True


class _TimeLimits(Struct, frozen=True):
    """Seconds: `whole` for a run in all, `call` for a call to Vonage, `writes` for an item's."""

    total: float
    call: float
    writes: float

    def accept_until(self, remaining: float) -> float:
        """Return how long new items may be begun, so that the last one still ends in time."""
        remaining = min(self.total, remaining)
        return max(0.0, remaining - CALLS_PER_ITEM * self.call - self.writes)


OPERATIONS_PER_ITEM = 3
"""Of the table that an item takes at most: the extender's note, its event, and the note's end."""

_WRITES = OPERATIONS_PER_ITEM * store.SHORT_RETRY.worst_case

# An HTTP API gives a function up after 30 seconds, a cold start included.
_OVER_HTTP = _TimeLimits(total=28.0, call=4.0, writes=_WRITES)
_OTHERWISE = _TimeLimits(total=float("inf"), call=10.0, writes=_WRITES)


def handle(
    event: Event,
    context: Context,
    options_type: type[OptionsT],
    run: Callable[[Run[OptionsT]], Report],
) -> Answer:
    """Run a job, whose options are of `kind`, as `event` asks; return what its function returns.

    Over HTTP: 200 and the report; 400 for invalid options; 403 if unsigned; 500 if the stack's
    parameters are invalid; 503 if the run could not start or be saved, with the code
    `not_configured` while no Vonage credentials are stored. Otherwise: the report, or
    `{"not_configured": true}`.

    Raises:
        RoundIncomplete: something failed, and it was not over HTTP. The round is finished.
        RoomkeeperError: the run could not begin, and it was not over HTTP.
    """
    if "http" not in event.get("requestContext", {}):
        return _by_schedule(event, context, options_type, run)
    if refusal := http_api.forbidden_unless_signed(event):
        return refusal
    try:
        report = _told(run(_run(event, context, options_type, _OVER_HTTP)))
        return http_api.response(200, report.as_json())
    except RoomkeeperError as exc:
        return _refuse(exc)


def _by_schedule(
    event: Event,
    context: Context,
    options_type: type[OptionsT],
    run: Callable[[Run[OptionsT]], Report],
) -> Answer:
    try:
        report = _told(run(_run(event, context, options_type, _OTHERWISE)))
    except NotConfigured as problem:
        # A schedule starts right after the first deployment, before anybody can store credentials.
        logger.info("not configured yet", extra={"reason": str(problem)})
        return {"not_configured": True}
    report.summary.raise_if_failed()
    return report.as_json()


def work(run: Run[Any], items: Iterable[Item], act: Callable[[Item], Outcome]) -> Summary:
    """Return how a run finished `items` went, within the run's bounds and limit.

    Every failure is logged. Credentials that Vonage does not take end the round.
    """

    def act_and_log(item: Item) -> Outcome:
        try:
            return act(item)
        except RoomkeeperError as problem:
            logger.warning("item failed", problem=str(problem), options_type=type(problem).__name__)
            if isinstance(problem, Unauthorized):
                raise AbortBatch(str(problem)) from problem
            raise

    return BatchRunner(run.limits).run(itertools.islice(items, run.options.limit), act_and_log)


def vonage_client(run: Run[Any]) -> VonageClient:
    """Return a client of the Meetings API, any call of which takes no longer than a run's may.

    Raises:
        NotConfigured: none were ever stored.
        SecretUnavailable: the credentials cannot be read.
    """
    try:
        client = connect.vonage_client(
            sdk.secrets_manager(SECRET_RETRY),
            VonageSettings.from_env(os.environ),
            total_timeout=run.call_seconds,
            timeout=run.call_seconds,
        )
    except NotConfigured:
        connect.count_not_configured(1)
        raise
    connect.count_not_configured(0)
    return client


def remaining(due: int, summary: Summary, skipped: int = 0) -> int:
    """Return how many of those due were not come to, and are for the next run."""
    return max(0, due - skipped - summary.processed)


def _run(
    event: Event, context: Context, options_type: type[OptionsT], time_limits: _TimeLimits
) -> Run[OptionsT]:
    deadline = deadline_in(time_limits.accept_until(context.get_remaining_time_in_millis() / 1000))
    known = JobSettings.from_env(os.environ)
    options = _options(event, options_type)
    return Run(
        options=options,
        dry_run=known.dry_run if options.dry_run is None else options.dry_run,
        limits=Limits(
            concurrency=known.concurrency,
            per_second=known.per_second,
            deadline=deadline,
            consecutive_failures=known.consecutive_failures,
        ),
        call_seconds=time_limits.call,
        now=datetime.now(UTC),
    )


def _options(event: Event, options_type: type[OptionsT]) -> OptionsT:
    try:
        if "requestContext" not in event:
            return msgspec.convert(event, options_type)
        return msgspec.json.decode(http_api.body_of(event) or b"{}", type=options_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidRequest(f"The options are invalid: {problem}.") from problem


def _told(report: Report) -> Report:
    """Log the report and put its counts as metrics; return it.

    A rehearsal puts none but that there was one: what it counts has not happened.
    """
    told = report.as_json()
    planned = told.pop("planned", ())
    logger.info("run finished", extra=told | {"planned": len(planned)})
    if report.dry_run:
        metrics.add_metric("DryRun", unit=MetricUnit.Count, value=1)
        return report
    for name, value in told.items():
        if isinstance(value, int) and not isinstance(value, bool):
            metrics.add_metric(_metric(name), unit=MetricUnit.Count, value=value)
    return report


def _metric(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _refuse(exc: RoomkeeperError) -> Answer:
    """Log the error, whose message may be private; return the response to the caller."""
    error = to_http_error(exc)
    options_type = type(exc).__name__
    logger.warning("run refused", code=error.code, problem=str(exc), options_type=options_type)
    metrics.add_metric("RunRefused", unit=MetricUnit.Count, value=1)
    return http_api.error(error.status, error.code, error.message, **error.headers)
