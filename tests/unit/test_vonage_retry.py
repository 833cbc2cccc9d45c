from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkeeper.vonage import RetryPolicy
from roomkeeper.vonage.retry import parse_retry_after

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HIGH = RetryPolicy(base_delay=0.25, max_delay=8, random=lambda: 1.0)
LOW = RetryPolicy(base_delay=0.25, max_delay=8, random=lambda: 0.0)


@pytest.mark.parametrize(
    ("failures", "most"), [(1, 0.25), (2, 0.5), (3, 1), (6, 8), (7, 8), (10_000, 8)]
)
def test_the_delay_doubles_up_to_a_limit_and_half_of_it_is_random(
    failures: int, most: float
) -> None:
    assert HIGH.delay(failures, None) == most
    assert LOW.delay(failures, None) == most / 2


@given(st.integers(1, 100), st.floats(0, 3600), st.floats(0, 1))
def test_the_retry_after_of_the_response_is_the_minimum(
    failures: int, asked: float, thrown: float
) -> None:
    wait = RetryPolicy(random=lambda: thrown).delay(failures, asked)
    assert asked <= wait <= max(asked + 0.25, 8)


def test_retries_after_the_same_retry_after_are_spread() -> None:
    assert LOW.delay(1, 30) < HIGH.delay(1, 30)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0),
        ("120", 120),
        (" 7 ", 7),
        ("Wed, 01 Jul 2026 12:00:30 GMT", 30),
        ("Wednesday, 01-Jul-26 12:00:30 GMT", 30),
        ("Wed Jul  1 12:00:30 2026", 30),
        ("Wed, 01 Jul 2026 11:00:00 GMT", 0),
    ],
)
def test_seconds_and_dates_are_parsed(header: str, seconds: float) -> None:
    assert parse_retry_after(header, NOW) == seconds


@pytest.mark.parametrize("header", [None, "", "soon", "-5", "1.5", "١٢", "9" * 5000, "Wed, 99"])
def test_any_other_header_is_none(header: str | None) -> None:
    assert parse_retry_after(header, NOW) is None


@given(st.text())
def test_no_header_raises(header: str) -> None:
    assert (parse_retry_after(header, NOW) or 0) >= 0


@given(st.timedeltas(timedelta(0), timedelta(days=365)))
def test_a_date_means_the_time_until_then(ahead: timedelta) -> None:
    header = (NOW + ahead).strftime("%a, %d %b %Y %H:%M:%S GMT")
    assert parse_retry_after(header, NOW) == int(ahead.total_seconds())
