import math

import pytest

from local.faults.rules import SERVICES, fault_rules


@pytest.mark.parametrize("rate", [0.05, 0.2, 0.5])
@pytest.mark.parametrize("service", SERVICES)
def test_the_rules_fail_the_given_share_of_each_services_calls(service: str, rate: float) -> None:
    chances = [rule["probability"] for rule in fault_rules(rate) if rule["service"] == service]

    assert len(chances) == len(SERVICES[service])
    assert math.prod(1 - chance for chance in chances) == pytest.approx(1 - rate)


def test_kinds_of_fault_are_as_likely_as_each_other_and_delays_a_tenth_of_that() -> None:
    left, shares = 1.0, {}
    for rule in fault_rules(0.5):
        if rule["service"] == "dynamodb":
            shares[str(rule.get("latency") or rule.get("error") or rule)] = (
                left * rule["probability"]
            )
            left *= 1 - rule["probability"]
    *others, delays = shares.values()

    assert others == pytest.approx([others[0]] * 5)
    assert delays == pytest.approx(others[0] / 10)
