"""Runs a job once for an invocation by schedule or HTTP: options, time limits, logs and metrics.

A job runs on its schedule or on demand, through the HTTP API or by a direct invocation. The event
of a scheduled or direct invocation is the job's options as JSON. Over HTTP they are the body.
"""

import math
import os
import time
import warnings
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Protocol, TypeVar

import msgspec
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit
from msgspec import Meta, Struct

from roomkeeper import http_api
from roomkeeper.aws import sdk
from roomkeeper.aws.retries import SECRET_RETRY
from roomkeeper.errors import RoomkeeperError
from roomkeeper.http_api import InvalidRequest, Response
from roomkeeper.http_errors import to_http_error
from roomkeeper.jobs.batch import Limits, deadline_in
from roomkeeper.jobs.report import Report
from roomkeeper.logs import function_logger
from roomkeeper.settings import JobSettings, VonageSettings
from roomkeeper.vonage import connect
from roomkeeper.vonage.connect import Clients, NoRooms, NotConfigured
from roomkeeper.vonage.meetings import MeetingsClient
from roomkeeper.vonage.retry import Deadline

logger = function_logger()
metrics = Metrics()
# A run that finds nothing to do has no metrics. Source: "Metrics" in the guide of Powertools.
warnings.filterwarnings("ignore", "No application metrics to publish")

Event = Mapping[str, Any]

EVEN_IF_ZERO = {"oldest_waiting_seconds"}
"""Counts that are emitted even if zero, because RecordingCopierMissedAlarm needs them."""

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

    `call_seconds` limits the time of one call to Vonage, including its retries. No call to Vonage
    ends later than `write_seconds` before the deadline: that is the time for an item's writes.
    """

    options: OptionsT
    dry_run: bool
    limits: Limits
    call_seconds: float
    now: datetime
    write_seconds: float = 0.0

    @property
    def vonage_deadline(self) -> Deadline:
        """The time by which every call to Vonage ends."""
        return Deadline(self.limits.deadline - self.write_seconds - time.monotonic())

    @property
    def deferred_at_most(self) -> int:
        """The number of deferred items to retry: their share of the run's capacity."""
        seconds = max(0.0, self.limits.last_start - time.monotonic())
        capacity = min(self.limits.per_second * seconds, self.options.limit or math.inf)
        return max(1, int(capacity / DEFERRED_SHARE))


class JobType(Protocol[OptionsT]):
    """The parts of a job's class that an invocation uses."""

    @property
    def options_type(self) -> type[OptionsT]:
        """The type of the job's options."""

    def seconds_per_item(self, call_seconds: float) -> float:
        """Return how long one item may take if each call to Vonage takes up to `call_seconds`."""

    def start(self, run: Run[OptionsT]) -> Report:
        """Create the job from the settings in the environment, run it, and return its report."""


class _TimeLimits(Struct, frozen=True):
    """Limits in seconds for a whole run, and for one call to Vonage."""

    total: float
    call: float


# An HTTP API times out after 30 seconds, including a cold start.
_OVER_HTTP = _TimeLimits(total=28.0, call=4.0)
_BY_SCHEDULE = _TimeLimits(total=math.inf, call=10.0)


def handle(event: Event, context: Context, job: JobType[OptionsT]) -> Response:
    """Run a job once with the options in `event`; return the Lambda function's response.

    Over HTTP: 200 and the report; 400 if the options are invalid; 403 if unsigned; 500 if the
    stack's parameters are invalid; 503 if the run could not start or be saved, with the code
    `not_configured` while no Vonage credentials are stored; 404 and `rooms_not_served` if the job
    is about rooms, and the stack serves no product that has rooms. Otherwise: the report,
    `{"not_configured": true}`, or `{"rooms_not_served": true}`.

    Raises:
        BatchIncomplete: an item failed, and the event is not from HTTP. The batch is finished.
        RoomkeeperError: the run could not start, and the event is not from HTTP.
    """
    if "http" not in event.get("requestContext", {}):
        return _by_schedule(event, context, job)
    if forbidden := http_api.forbidden_unless_signed(event):
        return forbidden
    try:
        report = _log_report(job.start(_new_run(event, context, job, _OVER_HTTP)))
        return http_api.response(200, report.as_json())
    except RoomkeeperError as error:
        return _error_response(error)


def _by_schedule(event: Event, context: Context, job: JobType[OptionsT]) -> Response:
    try:
        report = _log_report(job.start(_new_run(event, context, job, _BY_SCHEDULE)))
    except NotConfigured as error:
        # The schedule starts with the first deployment, before anybody can store credentials.
        logger.info("not configured yet", extra={"reason": str(error)})
        return {"not_configured": True}
    except NoRooms as error:
        logger.info("nothing to do", extra={"reason": str(error)})
        return {"rooms_not_served": True}
    report.summary.raise_if_failed()
    return report.as_json()


def run_for_queue(context: Context, job: JobType[OptionsT]) -> Run[OptionsT]:
    """Return a run for messages of a queue, with the limits of a scheduled run."""
    return _new_run({}, context, job, _BY_SCHEDULE)


def rooms_client(run: Run[Any]) -> MeetingsClient:
    """Return a client of the Meetings API whose calls each take at most the run's `call_seconds`.

    Raises:
        NoRooms: the stack does not serve the Meetings API.
        NotConfigured: no credentials were ever stored.
        SecretUnavailable: the credentials cannot be read.
    """
    settings = msgspec.structs.replace(VonageSettings.from_env(os.environ), video=None)
    try:
        return _connected(run, settings).rooms
    except NotConfigured:
        connect.count_not_configured(1)
        raise  # a 0 is up to the other jobs: another product may lack its credentials


def vonage_clients(run: Run[Any]) -> Clients:
    """Return the clients of all products that are served, as `rooms_client` does for one.

    Raises:
        NotConfigured: no product has credentials.
        SecretUnavailable: the same, and the credentials of one cannot be read.
    """
    try:
        clients = _connected(run, VonageSettings.from_env(os.environ))
    except NotConfigured:
        connect.count_not_configured(1)
        raise
    connect.count_not_configured(int(bool(clients.not_configured)))
    return clients


def _connected(run: Run[Any], settings: VonageSettings) -> Clients:
    clients = connect.clients(
        sdk.secrets_manager(SECRET_RETRY),
        settings,
        total_timeout=run.call_seconds,
        timeout=run.call_seconds,
    )
    return clients.within(run.vonage_deadline)


def with_unavailable(report: Report, clients: Clients) -> Report:
    """Return a run's report with the products that it could not call for lack of credentials.

    Credentials that cannot be read, or are invalid, count as a failure.
    """
    for product, error in clients.unavailable.items():
        logger.warning("product left out", product=product, reason=str(error))
        if product not in clients.not_configured:
            report.summary.add_failure(str(error))
    report.not_configured = clients.not_configured
    return report


def _new_run(
    event: Event, context: Context, job: JobType[OptionsT], time_limits: _TimeLimits
) -> Run[OptionsT]:
    seconds = min(time_limits.total, context.get_remaining_time_in_millis() / 1000)
    deadline = deadline_in(seconds)
    settings = JobSettings.from_env(os.environ)
    options = _options(event, job.options_type)
    return Run(
        options=options,
        dry_run=settings.dry_run if options.dry_run is None else options.dry_run,
        limits=Limits(
            concurrency=settings.concurrency,
            per_second=settings.per_second,
            deadline=deadline,
            seconds_per_item=job.seconds_per_item(time_limits.call),
            consecutive_failures=settings.consecutive_failures,
        ),
        call_seconds=time_limits.call,
        write_seconds=job.seconds_per_item(0.0),
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

    A dry run emits only the metric DryRun: the changes that it counts were not made. Counts of zero
    are not emitted, except those in EVEN_IF_ZERO, because CloudWatch charges for every metric.
    """
    fields = report.as_json()
    planned = fields.pop("planned", ())
    logger.info("run finished", extra=fields | {"planned": len(planned)})
    if report.dry_run:
        metrics.add_metric("DryRun", unit=MetricUnit.Count, value=1)
        return report
    for name, value in fields.items():
        is_count = isinstance(value, int) and not isinstance(value, bool)
        if is_count and (value or name in EVEN_IF_ZERO):
            metrics.add_metric(_metric_name(name), unit=MetricUnit.Count, value=value)
    return report


def _metric_name(count_name: str) -> str:
    return "".join(word.capitalize() for word in count_name.split("_"))


def _error_response(cause: RoomkeeperError) -> Response:
    """Log the error, whose message may be private; return the response to the caller."""
    error = to_http_error(cause)
    kind = type(cause).__name__
    logger.warning("run refused", code=error.code, error=str(cause), kind=kind)
    metrics.add_metric("RunRefused", unit=MetricUnit.Count, value=1)
    return http_api.error(error.status, error.code, error.message, **error.headers)
