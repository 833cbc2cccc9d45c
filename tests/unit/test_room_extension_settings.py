from datetime import timedelta

import pytest

from roomkeeper.jobs.room_extension_settings import RoomExtensionSettings
from roomkeeper.settings import Misconfigured

ENVIRONMENT = {
    "TABLE_NAME": "table",
    "EVENT_DAYS": "30",
    "SESSION_DAYS": "400",
    "ROOM_SELECTION": "opt-in",
    "KEEP_MARKER": "roomkeeper:keep",
    "LET_EXPIRE_MARKER": "roomkeeper:let-expire",
    "EXTEND_WITHIN_DAYS": "7",
    "EXTEND_TO_DAYS": "30",
    "ONLY_ROOMS_USED_WITHIN_DAYS": "0",
    "EXTEND_EXPIRE_AFTER_USE": "false",
}


def test_the_policy_is_read_from_the_environment() -> None:
    policy = RoomExtensionSettings.from_env(ENVIRONMENT).policy

    assert (policy.within, policy.extend_to) == (timedelta(days=7), timedelta(days=30))
    assert policy.selection == "opt-in"
    assert policy.used_within is None
    assert policy.expire_after_use is False


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"ONLY_ROOMS_USED_WITHIN_DAYS": "401"}, "SessionRetentionDays, 400"),
        ({"EXTEND_TO_DAYS": "7"}, "7 days and due within 7"),
        ({"ROOM_SELECTION": "some"}, "some"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    changes: dict[str, str], complaint: str
) -> None:
    with pytest.raises(Misconfigured, match=complaint):
        RoomExtensionSettings.from_env(ENVIRONMENT | changes)


def test_used_within_days_up_to_the_session_retention_are_accepted() -> None:
    settings = RoomExtensionSettings.from_env(ENVIRONMENT | {"ONLY_ROOMS_USED_WITHIN_DAYS": "400"})

    assert settings.policy.used_within == timedelta(days=400)
