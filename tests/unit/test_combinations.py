"""Parameters that are invalid together are refused exactly where the functions refuse them."""

import pytest

from operations import combinations
from operations.template import parameters
from roomkeeper.settings import ExtenderSettings, Misconfigured
from tests.unit.test_extender_settings import ENVIRONMENT

VARIABLES = {
    "ExtendWithinDays": "EXTEND_WITHIN_DAYS",
    "ExtendToDays": "EXTEND_TO_DAYS",
    "OnlyRoomsUsedWithinDays": "ONLY_ROOMS_USED_WITHIN_DAYS",
    "SessionDays": "SESSION_DAYS",
}


def is_refused_by_the_function(values: dict[str, str]) -> bool:
    try:
        ExtenderSettings.from_env(ENVIRONMENT | {VARIABLES[k]: v for k, v in values.items()})
    except Misconfigured:
        return True
    return False


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"ExtendWithinDays": "30", "ExtendToDays": "30"},
        {"ExtendWithinDays": "29", "ExtendToDays": "30"},
        {"ExtendWithinDays": "365", "ExtendToDays": "2"},
        {"OnlyRoomsUsedWithinDays": "401", "SessionDays": "400"},
        {"OnlyRoomsUsedWithinDays": "400", "SessionDays": "400"},
        {"OnlyRoomsUsedWithinDays": "0", "SessionDays": "8"},
    ],
    ids=str,
)
def test_a_combination_is_refused_if_the_function_would_refuse_it(values: dict[str, str]) -> None:
    assert bool(combinations.problem_with(values)) == is_refused_by_the_function(values)


def test_the_message_has_only_ranges_that_hold() -> None:
    assert combinations.problem_with({"ExtendWithinDays": "365", "ExtendToDays": "2"}) == (
        "ExtendWithinDays is 365 and ExtendToDays is 2, but a room that is extended must no longer "
        "be about to expire. Set ExtendWithinDays to 1 or ExtendToDays from 366 to 1825."
    )
    told = combinations.problem_with({"OnlyRoomsUsedWithinDays": "3650"})
    assert told
    assert told.endswith("Set OnlyRoomsUsedWithinDays from 0 to 400 or SessionDays to 3650.")


def test_the_templates_defaults_are_possible_together() -> None:
    defaults = {name: each.default for name, each in parameters().items()}
    assert combinations.problem_with(defaults) is None
