"""The throttling limits bound the cost of an attack and still accept a genuine spike.

AWS enforces these limits, but the local AWS does not, so they are checked by computation.
"""

import re
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import pytest
from cfnlint.api import lint_file

from operations.template import ROOT, parameters, template
from tools import cost, prices, worst_case
from tools.worst_case import DAY, Limits

MOST_DOLLARS_A_DAY = 12.0

# --- what a caller without credentials can cost ---------------------------------------------------


def test_a_caller_without_credentials_costs_less_than_the_limit_a_day() -> None:
    _, dollars = worst_case.worst()
    unnoticed = worst_case.unnoticed_rejections() * DAY * worst_case.rejection()
    assert dollars + unnoticed < MOST_DOLLARS_A_DAY


def test_the_limits_are_those_of_the_template() -> None:
    own = worst_case.limits()
    settings = template()["Resources"]["HttpApiStage"]["Properties"]["DefaultRouteSettings"]
    assert settings["ThrottlingRateLimit"] == {"Ref": "CallbackRateLimit"}
    assert settings["ThrottlingBurstLimit"] == {"Ref": "CallbackBurstLimit"}
    assert own.rate == float(parameters()["CallbackRateLimit"].default)
    assert own.burst == int(parameters()["CallbackBurstLimit"].default)
    assert own.requests_a_day == own.burst + 86_400 * own.rate


def test_only_routes_for_callbacks_are_open_to_callers_without_credentials() -> None:
    assert worst_case.public_routes() == [
        "POST /callbacks",
        "POST /callbacks/{token}",
        "POST /callbacks/video",
        "POST /callbacks/video/{token}",
    ]


def test_a_body_is_charged_in_steps_of_512_kb() -> None:
    small, _, _, largest = worst_case.kinds()
    more_units = (largest.dollars - small.dollars) / prices.HTTP_API
    assert more_units == pytest.approx(19, abs=0.5)  # only the function's cost differs


def test_the_cost_of_a_rejected_call_is_the_sum_of_its_parts() -> None:
    small = worst_case.kinds()[0]
    function = 0.20e-6 + 0.010 * 0.5 * prices.LAMBDA_GB_SECOND
    logged, sent = worst_case.line_bytes() * 0.50e-9, worst_case.RESPONSE_BYTES * 0.09e-9
    assert small.dollars == pytest.approx(1e-6 + function + logged + sent)


def test_a_stack_with_tracing_pays_for_every_trace_a_caller_requests() -> None:
    without, with_traces = worst_case.kinds()[0], worst_case.kinds(traced=True)[0]
    assert with_traces.dollars - without.dollars == pytest.approx(prices.TRACE)


def test_a_rejection_costs_its_line_of_the_access_log_and_its_response() -> None:
    assert 200 < worst_case.line_bytes(worst_case.REJECTED) < worst_case.line_bytes() < 400
    assert worst_case.rejection() < prices.HTTP_API / 5


def test_make_cost_prints_the_worst_day(capsys: pytest.CaptureFixture[str]) -> None:
    kind, dollars = worst_case.worst()
    asked = ["cost", "--callbacks", "1", "--recordings", "0", "--rooms", "0"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", asked)
        cost.main()
        printed = " ".join(capsys.readouterr().out.split())
        patch.setattr("sys.argv", [*asked, "--rate", "200", "--burst", "400"])
        cost.main()
        with_other_limits = " ".join(capsys.readouterr().out.split())
    assert f"at most {dollars:.2f} dollars a day" in printed
    assert kind.name in printed
    _, more = worst_case.worst(Limits(rate=200, burst=400))
    assert f"at most {more:.2f} dollars a day" in with_other_limits


def test_the_page_on_costs_matches_the_cost_of_an_attack() -> None:
    page = (ROOT / "docs/cost.md").read_text()
    rows = re.findall(r"^\| ([^|]+) \| ([\d.]+) \| ([\d.]+) \|$", page, re.MULTILINE)
    bounds, routes = worst_case.limits(), worst_case.public_routes()
    expected = [
        (
            kind.name,
            f"{kind.dollars * 1e6:.2f}",
            f"{worst_case.dollars_a_day(kind, bounds, routes):.2f}",
        )
        for kind in worst_case.kinds()
    ]
    assert [row for row in rows if row[0] in {name for name, _, _ in expected}] == expected


def test_the_budget_on_the_page_is_a_valid_template(tmp_path: Path) -> None:
    [budget] = re.findall(
        r"^```yaml\n(.*?)^```", (ROOT / "docs/cost.md").read_text(), re.MULTILINE | re.DOTALL
    )
    assert "AWS::Budgets::Budget" in budget
    (tmp_path / "budget.yaml").write_text(budget)
    assert lint_file(tmp_path / "budget.yaml") == []


# --- a genuine spike ------------------------------------------------------------------------------

MEETINGS = 500
"""Meetings that start within one minute."""

PARTICIPANTS = 4
"""Participants of each meeting who join within that minute."""

CALLBACKS = {
    # Meetings: session:started, recording:started, and session:participant:joined for each.
    "meetings": 1 + 1 + PARTICIPANTS,
    # Video: sessionCreated, the archive's start; connectionCreated and streamCreated for each.
    "video": 1 + 1 + 2 * PARTICIPANTS,
}
"""Callbacks of each meeting in its first minute. All of a product's use one route."""


def refused(arrivals: Iterator[float], bounds: Limits) -> int:
    """Return how many requests, given as arrival times in seconds, a token bucket rejects.

    The bucket starts full and refills at the rate ("Throttle requests to your HTTP APIs").
    """
    tokens, before, found = float(bounds.burst), 0.0, 0
    for at in arrivals:
        tokens, before = min(bounds.burst, tokens + (at - before) * bounds.rate), at
        if tokens < 1:
            found += 1
        else:
            tokens -= 1
    return found


@pytest.mark.parametrize("product", CALLBACKS)
def test_five_hundred_meetings_that_start_in_one_minute_are_accepted(product: str) -> None:
    count = MEETINGS * CALLBACKS[product]
    evenly = (60 * n / count for n in range(count))
    at_one_moment = repeat(0.0, count)
    assert refused(evenly, worst_case.limits()) == 0
    assert refused(at_one_moment, worst_case.limits()) == 0


def test_the_same_spike_is_accepted_again_an_hour_later() -> None:
    count = MEETINGS * CALLBACKS["video"]
    twice = (start + 60 * n / count for start in (0, 3600) for n in range(count))
    assert refused(twice, worst_case.limits()) == 0


def test_a_caller_who_does_not_stop_is_limited_to_the_rate() -> None:
    own = worst_case.limits()
    per_second, seconds = 100, 600
    arrivals = (n / per_second for n in range(per_second * seconds))
    taken = per_second * seconds - refused(arrivals, own)
    assert taken == pytest.approx(own.burst + own.rate * seconds, abs=2)
