import codecs
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.testing.builders import (
    ABSENT,
    ENDED_AT,
    PUBLISHED,
    RECORDING_ID,
    ROOM_ID,
    SESSION_ID,
    STARTED_AT,
    URL,
    a_body,
    a_callback,
)
from roomkeeper import types
from roomkeeper.callbacks import meetings
from roomkeeper.callbacks.body import MAX_BODY_BYTES, Malformed, TooLarge, require_size
from roomkeeper.callbacks.meetings import parse
from roomkeeper.domain.observations import (
    Observation,
    Occurrence,
    RecordingObservation,
    Unrecognized,
)
from roomkeeper.times import from_iso
from roomkeeper.types import Id, Moment

ALIASES = {
    "recording:ready": "recording:uploaded",
    "participant:joined": "session:participant:joined",
    "participant:left": "session:participant:left",
}
OPTIONAL = [
    ("session:participant:joined", "type"),
    ("session:participant:joined", "is_host"),
    ("session:participant:left", "type"),
    ("session:participant:left", "is_host"),
    ("room:expired", "room_type"),
    ("room:expired", "expires_at"),
    ("room:expired", "created_at"),
    ("recording:ended", "duration"),
    ("recording:uploaded", "duration"),
]
REQUIRED = [
    (event, field)
    for event, fields in PUBLISHED.items()
    for field in fields
    if (event, field) not in OPTIONAL and field != "name"
]
TIMES = [(event, field) for event, field in REQUIRED if field.endswith("_at")]
IDS = [(event, field) for event, field in REQUIRED if field.endswith("_id")]
# One field stands for all of its type; the first test below compares the types of all fields.
AN_ID, A_MOMENT = ("recording:started", "recording_id"), ("recording:ended", "started_at")
ONE_OF_EACH_EVENT = [*{event: (event, field) for event, field in REQUIRED}.values()]


def unrecognized(body: bytes) -> Unrecognized:
    callback = parse(body)
    assert isinstance(callback, Unrecognized)
    return callback


@pytest.mark.parametrize("event", PUBLISHED)
def test_required_fields_are_declared_with_the_type_of_their_kind(event: str) -> None:
    kind = meetings.type_of[event]
    required = {field.name for field in msgspec.structs.fields(kind) if field.required}
    assert required == {field for name, field in REQUIRED if name == event}
    types = get_type_hints(kind, include_extras=True)
    for name, field in IDS + TIMES:
        if name == event:
            wanted = Id if field.endswith("_id") else Moment
            assert types[field] == wanted, field


# --- published callbacks --------------------------------------------------------------------------


def facts(observation: Observation) -> dict[str, Any]:
    """Return the facts of an observation that are not None."""
    of = observation.data if isinstance(observation, Occurrence) else observation
    return {k: v for k, v in msgspec.structs.asdict(of).items() if v is not None}


@pytest.mark.parametrize("event", PUBLISHED)
def test_every_published_callback_is_parsed_with_all_its_fields(event: str) -> None:
    observation = a_callback(event)
    times = {k: from_iso(v) for k, v in PUBLISHED[event].items() if k.endswith("_at")}
    expected = {k: v for k, v in PUBLISHED[event].items() if k != "name"} | times
    assert (observation.event, observation.product) == (event, "meetings")
    assert {k: v for k, v in facts(observation).items() if k in expected} == expected


def test_every_callback_in_vonages_guide_is_known() -> None:
    assert meetings.type_of.keys() == PUBLISHED.keys()


@pytest.mark.parametrize(("alias", "event"), ALIASES.items())
def test_aliases_of_event_names_are_parsed_as_the_same_event(alias: str, event: str) -> None:
    assert a_callback(alias) == a_callback(event)
    assert a_callback(alias).event == event


def test_times_are_parsed_in_any_time_zone() -> None:
    callback = a_callback("recording:ended", started_at="2021-11-02T21:25:35+05:30")
    assert isinstance(callback, RecordingObservation)
    assert callback.started_at == from_iso(STARTED_AT)
    assert callback.ended_at == from_iso(ENDED_AT)


def test_an_upload_may_name_its_room() -> None:
    callback = a_callback("recording:uploaded", room_id=ROOM_ID)
    assert isinstance(callback, RecordingObservation)
    assert callback.room_id == ROOM_ID
    assert callback.url == URL


@pytest.mark.parametrize("event", PUBLISHED)
def test_undocumented_fields_are_ignored(event: str) -> None:
    assert a_callback(event, later={"version": [2, None]}, extra=1.5) == a_callback(event)


def test_a_participants_name_is_dropped() -> None:
    assert "Ada" not in repr(a_callback("session:participant:joined", name="Ada"))


@pytest.mark.parametrize("nothing", [ABSENT, None])
@pytest.mark.parametrize(("event", "field"), OPTIONAL)
def test_optional_fields_may_be_absent_or_null(event: str, field: str, nothing: Any) -> None:
    full, reduced = facts(a_callback(event)), facts(a_callback(event, **{field: nothing}))
    assert reduced == {name: value for name, value in full.items() if name != field}


# --- unrecognized callbacks, which are stored whole -----------------------------------------------


@pytest.mark.parametrize(("event", "field"), ONE_OF_EACH_EVENT)
def test_a_callback_without_a_required_field_is_stored_whole(event: str, field: str) -> None:
    body = a_body(event, **{field: ABSENT})
    callback = unrecognized(body)
    assert callback.reason == f"Object missing required field `{field}`"
    assert (callback.name, callback.body) == (event, body.decode())


@pytest.mark.parametrize("value", [None, 5, True, ["x"], {"x": "y"}])
@pytest.mark.parametrize(("event", "field"), [AN_ID, A_MOMENT])
def test_the_reason_names_a_field_of_the_wrong_type(event: str, field: str, value: Any) -> None:
    assert f"at `$.{field}`" in unrecognized(a_body(event, **{field: value})).reason


@pytest.mark.parametrize(("event", "field"), [AN_ID])
@pytest.mark.parametrize("value", ["", "x" * 257])
def test_the_reason_names_an_id_that_is_empty_or_too_long(
    event: str, field: str, value: str
) -> None:
    assert f"at `$.{field}`" in unrecognized(a_body(event, **{field: value})).reason


def test_the_longest_allowed_id_is_accepted() -> None:
    callback = a_callback("recording:started", recording_id="x" * 256)
    assert callback.event == "recording:started"


@pytest.mark.parametrize("id_", [RECORDING_ID, SESSION_ID, "1_MX4x~fn4=", "46201502", "a+b", "..a"])
def test_ids_in_all_of_vonages_formats_are_accepted(id_: str) -> None:
    assert getattr(a_callback("session:started", session_id=id_), "session_id", None) == id_


@pytest.mark.parametrize(("event", "field"), [AN_ID])
@pytest.mark.parametrize(
    "id_", ["a%2Fb", "a?b", "a#b", "a b", "ab\n", "\0", "ü", "{a}", "...", ":"]
)
def test_the_reason_names_an_id_with_forbidden_characters(event: str, field: str, id_: str) -> None:
    assert f"at `$.{field}`" in unrecognized(a_body(event, **{field: id_})).reason


@pytest.mark.parametrize(
    "moment",
    ["", "yesterday", "2021-11-02", "2021-11-02T15:55:35", "2021-13-02T15:55:35Z", "1635868535"],
)
@pytest.mark.parametrize(("event", "field"), [A_MOMENT])
def test_the_reason_names_a_time_that_is_invalid_or_has_no_time_zone(
    event: str, field: str, moment: str
) -> None:
    assert f"at `$.{field}`" in unrecognized(a_body(event, **{field: moment})).reason


@pytest.mark.parametrize("year", ["0001", "1969", "9999"])
@pytest.mark.parametrize(("event", "field"), [A_MOMENT, ("session:ended", "ended_at")])
def test_the_reason_names_a_time_that_is_out_of_range(event: str, field: str, year: str) -> None:
    reason = unrecognized(a_body(event, **{field: f"{year}-11-02T15:55:35Z"})).reason
    assert reason.startswith(f"{field} is out of range")


@pytest.mark.parametrize(
    ("field", "moment"),
    [
        ("started_at", "1970-01-01T00:00:00+14:00"),
        ("started_at", "1969-12-31T23:59:59Z"),
        ("ended_at", "9998-12-31T23:00:00-14:00"),
        ("ended_at", "9999-12-31T23:59:59-14:00"),
    ],
)
def test_the_range_of_times_is_checked_in_utc(field: str, moment: str) -> None:
    reason = unrecognized(a_body("recording:ended", **{field: moment})).reason
    assert reason.startswith(f"{field} is out of range")


@pytest.mark.parametrize("moment", ["1970-01-01T00:00:00Z", "1969-12-31T23:00:00-01:00"])
def test_the_earliest_time_is_accepted_in_any_time_zone(moment: str) -> None:
    assert a_callback("recording:ended", started_at=moment).event == "recording:ended"


@pytest.mark.parametrize("duration", ["38.0", "3.8e1", '"38"', '"38.0"', "38"])
@pytest.mark.parametrize("event", ["recording:ended", "recording:uploaded"])
def test_a_duration_is_parsed_in_any_form_of_a_whole_number(event: str, duration: str) -> None:
    body = a_body(event, duration="N").replace(b'"N"', duration.encode())
    assert parse(body) == a_callback(event)


@pytest.mark.parametrize("value", [38.5, -1, 10**9 + 1, 10**4000, True, [1], "long"])
def test_an_invalid_duration_is_dropped_and_the_upload_is_kept(value: Any) -> None:
    callback = a_callback("recording:uploaded", duration=value)
    assert callback == a_callback("recording:uploaded", duration=ABSENT)


@pytest.mark.parametrize("value", [5, ["x"], {"x": "y"}, True, "a/b", "x" * 257, "1969-01-01"])
@pytest.mark.parametrize(
    ("event", "field"),
    [
        ("recording:uploaded", "room_id"),
        ("room:expired", "expires_at"),
        ("room:expired", "created_at"),
    ],
)
def test_an_invalid_optional_field_is_dropped(event: str, field: str, value: Any) -> None:
    if (field, value) == ("room_id", "1969-01-01"):
        value = ""
    assert a_callback(event, **{field: value}) == a_callback(event, **{field: ABSENT})


def test_an_optional_time_before_1970_in_utc_is_dropped() -> None:
    callback = a_callback("room:expired", expires_at="1970-01-01T00:00:00+14:00")
    assert callback == a_callback("room:expired", expires_at=ABSENT)


def test_the_reason_names_an_invalid_required_field_and_not_an_optional_one() -> None:
    body = a_body("recording:uploaded", duration="long", recording_id="a/b")
    assert "at `$.recording_id`" in unrecognized(body).reason


@pytest.mark.parametrize(
    "url",
    [
        "",
        "archive.mp4",
        "javascript:alert(1)",
        "https://",
        "https://a b",
        "https:///archive.mp4",
        "https://a/" + "x" * types.URL_MAX_LENGTH,
        "http://recordings.example/archive.mp4",
        "http://127.0.0.1.evil.example/",
        "http://localhost@evil.example/",
        "http://localhost:80@evil.example/",
        "https://a/\n",
    ],
)
def test_the_reason_names_an_invalid_url(url: str) -> None:
    assert "at `$.url`" in unrecognized(a_body("recording:uploaded", url=url)).reason


@pytest.mark.parametrize("url", ["http://127.0.0.1:4570/a?b", "http://localhost/a", "https://a/b"])
def test_plain_http_is_allowed_only_for_loopback(url: str) -> None:
    assert getattr(a_callback("recording:uploaded", url=url), "url", None) == url


def test_the_longest_allowed_url_is_accepted() -> None:
    longest = "https://a/".ljust(types.URL_MAX_LENGTH, "x")
    assert getattr(a_callback("recording:uploaded", url=longest), "url", None) == longest


def test_the_reason_does_not_repeat_the_invalid_value() -> None:
    reason = unrecognized(a_body("recording:uploaded", url="ftp://a/?Signature=s3cret")).reason
    assert "s3cret" not in reason


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"event":"archive:ready","a":1}', "archive:ready"),
        (b'{"event":"Recording:Uploaded"}', "Recording:Uploaded"),
        (b'{"event":""}', ""),
        (b'{"event":5}', None),
        (b'{"event":{"event":"recording:started"}}', None),
        (b'{"event":null}', None),
        (b"{}", None),
    ],
)
def test_an_object_that_is_no_known_callback_is_stored_whole(body: bytes, name: str | None) -> None:
    callback = unrecognized(body)
    assert callback.event == "callback:unrecognized"
    assert callback.reason == "an event that is not known here"
    assert (callback.name, callback.body) == (name, body.decode())


def test_the_last_of_duplicate_fields_is_used() -> None:
    twice = b'{"event":"recording:started","event":"archive:ready","recording_id":"r"}'
    assert unrecognized(twice).name == "archive:ready"
    field = b'{"event":"recording:started","session_id":"s","recording_id":"a","recording_id":"b"}'
    assert parse(field) == a_callback("recording:started", session_id="s", recording_id="b")


@pytest.mark.parametrize("number", ["1" + "0" * 5000, "1e999999", "-0", "0.1"])
def test_unused_fields_may_have_any_number(number: str) -> None:
    body = a_body("recording:started", x="N").replace(b'"N"', number.encode())
    assert parse(body) == a_callback("recording:started")
    assert unrecognized(f'{{"x":{number}}}'.encode()).name is None


# --- rejected bodies ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "The body of 0 bytes is not JSON: Input data was truncated."),
        (b" \n", "The body of 2 bytes is not JSON: Input data was truncated."),
        (b'{"event":', "The body of 9 bytes is not JSON: Input data was truncated."),
        (b"event=x", "bytes is not JSON: JSON is malformed: invalid character (byte 0)"),
        (b'{"a":tru}', "JSON is malformed: invalid character (byte 6)"),
        (b'{"a":1}{}', "JSON is malformed: trailing characters"),
        (b'{"a":NaN}', "JSON is malformed: invalid character (byte 5)"),
        (b'{"a":-Infinity}', "JSON is malformed: invalid character (byte 6)"),
        (b"{'a':1}", "JSON is malformed: object keys must be strings (byte 1)"),
        (b'{"a":"\x00"}', "JSON is malformed: invalid character (byte 6)"),
        (b'\xef\xbb\xbf\xef\xbb\xbf{"a":1}', "JSON is malformed: invalid character (byte 0)"),
        (b"[]", "The body must be a JSON object: Expected `object`, got `array`."),
        (b'"{}"', "The body must be a JSON object: Expected `object`, got `str`."),
        (b"null", "The body must be a JSON object: Expected `object`, got `null`."),
        (b"1", "The body must be a JSON object: Expected `object`, got `int`."),
        (b"[" * 100_000, "The body must be a JSON object: Expected `object`, got `array`."),
        (b'{"a":"\xff"}', "The body is not UTF-8: byte 6."),
        (b'{"a":"\xed\xa0\x80"}', "The body is not UTF-8: byte 6."),
        ('{"a":1}'.encode("utf-16"), "The body is not UTF-8: byte 0."),
    ],
)
def test_a_body_that_is_no_json_object_is_rejected_with_the_position_of_the_error(
    body: bytes, expected: str
) -> None:
    with pytest.raises(Malformed) as raised:
        parse(body)
    assert expected in str(raised.value)
    assert (raised.value.status, raised.value.code) == (400, "invalid_request")


def test_an_escaped_null_byte_is_an_ordinary_character() -> None:
    joined = "session:participant:joined"
    assert parse(a_body(joined, type="\0")) == a_callback(joined, type="\0")
    assert facts(a_callback(joined, type="\0"))["type"] == "\0"


@pytest.mark.parametrize(
    "body",
    [b'{"a":"deep"}', b'{"event":"deep"}', a_body("recording:started", x="deep")],
    ids=["unknown", "no event name", "known"],
)
def test_a_body_that_is_nested_too_deeply_is_rejected(body: bytes) -> None:
    body = body.replace(b'"deep"', b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(Malformed, match="nested too deeply") as raised:
        with_a_small_stack(lambda: parse(body))
    assert (raised.value.status, raised.value.code) == (400, "invalid_request")


def with_a_small_stack(action: Callable[[], object]) -> None:
    """Call `action` where 100,000 levels are too many on every Python.

    Since 3.14, Python limits recursion in C by the size of the stack (CPython,
    InternalDocs/stack_protection.md). Python 3.13 limits its depth, which 256 KB do not hold.
    """
    default = threading.stack_size(1024 * 1024)
    try:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(action).result()
    finally:
        threading.stack_size(default)


def test_the_largest_body_is_accepted_and_one_byte_more_is_rejected() -> None:
    largest = a_body("recording:started", x="")
    largest = largest[:-2] + b"x" * (MAX_BODY_BYTES - len(largest)) + largest[-2:]
    require_size(largest)
    assert parse(largest) == a_callback("recording:started")
    with pytest.raises(TooLarge, match=f"has {MAX_BODY_BYTES + 1} bytes; at most 262144") as raised:
        require_size(largest + b" ")
    assert (raised.value.status, raised.value.code) == (413, "body_too_large")


def anything_in(event: str) -> dict[str, st.SearchStrategy[Any]]:
    plain = st.none() | st.booleans() | st.integers() | st.text()
    finite = st.floats(allow_nan=False, allow_infinity=False)
    return dict.fromkeys(PUBLISHED[event], plain | finite | st.lists(plain))


@given(st.binary() | st.text().map(str.encode))
def test_any_bytes_are_stored_whole_or_rejected(body: bytes) -> None:
    try:
        stored = unrecognized(body).body.encode()
    except Malformed:
        stored = body
    assert stored == body


@given(st.sampled_from(sorted(PUBLISHED)), st.data())
def test_a_callback_with_any_fields_is_parsed_or_stored_whole(
    event: str, data: st.DataObject
) -> None:
    body = a_body(event, **data.draw(st.fixed_dictionaries({}, optional=anything_in(event))))
    callback = parse(body)
    assert callback.event == event or callback == unrecognized(body)
    if isinstance(callback, Unrecognized):
        assert (callback.name, callback.body) == (event, body.decode())


def test_the_published_sample_is_parsed_exactly() -> None:
    assert a_callback("recording:uploaded") == RecordingObservation(
        event="recording:uploaded",
        product="meetings",
        recording_id=RECORDING_ID,
        session_id=SESSION_ID,
        started_at=from_iso(STARTED_AT),
        ended_at=from_iso(ENDED_AT),
        duration=38,
        url=URL,
    )


def test_a_lone_surrogate_in_an_unused_field_loses_no_callback() -> None:
    body = b'{"room_name":"caf \\ud83d",' + a_body("recording:uploaded")[1:]
    assert parse(body) == parse(a_body("recording:uploaded"))


def test_a_lone_surrogate_in_an_unknown_callback_is_stored_unchanged() -> None:
    unrecognized = parse(b'{"event":"room:painted","colour":"\\ud800"}')
    assert isinstance(unrecognized, Unrecognized)
    assert unrecognized.body == '{"event":"room:painted","colour":"\\ud800"}'


@pytest.mark.parametrize("id_", ["", ".", "..", "../x", "a/b", "a\\b", "/"])
def test_an_id_that_would_address_another_resource_is_not_recognized(id_: str) -> None:
    assert isinstance(parse(a_body("recording:started", recording_id=id_)), Unrecognized)


@pytest.mark.parametrize("body", [b'{"event": "x"}', b'{"event": "recording:started"}'])
def test_a_byte_order_mark_has_no_effect_and_is_not_stored(body: bytes) -> None:
    assert parse(codecs.BOM_UTF8 + body) == parse(body)
