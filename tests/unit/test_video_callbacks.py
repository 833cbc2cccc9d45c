import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from local.testing.builders import ABSENT, ROOT, sample
from roomkeeper.callbacks.body import Malformed
from roomkeeper.callbacks.video import parse
from roomkeeper.callbacks.video_archives import MAX_REASON_LENGTH
from roomkeeper.domain.observations import (
    Observation,
    Occurrence,
    RecordingObservation,
    Unrecognized,
)

SAMPLES = sorted(file.name for file in (ROOT / "events").glob("video_*.json"))
ARCHIVE_ID = "e05d6f8f-2280-4025-b1d2-defc4f5c8dfa"
STARTED_AT = datetime(2024, 10, 2, 16, 44, 24, tzinfo=UTC)
CREATED_AT = 1727887464000
SECRETS = ["Ada", "TOKENDATA", "sL9lsW0k0Kbx", "transcription.zip", "archive test", "playlist"]


def a_body(name: str, **changes: Any) -> bytes:
    """Return the sample events/video_<name>.json with these fields changed."""
    fields = {**sample(f"video_{name}.json"), **changes}
    return json.dumps({k: v for k, v in fields.items() if v is not ABSENT}).encode()


def recording(name: str, **changes: Any) -> RecordingObservation:
    found = parse(a_body(name, **changes))
    assert isinstance(found, RecordingObservation)
    return found


def occurrence(name: str, **changes: Any) -> Occurrence:
    found = parse(a_body(name, **changes))
    assert isinstance(found, Occurrence)
    return found


def unrecognized(body: bytes) -> Unrecognized:
    found = parse(body)
    assert isinstance(found, Unrecognized)
    return found


# --- which callback is which ----------------------------------------------------------------------

EVENTS: Mapping[str, str] = {
    "archive_available": "recording:uploaded",
    "archive_deleted": "recording:deleted",
    "archive_encrypted": "recording:stored",
    "archive_expired": "recording:expired",
    "archive_failed": "recording:failed",
    "archive_individual": "recording:uploaded",
    "archive_paused": "recording:paused",
    "archive_resumed": "recording:resumed",
    "archive_started": "recording:started",
    "archive_started_classic": "recording:started",
    "archive_stopped": "recording:ended",
    "archive_stream_added": "callback:unrecognized",
    "archive_stream_removed": "callback:unrecognized",
    "archive_uploaded": "recording:stored",
    "archive_uploaded_classic": "recording:stored",
    "broadcast": "callback:unrecognized",
    "captions": "callback:unrecognized",
    "connection_created": "session:participant:joined",
    "connection_created_classic": "session:participant:joined",
    "connection_destroyed": "session:participant:left",
    "render": "callback:unrecognized",
    "session_created": "session:started",
    "session_destroyed": "session:ended",
    "session_destroyed_server_rotation": "session:ended",
    "session_notification": "session:notification",
    "sip_call_created": "callback:unrecognized",
    "sip_call_destroyed": "callback:unrecognized",
    "sip_call_mute_forced": "callback:unrecognized",
    "sip_call_updated": "callback:unrecognized",
    "stream_created": "session:stream:created",
    "stream_destroyed": "session:stream:destroyed",
}


def test_every_sample_is_expected_to_be_some_event() -> None:
    assert [f"video_{name}.json" for name in EVENTS] == SAMPLES


@pytest.mark.parametrize(("name", "event"), EVENTS.items())
def test_every_sample_becomes_its_event(name: str, event: str) -> None:
    found = parse(a_body(name))
    assert (found.event, found.product) == (event, "video")


@pytest.mark.parametrize("name", EVENTS)
def test_no_sample_lets_personal_data_or_secrets_through(name: str) -> None:
    shown = msgspec.json.encode(parse(a_body(name))).decode()
    assert [secret for secret in SECRETS if secret in shown] == []


@pytest.mark.parametrize("event", ["archive", ABSENT, None])
def test_an_archive_without_an_event_is_recognized_by_its_fields(event: Any) -> None:
    assert recording("archive_stopped", event=event).event == "recording:ended"


def test_other_things_with_a_status_and_no_event_are_no_archives() -> None:
    for name in ("broadcast", "render", "captions"):
        assert unrecognized(a_body(name, event=ABSENT)).name is None


@pytest.mark.parametrize("event", ["archives", 5, True, {"a": 1}, ["archive"], "", "connection"])
def test_any_other_event_is_unrecognized(event: Any) -> None:
    found = unrecognized(a_body("archive_stopped", event=event))
    assert found.name == (event or None if isinstance(event, str) else None)
    assert found.reason == "an event that is not known here"


# --- archives -------------------------------------------------------------------------------------


def test_an_available_archive_has_all_facts_of_its_file() -> None:
    url = sample("video_archive_available.json")["url"]
    found = recording("archive_available")
    assert found == RecordingObservation(
        event="recording:uploaded",
        product="video",
        recording_id=ARCHIVE_ID,
        session_id=sample("video_archive_available.json")["sessionId"],
        started_at=STARTED_AT,
        duration=3570,
        size=2471453295,
        sha256="/jjVJdAahiVeChWS00qCOX9YP6IpKzAhhAoOuyaZiSE=",
        url=url,
        expires_at=STARTED_AT + timedelta(hours=72),
    )


def test_a_stopped_archive_has_its_end_and_its_reason() -> None:
    found = recording("archive_stopped")
    assert found.ended_at == STARTED_AT + timedelta(hours=1)
    assert found.reason == "user initiated"
    assert (found.size, found.duration, found.sha256, found.url) == (None,) * 4


def test_a_stopped_archive_without_updated_at_has_no_guessed_end() -> None:
    assert recording("archive_stopped", updatedAt=ABSENT, duration=60).ended_at is None


@pytest.mark.parametrize(
    "status", ["started", "available", "uploaded", "failed", "expired", "deleted"]
)
def test_the_update_of_any_other_status_is_not_the_end_of_the_recording(status: str) -> None:
    changes = {"status": status, "updatedAt": CREATED_AT + 1000}
    assert recording("archive_stopped", **changes).ended_at is None


@pytest.mark.parametrize("status", ["available", "uploaded", "expired", "deleted"])
def test_only_ends_and_failures_have_a_reason(status: str) -> None:
    """Later statuses may have another one, and the result must not depend on the order."""
    assert recording("archive_stopped", status=status).reason is None
    assert recording("archive_failed").reason == "forceDisconnected"


@pytest.mark.parametrize("status", ["started", "stopped", "uploaded", "failed", "expired"])
def test_only_an_available_archive_can_be_downloaded(status: str) -> None:
    assert recording("archive_available", status=status, updatedAt=CREATED_AT).url is None


@pytest.mark.parametrize("status", ["started", "stopped", "uploaded", "failed", "deleted"])
def test_only_an_archive_with_its_file_at_vonage_expires(status: str) -> None:
    changes = {"status": status, "updatedAt": CREATED_AT}
    assert recording("archive_available", **changes).expires_at is None
    assert recording("archive_expired").expires_at == STARTED_AT + timedelta(hours=72)
    assert recording("archive_expired", createdAt=0).expires_at is None


def test_an_available_archive_may_lack_its_url() -> None:
    assert recording("archive_available", url=None).event == "recording:uploaded"


@pytest.mark.parametrize("url", ["ftp://x/y", "https://", "http://10.0.0.1/x", 5, "https://x/\ny"])
def test_an_invalid_url_is_dropped(url: Any) -> None:
    assert recording("archive_available", url=url).url is None


@pytest.mark.parametrize(
    ("updated_at", "event"),
    [
        (ABSENT, "recording:started"),
        (None, "recording:started"),
        (0, "recording:started"),
        (CREATED_AT - 1000, "recording:started"),
        (CREATED_AT + 4999, "recording:started"),
        (CREATED_AT + 5000, "recording:resumed"),
        (str(CREATED_AT + 5000), "recording:resumed"),
    ],
)
def test_a_start_5_seconds_after_the_creation_is_a_resumption(updated_at: Any, event: str) -> None:
    assert parse(a_body("archive_started", updatedAt=updated_at)).event == event


def test_a_start_without_a_creation_time_is_the_first_one() -> None:
    assert recording("archive_started", createdAt=ABSENT).started_at is None


def test_pauses_are_distinguished_by_their_time() -> None:
    first, again = occurrence("archive_paused"), occurrence("archive_paused")
    other = occurrence("archive_paused", updatedAt=CREATED_AT + 900_000)
    resumed = occurrence("archive_resumed", updatedAt=1727888064000)
    assert first == again
    assert len({first.identity, other.identity, resumed.identity}) == 3
    assert first.identity == f"recording:paused/{ARCHIVE_ID}/1727888064000"
    assert msgspec.to_builtins(first.data) == {
        "product": "video",
        "recording_id": ARCHIVE_ID,
        "session_id": sample("video_archive_paused.json")["sessionId"],
        "occurred_at": "2024-10-02T16:54:24Z",
    }


@pytest.mark.parametrize(
    ("created_at", "expected"),
    [
        (CREATED_AT, STARTED_AT),
        (CREATED_AT + 999, STARTED_AT),
        (float(CREATED_AT), STARTED_AT),
        (CREATED_AT + 0.5, STARTED_AT),
        (f"{CREATED_AT}", STARTED_AT),
        (f" {CREATED_AT}.0 ", STARTED_AT),
        (CREATED_AT // 1000, STARTED_AT),
        (0, None),
        (-1, None),
        (None, None),
        (ABSENT, None),
        (True, None),
        ("soon", None),
        ({}, None),
        (2**63, None),
        (10**40, None),
        (253_370_764_800_000, None),
    ],
)
def test_a_creation_time_is_read_in_every_form_and_counts_by_the_second(
    created_at: Any, expected: datetime | None
) -> None:
    assert recording("archive_uploaded", createdAt=created_at).started_at == expected


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (247145329511, 247145329511),
        ("247145329511", 247145329511),
        (2471453295.0, 2471453295),
        (2**63 - 1, 2**63 - 1),
        (2**63, None),
        (0, None),
        (0.0, None),
        ("0", None),
        (-5, None),
        (False, None),
        ("", None),
        (None, None),
        (ABSENT, None),
        ([1], None),
    ],
)
def test_a_size_is_read_in_every_form_and_zero_is_unknown(size: Any, expected: int | None) -> None:
    assert recording("archive_uploaded", size=size).size == expected


@pytest.mark.parametrize(
    ("duration", "expected"),
    [(38, 38), (38.0, 38), (38.9, 38), ("38", 38), ("38.0", 38), (0, None), (10**10, None)],
)
def test_a_duration_is_read_in_every_form_and_zero_is_unknown(
    duration: Any, expected: int | None
) -> None:
    assert recording("archive_uploaded", duration=duration).duration == expected


@pytest.mark.parametrize("raw", ["1e999", "-1e999", "1" * 5000, "[" * 500 + "]" * 500])
def test_an_invalid_optional_value_is_dropped_and_the_others_are_kept(raw: str) -> None:
    body = a_body("archive_uploaded", size="?").replace(b'"?"', raw.encode())
    found = parse(body)
    assert isinstance(found, RecordingObservation)
    assert (found.size, found.duration) == (None, 3570)


@pytest.mark.parametrize("sha256", ["", None, 5, "x", "/jjVJdAahiVeChWS00qCOX9YP6IpKzAhhAoOuyaZi!"])
def test_an_invalid_checksum_is_dropped(sha256: Any) -> None:
    assert recording("archive_uploaded", sha256sum=sha256).sha256 is None


def test_a_reason_is_limited_in_length() -> None:
    found = recording("archive_stopped", reason="too \n long " + "x" * 1000)
    assert found.reason is not None
    assert found.reason.startswith("too long xxx")
    assert len(found.reason) == MAX_REASON_LENGTH


@pytest.mark.parametrize("project", [{"projectId": "a"}, {"partnerId": 5}, {"applicationId": None}])
def test_the_field_of_the_project_does_not_matter(project: dict[str, Any]) -> None:
    assert recording("archive_uploaded", **project) == recording("archive_uploaded")


def test_a_repeated_field_counts_once() -> None:
    body = a_body("archive_started_classic")[:-1] + b',"projectId":123456}'
    assert parse(body) == recording("archive_started_classic")


def test_numeric_ids_are_ids() -> None:
    assert recording("archive_stopped", id=5, sessionId=7).recording_id == "5"


@pytest.mark.parametrize("field", ["id", "sessionId"])
@pytest.mark.parametrize("value", [ABSENT, None, "", "..", "a/b", "a?b", True, {}, 1.5, "x" * 300])
def test_an_archive_without_a_valid_id_is_unrecognized(field: str, value: Any) -> None:
    found = unrecognized(a_body("archive_stopped", **{field: value}))
    assert (found.name, found.reason) == ("archive", f"the archive has no valid {field}")


@pytest.mark.parametrize("status", ["streamAdded", "updated", "archived"])
def test_an_unknown_status_is_named(status: str) -> None:
    found = unrecognized(a_body("archive_stopped", status=status))
    assert found.reason == f"the archive status {status} is not known here"


@pytest.mark.parametrize("status", [ABSENT, None, "", 5, "Ada Lovelace", "x" * 99, {"a": 1}])
def test_a_status_that_is_no_word_is_not_quoted(status: Any) -> None:
    found = unrecognized(a_body("archive_stopped", status=status))
    assert found.reason == "the archive has no valid status"


# --- session monitoring ---------------------------------------------------------------------------


def data_of(name: str, **changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = msgspec.to_builtins(occurrence(name, **changes).data)
    return {k: v for k, v in data.items() if k not in {"product", "session_id"}}


def test_the_lives_of_a_session_are_distinguished_by_their_time() -> None:
    first = occurrence("session_created")
    assert first == occurrence("session_created", timestamp="1727887459000")
    assert first.identity != occurrence("session_created", timestamp=1727887459001).identity
    assert first.identity != occurrence("session_created", sessionId="another").identity
    assert data_of("session_created") == {"started_at": "2024-10-02T16:44:19Z"}


def test_the_end_of_a_session_has_its_reason() -> None:
    assert data_of("session_destroyed_server_rotation") == {
        "started_at": "2024-10-02T16:44:19Z",
        "ended_at": "2024-10-03T00:44:24Z",
        "reason": "serverRotation",
    }
    assert data_of("session_destroyed", createdAt=None, reason=5) == {
        "ended_at": "2024-10-02T17:44:29Z"
    }


def test_a_notification_has_its_reason_and_the_remaining_time() -> None:
    assert data_of("session_notification") == {"reason": "serverRotation", "remaining_time": 14400}


def test_connections_become_participants_without_their_data() -> None:
    participant = "c053fcc8-c681-41d5-8ec2-7a9e1434a21e"
    assert data_of("connection_created") == {
        "participant_id": participant,
        "joined_at": "2024-10-02T16:44:19.309000Z",
    }
    assert data_of("connection_destroyed") == {
        "participant_id": participant,
        "left_at": "2024-10-02T17:44:27Z",
        "reason": "networkDisconnected",
    }


def test_streams_have_no_names() -> None:
    stream = {
        "stream_id": "8b732909-0a06-46a2-8ea8-074e64d43422",
        "participant_id": "c053fcc8-c681-41d5-8ec2-7a9e1434a21e",
        "video_type": "camera",
    }
    created = {**stream, "created_at": "2024-10-02T16:44:21.010000Z"}
    assert data_of("stream_created") == created
    destroyed = {"destroyed_at": "2024-10-02T17:44:26Z", "reason": "forceUnpublished"}
    assert data_of("stream_destroyed") == {**stream, **destroyed}
    assert data_of("stream_created", stream={"id": "s"}, timestamp=None) == {"stream_id": "s"}


@pytest.mark.parametrize("name", ["session_created", "session_destroyed", "session_notification"])
@pytest.mark.parametrize("timestamp", [ABSENT, None, 0, "now"])
def test_a_life_of_a_session_without_a_time_is_unrecognized(name: str, timestamp: Any) -> None:
    found = unrecognized(a_body(name, timestamp=timestamp))
    assert found.reason == "the callback has no valid timestamp"


@pytest.mark.parametrize("name", ["connection_created", "stream_created"])
def test_connections_and_streams_are_distinguished_even_without_a_time(name: str) -> None:
    kind = name.partition("_")[0]
    found = [occurrence(name, timestamp=None, **{kind: {"id": i}}) for i in ("a", "a", "b")]
    assert len({each.identity for each in found}) == 2


@pytest.mark.parametrize(
    ("name", "changes", "missing"),
    [
        ("connection_created", {"connection": None}, "id"),
        ("connection_destroyed", {"connection": {"id": "a/b"}}, "id"),
        ("stream_created", {"stream": []}, "id"),
        ("stream_destroyed", {"sessionId": None}, "sessionId"),
    ],
)
def test_a_callback_without_a_required_id_is_unrecognized(
    name: str, changes: dict[str, Any], missing: str
) -> None:
    assert unrecognized(a_body(name, **changes)).reason == f"the callback has no valid {missing}"


# --- unrecognized ---------------------------------------------------------------------------------

SENSITIVE = ["password", "url", "data", "name", "streamName", "connectionData", "URL", "hlsUrl"]


@pytest.mark.parametrize("field", SENSITIVE)
@pytest.mark.parametrize("value", ["Ada", 5, ["Ada", {"b": "Ada"}], {"a": [{"b": "]Ada"}]}])
def test_sensitive_values_are_redacted_at_any_depth(field: str, value: Any) -> None:
    for shape in ({field: value}, {"a": {field: value}}, {"a": [1, [{"b": [{field: value}]}]]}):
        text = json.dumps({"first": 1, **shape, "last": 2})
        found = unrecognized(text.encode())
        assert found.body == text.replace(json.dumps(value), '"[redacted]"')


def test_a_repeated_or_escaped_sensitive_field_is_redacted() -> None:
    body = b'{"password":"Ada","password":"","a":{"n\\u0061me":"A\\"da"},"a":1, "name" : "Ada"}'
    expected = (
        '{"password":"[redacted]","password":"","a":{"n\\u0061me":"[redacted]"},"a":1,'
        ' "name" : "[redacted]"}'
    )
    assert unrecognized(body).body == expected


def test_all_else_is_kept_as_it_came() -> None:
    text = '{"event" : "later", "n":1e999,"m":12345678901234567890, "a":"name", "url":null,"a":[]}'
    assert unrecognized(text.encode()).body == text


def test_a_long_event_name_is_cut() -> None:
    found = unrecognized(json.dumps({"event": "x" * 5000}).encode())
    assert found.name == "x" * 128


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"null", b"{", b"\xff{}", b'{"a":}'])
def test_a_body_that_is_no_json_object_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        parse(body)


# --- any JSON object ------------------------------------------------------------------------------

SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters())
    | st.sampled_from(["archive", "started", "paused", "streamCreated", "1", "1.5", "\ud800"])
)
NAMES = st.sampled_from([*sample("video_archive_encrypted.json"), *SENSITIVE]) | st.text()
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
OBSERVATIONS = (RecordingObservation, Occurrence, Unrecognized)


def observed(fields: dict[str, Any]) -> Observation:
    found = parse(json.dumps(fields).encode())
    assert isinstance(found, OBSERVATIONS)
    return found


@given(st.dictionaries(NAMES, JSON, max_size=8))
def test_every_json_object_gives_an_observation(fields: dict[str, Any]) -> None:
    observed(fields)


@given(st.sampled_from(SAMPLES), st.data())
def test_every_sample_with_any_values_gives_an_observation(name: str, data: st.DataObject) -> None:
    fields = sample(name)
    changed = data.draw(st.dictionaries(st.sampled_from([*fields]), JSON, max_size=4))
    observed({**fields, **changed})


@given(st.sampled_from(SAMPLES), st.dictionaries(st.sampled_from(SENSITIVE), JSON, min_size=1))
def test_redacted_text_is_json_without_sensitive_values(
    name: str, sensitive: dict[str, Any]
) -> None:
    fields = {**sample(name), "event": "later", "a": [{"b": sensitive}]}
    kept = json.loads(unrecognized(json.dumps(fields).encode()).body)
    values = kept["a"][0]["b"].values()
    assert all(value in ("[redacted]", "", None) for value in values)
    assert kept["sessionId"] == fields["sessionId"]
