from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.testing.builders import ENDED_AT, URL, URL_EXPIRES_AT
from roomkeeper.domain.recordings import Recording, Status, url_expiry
from roomkeeper.store.items import serialize
from roomkeeper.times import from_iso, iso

SIGNED = "https://bucket.s3.eu-west-1.amazonaws.com/archive.mp4?X-Amz-Algorithm=AWS4-HMAC-SHA256"
STATUSES: list[Status] = ["started", "ended", "uploaded"]


def a_recording(*seen: str) -> Recording:
    return Recording(recording_id="r", session_id="s", seen=frozenset(seen))


# --- status ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [c for n in (1, 2, 3) for c in combinations(STATUSES, n)])
def test_a_recording_has_the_status_of_its_furthest_event(known: tuple[Status, ...]) -> None:
    assert a_recording(*(f"recording:{status}" for status in known)).status == known[-1]


# --- when a download URL expires ------------------------------------------------------------------


def test_the_older_url_form_has_the_expiry_time() -> None:
    assert url_expiry(URL) == from_iso(URL_EXPIRES_AT)


def test_the_newer_url_form_has_the_signing_time_and_the_seconds() -> None:
    url = f"{SIGNED}&X-Amz-Date=20211102T155613Z&X-Amz-Expires=72000&X-Amz-Signature=x"
    assert url_expiry(url) == datetime(2021, 11, 3, 11, 56, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "https://a",
        "https://a?b=c",
        "https://[a?Expires=1635940573",
        "https://a#Expires=1635940573",
        "https://a?Expires=",
        "https://a?Expires=soon",
        "https://a?Expires=1e9",
        "https://a?Expires=" + "9" * 20,
        "https://a?Expires=" + "9" * 5000,
        "https://a?Expires=-" + "9" * 15,
        f"{SIGNED}&X-Amz-Date=20211102T155613Z",
        f"{SIGNED}&X-Amz-Expires=72000",
        f"{SIGNED}&X-Amz-Date=2021-11-02T15:56:13Z&X-Amz-Expires=72000",
        f"{SIGNED}&X-Amz-Date=20211302T155613Z&X-Amz-Expires=72000",
        f"{SIGNED}&X-Amz-Date=20211102T155613Z&X-Amz-Expires=a%20day",
        f"{SIGNED}&X-Amz-Date=20211102T155613Z&X-Amz-Expires=" + "9" * 12,
        f"{SIGNED}&X-Amz-Date=20211102T155613Z&X-Amz-Expires=" + "9" * 30,
    ],
)
def test_a_url_without_an_expiry_gives_none(url: str) -> None:
    assert url_expiry(url) is None


@given(st.text() | st.builds("https://a?Expires={}".format, st.integers() | st.text()))
def test_every_expiry_found_in_a_url_can_be_formatted_and_parsed(url: str) -> None:
    expiry = url_expiry(url)
    assert expiry is None or from_iso(iso(expiry)) == expiry


# --- how times are formatted ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "same",
    [
        "2021-11-02T15:56:13Z",
        "2021-11-02T15:56:13.000999+00:00",
        "2021-11-02T21:26:13+05:30",
        "2021-11-01T16:56:13-23:00",
    ],
)
def test_times_are_formatted_in_utc_with_milliseconds(same: str) -> None:
    assert iso(datetime.fromisoformat(same)) == ENDED_AT
    assert serialize(datetime.fromisoformat(same)) == {"S": ENDED_AT}


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_formatted_times_sort_chronologically(one: datetime, other: datetime) -> None:
    assert sorted([iso(one), iso(other)]) == [iso(min(one, other)), iso(max(one, other))]
