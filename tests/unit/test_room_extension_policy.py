"""The extension policy's decisions: by example, and by properties for arbitrary rooms."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkeeper.domain.rooms import ExtensionPolicy, Room, decide

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
DAY = timedelta(days=1)
KEEP, LET_EXPIRE = "roomkeeper:keep", "roomkeeper:let-expire"
EVERY_ROOM = ExtensionPolicy(
    within=7 * DAY,
    extend_to=30 * DAY,
    selection="all",
    keep_marker=KEEP,
    let_expire_marker=LET_EXPIRE,
    used_within=None,
    expire_after_use=False,
)


def a_policy(**changes: object) -> ExtensionPolicy:
    return msgspec.structs.replace(EVERY_ROOM, **changes)


def a_room(**fields: object) -> Room:
    """Return a long-term room that expires in two days."""
    known: dict[str, object] = {
        "type": "long_term",
        "created_at": NOW - 60 * DAY,
        "expires_at": NOW + 2 * DAY,
    }
    return Room(id="room", **(known | fields))  # type: ignore[arg-type]


OPT_IN, OPT_OUT = a_policy(selection="opt-in"), a_policy(selection="opt-out")
USED = a_policy(used_within=14 * DAY)
FIVE_YEARS_LESS_TEN_DAYS_AGO = datetime(2021, 3, 11, 9, 30, 0, 777_000, tzinfo=UTC)
LEAP_DAY = datetime(2024, 2, 29, 23, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("room", "last_used", "policy", "verdict"),
    [
        (a_room(), None, EVERY_ROOM, "extend"),
        (a_room(expires_at=NOW + 7 * DAY), None, EVERY_ROOM, "extend"),
        (a_room(expires_at=NOW + 7 * DAY + DAY / 86400), None, EVERY_ROOM, "not_due"),
        (a_room(expires_at=NOW + 90 * DAY), None, EVERY_ROOM, "not_due"),
        (a_room(type="instant"), None, EVERY_ROOM, "not_updatable"),
        (a_room(expires_at=None), None, EVERY_ROOM, "not_updatable"),
        (a_room(is_available=False), None, EVERY_ROOM, "not_updatable"),
        (a_room(expires_at=NOW), None, EVERY_ROOM, "expired"),
        (a_room(expires_at=NOW - DAY, is_available=False), None, EVERY_ROOM, "expired"),
        (a_room(), None, OPT_IN, "opted_out"),
        (a_room(metadata=f"Maths {KEEP}, 3b"), None, OPT_IN, "extend"),
        (a_room(metadata=f'{{"tags": "{KEEP}"}}'), None, OPT_IN, "extend"),
        (a_room(metadata=f"{KEEP}-not"), None, OPT_IN, "opted_out"),
        (a_room(metadata=f"my{KEEP}"), None, OPT_IN, "opted_out"),
        (a_room(metadata=LET_EXPIRE), None, OPT_OUT, "opted_out"),
        (a_room(metadata=LET_EXPIRE), None, EVERY_ROOM, "extend"),
        (a_room(metadata="Maths"), None, OPT_OUT, "extend"),
        (a_room(expire_after_use=True), None, EVERY_ROOM, "expire_after_use"),
        (a_room(expire_after_use=True, metadata=KEEP), None, OPT_OUT, "extend"),
        (a_room(expire_after_use=True), None, a_policy(expire_after_use=True), "extend"),
        (a_room(), None, USED, "unused"),
        (a_room(), NOW - 15 * DAY, USED, "unused"),
        (a_room(), NOW - 14 * DAY, USED, "extend"),
        (a_room(expires_at=NOW + 90 * DAY), None, USED, "not_due"),
        (a_room(created_at=FIVE_YEARS_LESS_TEN_DAYS_AGO), None, EVERY_ROOM, "extend_to_limit"),
        (
            a_room(
                created_at=FIVE_YEARS_LESS_TEN_DAYS_AGO - 5 * DAY,
                expires_at=datetime(2026, 3, 6, 9, 30, 0, tzinfo=UTC),
            ),
            None,
            EVERY_ROOM,
            "max_lifetime_reached",
        ),
        (a_room(created_at=None), None, EVERY_ROOM, "extend"),
        (a_room(created_at=datetime(9998, 1, 1, tzinfo=UTC)), None, EVERY_ROOM, "extend"),
    ],
)
def test_the_policy_gives_each_room_its_verdict(
    room: Room, last_used: datetime | None, policy: ExtensionPolicy, verdict: str
) -> None:
    decision = decide(room, last_used, policy, NOW)

    assert decision.verdict == verdict
    assert (decision.expires_at is not None) == verdict.startswith("extend")
    assert decision.reason


def test_the_new_expiry_is_extend_to_from_now_in_whole_seconds() -> None:
    assert decide(a_room(), None, EVERY_ROOM, NOW).expires_at == datetime(
        2026, 3, 31, 12, 0, 0, tzinfo=UTC
    )


@pytest.mark.parametrize(
    ("created_at", "limit"),
    [
        (FIVE_YEARS_LESS_TEN_DAYS_AGO, datetime(2026, 3, 11, 9, 30, tzinfo=UTC)),
        (LEAP_DAY, datetime(2029, 2, 28, 23, 0, tzinfo=UTC)),
    ],
)
def test_no_room_is_extended_beyond_five_years_from_its_creation(
    created_at: datetime, limit: datetime
) -> None:
    now = limit - 10 * DAY

    decision = decide(a_room(created_at=created_at, expires_at=now + DAY), None, EVERY_ROOM, now)

    assert decision.expires_at == limit
    assert "5 years" in decision.reason


def test_the_reason_names_the_operators_settings() -> None:
    assert decide(a_room(), NOW, USED, NOW).reason == (
        "expires within 7 days, and was used within 14"
    )
    assert KEEP in decide(a_room(), None, OPT_IN, NOW).reason


def test_a_policy_under_which_rooms_stay_due_is_rejected() -> None:
    with pytest.raises(ValueError, match=re.escape("7 days and due within 7")):
        a_policy(extend_to=7 * DAY)


moments = st.timedeltas(-6 * 365 * DAY, DAY).map(lambda ago: NOW + ago)
rooms = st.builds(
    Room,
    id=st.just("room"),
    type=st.sampled_from(["long_term", "long_term", "long_term", "instant"]),
    is_available=st.sampled_from([True, True, True, False]),
    created_at=moments,
    expires_at=st.none() | st.timedeltas(-DAY, 10 * DAY).map(lambda left: NOW + left),
    expire_after_use=st.booleans(),
    metadata=st.sampled_from([None, "", KEEP, LET_EXPIRE, f"{KEEP} {LET_EXPIRE}", "Maths"]),
)
policies = st.builds(
    lambda within, longer, **rest: a_policy(
        within=within * DAY, extend_to=(within + longer) * DAY, **rest
    ),
    st.integers(1, 365),
    st.integers(1, 1460),
    selection=st.sampled_from(["all", "opt-in", "opt-out"]),
    used_within=st.none() | st.integers(1, 400).map(lambda days: days * DAY),
    expire_after_use=st.booleans(),
)
uses = st.none() | st.timedeltas(timedelta(0), 500 * DAY).map(lambda ago: NOW - ago)


@given(room=rooms, last_used=uses, policy=policies)
def test_no_expiry_is_shortened_or_moved_past_the_limit_and_no_room_is_revived(
    room: Room, last_used: datetime | None, policy: ExtensionPolicy
) -> None:
    new = decide(room, last_used, policy, NOW).expires_at
    if new is None:
        return

    assert room.is_long_term
    assert room.is_available
    assert room.expires_at is not None
    assert NOW < room.expires_at < new <= NOW + policy.extend_to
    assert room.created_at is not None
    assert (new.year - min(room.created_at, NOW).year, new.timetuple()[1:6]) <= (
        5,
        min(room.created_at, NOW).timetuple()[1:6],
    )


@given(room=rooms, last_used=uses, policy=policies, later=st.timedeltas(timedelta(0), DAY / 2))
def test_an_extended_room_is_not_extended_again_right_after(
    room: Room, last_used: datetime | None, policy: ExtensionPolicy, later: timedelta
) -> None:
    new = decide(room, last_used, policy, NOW).expires_at
    if new is None:
        return

    again = decide(replace(room, expires_at=new), last_used, policy, NOW + later)

    assert again.expires_at is None


@given(room=rooms, last_used=uses, policy=policies)
def test_last_use_matters_only_for_rooms_that_would_be_extended_if_used_now(
    room: Room, last_used: datetime | None, policy: ExtensionPolicy
) -> None:
    if_used = decide(room, NOW, policy, NOW)

    if if_used.expires_at is None:
        assert decide(room, last_used, policy, NOW) == if_used
