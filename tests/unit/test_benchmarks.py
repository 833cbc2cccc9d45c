"""The benchmarks compute and report correctly; nothing is timed here."""

import re
from typing import Any

import msgspec
import pytest

from benchmarks import counts
from benchmarks.__main__ import table
from benchmarks.baseline import changes
from benchmarks.counts import Life
from benchmarks.endless_source import dynamodb_response, rooms_page
from benchmarks.figures import AIMS, NAMES, Figure, counted, paired, percentile, spread_of
from local.testing.template import ROOT
from roomkeeper.vonage.meetings import models
from tools import cost

FIELDS = {"name", "value", "unit", "against", "ratio", "aim", "met", "spread"}
LIFE = Life(calls=6, item_units=5, index_units=7)
WARM = [10.0, 11.0, 9.0]


def a_figure(ratio: float | None, spread: float = 0.0, name: str = "intake_cold") -> Figure:
    return Figure(name=name, value=5.0, unit="ms", against="it", ratio=ratio, spread=spread)


# --- figures --------------------------------------------------------------------------------------


def test_every_figure_of_the_table_has_its_name() -> None:
    jobs = [f"{job}_{what}" for job in ("cleanup", "extender") for what in (
        "throughput_50ms", "throughput_200ms", "throughput_800ms", "memory")]  # fmt: skip
    intake = [f"intake_{what}" for what in ("cold", "warm_cpu", "rss", "calls", "write_units")]
    others = ["publisher_putevents", "callback_to_subscriber", "package_size"]
    assert sorted(NAMES) == sorted([*jobs, *intake, *others])


def test_a_figure_has_all_its_fields_in_json() -> None:
    told = msgspec.to_builtins(paired("intake_cold", WARM, WARM, "ms", "the floor"))
    assert told.keys() >= FIELDS


def test_a_ratio_is_the_median_of_those_of_the_pairs() -> None:
    figure = paired("intake_cold", [10, 30, 30], [20, 50, 100], "ms", "the floor")
    assert (figure.value, figure.ratio, figure.met) == (30, 0.5, True)


@pytest.mark.parametrize(
    ("name", "ratio", "met"),
    [
        ("intake_cold", 0.6, True),
        ("intake_cold", 0.61, False),
        ("cleanup_throughput_50ms", 0.9, True),
        ("cleanup_throughput_50ms", 0.89, False),
    ],
)
def test_an_aim_is_met_up_to_it_and_a_throughputs_from_it(
    name: str, ratio: float, met: bool
) -> None:
    figure = counted(name, ratio, "", "", 1)
    assert figure.met is met
    assert str(AIMS[name]) in str(figure.aim)


def test_the_spread_is_half_the_middle_half() -> None:
    assert spread_of([1.0]) == 0
    assert spread_of([8.0, 9.0, 10.0, 11.0, 12.0]) == pytest.approx(0.15)
    assert percentile([float(n) for n in range(1, 102)], 99) == pytest.approx(100, abs=1)


def test_the_table_shows_every_figure() -> None:
    assert table([a_figure(0.5), a_figure(None)]).row_count == 2


# --- what is counted ------------------------------------------------------------------------------


def test_a_recordings_life_is_counted_write_by_write() -> None:
    assert counts.life() == LIFE


def test_an_index_is_written_when_its_entry_changes_alone() -> None:
    waiting: dict[str, Any] = {"worklist": {"S": "a#1"}, "since": {"S": "1"}}
    moved = waiting | {"worklist": {"S": "b#1"}}
    assert counts.index_writes({}, waiting) == 1
    assert counts.index_writes(waiting, waiting | {"other": {"S": "x"}}) == 0
    assert counts.index_writes(waiting, moved) == 2
    assert counts.index_writes(moved, {}) == 1


@pytest.mark.usefixtures("loopback")
def test_put_events_is_called_no_more_than_it_must() -> None:
    assert counts.put_events_calls() == 100


@pytest.mark.usefixtures("loopback")
def test_the_intake_makes_one_call_for_a_callback() -> None:
    assert counts.intake_calls() == 1


def test_what_jobs_are_measured_on_has_no_end() -> None:
    page = models.room_page(msgspec.json.encode(rooms_page(20, 20)))
    assert len(page.rooms) == 20
    assert page.next_start_id == "40"
    shard = {"ExpressionAttributeValues": {":shard": {"S": "retained#3"}}}
    first = dynamodb_response("Query", shard)
    after = dynamodb_response("Query", {**shard, "ExclusiveStartKey": first["LastEvaluatedKey"]})
    keys = [item["pk"]["S"] for page in (first, after) for item in page["Items"]]
    assert len(set(keys)) == 200


# --- against a baseline ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (a_figure(0.50), a_figure(0.50), ""),
        (a_figure(0.50, 0.06), a_figure(0.55, 0.05), ""),
        (a_figure(0.50, 0.04), a_figure(0.55, 0.05), "changed from 0.5 times it to 0.55"),
        (a_figure(0.50), a_figure(0.40), "-20%"),
        (a_figure(None), a_figure(None), ""),
    ],
)
def test_a_change_beyond_the_spread_is_reported(before: Figure, after: Figure, told: str) -> None:
    found = list(changes([before], [after]))
    assert bool(found) == bool(told)
    assert told in "".join(found)


def test_new_and_missing_measurements_are_reported() -> None:
    before, after = a_figure(1.0, name="old"), a_figure(1.0, name="new")
    assert list(changes([before], [after])) == [
        "new is new: 1 times it",
        "old was not measured this time",
    ]


# --- cost -----------------------------------------------------------------------------------------


def test_what_is_paid_by_the_callback_is_a_thousand_times_for_a_thousand_times() -> None:
    small, large = (cost.bill(cost.Load(n, n // 10, 0), LIFE) for n in (10**6, 10**9))
    assert large["API Gateway (HTTP API)"] == pytest.approx(1000 * small["API Gateway (HTTP API)"])
    assert small["API Gateway (HTTP API)"] == pytest.approx(1.0)
    assert large["DynamoDB"] == pytest.approx(1000 * small["DynamoDB"], rel=0.01)


def test_a_recordings_writes_are_those_that_were_counted() -> None:
    one, two = (cost.bill(cost.Load(3 * n, n, 0), LIFE)["DynamoDB"] for n in (10**6, 2 * 10**6))
    writes, reads, stored = 12 * 0.625, (3 + 3) * 0.125, 3 * 0.45
    assert two - one == pytest.approx(writes + reads + stored)


def test_the_page_on_costs_matches_the_computed_costs() -> None:
    rows = re.findall(r"^\| ([^|]+) \|(.+)\|$", (ROOT / "docs/cost.md").read_text(), re.MULTILINE)
    told = {name: [cell.strip(" *") for cell in cells.split("|")] for name, cells in rows}
    loads = [cost.Load(count, count // 10, 1000) for count in (10**3, 10**6, 10**8)]
    ours = [cost.bill(load, counts.life()) for load in loads]
    rest = [cost.with_rest_api(*each) for each in zip(loads, ours, strict=True)]
    one = [cost.in_one_function(*each) for each in zip(loads, ours, strict=True)]
    for name in ours[0].keys() - {"Scheduler"}:  # too little to show
        assert told[name] == [f"{bill[name]:.2f}" for bill in ours]
    for name, bills in {
        "**all**": ours,
        "with a REST API instead": rest,
        "put-item-then-put-events in one function": one,
    }.items():
        assert told[name] == [f"{sum(bill.values()):.2f}" for bill in bills]


def test_the_page_says_what_an_idle_stack_costs() -> None:
    page = (ROOT / "docs/cost.md").read_text()
    [(total, parts)] = re.findall(r"\*\*An idle stack costs ([\d.]+)\*\*: ([^*]+?)\. AWS", page)
    assert total == f"{sum(cost.idle().values()):.2f}"
    assert sorted(re.findall(r"[\d.]+", parts)) == sorted(
        f"{each:.2f}" for each in cost.idle().values()
    )


def test_the_alternatives_differ_where_they_should() -> None:
    load = cost.Load(10**6, 10**5, 0)
    ours = cost.bill(load, LIFE)
    rest, one = cost.with_rest_api(load, ours), cost.in_one_function(load, ours)
    assert sum(rest.values()) - sum(ours.values()) == pytest.approx(2.5)
    assert {name for name in ours if ours[name] != one[name]} == {"Lambda"}


def test_the_first_quota_is_named_with_what_to_raise() -> None:
    assert "exceed no quota" in cost.first_met(cost.Load(10**6, 0, 0))
    assert "CallbackRateLimit (1.5 a second by day" in cost.first_met(cost.Load(10**8, 0, 0))
