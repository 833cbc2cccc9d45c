"""The emulated Video API over HTTP."""

import gzip
import hashlib
import json
import re
import socket
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jwt
import pytest
import requests
import urllib3

from local.vonage import VonageControl
from local.vonage.control import ControlError
from tests.integration.vonage_support import in_turn, scripted, statuses
from tests.support.video import VideoCaller, classic, classic_token, unified, unified_token

SIZE = 3_000_000
GIGABYTES = 10 * 1024**3


@pytest.fixture(params=[unified, classic])
def api(request: pytest.FixtureRequest, emulator: VonageControl) -> VideoCaller:
    """A caller of each environment's API."""
    caller: VideoCaller = request.param(emulator)
    return caller


def environment(api: VideoCaller) -> str:
    return "classic" if "46339892" in api.url else "unified"


def add_archives(
    emulator: VonageControl, api: VideoCaller, count: int = 1, **fields: Any
) -> list[str]:
    added = emulator.video.add_archives(count, environment=environment(api), **fields)
    ids: list[str] = added["archive_ids"]
    return ids


def error_of(response: requests.Response) -> tuple[int, int]:
    body = response.json()
    assert set(body) == {"code", "message", "description"}
    return response.status_code, body["code"]


# --- the API --------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["", "/x", "/x/stop"])
def test_wrong_credentials_are_forbidden(emulator: VonageControl, path: str) -> None:
    url = f"{unified(emulator).url}{path}"
    other = classic(emulator).url + path
    method = "POST" if path.endswith("stop") else "GET"
    for address, headers in [
        (url, {}),
        (url, {"Authorization": "Bearer x.y.z"}),
        (url, {"X-OPENTOK-AUTH": classic_token(emulator)}),
        (other, {"Authorization": f"Bearer {unified_token(emulator)}"}),
        (other, {"X-OPENTOK-AUTH": classic_token(emulator, ist="account")}),
    ]:
        response = requests.request(method, address, headers=headers, timeout=60)
        assert error_of(response) == (403, 403)


def test_archives_are_listed_newest_first_without_deleted_ones(
    emulator: VonageControl, api: VideoCaller
) -> None:
    days = ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z", "2026-01-01T00:00:00Z"]
    a, b, c = [add_archives(emulator, api, started_at=day, frozen=True)[0] for day in days]
    add_archives(emulator, api, status="deleted")
    assert [each["id"] for each in api.listed()["items"]] == [b, a, c]
    assert api("DELETE", f"/{a}").status_code == 204
    assert [each["id"] for each in api.listed()["items"]] == [b, c]


def test_a_project_sees_only_its_own_archives(emulator: VonageControl) -> None:
    [archive_id] = add_archives(emulator, unified(emulator))
    assert unified(emulator).listed()["count"] == 1
    assert classic(emulator).listed()["count"] == 0
    assert error_of(classic(emulator)("GET", f"/{archive_id}")) == (404, 404)
    assert error_of(classic(emulator)("DELETE", f"/{archive_id}")) == (404, 404)


@pytest.mark.parametrize(("meaning", "counts"), [("total", [60, 60]), ("returned", [50, 7])])
def test_a_list_is_paged_with_either_meaning_of_count(
    emulator: VonageControl, api: VideoCaller, meaning: str, counts: list[int]
) -> None:
    emulator.settings(archive_count=meaning)
    add_archives(emulator, api, 60)
    whole = api.listed()
    part = api.listed(offset=53, count=1000)
    assert [whole["count"], part["count"]] == counts
    assert [len(whole["items"]), len(part["items"])] == [50, 7]
    assert len({each["id"] for each in whole["items"] + part["items"]}) == 57
    assert api.listed(offset=60)["items"] == []


@pytest.mark.parametrize("query", [{"count": 1001}, {"count": "x"}, {"offset": -1}])
def test_an_invalid_page_is_rejected(
    emulator: VonageControl, api: VideoCaller, query: dict[str, Any]
) -> None:
    assert error_of(api("GET", params=query)) == (400, 400)


@pytest.mark.parametrize("name", ["sessionId", "session_id"])
def test_a_list_can_be_of_one_session(emulator: VonageControl, api: VideoCaller, name: str) -> None:
    add_archives(emulator, api, 3, session_id="one")
    add_archives(emulator, api, 2, session_id="two")
    assert len(api.listed(**{name: "two"})["items"]) == 2
    assert api.listed(**{name: "three"})["items"] == []


@pytest.mark.parametrize("status", [404, 400])
def test_an_unknown_archive_has_either_status(
    emulator: VonageControl, api: VideoCaller, status: int
) -> None:
    emulator.settings(unknown_archive=status)
    assert error_of(api("GET", "/x")) == (status, status)
    assert error_of(api("POST", "/x/stop")) == (status, status)


@pytest.mark.parametrize("status", [404, 400, 403])
def test_the_deletion_of_an_unknown_archive_has_one_of_three_statuses(
    emulator: VonageControl, api: VideoCaller, status: int
) -> None:
    emulator.settings(unknown_on_delete=status)
    assert error_of(api("DELETE", "/x")) == (status, status)


@pytest.mark.parametrize("status", ["started", "paused", "stopped", "expired", "failed"])
def test_an_archive_without_a_finished_file_cannot_be_deleted(
    emulator: VonageControl, api: VideoCaller, status: str
) -> None:
    [archive_id] = add_archives(emulator, api, status=status, frozen=True)
    assert error_of(api("DELETE", f"/{archive_id}")) == (409, 15004)
    assert api.archive(archive_id)["status"] == status


@pytest.mark.parametrize("status", [204, 404])
def test_a_repeated_deletion_has_either_status(
    emulator: VonageControl, api: VideoCaller, status: int
) -> None:
    emulator.settings(repeated_delete=status)
    [archive_id] = add_archives(emulator, api, status="uploaded")
    assert api("DELETE", f"/{archive_id}").status_code == 204
    assert api("DELETE", f"/{archive_id}").status_code == status
    assert api("GET", f"/{archive_id}").status_code == 404
    emulator.settings(deleted_archive="shown")
    assert api.archive(archive_id)["status"] == "deleted"


def test_an_archive_is_started_and_stopped_and_becomes_available(
    emulator: VonageControl, api: VideoCaller
) -> None:
    kind = environment(api)
    session_id = emulator.video.play_session(ongoing=True, archives=0, environment=kind)[
        "session_id"
    ]
    # The Python SDK for OpenTok sends null for what its caller did not set.
    body = {"sessionId": session_id, "name": "mine", "resolution": None, "multiArchiveTag": "a"}
    started = api("POST", json=body).json()
    assert (started["status"], started["name"]) == ("started", "mine")
    assert error_of(api("POST", json=body)) == (409, 15001)
    stopped = api("POST", f"/{started['id']}/stop").json()
    assert (stopped["status"], stopped["reason"]) == ("stopped", "user initiated")
    assert (stopped["size"], stopped["duration"], stopped["url"]) == (0, 0, None)
    emulator.advance_clock(5)
    available = api.archive(started["id"])
    assert available["status"] == "available"
    assert available["url"]
    assert error_of(api("POST", f"/{started['id']}/stop")) == (409, 15002)


def test_nothing_is_recorded_without_clients(emulator: VonageControl, api: VideoCaller) -> None:
    ended = emulator.video.play_session(archives=0, environment=environment(api))["session_id"]
    assert error_of(api("POST", json={"sessionId": ended})) == (404, 404)
    assert error_of(api("POST", json={"sessionId": "x"})) == (404, 404)
    assert error_of(api("POST", json={})) == (400, 400)
    assert error_of(api("POST", data=b"[")) == (400, 400)


def test_an_upload_target_is_set_through_the_api(emulator: VonageControl, api: VideoCaller) -> None:
    config = {"accessKey": "k", "secretKey": "s", "bucket": "b"}
    body = {"type": "S3", "config": config, "fallback": "none"}
    assert api("PUT", "/storage", json=body).status_code == 200
    played = emulator.video.play_session(environment=environment(api), size=2**40)
    shown = api.archive(played["archive_ids"][0])
    assert (shown["status"], shown["url"], shown["size"]) == ("uploaded", None, 2**40)
    [kept] = emulator.video.archives()
    assert re.fullmatch(rf"[0-9a-f-]+/{shown['id']}/archive\.mp4", kept["key"])


def test_an_archive_expires_after_72_hours_and_its_file_is_gone(emulator: VonageControl) -> None:
    api = unified(emulator)
    [archive_id] = add_archives(emulator, api)
    emulator.advance_clock(72 * 3600 - 120)
    url = api.archive(archive_id)["url"]
    assert requests.get(url, timeout=60).status_code == 200
    emulator.advance_clock(120)
    shown = api.archive(archive_id)
    assert (shown["status"], shown["url"]) == ("expired", None)
    assert shown["duration"] == 38
    assert requests.get(url, timeout=60).status_code == 404


@pytest.mark.parametrize(
    ("operation", "method", "path"),
    [
        ("list_archives", "GET", ""),
        ("get_archive", "GET", "/x"),
        ("start_archive", "POST", ""),
        ("stop_archive", "POST", "/x/stop"),
        ("delete_archive", "DELETE", "/x"),
        ("set_storage", "PUT", "/storage"),
    ],
)
def test_every_operation_can_have_faults(
    emulator: VonageControl, api: VideoCaller, operation: str, method: str, path: str
) -> None:
    emulator.fault(operation, status=429, times=1)
    emulator.fault(operation, status=409, name="15008", times=1)
    emulator.fault(operation, reset=True, times=1)
    assert error_of(api(method, path)) == (429, 429)
    assert error_of(api(method, path)) == (409, 15008)
    with pytest.raises(requests.ConnectionError):
        api(method, path)
    assert statuses(emulator, operation) == [429, 409, None]


def test_single_archives_of_a_list_can_be_changed(emulator: VonageControl) -> None:
    add_archives(emulator, unified(emulator), 3)
    changes = [{"element": 1, "fields": {"createdAt": "x"}, "without": ["id"]}]
    emulator.fault("list_archives", elements=changes)
    items = unified(emulator).listed()["items"]
    assert [("id" in each) for each in items] == [True, False, True]
    assert items[1]["createdAt"] == "x"


# --- downloads ------------------------------------------------------------------------------------


@pytest.fixture(params=["archive", "recording"])
def url(request: pytest.FixtureRequest, emulator: VonageControl) -> str:
    """The download URL of a file of SIZE bytes of either product."""
    address: str
    if request.param == "archive":
        added = emulator.video.add_archives(size=SIZE, ids=["a"])
        address = unified(emulator).archive(added["archive_ids"][0])["url"]
    else:
        emulator.add_recordings(ids=["a"], size=SIZE)
        shown = requests.get(f"{emulator.api_url}/recordings/a", auth=("k", "s"), timeout=60)
        address = shown.json()["_links"]["url"]["href"]
    return address


def get(url: str, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return requests.get(url, headers=named, timeout=30, allow_redirects=False)


def test_a_file_is_served_completely_and_in_ranges(emulator: VonageControl, url: str) -> None:
    whole = get(url)
    assert (whole.status_code, len(whole.content)) == (200, SIZE)
    assert whole.headers["Content-Length"] == str(SIZE)
    assert whole.headers["Accept-Ranges"] == "bytes"
    file = emulator.video.file("a")
    assert hashlib.sha256(whole.content).hexdigest() == file["sha256"]
    assert whole.headers["ETag"] == file["etag"]
    for first, last in [(0, 0), (1000, 2_000_000), (SIZE - 5, SIZE - 1)]:
        part = get(url, Range=f"bytes={first}-{last}", If_Match=file["etag"])
        assert (part.status_code, part.content) == (206, whole.content[first : last + 1])
        assert part.headers["Content-Range"] == f"bytes {first}-{last}/{SIZE}"
    assert get(url, Range=f"bytes={SIZE}-").status_code == 416
    head = requests.head(url, timeout=60)
    assert (head.headers["Content-Length"], head.content) == (str(SIZE), b"")


def test_a_changed_file_fails_the_preconditions(emulator: VonageControl, url: str) -> None:
    before = get(url)
    etag = before.headers["ETag"]
    emulator.video.change_file("a", replace_content=True)
    assert get(url, Range="bytes=5-9", If_Match=etag).status_code == 412
    assert "PreconditionFailed" in get(url, If_Match=etag).text
    after = get(url, Range="bytes=5-9", If_Range=etag)
    assert (after.status_code, len(after.content)) == (200, SIZE)
    assert after.content != before.content
    assert get(url, Range="bytes=5-9", If_Range=after.headers["ETag"]).status_code == 206


def test_any_range_of_ten_gigabytes_is_served_without_delay(emulator: VonageControl) -> None:
    [archive_id] = emulator.video.add_archives(size=GIGABYTES)["archive_ids"]
    address = unified(emulator).archive(archive_id)["url"]
    assert requests.head(address, timeout=60).headers["Content-Length"] == str(GIGABYTES)
    end = get(address, Range=f"bytes={GIGABYTES - 10}-")
    assert (end.status_code, len(end.content)) == (206, 10)
    with requests.get(address, stream=True, timeout=60) as response:
        assert len(response.raw.read(1000)) == 1000


@pytest.mark.parametrize("form", ["X-Amz", "Expires"])
def test_an_archives_url_expires_after_ten_minutes(emulator: VonageControl, form: str) -> None:
    emulator.settings(url_form=form)
    [archive_id] = emulator.video.add_archives()["archive_ids"]
    address = unified(emulator).archive(archive_id)["url"]
    emulator.advance_clock(590)
    assert get(address).status_code == 200
    emulator.advance_clock(11)
    late = get(address)
    assert (late.status_code, "Request has expired" in late.text) == (403, True)
    assert get(unified(emulator).archive(archive_id)["url"]).status_code == 200


def test_an_individual_archive_is_a_zip(emulator: VonageControl) -> None:
    [archive_id] = emulator.video.add_archives(output_mode="individual")["archive_ids"]
    address = unified(emulator).archive(archive_id)["url"]
    assert "/archive.zip?" in address
    assert get(address).headers["Content-Type"] == "application/zip"


@pytest.mark.parametrize(
    ("fault", "sent", "error"),
    [
        ({"cut_after": 100_000}, 100_000, "IncompleteRead"),
        ({"truncate": 5}, SIZE - 5, "IncompleteRead"),
        ({"cut_after": 0}, 0, "IncompleteRead"),
        ({"content_length": SIZE + 1}, SIZE, "IncompleteRead"),
        ({"cut_after": 100_000, "reset": True}, 100_000, "Connection reset by peer"),
    ],
)
def test_a_download_can_be_truncated_or_reset(
    emulator: VonageControl, url: str, fault: dict[str, Any], sent: int, error: str
) -> None:
    whole = get(url).content
    emulator.fault("download", times=1, **fault)
    received, reason = received_until_error(url)
    assert error in reason
    assert whole.startswith(received)
    assert len(received) == sent or (error == "Connection reset by peer" and len(received) < sent)
    assert get(url).content == whole


def received_until_error(url: str) -> tuple[bytes, str]:
    """Return the bytes of a download that fails, and the error."""
    received = b""
    with requests.get(url, stream=True, timeout=60) as response:
        try:
            for chunk in response.raw.stream(1000):
                received += chunk
        except urllib3.exceptions.HTTPError as exc:
            return received, str(exc)
    pytest.fail("The download succeeded.")


def test_a_download_can_have_any_length_and_form(emulator: VonageControl, url: str) -> None:
    whole = get(url).content
    faults: list[dict[str, Any]] = [
        {"body": "", "content_type": "video/mp4"},
        {"content_length": 1000},
        {"gzip": True},
        {"chunked": True},
        {"headers": {"ETag": '"other"'}},
        {"status": 302, "location": f"{emulator.base}/elsewhere"},
        {"status": 403},
    ]
    for fault in faults:
        emulator.fault("download", times=1, **fault)
    empty = get(url)
    assert (empty.status_code, empty.headers["Content-Length"], empty.content) == (200, "0", b"")
    assert get(url).content == whole[:1000]
    zipped = requests.get(url, stream=True, timeout=30)
    assert zipped.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(zipped.raw.read()) == whole
    chunked = get(url)
    assert ("Content-Length" in chunked.headers, chunked.content) == (False, whole)
    assert get(url).headers["ETag"] == '"other"'
    redirected = get(url)
    assert redirected.headers["Location"] == f"{emulator.base}/elsewhere"
    assert "<Code>AccessDenied</Code>" in get(url).text


def test_a_download_can_be_endless_or_slow(emulator: VonageControl, url: str) -> None:
    emulator.fault("download", endless=True, times=1)
    with requests.get(url, stream=True, timeout=30) as response:
        received = 0
        while received <= 2 * SIZE:
            received += len(response.raw.read(100_000))
    emulator.fault("download", trickle=0.01, times=1)
    start = time.monotonic()
    with requests.get(url, stream=True, timeout=30) as response:
        assert len(response.raw.read(20)) == 20
    assert time.monotonic() - start >= 0.19


def test_each_connection_has_a_rate_limit_of_its_own(emulator: VonageControl, url: str) -> None:
    emulator.fault("download", rate=100_000)

    def seconds(_: int) -> float:
        start = time.monotonic()
        assert len(get(url, Range="bytes=0-49999").content) == 50_000
        return time.monotonic() - start

    with ThreadPoolExecutor(4) as pool:
        assert min(pool.map(seconds, range(4))) >= 0.49


# --- callbacks ------------------------------------------------------------------------------------


def claims_of(token: str, secret: str) -> dict[str, Any]:
    """Return the claims of a token; secrets may be shorter than HS256 requires."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        claims: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"])
    return claims


def test_callbacks_are_signed_with_the_secret_of_their_url(emulator: VonageControl) -> None:
    with scripted(in_turn([])) as one, scripted(in_turn([])) as two:
        emulator.video.callbacks_to(one.url, kinds=["video_archives"], signature_secret="short")
        emulator.video.callbacks_to(two.url, kinds=["video_sessions"], signature_secret="x" * 50)
        emulator.video.play_session(participants=["Ada"])
        for script, secret in ((one, "short"), (two, "x" * 50)):
            assert script.received
            for each in script.received:
                token = each.headers["authorization"].removeprefix("Bearer ")
                claims = claims_of(token, secret)
                assert claims["payload_hash"] == hashlib.sha256(each.body).hexdigest()
                assert (claims["iss"], "exp" in claims) == ("Vonage", False)
                assert claims["application_id"] in unified(emulator).url
        assert {json.loads(each.body)["event"] for each in one.received} == {"archive"}
        assert len(two.received) == 6


def test_the_meetings_targets_get_no_video_callbacks(emulator: VonageControl) -> None:
    with scripted(in_turn([])) as meetings:
        emulator.callbacks_to(meetings.url)
        emulator.video.play_session()
        assert meetings.received == []


def test_callbacks_are_retried_by_the_emulated_clock(emulator: VonageControl) -> None:
    with scripted(in_turn([500, 404])) as receiver:
        emulator.video.callbacks_to(receiver.url)
        emulator.video.send_sample("archive_started")
        assert len(receiver.received) == 1
        emulator.advance_clock(5)
        assert len(receiver.received) == 2
        emulator.advance_clock(3600)
    [delivery] = emulator.deliveries()
    assert [each["status"] for each in delivery["attempts"]] == [500, 404, 204]
    assert delivery["delivered"]


def test_the_first_attempt_can_lack_the_signature(emulator: VonageControl) -> None:
    emulator.settings(unsigned_first=True)
    with scripted(in_turn([500])) as receiver:
        emulator.video.callbacks_to(receiver.url, signature_secret="a secret")
        emulator.video.send_sample("archive_started")
        emulator.advance_clock(5)
        assert ["authorization" in each.headers for each in receiver.received] == [False, True]


def test_a_callback_is_dropped_after_a_day(emulator: VonageControl) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    emulator.video.callbacks_to(f"http://127.0.0.1:{port}")
    emulator.video.send_sample("session_created")
    emulator.advance_clock(30 * 3600)
    [delivery] = emulator.deliveries()
    assert (delivery["delivered"], delivery["status"]) == (False, None)
    assert 95 < len(delivery["attempts"]) < 110


def test_brief_retries_are_those_of_the_meetings_api(emulator: VonageControl) -> None:
    emulator.settings(video_retries="brief", attempts=3, backoff=0.01)
    with scripted(in_turn([500, 500])) as receiver:
        emulator.video.callbacks_to(receiver.url)
        assert emulator.video.send_sample("archive_started")["delivered"]
        assert len(receiver.received) == 3


def test_changes_by_the_clock_and_through_the_api_send_callbacks(emulator: VonageControl) -> None:
    with scripted(in_turn([])) as receiver:
        emulator.video.callbacks_to(receiver.url)
        ids = emulator.video.add_archives(2, status="started", callbacks=True)["archive_ids"]
        silent = emulator.video.add_archives(1, status="started")["archive_ids"]
        assert unified(emulator)("POST", f"/{ids[0]}/stop").status_code == 200
        emulator.advance_clock(80 * 3600)
        received = [json.loads(each.body) for each in receiver.received]
    seen = {id_: [each["status"] for each in received if each["id"] == id_] for id_ in ids}
    assert list(seen.values()) == [["stopped", "available", "expired"]] * 2
    assert silent[0] not in {each["id"] for each in received}


def test_every_sample_can_be_sent(emulator: VonageControl) -> None:
    names = emulator.video.samples()
    with scripted(in_turn([])) as receiver:
        emulator.video.callbacks_to(receiver.url)
        assert all(emulator.video.send_sample(name)["delivered"] for name in names)
        assert len(receiver.received) == len(names) > 25
    with pytest.raises(ControlError, match="no sample"):
        emulator.video.send_sample("x")


def test_many_sessions_send_their_callbacks_concurrently(emulator: VonageControl) -> None:
    emulator.settings(timeout=600)  # however busy the machine is, no callback is given up
    with scripted(in_turn([])) as receiver:
        emulator.video.callbacks_to(receiver.url)
        outcome = emulator.video.play_sessions(
            30, drop=0.3, duplicates=0.2, seed=7, scenario={"pauses": 1, "participants": ["Ada"]}
        )
    lost = sum(outcome["dropped"].values())
    assert outcome["callbacks"] == 30 * 11
    assert lost
    assert outcome["duplicated"]
    assert outcome["delivered"] == 330 - lost + outcome["duplicated"] == len(receiver.received)
    assert len(set(outcome["archive_ids"])) == 30
    assert len(unified(emulator).listed(count=100)["items"]) == 30


# --- the control interface ------------------------------------------------------------------------


def test_archives_can_be_added_in_any_status(emulator: VonageControl) -> None:
    for status in ("started", "paused", "stopped", "available", "uploaded", "expired", "failed"):
        added = emulator.video.add_archives(
            2, status=status, session_id=status, size=2**33, frozen=True
        )
        assert added["session_ids"] == [status]
        for archive_id in added["archive_ids"]:
            shown = unified(emulator).archive(archive_id)
            has_file = status in {"available", "uploaded", "expired"}
            assert (shown["status"], shown["size"]) == (status, 2**33 if has_file else 0)
            assert bool(shown["url"]) == (status == "available")


def test_an_archive_goes_through_its_life_step_by_step(emulator: VonageControl) -> None:
    with scripted(in_turn([])) as receiver:
        emulator.video.callbacks_to(receiver.url)
        [archive_id] = emulator.video.play_session(ongoing=True)["archive_ids"]
        before = len(receiver.received)
        for step in ("pause", "resume", "stop", "process", "expire", "fail"):
            emulator.video.step(archive_id, step, reason="by hand")
        received = [json.loads(each.body) for each in receiver.received[before:]]
    expected = ["paused", "started", "stopped", "available", "expired", "failed"]
    assert [each["status"] for each in received] == expected
    assert {each["reason"] for each in received} == {"by hand"}


def test_a_deserted_archive_stops_after_a_minute(emulator: VonageControl) -> None:
    [archive_id] = emulator.video.play_session(ongoing=True)["archive_ids"]
    emulator.video.step(archive_id, "pause", deserted=True)
    emulator.advance_clock(59)
    assert unified(emulator).archive(archive_id)["status"] == "paused"
    emulator.advance_clock(2)
    shown = unified(emulator).archive(archive_id)
    assert (shown["status"], shown["reason"]) == ("stopped", "session ended")


def test_a_session_can_be_warned_rotated_and_ended(emulator: VonageControl) -> None:
    session_id = emulator.video.play_session(ongoing=True)["session_id"]
    emulator.video.notify_session(session_id, remaining=60)
    rotated = emulator.video.rotate_session(session_id)
    assert len(rotated["archive_ids"]) == 1
    events = [each["body"].get("event") for each in emulator.deliveries()]
    assert events.count("sessionCreated") == 2
    assert emulator.video.end_session(session_id, drop=["sessionDestroyed"])["archive_ids"] == []
    with pytest.raises(ControlError, match="not live"):
        emulator.video.end_session(session_id)


def test_stopped_archives_of_a_session_wait_for_their_processing(emulator: VonageControl) -> None:
    [archive_id] = emulator.video.play_session(outcome="stopped")["archive_ids"]
    emulator.advance_clock(3600)
    assert unified(emulator).archive(archive_id)["status"] == "stopped"
    assert emulator.video.step(archive_id, "process")["status"] == "available"


def test_the_journal_has_no_credentials(emulator: VonageControl) -> None:
    unified(emulator).listed()
    classic(emulator).listed()
    journal = emulator.requests()
    assert [each["authorization"] for each in journal] == ["Bearer", "X-OPENTOK-AUTH"]
    assert "eyJ" not in json.dumps(journal)


def test_a_reset_keeps_the_credentials_only(emulator: VonageControl) -> None:
    before = emulator.video.credentials()
    emulator.video.upload_to()
    emulator.video.add_archives(size=5, ids=["a"])
    emulator.reset()
    assert emulator.video.credentials() == before
    assert emulator.video.archives() == []
    [archive_id] = emulator.video.play_session()["archive_ids"]
    assert unified(emulator).archive(archive_id)["status"] == "available"
