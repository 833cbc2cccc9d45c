"""The rules of the emulated Video API, without a server."""

import base64
import hashlib
import json
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from threading import Condition, RLock
from typing import Any

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from local.vonage.deliveries import Attempt, Delivery
from local.vonage.files import FILM, MIB, FileReader, Files, GeneratedFile, sha256
from local.vonage.refusal import Refusal
from local.vonage.retries import RetryQueue
from local.vonage.settings import Target
from local.vonage.state import State
from local.vonage.video import added_archives, archives, callbacks, scenarios
from local.vonage.video.access import is_authorized
from local.vonage.video.added_archives import Archives
from local.vonage.video.archives import Archive
from local.vonage.video.projects import API_KEY, APPLICATION_ID, Credentials
from local.vonage.video.scenarios import Ending, Notice, Rotation, Scenario
from local.vonage.video.uploads import UploadTarget

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
EVENTS = Path(callbacks.SAMPLES)
CREDENTIALS = Credentials()


@pytest.fixture
def state() -> State:
    return State("http://emulator")


def sample(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((EVENTS / f"video_{name}.json").read_text())
    return read


def an_archive(**fields: Any) -> Archive:
    return archives.started("a session", NOON, **fields)


# --- statuses by the clock ------------------------------------------------------------------------


def life(
    archive: Archive, outcome: archives.Outcome = "available"
) -> list[tuple[str, str, timedelta]]:
    """Return status, reason and time since the start of each change that the clock makes."""
    changes: list[tuple[str, str, timedelta]] = []
    while (at := archives.due(archive, 10 * SECOND)) is not None:
        archive = archives.progressed(archive, at, outcome)
        changes.append((archive.status, archive.reason, at - NOON))
    return changes


def test_a_recording_stops_after_four_hours_and_expires_after_seventy_two() -> None:
    reason = "maximum duration exceeded"
    assert life(an_archive()) == [
        ("stopped", reason, 4 * HOUR),
        ("available", reason, 4 * HOUR + 10 * SECOND),
        ("expired", reason, 72 * HOUR),
    ]


def test_pauses_do_not_count_towards_the_four_hours() -> None:
    paused = archives.changed(an_archive(), "paused", NOON + HOUR)
    resumed = archives.changed(paused, "started", NOON + 1.5 * HOUR)
    assert archives.due(resumed, SECOND) == NOON + 4.5 * HOUR


@pytest.mark.parametrize(
    ("deserted", "reason", "length"),
    [(False, "maximum idle time exceeded", HOUR), (True, "session ended", 60 * SECOND)],
)
def test_a_pause_ends_the_recording(deserted: bool, reason: str, length: timedelta) -> None:
    paused = archives.changed(an_archive(deserted=deserted), "paused", NOON + HOUR)
    assert life(paused)[0] == ("stopped", reason, HOUR + length)


def test_an_uploaded_archive_never_expires_and_a_failed_one_is_over() -> None:
    assert [status for status, *_ in life(an_archive(), "uploaded")] == ["stopped", "uploaded"]
    assert life(an_archive(), "failed")[-1][:2] == ("failed", "failure")


@pytest.mark.parametrize("change", [{"deleted": True}, {"frozen": True}])
def test_the_clock_does_not_change_deleted_and_frozen_archives(change: dict[str, bool]) -> None:
    assert life(an_archive(**change)) == []


@given(st.lists(st.integers(0, 3000), max_size=8))
def test_the_duration_leaves_out_pauses(seconds: list[int]) -> None:
    archive, at, recorded = an_archive(), NOON, 0
    for number, length in enumerate(seconds):
        at += length * SECOND
        recorded += length if number % 2 == 0 else 0
        archive = archives.changed(archive, "started" if number % 2 else "paused", at)
    stopped = archives.changed(archive, "stopped", at)
    assert archives.as_json(stopped, 7, "hash", None)["duration"] == 0
    available = archives.processed(stopped, at + SECOND, "available")
    assert archives.as_json(available, 7, "hash", "url")["duration"] == recorded


def test_an_automatic_archive_continues_in_a_new_one(state: State) -> None:
    [archive_id] = added_archives.add(state, Archives(status="started", automatic=True))[
        "archive_ids"
    ]
    state.advance_clock(4 * 3600)
    first, second = state.video.archives()
    assert (first.id, first.status, second.status) == (archive_id, "available", "started")
    assert second.id != archive_id
    assert second.session_id == first.session_id


# --- the archive object ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "fields"),
    [
        ("archive_started", {}),
        ("archive_stopped", {}),
        ("archive_available", {}),
        ("archive_uploaded", {}),
        ("archive_expired", {}),
        ("archive_failed", {}),
        ("archive_individual", {"output_mode": "individual"}),
        ("archive_encrypted", {"encrypted": True, "has_transcription": True}),
    ],
)
def test_an_archive_has_the_shape_of_its_sample(name: str, fields: dict[str, Any]) -> None:
    published = sample(name)
    archive = archives.changed(an_archive(**fields), published["status"], NOON + HOUR)
    shown = archives.as_json(archive, 5, "hash", "url")
    assert set(shown) == set(published)
    for field in ("url", "password", "resolution", "sha256sum", "size", "duration"):
        assert bool(shown.get(field)) == bool(published.get(field)), field
    assert {key: type(value) for key, value in shown.items() if key != "url"} == {
        key: type(value) for key, value in published.items() if key != "url"
    }


def test_a_classic_archive_names_its_project_as_a_number_twice() -> None:
    shown = archives.as_json(an_archive(environment="classic"), 0, "", None)
    assert shown["projectId"] == shown["partnerId"] == int(API_KEY)
    assert set(sample("archive_uploaded_classic")) <= set(shown)
    assert "applicationId" not in shown


def test_the_start_is_exact_at_first_and_in_whole_seconds_later() -> None:
    archive = archives.started("s", NOON + timedelta(milliseconds=206))
    exact = archives.as_json(archive, 0, "", None)["createdAt"]
    later = archives.changed(archive, "paused", NOON + HOUR)
    assert exact % 1000 == 206
    assert archives.as_json(later, 0, "", None)["createdAt"] == exact - 206


def test_a_manual_archive_lists_its_streams_only_while_it_is_started() -> None:
    started = an_archive(stream_mode="manual", streams=("a",))
    stream = {"streamId": "a", "hasAudio": True, "hasVideo": True}
    assert archives.as_json(started, 0, "", None)["streams"] == [stream]
    paused = archives.changed(started, "paused", NOON + HOUR)
    assert "streams" not in archives.as_json(paused, 0, "", None)


@pytest.mark.parametrize(
    ("target", "outcome"),
    [
        (UploadTarget(), "uploaded"),
        (UploadTarget(works=False), "available"),
        (UploadTarget(works=False, fallback="none"), "failed"),
    ],
)
def test_the_upload_target_decides_the_outcome(
    state: State, target: UploadTarget, outcome: str
) -> None:
    state.video.set_target("unified", target)
    played = scenarios.play(state, Scenario())
    last = played.bodies[-1]
    assert (last["status"], bool(last["url"])) == (outcome, outcome == "available")
    assert scenarios.play(state, Scenario(environment="classic")).bodies[-1]["url"]


# --- lives of sessions ----------------------------------------------------------------------------


def names(bodies: list[dict[str, Any]]) -> list[str]:
    return [callbacks.name_of(body) for body in bodies]


def test_a_session_lives_with_people_streams_and_archives(state: State) -> None:
    played = scenarios.play(state, Scenario(participants=("Ada",), pauses=1, manual=True))
    assert names(played.bodies) == [
        *("sessionCreated", "connectionCreated", "streamCreated"),
        *("archive:started", "archive:streamAdded", "archive:paused", "archive:started"),
        *("archive:streamRemoved", "archive:stopped"),
        *("streamDestroyed", "connectionDestroyed", "sessionDestroyed", "archive:available"),
    ]


@pytest.mark.parametrize("rotation", [True, False])
def test_every_monitoring_callback_has_the_shape_of_its_sample(
    state: State, rotation: bool
) -> None:
    played = scenarios.play(state, Scenario(lives=2, rotation=rotation))
    published = {name: sample(name) for name in callbacks.sample_names()}
    by_event = {body["event"]: body for body in published.values() if "timestamp" in body}
    seen = {body["event"]: body for body in played.bodies if "timestamp" in body}
    assert len(seen) == (7 if rotation else 6)
    for event, body in seen.items():
        assert set(body) == set(by_event[event])
        assert set(body.get("stream", {})) == set(by_event[event].get("stream", {}))
        assert set(body.get("connection", {})) == set(by_event[event].get("connection", {}))


def test_a_session_has_several_lives_under_one_id(state: State) -> None:
    played = scenarios.play(state, Scenario(lives=3, archives=2))
    created = [body for body in played.bodies if body["event"] == "sessionCreated"]
    assert len({body["sessionId"] for body in created}) == 1
    assert len({body["timestamp"] for body in created}) == 3
    assert len(set(played.archive_ids)) == 6
    assert {each.session_id for each in state.video.archives()} == {played.session.id}


def test_a_server_rotation_stops_the_archives_and_starts_none_again(state: State) -> None:
    played = scenarios.play(state, Scenario(lives=2, rotation=True))
    destroyed = [body for body in played.bodies if body["event"] == "sessionDestroyed"]
    assert [body["reason"] for body in destroyed] == ["serverRotation", "clientDisconnected"]
    warned = [b["remainingTime"] for b in played.bodies if b["event"] == "sessionNotification"]
    assert warned == [14400, 3600]
    assert len(played.archive_ids) == 1
    assert [b["reason"] for b in played.bodies if b.get("status") == "stopped"] == [""]


@given(
    st.builds(
        Scenario,
        lives=st.integers(1, 3),
        rotation=st.booleans(),
        pauses=st.integers(0, 3),
        archives=st.integers(0, 2),
        duration=st.integers(0, 40_000),
        ongoing=st.booleans(),
        manual=st.booleans(),
    )
)
def test_callbacks_are_in_order_and_never_repeated(scenario: Scenario) -> None:
    state = State("http://emulator")
    played = scenarios.play(state, scenario)
    bodies = played.bodies
    if scenario.ongoing:
        bodies = bodies + scenarios.end(state, played.session.id, Ending()).bodies
    now = archives.milliseconds(state.clock.now())
    monitored = [body for body in bodies if "timestamp" in body and body["event"] != "archive"]
    things = [str(body.get("connection", body.get("stream"))) for body in monitored]
    times = [body["timestamp"] for body in monitored]
    events = [body["event"] for body in monitored]
    assert len(set(zip(events, things, times, strict=True))) == len(monitored)
    assert max(times) <= now + 1
    for archive_id in played.archive_ids:
        updates = [body["updatedAt"] for body in bodies if body.get("id") == archive_id]
        assert updates == sorted(updates)
        assert updates[-1] <= now + 5001  # the last archives may still be in processing


def test_a_live_session_can_be_warned_rotated_and_ended(state: State) -> None:
    session_id = scenarios.play(state, Scenario(ongoing=True)).session.id
    [warning] = scenarios.notify(state, session_id, Notice(remaining=60)).bodies
    assert (warning["event"], warning["remainingTime"]) == ("sessionNotification", 60)
    rotated = names(scenarios.rotate(state, session_id, Rotation()).bodies)
    assert rotated[0] == "archive:stopped"
    assert rotated.index("sessionDestroyed") < rotated.index("sessionCreated")
    ended = scenarios.end(state, session_id, Ending(reason="forceDisconnected"))
    assert ended.archive_ids == []
    assert ended.bodies[-1]["reason"] == "forceDisconnected"
    with pytest.raises(Refusal, match="not live"):
        scenarios.end(state, session_id, Ending())


def test_callbacks_can_be_lost_repeated_ordered_and_renamed(state: State) -> None:
    scenario = Scenario(
        participants=(),
        drop=frozenset({"sessionCreated"}),
        repeat={"archive:available": 1},
        order=("archive:available",),
        rename={"archive:stopped": "finished", "sessionDestroyed": "sessionGone"},
    )
    sent = scenarios.to_send(scenarios.play(state, scenario), scenario)
    assert names(sent) == [
        *["archive:available"] * 2,
        *("archive:started", "archive:finished", "sessionGone"),
    ]
    silent = Scenario(deliver=False)
    assert scenarios.to_send(scenarios.play(state, silent), silent) == []


@pytest.mark.parametrize("name", callbacks.sample_names())
def test_every_sample_has_a_callback_url(name: str) -> None:
    kind = name.partition("_")[0]
    expected = {"archive": "video_archives", "broadcast": "video_others"} | dict.fromkeys(
        ("session", "connection", "stream"), "video_sessions"
    )
    assert callbacks.kind_of(sample(name)) == expected.get(kind, "video_others")


def test_callbacks_of_the_meetings_api_are_none_of_the_video_api() -> None:
    for file in (EVENTS / "callbacks").glob("*.json"):
        assert callbacks.kind_of(json.loads(file.read_text())) is None


# --- credentials ----------------------------------------------------------------------------------

NOW = int(time.time())
UNIFIED: dict[str, Any] = {"application_id": APPLICATION_ID, "iat": NOW, "jti": "a"}
CLASSIC: dict[str, Any] = {"iss": API_KEY, "ist": "project", "iat": NOW, "exp": NOW + 300}


def accepts_unified(claims: dict[str, Any], key: Any = None, project: str = APPLICATION_ID) -> bool:
    token = jwt.encode(claims, key or CREDENTIALS.private_key, algorithm="RS256")
    with time_machine.travel(NOW, tick=False):
        return is_authorized(project, Headers({"Authorization": f"Bearer {token}"}), CREDENTIALS)


def accepts_classic(claims: dict[str, Any], key: str = "", project: str = API_KEY) -> bool:
    token = jwt.encode(claims, key or CREDENTIALS.api_secret, algorithm="HS256")
    with time_machine.travel(NOW, tick=False):
        return is_authorized(project, Headers({"X-OPENTOK-AUTH": token}), CREDENTIALS)


def test_tokens_of_the_released_sdks_are_accepted() -> None:
    assert accepts_unified(UNIFIED | {"exp": NOW + 900})
    assert accepts_unified(UNIFIED)
    assert accepts_unified(UNIFIED | {"exp": NOW + 7 * 86400})
    assert accepts_classic(CLASSIC)
    assert accepts_classic(CLASSIC | {"exp": NOW + 180, "jti": "a"})


@pytest.mark.parametrize(
    "change",
    [
        {"application_id": API_KEY},
        {"exp": NOW - 60},
        {"iat": NOW - 16 * 60},
        {"iat": NOW - 25 * 3600, "exp": NOW + 900},
        {"iat": NOW + 600},
        {"jti": None},
        {"iat": None, "exp": NOW + 900},
    ],
)
def test_a_unified_token_that_breaks_a_rule_is_rejected(change: dict[str, Any]) -> None:
    claims = {key: value for key, value in (UNIFIED | change).items() if value is not None}
    assert not accepts_unified(claims)


@pytest.mark.parametrize(
    "change",
    [
        {"iss": APPLICATION_ID},
        {"ist": "account"},
        {"exp": NOW - 60},
        {"exp": NOW + 3600},
        {"exp": None},
        {"iat": None},
    ],
)
def test_a_classic_token_that_breaks_a_rule_is_rejected(change: dict[str, Any]) -> None:
    claims = {key: value for key, value in (CLASSIC | change).items() if value is not None}
    assert not accepts_classic(claims)


def test_a_token_of_another_key_or_project_is_rejected() -> None:
    assert not accepts_unified(UNIFIED, rsa.generate_private_key(65537, 2048))
    assert not accepts_classic(CLASSIC, "x" * 40)
    assert not accepts_unified(UNIFIED, project=API_KEY)
    assert not accepts_classic(CLASSIC, project=APPLICATION_ID)
    assert not is_authorized(API_KEY, Headers({"X-OPENTOK-AUTH": "x"}), CREDENTIALS)
    assert not is_authorized(APPLICATION_ID, Headers({"Authorization": "Basic YTpi"}), CREDENTIALS)


# --- files ----------------------------------------------------------------------------------------


@given(st.integers(0, 3 * MIB), st.data())
def test_any_range_of_a_file_equals_that_range_of_the_full_content(size: int, data: Any) -> None:
    file = GeneratedFile("a", size)
    whole = b"".join(file.chunks())
    assert len(whole) == size
    start = data.draw(st.integers(0, size + 5))
    length = data.draw(st.integers(0, size))
    assert file.read(start, length) == whole[start : start + length]
    assert sha256(file) == hashlib.sha256(whole).digest()


def test_files_differ_by_id_version_and_place() -> None:
    a, b, changed = GeneratedFile("a", MIB), GeneratedFile("b", MIB), GeneratedFile("a", MIB, 1)
    assert len({sha256(each) for each in (a, b, changed)}) == 3
    assert len({each.etag for each in (a, b, changed)}) == 3
    large = GeneratedFile("a", 100 * MIB)
    parts = {large.read(n * 5 * MIB, 5 * MIB) for n in range(1, 20)}
    assert len(parts) == 19


def test_a_large_file_is_an_mp4_with_a_box_to_skip() -> None:
    head = GeneratedFile("a", 10 * 1024 * MIB).read(0, len(FILM) + 16)
    assert head.startswith(FILM)
    assert head[-12:-8] == b"free"
    assert int.from_bytes(head[-8:]) == 10 * 1024 * MIB - len(FILM)


def test_ten_gigabytes_need_no_memory() -> None:
    file = GeneratedFile("large", 10 * 1024 * MIB)
    reader = FileReader(file)
    file.read(len(FILM) + 16, 1)  # generates the filler that all files share
    tracemalloc.start()
    for n in range(100):
        reader.seek(n * 100 * MIB)
        assert len(reader.read()) == 256 * 1024
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4 * MIB


def test_the_hash_of_a_large_file_is_known_once_it_was_computed() -> None:
    files = Files(RLock())
    files.set_size("a", 2 * MIB)
    assert files.known_sha256("a", MIB) is None
    digest = files.sha256("a")
    assert files.known_sha256("a", MIB) == digest
    files.replace_content("a")
    assert files.known_sha256("a", MIB) is None
    assert files.sha256("a") != digest


def test_an_archive_shows_the_hash_of_its_file(state: State) -> None:
    [archive_id] = added_archives.add(state, Archives(size=500_000))["archive_ids"]
    shown = state.video.shown(state.video.archive(archive_id))
    whole = b"".join(state.files.of(archive_id).chunks())
    assert shown["sha256sum"] == base64.b64encode(hashlib.sha256(whole).digest()).decode()
    assert (shown["size"], len(shown["sha256sum"])) == (500_000, 44)


# --- retries --------------------------------------------------------------------------------------


def attempts(statuses: Callable[[int], int | None]) -> list[timedelta]:
    """Return when a callback is posted, if the receiver responds with these statuses."""
    made: list[timedelta] = []

    def post(_delivery: Delivery, _target: Target, at: datetime) -> Attempt:
        made.append(at - NOON)
        status = statuses(len(made))
        return Attempt("", status, None if status else "ConnectionError")

    queue = RetryQueue(Condition(), post)
    queue.deliver(Delivery({}), Target(url="http://receiver"), NOON)
    while queue.send_next(NOON + 48 * HOUR):
        pass
    return made


def test_retries_double_their_wait_up_to_fifteen_minutes_for_a_day() -> None:
    made = attempts(lambda _: 500)
    waits = [after - before for before, after in pairwise(made)]
    assert [wait.total_seconds() for wait in waits[:9]] == [5, 10, 20, 40, 80, 160, 320, 640, 900]
    assert max(waits) == timedelta(minutes=15)
    assert 23.7 * HOUR < made[-1] <= 24 * HOUR
    assert 95 < len(made) < 110


@pytest.mark.parametrize("status", [None, 302, 400, 403, 404, 429, 500])
def test_everything_but_success_is_retried(status: int | None) -> None:
    made = attempts(lambda number: status if number < 3 else 204)
    assert made == [timedelta(0), 5 * SECOND, 15 * SECOND]
