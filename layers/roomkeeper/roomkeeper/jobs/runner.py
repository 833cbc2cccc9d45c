"""The parts that all jobs share: invocation by schedule or HTTP, time limits, reports and metrics.

A job runs on its schedule or on demand, through the HTTP API or by a direct invocation. The event
of a scheduled or direct invocation is the job's options as JSON. Over HTTP they are the body.
"""

import itertools
import math
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from roomkeeper.http_api import InvalidRequest, Response
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
from roomkeeper.vonage import Unauthorized, connect
from roomkeeper.vonage.connect import Clients, NotConfigured
from roomkeeper.vonage.meetings import MeetingsClient

logger = function_logger()
metrics = Metrics()

MAX_LISTED = 1000
"""The most plans of one kind that a dry run lists. All of them are counted."""

CALLS_PER_ITEM = 2
"""The most calls to Vonage that one item makes. They may finish after the deadline."""

Event = Mapping[str, Any]
Item = TypeVar("Item")
Client = TypeVar("Client")

DEFERRED_SHARE = 10
"""One in this many items of a run may be a deferred item, which failed before."""


class Context(Protocol):
    """The part of Lambda's context object that a job uses."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until the invocation times out."""


class Options(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of every job.

    `dry_run` defaults to the stack's setting. `limit` is the most items to process; without it
    there is no limit.
    """

    dry_run: bool | None = None
    limit: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None


OptionsT = TypeVar("OptionsT", bound=Options)


class Run(Struct, Generic[OptionsT], frozen=True, kw_only=True):
    """One run of a job: its options, limits and start time.

    `call_seconds` limits the time of one call to Vonage, including its retries.
    """

    options: OptionsT
    dry_run: bool
    limits: Limits
    call_seconds: float
    now: datetime

    @property
    def deferred_at_most(self) -> int:
        """The number of deferred items to retry: their share of the run's capacity."""
        seconds = max(0.0, self.limits.deadline - time.monotonic())
        capacity = min(self.limits.per_second * seconds, self.options.limit or math.inf)
        return max(1, int(capacity / DEFERRED_SHARE))


class Report(Struct, kw_only=True):
    """The result of a run: its counts by name, its batch's summary, and a dry run's plans."""

    dry_run: bool
    counts: Mapping[str, int]
    summary: Summary
    planned: Sequence[Mapping[str, str]] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the report as the caller gets it. Only a dry run's report has `planned`."""
        report = {
            "dry_run": self.dry_run,
            **self.counts,
            FAILED: self.summary.outcomes[FAILED],
            "stopped_by": self.summary.stopped_by,
            "sample_errors": self.summary.sample_errors,
        }
        return report | ({"planned": self.planned} if self.dry_run else {})


class DryRunPlan:
    """The changes that a dry run would make: the first `most` of each kind. Thread-safe."""

    def __init__(self, most: int = MAX_LISTED) -> None:
        self._listed: dict[tuple[str, ...], dict[str, str]] = {}
        self._most = most
        self._count: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def listed(self) -> list[dict[str, str]]:
        """The plans, in the order in which they were added."""
        return list(self._listed.values())

    def add(self, plan: dict[str, str], kind: str = "") -> bool:
        """Add a plan, unless its kind's list is full; return False if it is listed already."""
        key = tuple(plan.values())
        with self._lock:
            if key in self._listed:
                return False
            if self._count[kind] < self._most:
                self._count[kind] += 1
                self._listed[key] = plan
            return True


class _TimeLimits(Struct, frozen=True):
    """Limits in seconds for a whole run, one call to Vonage, and one item's writes to the table."""

    total: float
    call: float
    writes: float

    def accept_until(self, remaining: float) -> float:
        """Return for how many seconds items may start, so that the last one still ends in time."""
        remaining = min(self.total, remaining)
        return max(0.0, remaining - CALLS_PER_ITEM * self.call - self.writes)


OPERATIONS_PER_ITEM = 3
"""The most table writes of one item: an extension's intent, its event, and the intent's removal."""

_WRITES = OPERATIONS_PER_ITEM * store.SHORT_RETRY.worst_case

# An HTTP API times out after 30 seconds, including a cold start.
_OVER_HTTP = _TimeLimits(total=28.0, call=4.0, writes=_WRITES)
_BY_SCHEDULE = _TimeLimits(total=float("inf"), call=10.0, writes=_WRITES)


def handle(
    event: Event,
    context: Context,
    options_type: type[OptionsT],
    run: Callable[[Run[OptionsT]], Report],
) -> Response:
    """Run a job once with the options in `event`; return the Lambda function's response.

    Over HTTP: 200 and the report; 400 if the options are invalid; 403 if unsigned; 500 if the
    stack's parameters are invalid; 503 if the run could not start or be saved, with the code
    `not_configured` while no Vonage credentials are stored. Otherwise: the report, or
    `{"not_configured": true}`.

    Raises:
        BatchIncomplete: an item failed, and the event is not from HTTP. The batch is finished.
        RoomkeeperError: the run could not start, and the event is not from HTTP.
    """
    if "http" not in event.get("requestContext", {}):
        return _by_schedule(event, context, options_type, run)
    if forbidden := http_api.forbidden_unless_signed(event):
        return forbidden
    try:
        report = _log_report(run(_new_run(event, context, options_type, _OVER_HTTP)))
        return http_api.response(200, report.as_json())
    except RoomkeeperError as error:
        return _error_response(error)


def _by_schedule(
    event: Event,
    context: Context,
    options_type: type[OptionsT],
    run: Callable[[Run[OptionsT]], Report],
) -> Response:
    try:
        report = _log_report(run(_new_run(event, context, options_type, _BY_SCHEDULE)))
    except NotConfigured as error:
        # The schedule starts with the first deployment, before anybody can store credentials.
        logger.info("not configured yet", extra={"reason": str(error)})
        return {"not_configured": True}
    report.summary.raise_if_failed()
    return report.as_json()


def work(run: Run[Any], items: Iterable[Item], act: Callable[[Item], Outcome]) -> Summary:
    """Call `act` with each of `items` within the run's limits; return the summary.

    Every failure is logged. An Unauthorized response from Vonage ends the batch, whether it comes
    while items are read or while one is worked on.
    """

    def act_and_log(item: Item) -> Outcome:
        try:
            return act(item)
        except RoomkeeperError as error:
            logger.warning("item failed", problem=str(error), kind=type(error).__name__)
            if isinstance(error, Unauthorized):
                raise AbortBatch(str(error)) from error
            raise

    def read() -> Iterator[Item]:
        try:
            yield from itertools.islice(items, run.options.limit)
        except Unauthorized as error:
            raise AbortBatch(str(error)) from error

    return BatchRunner(run.limits).run(read(), act_and_log)


def vonage_client(run: Run[Any]) -> MeetingsClient:
    """Return a client of the Meetings API whose calls each take at most the run's `call_seconds`.

    Raises:
        NotConfigured: no credentials were ever stored.
        SecretUnavailable: the credentials cannot be read.
    """
    return _connected(connect.meetings_client, run)


def vonage_clients(run: Run[Any]) -> Clients:
    """Return the clients of all products, as `vonage_client` does for one."""
    return _connected(connect.clients, run)


def _connected(connector: Callable[..., Client], run: Run[Any]) -> Client:
    try:
        client = connector(
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
    """Return how many of the `due` items are left for the next run."""
    return max(0, due - skipped - summary.processed)


def _new_run(
    event: Event, context: Context, options_type: type[OptionsT], time_limits: _TimeLimits
) -> Run[OptionsT]:
    deadline = deadline_in(time_limits.accept_until(context.get_remaining_time_in_millis() / 1000))
    job = JobSettings.from_env(os.environ)
    options = _options(event, options_type)
    return Run(
        options=options,
        dry_run=job.dry_run if options.dry_run is None else options.dry_run,
        limits=Limits(
            concurrency=job.concurrency,
            per_second=job.per_second,
            deadline=deadline,
            consecutive_failures=job.consecutive_failures,
        ),
        call_seconds=time_limits.call,
        now=datetime.now(UTC),
    )


def _options(event: Event, options_type: type[OptionsT]) -> OptionsT:
    try:
        if "requestContext" not in event:
            return msgspec.convert(event, options_type)
        return msgspec.json.decode(http_api.body_of(event) or b"{}", type=options_type)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"The options are invalid: {error}.") from error


def _log_report(report: Report) -> Report:
    """Log the report and emit its counts as metrics; return it.

    A dry run emits only the metric DryRun: the changes that it counts were not made.
    """
    fields = report.as_json()
    planned = fields.pop("planned", ())
    logger.info("run finished", extra=fields | {"planned": len(planned)})
    if report.dry_run:
        metrics.add_metric("DryRun", unit=MetricUnit.Count, value=1)
        return report
    for name, value in fields.items():
        if isinstance(value, int) and not isinstance(value, bool):
            metrics.add_metric(_metric_name(name), unit=MetricUnit.Count, value=value)
    return report


def _metric_name(count_name: str) -> str:
    return "".join(word.capitalize() for word in count_name.split("_"))


def _error_response(cause: RoomkeeperError) -> Response:
    """Log the error, whose message may be private; return the response to the caller."""
    error = to_http_error(cause)
    kind = type(cause).__name__
    logger.warning("run refused", code=error.code, problem=str(cause), kind=kind)
    metrics.add_metric("RunRefused", unit=MetricUnit.Count, value=1)
    return http_api.error(error.status, error.code, error.message, **error.headers)
