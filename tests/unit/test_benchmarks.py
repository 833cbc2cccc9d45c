"""The benchmarks compute and report correctly; nothing is timed here."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchmarks import __main__ as run
from benchmarks import counts, processes
from benchmarks.__main__ import table
from benchmarks.baseline import changes
from benchmarks.counts import Life
from benchmarks.endless_source import dynamodb_response, rooms_page
from benchmarks.measurements import (
    AT_LEAST,
    AT_MOST,
    NAMES,
    Measurement,
    counted,
    paired,
    percentile,
    spread_of,
)
from benchmarks.processes import MeasurementFailed
from local import deployment
from local.testing.template import ROOT
from roomkeeper.vonage.meetings import models
from tools import cost

FIELDS = {"name", "value", "unit", "against", "ratio", "aim", "met", "spread"}
LIFE = Life(calls=6, item_units=5, index_units=7)
WARM = [10.0, 11.0, 9.0]


def a_measurement(
    ratio: float | None, spread: float = 0.0, name: str = "intake_cold"
) -> Measurement:
    return Measurement(name=name, value=5.0, unit="ms", against="it", ratio=ratio, spread=spread)


# --- measurements --------------------------------------------------------------------------------


def test_every_measurement_of_the_table_has_its_name() -> None:
    jobs = [
        f"{job}_throughput_{ms}ms" for job in ("cleanup", "room_extension") for ms in (50, 200, 800)
    ]
    jobs += [f"{job}_memory" for job in ("cleanup", "room_extension", "reconciliation", "copying")]
    shared = ("cold", "cold_tls", "warm_cpu", "rss")
    intake = [f"{prefix}intake_{what}" for prefix in ("", "video_") for what in shared]
    intake += [f"intake_{what}" for what in ("limit", "calls", "write_units")]
    copier = ["throughput", "throughput_curl", "throughput_limited_source", "memory"]
    others = ["publisher_cpu", "publisher_putevents", "reconciliation_archives"]
    others += ["callback_to_subscriber", "package_size"]
    assert sorted(NAMES) == sorted(
        [*jobs, *intake, *others, *(f"copier_{what}" for what in copier)]
    )


def test_a_measurement_has_all_its_fields_in_json() -> None:
    report = msgspec.to_builtins(paired("intake_cold", WARM, WARM, "ms", "the floor"))
    assert report.keys() >= FIELDS


def test_a_ratio_is_the_median_of_those_of_the_pairs() -> None:
    measurement = paired("intake_rss", [10, 30, 30], [20, 50, 100], "ms", "the floor")
    assert (measurement.value, measurement.ratio, measurement.met) == (30, 0.5, True)


@pytest.mark.parametrize(
    ("name", "ratio", "met"),
    [
        ("intake_cold", 0.35, True),
        ("intake_cold", 0.36, False),
        ("cleanup_throughput_50ms", 0.8, True),
        ("cleanup_throughput_50ms", 0.79, False),
    ],
)
def test_an_aim_is_met_up_to_it_and_a_throughputs_from_it(
    name: str, ratio: float, met: bool
) -> None:
    measurement = counted(name, ratio, "", "", 1)
    assert measurement.met is met
    assert f"{(AT_MOST | AT_LEAST)[name]:g}" in str(measurement.aim)


def test_the_spread_is_half_the_middle_half() -> None:
    assert spread_of([1.0]) == 0
    assert spread_of([8.0, 9.0, 10.0, 11.0, 12.0]) == pytest.approx(0.15)
    assert percentile([float(n) for n in range(1, 102)], 99) == pytest.approx(100, abs=1)


def test_the_table_shows_every_measurement() -> None:
    assert table([a_measurement(0.5), a_measurement(None)]).row_count == 2


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
def test_put_events_is_called_as_rarely_as_possible() -> None:
    assert counts.put_events_calls() == 100


@pytest.mark.usefixtures("loopback")
def test_the_intake_makes_one_call_for_a_callback() -> None:
    assert counts.intake_calls() == 1


def test_the_source_of_measured_items_is_endless() -> None:
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
    ("before", "after", "expected"),
    [
        (a_measurement(0.50), a_measurement(0.50), ""),
        (a_measurement(0.50, 0.06), a_measurement(0.55, 0.05), ""),
        (
            a_measurement(0.50, 0.04),
            a_measurement(0.55, 0.05),
            "worse: intake_cold, from 0.5 times it to 0.55",
        ),
        (
            a_measurement(0.50),
            a_measurement(0.40),
            "better: intake_cold, from 0.5 times it to 0.4 times it (-20%",
        ),
        (a_measurement(0.500), a_measurement(0.504), ""),
        (a_measurement(None), a_measurement(None), ""),
    ],
)
def test_a_change_beyond_the_spread_is_reported(
    before: Measurement, after: Measurement, expected: str
) -> None:
    found = list(changes([before], [after]))
    assert bool(found) == bool(expected)
    assert expected in "".join(found)


def test_new_and_missing_measurements_are_reported() -> None:
    before, after = a_measurement(1.0, name="old"), a_measurement(1.0, name="new")
    assert list(changes([before], [after])) == [
        "new: new, 1 times it",
        "not measured this time: old",
    ]


def test_worse_results_are_reported_first_and_a_lower_throughput_is_worse() -> None:
    names = ("intake_cold", "cleanup_throughput_50ms", "cleanup_memory")
    before = [a_measurement(0.5, name=name) for name in names]
    after = [
        a_measurement(ratio, name=name) for ratio, name in zip((0.4, 0.4, 0.6), names, strict=True)
    ]
    found = [sentence.partition(",")[0] for sentence in changes(before, after)]
    assert found == [
        "worse: cleanup_throughput_50ms",
        "worse: cleanup_memory",
        "better: intake_cold",
    ]


# --- a run ----------------------------------------------------------------------------------------


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The groups of benchmarks that a run consists of; nothing is built for it."""
    known: dict[str, Any] = {}
    monkeypatch.setattr(run, "GROUPS", known)
    monkeypatch.setattr(deployment, "build", lambda: Path("sam/template.yaml"))
    monkeypatch.setattr(run, "_stop_after", lambda _seconds: None)
    return known


def run_all(file: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr("sys.argv", ["benchmarks", "--json", str(file)])
    return run.main()


def saved(file: Path) -> list[str]:
    return [measurement["name"] for measurement in json.loads(file.read_bytes())]


def test_an_interrupted_run_keeps_its_measurements(
    groups: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "bench.json"

    def interrupted(_built: Path) -> Iterator[Measurement]:
        yield a_measurement(0.5)
        assert saved(file) == ["intake_cold"]  # before the next one is there
        raise run.Stopped("Interrupted")

    groups["intake"] = interrupted
    assert run_all(file, monkeypatch) == 1
    assert saved(file) == ["intake_cold"]
    assert "Interrupted. Not measured: intake_cold_tls" in capsys.readouterr().out


def test_a_failed_measurement_does_not_prevent_the_others(
    groups: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(_built: Path) -> Iterator[Measurement]:
        yield a_measurement(0.5)
        raise MeasurementFailed("no curl")

    groups |= {"first": failing, "second": lambda _built: [a_measurement(0.5, name="intake_rss")]}
    assert run_all(tmp_path / "bench.json", monkeypatch) == 1
    assert saved(tmp_path / "bench.json") == ["intake_cold", "intake_rss"]


def test_a_run_stops_at_signals_and_when_its_time_is_over() -> None:
    kept = {number: signal.getsignal(number) for number in run.STOPPING}
    try:
        for number, reason in ((signal.SIGINT, "Interrupted"), (signal.SIGTERM, "Terminated")):
            run._stop_after(600)
            with pytest.raises(run.Stopped, match=reason):
                signal.raise_signal(number)
        run._stop_after(600)
        with pytest.raises(run.Stopped, match="10 minutes are over"):
            signal.raise_signal(signal.SIGALRM)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_repetitions_end_with_their_time_but_there_are_some() -> None:
    def once() -> dict[str, float]:
        return {"seconds": 1.0}

    [hurried] = processes.in_turn(once, at_most=9, seconds=0)
    ours, counterparts = processes.in_turn(once, once, at_most=9, seconds=600)
    assert (len(hurried), len(ours), len(counterparts)) == (processes.AT_LEAST, 9, 9)


# --- cost -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["AWS_PROFILE=typo", "AWS_ENDPOINT_URL=http://127.0.0.1:9"])
def test_costs_are_computed_whatever_the_operators_aws_settings_are(setting: str) -> None:
    """Such as those that `make up` prints."""
    name, value = setting.split("=")
    ended = subprocess.run(
        [sys.executable, "-m", "tools.cost"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), name: value},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr


def test_costs_per_callback_grow_in_proportion() -> None:
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
    page = {name: [cell.strip(" *") for cell in cells.split("|")] for name, cells in rows}
    loads = [cost.Load(count, count // 10, 1000) for count in (10**3, 10**6, 10**8)]
    ours = [cost.bill(load, counts.life()) for load in loads]
    rest = [cost.with_rest_api(*each) for each in zip(loads, ours, strict=True)]
    one = [cost.in_one_function(*each) for each in zip(loads, ours, strict=True)]
    for name in ours[0].keys() - {"Scheduler"}:  # too little to show
        assert page[name] == [f"{bill[name]:.2f}" for bill in ours]
    for name, bills in {
        "**all**": ours,
        "with a REST API instead": rest,
        "put-item-then-put-events in one function": one,
    }.items():
        assert page[name] == [f"{sum(bill.values()):.2f}" for bill in bills]


def test_the_page_has_the_cost_of_an_idle_stack() -> None:
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
