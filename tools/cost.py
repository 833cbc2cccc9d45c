"""`python -m tools.cost`: the monthly bill by service, and the quota that is reached first.

It also prints the daily cost that a caller without credentials can cause (tools.worst_case).

The operations per callback, recording and room are counted by running the code (benchmarks.counts)
or read from the template. The duration of functions and the size of log lines are assumptions,
listed below. Free tiers are ignored.
"""

import argparse
from collections.abc import Callable, Mapping

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.counts import LIFE, Life, life
from local.testing.template import resources
from operations.arguments import Parser, within
from operations.environment import use_only_this_machine
from operations.template import Parameter, parameters
from roomkeeper.domain.copies import requests_for
from tools import prices, worst_case

COPYING = "CopiesRecordings"
"""The condition of the resources for copies, which are off by default."""

MONTH = 30 * 24 * 3600
"""Seconds."""

MAX_COUNT = 10**12
"""The largest load that is computed: callbacks, recordings or rooms per month."""

PEAK = 10
"""The busiest second, as a multiple of the month's average: meetings end on the hour."""

INTAKE_SECONDS, INTAKE_GB = 0.010, 0.5
"""A warm invocation: a millisecond of CPU at this memory size, and DynamoDB's latency."""

PUBLISHER_SECONDS, PUBLISHER_GB = 0.030, 0.25
JOB_SECONDS, JOB_GB = 0.5, 0.5
"""A job's duration per item, at a concurrency of eight and with a slow Vonage API."""

DAYTIME = 3
"""Meetings take place in a third of the day: the hourly load is three times the average."""

RUNS_A_DAY = {"RecordingCleanup": 24, "RecordingReconciler": 4, "RoomExpiryExtender": 4}
"""Scheduled runs by the defaults of the template."""

RUNS = 30 * sum(RUNS_A_DAY.values())
"""Scheduled runs per month."""

INTAKE_LOG_BYTES = 1_000
"""Log bytes per callback: the intake's line, its metric, the line of the access log."""

LOG_BYTES = 1_500
"""Log bytes per run of the publisher: Lambda's START, END and REPORT, its lines and metrics."""

ITEM_BYTES, EVENT_BYTES = 1_000, 1_000
METRICS = 51
"""Billed custom metrics, each combination of dimensions for a whole month. Callbacks have about
twenty, two per event; the publisher, the jobs and the management API together have as many; the
event source mapping has six, and a metric filter counts new callbacks in the intake's log."""

COPY_BYTES_PER_SECOND = 50e6
"""The throughput of a copy. One source on the internet is slower than S3 is."""

COPY_GB = 1.0
"""The memory of the recording copier; a copy's time is billed at it."""

COPY_METRICS = 11
"""Custom metrics of the recording copier: of its copies and of its sweep."""

POLLERS, POLL = 5, 20
"""Lambda's connections to an idle queue, and the seconds of a long poll. Source: "Understanding how
AWS Lambda scales with Amazon SQS standard queues" in AWS's Compute blog."""

BATCH = 10
"""Stream records per run of the publisher under load; without load it is one."""

SAMPLED = 0.05
"""The share of requests that X-Ray traces by default, in addition to one per second."""

Bill = Mapping[str, float]


class Load(Struct, frozen=True):
    """The load of a month: callbacks, recordings, and extended rooms."""

    callbacks: int
    recordings: int
    rooms: int


class Quota(Struct, frozen=True):
    """A limit: its default in callbacks per second, and how to raise it."""

    name: str
    per_second: float
    to_raise: str


def bill(load: Load, lived: Life) -> dict[str, float]:
    """Return the dollars per month by service."""
    logged = load.callbacks * INTAKE_LOG_BYTES + load.callbacks / BATCH * LOG_BYTES
    return {
        "API Gateway (HTTP API)": load.callbacks * prices.HTTP_API,
        "Lambda": _functions(load),
        "DynamoDB": _table(load, lived),
        "EventBridge": _events(load) * (prices.EVENT + EVENT_BYTES / 1e9 * prices.ARCHIVED_GB),
        "Scheduler": RUNS * prices.SCHEDULED,
        "CloudWatch": logged / 1e9 * prices.LOG_GB
        + METRICS * prices.METRIC
        + sum(monitoring().values()),
        "Secrets Manager": len(resources("AWS::SecretsManager::Secret")) * prices.SECRET
        + _secret_reads(load) * prices.SECRET_READ,
    }


def idle() -> dict[str, float]:
    """Return the dollars per month of a stack without callbacks, whose jobs find nothing to do.

    AWS charges a metric for each hour in which it is emitted ("Amazon CloudWatch Pricing"). The
    only one of such a stack is NotConfigured, which all jobs share: they emit no zeros.
    """
    hours = max(RUNS_A_DAY.values())
    return {
        **monitoring(),
        "the metric NotConfigured": hours / 24 * prices.METRIC,
        "secrets": len(resources("AWS::SecretsManager::Secret")) * prices.SECRET,
    }


def copies(recordings: int, megabytes: float) -> dict[str, float]:
    """Return the dollars per month that copies of recordings add, each kept for a month.

    Transfer into S3 is free, unless it goes through a NAT gateway. Downloads of copies are not
    included.
    """
    size = megabytes * 1e6
    sent = requests_for(max(1, int(size)))
    stored = recordings * size / 1e9
    sweeps = 30 * 96
    seconds = recordings * size / COPY_BYTES_PER_SECOND + sweeps * JOB_SECONDS
    writes = recordings * (sent + 3) * 2  # the item's progress, of up to two kilobytes
    alarms = [
        each
        for each in resources("AWS::CloudWatch::Alarm").values()
        if each.get("Condition") == COPYING
    ]
    return {
        "S3 storage": stored * prices.S3_GB,
        "S3 requests": recordings * sent * prices.S3_PUT,
        "Lambda": seconds * COPY_GB * prices.LAMBDA_GB_SECOND,
        "DynamoDB": writes * prices.WRITE_UNIT,
        "EventBridge": recordings * prices.EVENT,
        "SQS": (recordings * 3 + POLLERS * MONTH / POLL) * prices.SQS_REQUEST,
        "CloudWatch": COPY_METRICS * prices.METRIC + len(alarms) * prices.ALARM,
    }


def through_nat(recordings: int, megabytes: float) -> float:
    """Return the dollars per month that a NAT gateway adds for the data of copies."""
    return recordings * megabytes * 1e6 / 1e9 * prices.NAT_GB


def monitoring() -> dict[str, float]:
    """Return the dollars per month of the alarms, and of the dashboard if it is on by default."""
    alarms = {"alarms": _alarm_metrics() * prices.ALARM}
    if parameters()["CreateDashboard"].default == "true":
        return alarms | {"dashboard": prices.DASHBOARD}
    return alarms


def traces(load: Load) -> float:
    """Return the dollars per month that Tracing=Active adds."""
    return min(load.callbacks, MONTH + SAMPLED * load.callbacks) * prices.TRACE


def with_rest_api(load: Load, ours: Bill) -> dict[str, float]:
    """Return the bill with a REST API instead of the HTTP API."""
    rest = {"API Gateway (REST API)": load.callbacks * prices.REST_API}
    return rest | {name: cost for name, cost in ours.items() if "HTTP API" not in name}


def in_one_function(load: Load, ours: Bill) -> dict[str, float]:
    """Return the bill of one function that writes the item and then publishes the event.

    It needs no publisher, but makes two calls per callback, and loses an event if it stops between
    the two.
    """
    without_publisher = ours["Lambda"] - _publisher(load)
    waits = load.callbacks * INTAKE_SECONDS * INTAKE_GB * prices.LAMBDA_GB_SECOND
    return {**ours, "Lambda": without_publisher + waits}


def quotas() -> list[Quota]:
    """Return the limits of callbacks per second in a new AWS account, the lowest first."""
    publisher = PUBLISHER_SECONDS / BATCH
    own = worst_case.limits()
    limits = [
        Quota(
            f"the stack's own CallbackRateLimit ({own.rate:g} a second by day; CallbackBurstLimit "
            "limits peaks)",
            own.rate * PEAK / DAYTIME,
            "the parameter, up to the account's limit of 10,000 a second for API Gateway",
        ),
        Quota(
            "Lambda: 1,000 concurrent executions",
            1000 / (INTAKE_SECONDS + publisher),
            "Service Quotas: concurrent executions",
        ),
        Quota("API Gateway: 10,000 requests", 10_000, "Service Quotas: throttle rate"),
        Quota(
            "EventBridge: 10,000 PutEvents requests of 10 events (400 to 2,400 in most regions)",
            10_000 * BATCH,
            "Service Quotas: PutEvents throttle limit",
        ),
        Quota(
            "EventBridge: 18,750 invocations of targets by one rule (750 to 4,500 in most regions)",
            18_750,
            "Service Quotas: invocations throttle limit",
        ),
        Quota(
            "DynamoDB: 40,000 write units of a table",
            40_000 / 2.25,
            "Service Quotas: table-level write throughput; set warm throughput before a peak",
        ),
        Quota("DynamoDB: a worklist's index, 8 shards of 1,000 units", 8_000, "SHARDS in store"),
    ]
    return sorted(limits, key=lambda quota: quota.per_second)


def first_met(load: Load) -> str:
    """Return a sentence about the quotas that this load exceeds, or the nearest one."""
    peak = load.callbacks / MONTH * PEAK
    met = [quota for quota in quotas() if quota.per_second < peak]
    if not met:
        nearest = quotas()[0]
        return (
            f"{peak:.3g} callbacks in the busiest second exceed no quota. The nearest is "
            f"{nearest.name}, at {nearest.per_second:.0f} a second. To raise it: "
            f"{nearest.to_raise}."
        )
    exceeded = "; ".join(
        f"{each.name} ({each.per_second:.0f} a second; to raise it: {each.to_raise})"
        for each in met
    )
    return f"{peak:.0f} callbacks in the busiest second exceed: {exceeded}."


def _alarm_metrics() -> int:
    """Return the number of metrics in the default alarms: one each, or those of its expression."""
    alarms = [
        alarm["Properties"]
        for alarm in resources("AWS::CloudWatch::Alarm").values()
        if alarm.get("Condition") not in ("HasSilenceAlarm", COPYING)
    ]
    return sum(
        sum("MetricStat" in metric for metric in alarm.get("Metrics", [])) or 1 for alarm in alarms
    )


def worst_day(bounds: worst_case.Limits) -> list[str]:
    """Return sentences about the daily cost that a caller without credentials can cause."""
    kind, dollars = worst_case.worst(bounds)
    rejected, alarm = worst_case.rejection(), worst_case.unnoticed_rejections()
    day = worst_case.DAY
    return [
        f"A caller without credentials can cause at most {dollars:.2f} dollars a day within the "
        f"stack's limits: {kind.name} to each of {len(worst_case.public_routes())} routes, "
        f"{bounds.burst} at once and then {bounds.rate:g} a second.",
        f"API Gateway does not charge for requests that it rejects itself (403, 404, 429), but "
        f"their access log lines and responses cost {rejected * 1e6:.2f} dollars a million. That "
        f"is {alarm * day * rejected:.2f} dollars a day at {alarm:g} a second, where "
        f"HttpApiFloodAlarm fires, and {worst_case.ACCOUNT_RATE * day * rejected:,.0f} dollars at "
        f"the account's limit of {worst_case.ACCOUNT_RATE:,} a second if all are logged "
        "(docs/cost.md, Under attack).",
    ]


def _functions(load: Load) -> float:
    intake = load.callbacks * (
        prices.LAMBDA_REQUEST + INTAKE_SECONDS * INTAKE_GB * prices.LAMBDA_GB_SECOND
    )
    jobs = RUNS * prices.LAMBDA_REQUEST
    jobs += (load.recordings + load.rooms) * JOB_SECONDS * JOB_GB * prices.LAMBDA_GB_SECOND
    return intake + _publisher(load) + jobs


def _publisher(load: Load) -> float:
    runs = load.callbacks / BATCH
    return runs * (
        prices.LAMBDA_REQUEST + PUBLISHER_SECONDS * PUBLISHER_GB * prices.LAMBDA_GB_SECOND
    )


def _table(load: Load, lived: Life) -> float:
    """Return DynamoDB's cost. A callback that is not a recording's writes an item and an index."""
    others = max(0, load.callbacks - len(LIFE) * load.recordings)
    units = load.recordings * (lived.item_units + lived.index_units) + others * 2
    units += load.rooms * 6  # intent, outbox and completion of an extension, with index entries
    reads = load.recordings * 3 + load.callbacks + RUNS * 48  # at most one room read per event
    stored = load.callbacks * ITEM_BYTES / 1e9
    kept = stored * (prices.TABLE_GB + prices.RECOVERY_GB)
    return units * prices.WRITE_UNIT + reads * prices.READ_UNIT + kept


def _events(load: Load) -> int:
    return load.callbacks + load.recordings + load.rooms


def _secret_reads(load: Load) -> float:
    containers = max(1.0, load.callbacks / MONTH * PEAK * INTAKE_SECONDS)
    return containers * MONTH / 300 * min(1.0, load.callbacks / (MONTH / 300)) + RUNS


def _valid(parameter: Parameter) -> Callable[[str], float]:
    """Return a type of arguments: a number that is valid for the parameter."""

    def number(text: str) -> float:
        if error := parameter.error_in(text):
            raise argparse.ArgumentTypeError(error)
        return float(text)

    return number


def main() -> None:
    """Print the bill for a load, and the bills of two alternative designs."""
    parser = Parser("cost")
    for name, a_month in (("callbacks", 1_000_000), ("recordings", None), ("rooms", 1000)):
        parser.add_argument(f"--{name}", type=within(0, MAX_COUNT), default=a_month)
    parser.add_argument("--copy-mb", type=within(0, 10**6), default=0, help="megabytes of a copy")
    own = worst_case.limits()
    for name, default, limit in (
        ("rate", own.rate, parameters()["CallbackRateLimit"]),
        ("burst", own.burst, parameters()["CallbackBurstLimit"]),
    ):
        parser.add_argument(f"--{name}", type=_valid(limit), default=default, help=limit.name)
    options = vars(parser.parse_args())
    bounds = worst_case.Limits(rate=options.pop("rate"), burst=options.pop("burst"))
    megabytes = options.pop("copy_mb")
    if options["recordings"] is None:
        options["recordings"] = options["callbacks"] // 10
    load = Load(**options)
    ours = bill(load, life())
    rest, one = with_rest_api(load, ours), in_one_function(load, ours)
    shown = Table("dollars a month", "Roomkeeper", "with a REST API", "as one function")
    for name in dict.fromkeys([*ours, *rest]):
        shown.add_row(name, *(f"{each.get(name, 0):,.2f}" for each in (ours, rest, one)))
    shown.add_section()
    shown.add_row("total", *(f"{sum(each.values()):,.2f}" for each in (ours, rest, one)))
    console = Console()
    console.print(shown)
    console.print(first_met(load))
    parts = ", ".join(f"{name} {dollars:.2f}" for name, dollars in idle().items())
    console.print(f"An idle stack costs {sum(idle().values()):.2f} dollars a month: {parts}.")
    if megabytes:
        parts = ", ".join(f"{k} {v:,.2f}" for k, v in copies(load.recordings, megabytes).items())
        total = sum(copies(load.recordings, megabytes).values())
        nat = through_nat(load.recordings, megabytes)
        console.print(
            f"Copies of {megabytes} MB each add {total:,.2f} dollars a month: {parts}. "
            f"Through a NAT gateway they cost {nat:,.2f} more."
        )
    console.print(f"CreateDashboard=true would add {prices.DASHBOARD:.2f} dollars a month.")
    console.print(f"Tracing=Active would add {traces(load):,.2f} dollars a month.")
    console.print()
    shown = Table("dollars for requests without credentials", "per million", "per day")
    for kind in worst_case.kinds():
        a_day = worst_case.dollars_a_day(kind, bounds, worst_case.public_routes())
        shown.add_row(kind.name, f"{kind.dollars * 1e6:.2f}", f"{a_day:.2f}")
    console.print(shown)
    for sentence in worst_day(bounds):
        console.print(sentence)


if __name__ == "__main__":
    use_only_this_machine()
    main()
