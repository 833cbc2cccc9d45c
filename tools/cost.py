"""`python -m tools.cost`: what a month costs, service by service, and what is full first.

And what a caller without credentials can cost a day (tools.worst_case).

What is done for each callback, recording and room is counted on the code (benchmarks.counts) or
read off the template; how long a function runs and what a line of the log holds are assumptions,
named below. Free tiers are left out.
"""

import argparse
from collections.abc import Mapping

from msgspec import Struct
from rich.console import Console
from rich.table import Table

from benchmarks.counts import LIFE, Life, life
from local.testing.template import resources
from tools import prices, worst_case

MONTH = 30 * 24 * 3600
"""Seconds."""

PEAK = 10
"""How many times the month's average the busiest second may be: meetings end on the hour."""

INTAKE_SECONDS, INTAKE_GB = 0.010, 0.5
"""A warm run: a millisecond of processor on its share of one, and DynamoDB's answer."""

PUBLISHER_SECONDS, PUBLISHER_GB = 0.030, 0.25
JOB_SECONDS, JOB_GB = 0.5, 0.5
"""Of a job's run: for each item, at a concurrency of eight and a slow Vonage."""

DAYTIME = 3
"""A third of the day has the meetings: a month's average is kept up for eight hours in 24."""

RUNS = 30 * 24 + 2 * 30 * 4
"""Scheduled runs a month: cleanup every hour, reconciliation and extension every six."""

INTAKE_LOG_BYTES = 1_000
"""Of one callback: our line, our metric, the access log's line."""

LOG_BYTES = 1_500
"""Of one run of the publisher: Lambda's START, END and REPORT, our lines, our metrics."""

ITEM_BYTES, EVENT_BYTES = 1_000, 1_000
METRICS = 51
"""Metrics that are charged for, each with its dimensions and for a whole month. Callbacks have some
twenty, a pair an event; the publisher, the jobs and the management API as many together; the event
source mapping has six, and new callbacks are counted from the intake's log."""

BATCH = 10
"""Stream records that one run of the publisher takes, at some load; one, when there is none."""

SAMPLED = 0.05
"""Of requests that X-Ray traces by default, besides one a second."""

Bill = Mapping[str, float]


class Load(Struct, frozen=True):
    """What a month brings: callbacks, recordings that end their life, rooms that are kept alive."""

    callbacks: int
    recordings: int
    rooms: int


class Quota(Struct, frozen=True):
    """A limit of an account: what it is by default, and where to have it raised."""

    name: str
    per_second: float
    to_raise: str


def bill(load: Load, lived: Life) -> dict[str, float]:
    """Return dollars a month by service."""
    logged = load.callbacks * INTAKE_LOG_BYTES + load.callbacks / BATCH * LOG_BYTES
    return {
        "API Gateway (HTTP API)": load.callbacks * prices.HTTP_API,
        "Lambda": _functions(load),
        "DynamoDB": _table(load, lived),
        "EventBridge": _events(load) * (prices.EVENT + EVENT_BYTES / 1e9 * prices.ARCHIVED_GB),
        "Scheduler": RUNS * prices.SCHEDULED,
        "CloudWatch": logged / 1e9 * prices.LOG_GB
        + METRICS * prices.METRIC
        + _alarm_metrics() * prices.ALARM
        + len(resources("AWS::CloudWatch::Dashboard")) * prices.DASHBOARD,
        "Secrets Manager": len(resources("AWS::SecretsManager::Secret")) * prices.SECRET
        + _secret_reads(load) * prices.SECRET_READ,
    }


def traces(load: Load) -> float:
    """Return the dollars a month that Tracing=Active adds."""
    return min(load.callbacks, MONTH + SAMPLED * load.callbacks) * prices.TRACE


def with_rest_api(load: Load, ours: Bill) -> dict[str, float]:
    """Return the bill with a REST API in place of the HTTP API."""
    rest = {"API Gateway (REST API)": load.callbacks * prices.REST_API}
    return rest | {name: cost for name, cost in ours.items() if "HTTP API" not in name}


def in_one_function(load: Load, ours: Bill) -> dict[str, float]:
    """Return the bill of one function that puts the item, then the event, and waits for both.

    It has no publisher, and a second call on every callback; and it loses an event whenever it is
    ended between the two.
    """
    without_publisher = ours["Lambda"] - _publisher(load)
    waits = load.callbacks * INTAKE_SECONDS * INTAKE_GB * prices.LAMBDA_GB_SECOND
    return {**ours, "Lambda": without_publisher + waits}


def quotas() -> list[Quota]:
    """Return what limits callbacks a second in an account as AWS gives it, the nearest first."""
    publisher = PUBLISHER_SECONDS / BATCH
    own = worst_case.limits()
    limits = [
        Quota(
            f"the stack's own CallbackRateLimit, {own.rate:g} on average by day; peaks are "
            "CallbackBurstLimit's",
            own.rate * PEAK / DAYTIME,
            "the parameter, up to the account's 10,000 a second for API Gateway",
        ),
        Quota(
            "Lambda: 1,000 runs at once",
            1000 / (INTAKE_SECONDS + publisher),
            "Service Quotas: concurrent executions",
        ),
        Quota("API Gateway: 10,000 requests", 10_000, "Service Quotas: throttle rate"),
        Quota(
            "EventBridge: 10,000 PutEvents requests (400 to 2,400 in most regions), of 10 events",
            10_000 * BATCH,
            "Service Quotas: PutEvents throttle limit",
        ),
        Quota(
            "EventBridge: 18,750 targets invoked (750 to 4,500 in most regions), by one rule",
            18_750,
            "Service Quotas: invocations throttle limit",
        ),
        Quota(
            "DynamoDB: 40,000 write units of a table",
            40_000 / 2.25,
            "Service Quotas: table-level write throughput; for the start, warm throughput",
        ),
        Quota("DynamoDB: a worklist's index, 8 shards of 1,000 units", 8_000, "SHARDS in store"),
    ]
    return sorted(limits, key=lambda quota: quota.per_second)


def first_met(load: Load) -> str:
    """Return a sentence on what is full first, at this load."""
    peak = load.callbacks / MONTH * PEAK
    met = [quota for quota in quotas() if quota.per_second < peak]
    if not met:
        nearest = quotas()[0]
        return (
            f"{peak:.3g} callbacks in the busiest second meet no quota. The first would be "
            f"{nearest.name}, at {nearest.per_second:.0f} a second; raise {nearest.to_raise}."
        )
    told = "; ".join(f"{each.name} ({each.per_second:.0f}), raise {each.to_raise}" for each in met)
    return f"{peak:.0f} callbacks in the busiest second go past: {told}."


def _alarm_metrics() -> int:
    """Return how many metrics alarms watch: one each, or those of an expression."""
    alarms = [alarm["Properties"] for alarm in resources("AWS::CloudWatch::Alarm").values()]
    return sum(
        sum("MetricStat" in metric for metric in alarm.get("Metrics", [])) or 1 for alarm in alarms
    )


def worst_day(bounds: worst_case.Limits) -> list[str]:
    """Return sentences on what a caller without credentials can cost a day, at these limits."""
    kind, dollars = worst_case.worst(bounds)
    rejected, told = worst_case.rejection(), worst_case.unnoticed_rejections()
    day = worst_case.DAY
    return [
        f"A caller without credentials costs at most {dollars:.2f} dollars a day by what the "
        f"stack's limits let through: {kind.name} to each of {len(worst_case.public_routes())} "
        f"routes, {bounds.rate:g} a second after {bounds.burst} at once.",
        f"API Gateway charges nothing for what it rejects itself (403, 404, 429), but a line of "
        f"the access log and the response cost {rejected * 1e6:.2f} a million: "
        f"{told * day * rejected:.2f} a day at the {told:g} a second at which HttpApiFloodAlarm "
        f"fires, {worst_case.ACCOUNT_RATE * day * rejected:,.0f} at the account's limit of "
        f"{worst_case.ACCOUNT_RATE:,} if all are logged (docs/cost.md, Under attack).",
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
    """Return DynamoDB's part; other callbacks than a recording's write an item and an index."""
    others = max(0, load.callbacks - len(LIFE) * load.recordings)
    units = load.recordings * (lived.item_units + lived.index_units) + others * 2
    units += load.rooms * 6  # begin, outbox and end of an extension, each with an index entry
    reads = load.recordings * 3 + load.callbacks + RUNS * 48  # at most a room an event
    stored = load.callbacks * ITEM_BYTES / 1e9
    kept = stored * (prices.TABLE_GB + prices.RECOVERY_GB)
    return units * prices.WRITE_UNIT + reads * prices.READ_UNIT + kept


def _events(load: Load) -> int:
    return load.callbacks + load.recordings + load.rooms


def _secret_reads(load: Load) -> float:
    containers = max(1.0, load.callbacks / MONTH * PEAK * INTAKE_SECONDS)
    return containers * MONTH / 300 * min(1.0, load.callbacks / (MONTH / 300)) + RUNS


def main() -> None:
    """Print the bill of the load that is asked for, and of the two alternatives."""
    parser = argparse.ArgumentParser(prog="python -m tools.cost", description=__doc__)
    for name in ("callbacks", "recordings", "rooms"):
        parser.add_argument(f"--{name}", type=int, required=True, metavar="COUNT")
    own = worst_case.limits()
    parser.add_argument("--rate", type=float, default=own.rate, help="CallbackRateLimit")
    parser.add_argument("--burst", type=int, default=own.burst, help="CallbackBurstLimit")
    asked = vars(parser.parse_args())
    bounds = worst_case.Limits(rate=asked.pop("rate"), burst=asked.pop("burst"))
    load = Load(**asked)
    ours = bill(load, life())
    rest, one = with_rest_api(load, ours), in_one_function(load, ours)
    shown = Table("dollars a month", "Roomkeeper", "REST API", "one function")
    for name in dict.fromkeys([*ours, *rest]):
        shown.add_row(name, *(f"{each.get(name, 0):,.2f}" for each in (ours, rest, one)))
    shown.add_section()
    shown.add_row("all", *(f"{sum(each.values()):,.2f}" for each in (ours, rest, one)))
    console = Console()
    console.print(shown)
    console.print(first_met(load))
    console.print(f"Tracing=Active would add {traces(load):,.2f} dollars a month.")
    console.print()
    shown = Table("a caller without credentials, dollars", "a million", "a day")
    for kind in worst_case.kinds():
        a_day = worst_case.dollars_a_day(kind, bounds, worst_case.public_routes())
        shown.add_row(kind.name, f"{kind.dollars * 1e6:.2f}", f"{a_day:.2f}")
    console.print(shown)
    for sentence in worst_day(bounds):
        console.print(sentence)


if __name__ == "__main__":
    main()
