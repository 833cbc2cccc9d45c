import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roomkeeper.domain.observations import Listed, RecordingObservation
from roomkeeper.domain.rooms import Room
from roomkeeper.types import URL_MAX_LENGTH
from roomkeeper.vonage.meetings import models
from tests.support.vonage_samples import (
    DOWNLOAD_URL,
    NEXT_LINKS,
    RECORDING,
    RECORDING_ID,
    ROOM,
    ROOM_2021,
    ROOM_ID,
    SESSION_ID,
    page,
)


def encoded(value: object) -> bytes:
    return json.dumps(value).encode()


def test_the_published_room_is_read_whole() -> None:
    assert models.room(encoded(ROOM)) == Room(
        id=ROOM_ID,
        display_name="My custom room",
        type="long_term",
        is_available=True,
        created_at=datetime(2022, 6, 6, 6, 45, 7, 135_000, UTC),
        expires_at=datetime(2022, 11, 11, 16, tzinfo=UTC),
        expire_after_use=True,
        auto_record=True,
        metadata="Welcome to my custom room",
        meeting_code="280674154",
        guest_url="https://meetings.vonage.com/280674154",
        host_url="https://meetings.vonage.com/?participant_token=host-secret",
    )


def test_the_room_of_2021_has_its_availability_as_a_status() -> None:
    assert not models.room(encoded(ROOM_2021)).is_available
    assert models.room(encoded(ROOM_2021 | {"status": "available"})).is_available


def test_a_room_requires_only_an_id() -> None:
    assert models.room(b'{"id": "x"}') == Room(id="x")


@pytest.mark.parametrize("missing", [name for name in ROOM if name != "id"])
def test_each_other_field_of_a_room_may_be_null_or_missing(missing: str) -> None:
    without = {name: value for name, value in ROOM.items() if name != missing}
    assert models.room(encoded(without)) == models.room(encoded(without | {missing: None}))


def test_only_type_long_term_is_a_long_term_room() -> None:
    assert models.room(encoded(ROOM)).is_long_term
    assert not models.room(encoded(ROOM | {"type": "instant"})).is_long_term


@pytest.mark.parametrize(
    "text", ["2022-11-11T16:00:00.000Z", "2022-11-11T16:00:00", "2022-11-11T18:00:00+02:00"]
)
def test_every_time_is_in_utc(text: str) -> None:
    read = models.room(encoded(ROOM | {"expires_at": text})).expires_at
    assert read is not None
    assert read == datetime(2022, 11, 11, 16, tzinfo=UTC)
    assert read.utcoffset() == timedelta(0)


@pytest.mark.parametrize("form", ["embedded", "list"])
def test_both_formats_of_a_page_are_read(form: str) -> None:
    read = models.room_page(encoded(page([ROOM, ROOM_2021 | {"id": "another"}], form=form)))
    assert [room.is_available for room in read.rooms] == [True, False]
    assert read.total_items == (5 if form == "list" else None)


BAD: list[Any] = ["", 7, 7.5, True, [], {}, [None], {"team": "a"}]
"""Values that are no valid string, boolean or time."""


@pytest.mark.parametrize("bad", [value for value in BAD if value != ""], ids=str)
@pytest.mark.parametrize(
    "field", ["display_name", "meeting_code", "_links", "recording_options", "theme_id"]
)
def test_an_invalid_display_only_field_does_not_make_a_room_invalid(field: str, bad: Any) -> None:
    kept = {"theme_id", *({"recording_options", "_links"} if bad == {} else ())}
    expected = models.room(encoded(ROOM | {field: ROOM[field] if field == "theme_id" else None}))
    assert field in kept or models.room(encoded(ROOM | {field: bad})) == expected
    assert models.room(encoded(ROOM | {field: bad})).id == ROOM_ID


@pytest.mark.parametrize("bad", [5, [], "x", {"href": 5}, {"href": []}], ids=str)
def test_a_bad_link_drops_only_itself(bad: Any) -> None:
    read = models.room(encoded(ROOM | {"_links": ROOM["_links"] | {"guest_url": bad}}))
    assert (read.guest_url, read.host_url) == (None, ROOM["_links"]["host_url"]["href"])


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({"team": "a"}, '{"team":"a"}'),
        (["roomkeeper:keep"], '["roomkeeper:keep"]'),
        (7, "7"),
        (False, "false"),
        ("text", "text"),
        (None, None),
        ({"k\u00f6": "/"}, '{"k\u00f6":"/"}'),
        (10**30, "1" + 30 * "0"),
    ],
    ids=str,
)
def test_metadata_that_is_not_a_string_becomes_its_json(metadata: Any, text: str | None) -> None:
    assert models.room(encoded(ROOM | {"metadata": metadata})).metadata == text


NEEDED = [
    # No event and no request to the management API can have the last ones.
    *[("id", bad) for bad in [*BAD, None, "..", "a/../b", "a/b", "...", "a b", "a" * 257]],
    *[("type", bad) for bad in BAD if bad != ""],
    *[("is_available", bad) for bad in BAD if bad is not True],
    *[("status", bad) for bad in BAD if bad != ""],
    *[("expires_at", bad) for bad in [*BAD, "soon"]],
    *[("created_at", bad) for bad in [*BAD, "0001-01-01T00:00:00+14:00"]],
    *[("expire_after_use", bad) for bad in [*BAD, "true"] if bad is not True],
]


@pytest.mark.parametrize(("field", "bad"), NEEDED, ids=str)
@pytest.mark.parametrize("form", ["embedded", "list"])
def test_an_invalid_room_is_reported_and_does_not_affect_the_others(
    form: str, field: str, bad: Any
) -> None:
    others = [ROOM | {"id": "a"}, ROOM | {"id": "c"}]
    rooms = [others[0], ROOM | {"id": "b", field: bad}, others[1]]
    read = models.room_page(encoded(page(rooms, form=form, next_link="x?start_id=20")))
    assert [room.id for room in read.rooms] == ["a", "c"]
    [invalid] = read.invalid
    shown = "b"
    if field == "id":
        shown = str(bad) if type(bad) in (str, int, float) else ""
    assert (invalid.id or "", invalid.position) == (shown, 2)
    assert str(invalid).startswith(f"Room {shown[:80]!r}" if shown else "Room 2 on the page")
    assert read.next_start_id == "20"


@pytest.mark.parametrize("element", [None, 7, "room", [], [ROOM], True, {}], ids=str)
def test_an_element_that_is_not_a_room_is_reported_with_its_position(element: Any) -> None:
    read = models.room_page(encoded(page([element, ROOM], form="embedded")))
    assert [room.id for room in read.rooms] == [ROOM_ID]
    assert [(each.id, each.position) for each in read.invalid] == [(None, 1)]


def test_the_message_of_an_invalid_room_is_short() -> None:
    read = models.room_page(encoded(page([{"id": "x" * 10_000, "type": 5}], form="list")))
    assert len(str(read.invalid[0])) < 500


def test_a_room_that_is_on_a_page_twice_is_returned_once() -> None:
    read = models.room_page(encoded(page([ROOM, ROOM | {"display_name": "Again"}], form="list")))
    assert [room.display_name for room in read.rooms] == [ROOM["display_name"]]


@pytest.mark.parametrize("total", ["5", 5.5, -1, [], {}, 10**30], ids=str)
def test_an_invalid_total_is_none(total: Any) -> None:
    assert models.room_page(encoded({"_embedded": [], "total_items": total})).total_items is None


@pytest.mark.parametrize("links", [[], "x", {"next": 5}, {"next": {"href": 5}}], ids=str)
def test_invalid_links_do_not_count_as_the_last_page(links: Any) -> None:
    with pytest.raises(models.UNREADABLE):
        models.room_page(encoded({"_embedded": [], "_links": links}))


@pytest.mark.parametrize("link", NEXT_LINKS.values(), ids=NEXT_LINKS)
def test_the_next_page_is_found_in_every_format_of_link(link: str) -> None:
    assert models.room_page(encoded(page([], form="list", next_link=link))).next_start_id == "20"


@pytest.mark.parametrize(
    "links",
    [
        {},
        {"_links": None},
        {"_links": {}},
        {"_links": {"next": None}},
        {"_links": {"next": {}}},
        {"_links": {"next": {"href": None}}},
        {"_links": {"next": {"href": "https://api-eu.vonage.com/rooms?page_size=20"}}},
        {"_links": {"next": {"href": "http://["}}},
    ],
)
def test_without_a_start_id_there_is_no_next_page(links: dict[str, Any]) -> None:
    assert models.room_page(encoded({"_embedded": []} | links)).next_start_id is None


def test_a_page_without_embedded_rooms_is_invalid() -> None:
    with pytest.raises(models.UNREADABLE):
        models.room_page(b"{}")


def observed(recording: dict[str, Any]) -> RecordingObservation:
    return models.observation(models.recording(encoded(recording)))


def test_the_published_recordings_are_read_whole() -> None:
    expected = RecordingObservation(
        event="recording:uploaded",
        product="meetings",
        recording_id=RECORDING_ID,
        session_id=SESSION_ID,
        started_at=datetime(2021, 11, 2, 15, 55, 35, tzinfo=UTC),
        ended_at=datetime(2021, 11, 2, 15, 56, 13, tzinfo=UTC),
        duration=38,
        url=DOWNLOAD_URL,
    )
    assert observed(RECORDING) == expected
    listed = models.recordings(encoded({"_embedded": {"recordings": [RECORDING]}}))
    assert listed == Listed((expected,))


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({**RECORDING, "id": "bad", "started_at": "yesterday"}, "recording bad: "),
        ({**RECORDING, "id": "bad", "status": None}, "recording bad: "),
        ({**RECORDING, "id": 5}, "recording 5: "),
        ({**RECORDING, "id": "a/b"}, "recording a/b: "),
        ("no object", "recording without an id: "),
        (None, "recording without an id: "),
    ],
)
def test_one_invalid_recording_does_not_affect_the_others_of_its_session(
    bad: Any, named: str
) -> None:
    listed = models.recordings(encoded({"_embedded": {"recordings": [bad, RECORDING]}}))
    assert [each.recording_id for each in listed.found] == [RECORDING_ID]
    [message] = listed.invalid
    assert message.startswith(named)


@pytest.mark.parametrize(
    "url", ["http://recordings.example/a", "ftp://a/b", "https://a/" + "x" * URL_MAX_LENGTH]
)
def test_an_uploaded_recording_needs_a_url_that_is_valid_in_a_callback(url: str) -> None:
    with pytest.raises(models.UNREADABLE, match="it has no valid https URL"):
        observed({**RECORDING, "_links": {"url": {"href": url}}})


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"started_at": None}, "its status is uploaded, but a time is missing"),
        ({"status": "stopped", "ended_at": None}, "its status is stopped, but a time is missing"),
        ({"ended_at": "9999-06-01T00:00:00Z"}, "ended_at is out of range: year 9999"),
        ({"_links": None}, "it has no valid https URL"),
    ],
)
def test_a_recording_with_missing_facts_is_invalid(change: dict[str, Any], reason: str) -> None:
    listed = models.recordings(encoded({"_embedded": {"recordings": [RECORDING | change]}}))
    assert listed.found == ()
    [message] = listed.invalid
    assert message.startswith(f"recording {RECORDING_ID}: ")
    assert reason in message


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ("started", "recording:started"),
        ("paused", "recording:started"),
        ("stopped", "recording:ended"),
        ("uploaded", "recording:uploaded"),
        ("failed", "recording:failed"),
        ("a new one", "recording:started"),
    ],
)
def test_each_status_implies_an_event(status: str, event: str) -> None:
    assert observed(RECORDING | {"status": status}).event == event


@pytest.mark.parametrize("links", [None, {}, {"url": None}, {"url": {}}])
def test_a_recording_that_is_not_uploaded_has_no_url(links: dict[str, Any] | None) -> None:
    going_on = RECORDING | {"status": "started", "ended_at": None, "_links": links}
    read = observed(going_on)
    assert (read.event, read.ended_at, read.url) == ("recording:started", None, None)


def test_the_repr_has_no_secret() -> None:
    shown = repr(observed(RECORDING)) + repr(models.room(encoded(ROOM)))
    assert "secret" not in shown


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"{}",
        b'{"id": 1}',
        b"\xff",
        b"[" * 100_000,
        b'{"id": "x", "created_at": "0001-01-01T00:00:00+14:00"}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_not_a_room_is_unreadable(body: bytes) -> None:
    with pytest.raises(models.UNREADABLE):
        models.room(body)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.datetimes().map(str),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["_embedded", "_links", "rooms", "recordings", "next", "href", *ROOM]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)


@given(st.binary() | json_values.map(encoded))
def test_no_body_raises_anything_but_unreadable(body: bytes) -> None:
    for read in (models.room, models.room_page, models.recording, models.recordings):
        try:
            read(body)
        except models.UNREADABLE:
            continue
