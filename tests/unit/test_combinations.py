"""The commands refuse the same combinations of parameters as the functions."""

import pytest

from operations import combinations
from operations.template import parameters
from roomkeeper.jobs.room_extension_settings import RoomExtensionSettings
from roomkeeper.settings import Misconfigured
from tests.unit.test_room_extension_settings import ENVIRONMENT

VARIABLES = {
    "RoomExtensionWithinDays": "EXTEND_WITHIN_DAYS",
    "RoomExtensionToDays": "EXTEND_TO_DAYS",
    "RoomExtensionUsedWithinDays": "ONLY_ROOMS_USED_WITHIN_DAYS",
    "SessionRetentionDays": "SESSION_DAYS",
}


def is_refused_by_the_function(values: dict[str, str]) -> bool:
    try:
        RoomExtensionSettings.from_env(ENVIRONMENT | {VARIABLES[k]: v for k, v in values.items()})
    except Misconfigured:
        return True
    return False


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"RoomExtensionWithinDays": "30", "RoomExtensionToDays": "30"},
        {"RoomExtensionWithinDays": "29", "RoomExtensionToDays": "30"},
        {"RoomExtensionWithinDays": "365", "RoomExtensionToDays": "2"},
        {"RoomExtensionUsedWithinDays": "401", "SessionRetentionDays": "400"},
        {"RoomExtensionUsedWithinDays": "400", "SessionRetentionDays": "400"},
        {"RoomExtensionUsedWithinDays": "0", "SessionRetentionDays": "8"},
    ],
    ids=str,
)
def test_a_combination_is_refused_if_the_function_would_refuse_it(values: dict[str, str]) -> None:
    assert bool(combinations.error_in(values)) == is_refused_by_the_function(values)


def test_the_message_has_only_ranges_that_hold() -> None:
    assert combinations.error_in(
        {"RoomExtensionWithinDays": "365", "RoomExtensionToDays": "2"}
    ) == (
        "RoomExtensionWithinDays is 365 and RoomExtensionToDays is 2, but a room that is extended "
        "must no longer be about to expire. Set RoomExtensionWithinDays to 1 or "
        "RoomExtensionToDays from 366 to 1825."
    )
    message = combinations.error_in({"RoomExtensionUsedWithinDays": "3650"})
    assert message
    assert message.endswith(
        "Set RoomExtensionUsedWithinDays from 0 to 400 or SessionRetentionDays to 3650."
    )


def test_the_templates_defaults_are_possible_together() -> None:
    defaults = {name: each.default for name, each in parameters().items()}
    assert combinations.error_in(defaults) is None
