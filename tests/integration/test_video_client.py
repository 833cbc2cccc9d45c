"""The client of the Video API against a small server on loopback."""

import json
import re
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from roomkeeper.callbacks.video import parse
from roomkeeper.domain.observations import RecordingObservation
from roomkeeper.vonage import (
    BadRequest,
    Forbidden,
    InvalidId,
    InvalidRecording,
    InvalidResponse,
    NotDeletable,
    NotFound,
    RateLimited,
    Unauthorized,
    UnrecognizedStatus,
    VonageError,
)
from roomkeeper.vonage.errors import NotStoppable
from roomkeeper.vonage.recordings_api import Download, RecordingsApi
from roomkeeper.vonage.video import (
    ClassicKey,
    UnifiedKey,
    VideoClient,
    video_credentials_from,
)
from roomkeeper.vonage.video.client import OVERLAP, PAGE_SIZE, PAGES_AHEAD
from tests.integration.vonage_support import SHORT_DELAYS, ReceivedRequest, Script, reply, scripted

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SECRET = "0123456789abcdef0123456789abcdef01234567"
KEY = ClassicKey("46201502", SECRET)
SHA256 = "/jjVJdAahiVeChWS00qCOX9YP6IpKzAhhAoOuyaZiSE="
URL = "https://archives.example/46201502/a/archive.mp4?Signature=secret"
DELETABLE = {"available", "uploaded", "deleted"}
STOPPABLE = {"started", "paused", "stopped"}
HTML = b"<html><body>Sign in to the network</body></html>"

Reply = tuple[int, bytes]


def an_archive(archive_id: str = "a", status: str = "available", **changes: Any) -> dict[str, Any]:
    fields = {
        "id": archive_id,
        "status": status,
        "name": "Ada's archive",
        "reason": "",
        "sessionId": "session-1",
        "projectId": 46201502,
        "createdAt": milliseconds(NOON),
        "updatedAt": milliseconds(NOON + timedelta(hours=1)),
        "size": 247145329511,
        "duration": 3600,
        "sha256sum": SHA256,
        "password": "hidden",
        "url": URL if status == "available" else None,
    }
    return {**fields, **changes}


def milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)


def an_error(status: int, code: int, message: str = "from the API") -> Reply:
    body = {"code": code, "message": message, "description": message}
    return status, json.dumps(body).encode()


NOT_FOUND = an_error(404, 404)
FORBIDDEN = an_error(403, 403)
CONFLICT = an_error(409, 15004)


@dataclass
class Api:
    """The archives of a project as the server has them, newest first, and its faults.

    `faults` has the next replies to an operation, `constant` its reply after those. Operations are
    "list", "GET", "DELETE" and "stop".
    """

    archives: list[dict[str, Any]] = field(default_factory=list)
    faults: dict[str, list[Reply]] = field(default_factory=dict)
    constant: dict[str, Reply] = field(default_factory=dict)
    before_page: Callable[[int], None] = lambda _: None
    script: Script = field(default_factory=Script)

    def __call__(self, handler: BaseHTTPRequestHandler, received: ReceivedRequest) -> None:
        status, body = self._reply(received)
        reply(handler, status, body)

    def _reply(self, received: ReceivedRequest) -> Reply:
        url = urlsplit(received.path)
        found = re.fullmatch(r"/v2/project/46201502/archive(?:/([^/]+))?(/stop)?", url.path)
        assert found, received.path
        archive_id, stop = found.groups()
        operation = "stop" if stop else received.method if archive_id else "list"
        if faults := self.faults.get(operation):
            return faults.pop(0)
        if operation in self.constant:
            return self.constant[operation]
        if operation == "list":
            return self._list(parse_qs(url.query))
        return self._one(operation, archive_id)

    def _list(self, query: dict[str, list[str]]) -> Reply:
        offset, count = int(query["offset"][0]), int(query["count"][0])
        self.before_page(offset)
        session = query.get("sessionId", [""])[0]
        shown = [each for each in self.archives if session in ("", each["sessionId"])]
        page = shown[offset : offset + count]
        return 200, json.dumps({"count": len(page), "items": page}).encode()

    def _one(self, operation: str, archive_id: str) -> Reply:
        archive = next((each for each in self.archives if each.get("id") == archive_id), None)
        if archive is None:
            return NOT_FOUND
        status = archive["status"]
        if operation == "DELETE":
            if status not in DELETABLE:
                return CONFLICT
            archive["status"] = "deleted"
            return 204, b""
        if operation == "stop":
            if status not in STOPPABLE:
                return an_error(409, 15002)
            archive["status"] = "stopped"
        return 200, json.dumps(archive).encode()

    @property
    def operations(self) -> list[str]:
        return [each.method for each in self.script.received]


@pytest.fixture
def api() -> Iterator[Api]:
    api = Api()
    with scripted(api) as script:
        api.script = script
        yield api


@pytest.fixture
def client(api: Api) -> Iterator[VideoClient]:
    with a_client(api) as client:
        yield client


def a_client(api: Api, **options: Any) -> VideoClient:
    return VideoClient(api.script.url, KEY, retry=SHORT_DELAYS, **options)


def ids(api: RecordingsApi, since: datetime = NOON - timedelta(days=1)) -> list[str]:
    return [each.recording_id for page in api.all_since(since) for each in page.found]


# --- credentials ----------------------------------------------------------------------------------


def test_a_classic_token_has_the_project_and_a_short_life(api: Api, client: VideoClient) -> None:
    client.get("a")
    headers = api.script.received[0].headers
    assert "authorization" not in headers
    token = headers["x-opentok-auth"]
    claims = jwt.decode(token, SECRET, algorithms=["HS256"], options={"require": ["jti"]})
    assert (claims["iss"], claims["ist"]) == ("46201502", "project")
    assert 0 < claims["exp"] - claims["iat"] <= 300


def test_a_unified_token_has_the_application_in_a_bearer_header() -> None:
    key = rsa.generate_private_key(65537, 2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()
    credentials = video_credentials_from(application_id="app-1", private_key=pem)
    body = json.dumps(an_archive()).encode()
    with scripted(lambda handler, _: reply(handler, 200, body)) as script:
        with VideoClient(script.url, credentials) as client:
            assert client.get("a") is not None
        received = script.received[0]
    assert received.path == "/v2/project/app-1/archive/a"
    assert "x-opentok-auth" not in received.headers
    scheme, token = received.headers["authorization"].split()
    claims = jwt.decode(token, key.public_key(), algorithms=["RS256"])
    assert scheme == "Bearer"
    assert claims.keys() == {"application_id", "iat", "exp", "jti"}
    assert claims["application_id"] == "app-1"
    assert "app-1" in repr(credentials)
    assert isinstance(credentials, UnifiedKey)
    assert credentials.base_url == "https://video.api.vonage.com"


def test_classic_credentials_belong_to_opentok() -> None:
    credentials = video_credentials_from(api_key="46201502", api_secret=SECRET)
    assert isinstance(credentials, ClassicKey)
    assert credentials.base_url == "https://api.opentok.com"
    assert SECRET not in repr(credentials)


def test_incomplete_credentials_are_named() -> None:
    with pytest.raises(ValueError, match="api_key without api_secret"):
        video_credentials_from(api_key="46201502")


def test_each_classic_token_is_new(api: Api, client: VideoClient) -> None:
    client.get("a")
    client.get("a")
    tokens = [each.headers["x-opentok-auth"] for each in api.script.received]
    assert tokens[0] != tokens[1]


# --- get and download -----------------------------------------------------------------------------

STATUSES = {
    "started": "recording:started",
    "paused": "recording:started",
    "stopped": "recording:ended",
    "available": "recording:uploaded",
    "uploaded": "recording:stored",
    "failed": "recording:failed",
    "expired": "recording:expired",
}


@pytest.mark.parametrize(("status", "event"), STATUSES.items())
def test_an_archive_is_returned_as_a_stage_of_a_recording(
    api: Api, client: VideoClient, status: str, event: str
) -> None:
    api.archives = [an_archive("a", status)]
    found = client.get("a")
    assert found is not None
    assert (found.event, found.product, found.recording_id) == (event, "video", "a")
    assert b"hidden" not in msgspec.json.encode(found)


@pytest.mark.parametrize("absence", [NOT_FOUND, an_error(400, 400), an_error(404, -1)])
def test_a_recording_counts_as_missing_only_in_the_apis_own_format(
    api: Api, client: VideoClient, absence: Reply
) -> None:
    api.faults = {"GET": [absence]}
    api.archives = [an_archive("b")]
    assert client.get("a") is None
    assert api.operations == ["GET", "GET", "GET"]  # a, the list, and its only archive


@pytest.mark.parametrize("operation", ["get", "download", "delete", "stop"])
@pytest.mark.parametrize("refusal", [NOT_FOUND, an_error(400, 400)])
def test_absence_is_not_believed_if_every_archive_is_refused(
    api: Api, client: VideoClient, refusal: Reply, operation: str
) -> None:
    api.archives = [an_archive("b")]
    api.constant = dict.fromkeys(("GET", "DELETE", "stop"), refusal)
    with pytest.raises(InvalidResponse, match="an archive that it lists") as caught:
        getattr(client, operation)("a")
    assert not caught.value.is_item_specific


def test_absence_is_not_believed_of_an_archive_that_is_listed(
    api: Api, client: VideoClient
) -> None:
    api.archives = [an_archive("a")]
    api.faults = {"GET": [NOT_FOUND]}
    with pytest.raises(InvalidResponse, match="an archive that it lists"):
        client.get("a")


@pytest.mark.parametrize("refusal", [NOT_FOUND, an_error(400, 400)])
def test_absence_is_not_believed_if_the_list_is_refused_as_well(
    api: Api, client: VideoClient, refusal: Reply
) -> None:
    api.constant = {"GET": refusal, "list": refusal}
    with pytest.raises(InvalidResponse) as caught:
        client.get("a")
    assert not caught.value.is_item_specific


def test_absence_is_believed_if_there_are_no_archives_or_the_newest_is_of_another_form(
    api: Api, client: VideoClient
) -> None:
    assert client.get("a") is None
    api.archives = [an_archive("b", "melted")]
    assert client.get("a") is None


def test_a_deleted_archive_is_absent(api: Api, client: VideoClient) -> None:
    api.archives = [an_archive("a", "deleted"), an_archive("b")]
    assert client.get("a") is None
    assert ids(client) == ["b"]


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 451])
@pytest.mark.parametrize("operation", ["get", "delete", "stop", "download"])
def test_a_refusal_in_another_form_is_an_invalid_response(
    api: Api, client: VideoClient, operation: str, status: int
) -> None:
    api.archives = [an_archive()]
    api.constant = dict.fromkeys(("GET", "DELETE", "stop"), (status, HTML))
    with pytest.raises(InvalidResponse) as caught:
        getattr(client, operation)("a")
    assert not caught.value.is_item_specific


@pytest.mark.parametrize("operation", ["get", "delete", "stop", "download"])
def test_an_error_with_only_a_message_does_not_prove_absence(
    api: Api, client: VideoClient, operation: str
) -> None:
    api.constant = dict.fromkeys(("GET", "DELETE", "stop"), (404, b'{"message":"Not Found"}'))
    with pytest.raises(InvalidResponse):
        getattr(client, operation)("a")


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"[]", b"null", HTML, b'{"id":"b","status":"available"}']
)
def test_a_success_without_the_archive_is_an_invalid_response(
    api: Api, client: VideoClient, body: bytes
) -> None:
    api.constant = {"GET": (200, body)}
    with pytest.raises(InvalidResponse) as caught:
        client.get("a")
    assert type(caught.value) is InvalidResponse


def test_another_archive_is_an_invalid_response(api: Api, client: VideoClient) -> None:
    api.constant = {"GET": (200, json.dumps(an_archive("b")).encode())}
    with pytest.raises(InvalidResponse, match="another id"):
        client.get("a")


def test_an_archive_in_a_new_status_is_named_and_is_not_invalid(
    api: Api, client: VideoClient
) -> None:
    api.archives = [an_archive("a", "melted")]
    with pytest.raises(UnrecognizedStatus, match="the archive status melted is not known here"):
        client.get("a")


@pytest.mark.parametrize("changes", [{"sessionId": None}, {"status": 5}])
def test_an_archive_with_invalid_data_concerns_that_archive_only(
    api: Api, client: VideoClient, changes: dict[str, Any]
) -> None:
    api.archives = [an_archive("a", **changes)]
    with pytest.raises(InvalidRecording) as caught:
        client.get("a")
    assert caught.value.is_item_specific
    assert not isinstance(caught.value, UnrecognizedStatus)


def test_a_download_has_a_fresh_url_the_size_and_the_checksum(
    api: Api, client: VideoClient
) -> None:
    api.archives = [an_archive()]
    assert client.download("a") == Download(url=URL, size=247145329511, sha256=SHA256)
    api.archives[0]["url"] = URL + "2"
    again = client.download("a")
    assert again is not None
    assert again.url == URL + "2"


@pytest.mark.parametrize("status", ["started", "stopped", "uploaded", "expired", "failed"])
def test_no_other_archive_can_be_downloaded(api: Api, client: VideoClient, status: str) -> None:
    api.archives = [an_archive("a", status, url=URL)]
    assert client.download("a") is None


@pytest.mark.parametrize("bad", ["", "..", "../b", "..\\b", "a/../.."])
def test_an_id_that_could_lead_elsewhere_is_not_even_sent(
    api: Api, client: VideoClient, bad: str
) -> None:
    assert client.get(bad) is None
    assert client.download(bad) is None
    for operation in (client.delete, client.stop):
        with pytest.raises(InvalidId):
            operation(bad)
    assert api.operations == []


def test_passing_failures_are_retried(api: Api, client: VideoClient) -> None:
    api.archives = [an_archive()]
    api.faults = {"GET": [(503, b""), (429, b""), (500, HTML)]}
    assert client.get("a") is not None
    assert api.operations == ["GET"] * 4


def test_the_last_failure_is_raised_at_the_total_timeout(api: Api) -> None:
    api.constant = {"GET": (429, b"")}
    with a_client(api, total_timeout=2) as client, pytest.raises(RateLimited):
        client.get("a")


# --- wrong credentials, or one recording ----------------------------------------------------------


def refused(api: Api, ask: Callable[[VideoClient], object]) -> tuple[VonageError, int]:
    """Return the error of a call, and how often the client reported refused credentials."""
    reported: list[None] = []
    client = a_client(api, on_unauthorized=lambda: reported.append(None))
    with client, pytest.raises(VonageError) as caught:
        ask(client)
    return caught.value, len(reported)


ASKS: dict[str, Callable[[VideoClient], object]] = {
    "get": lambda client: client.get("a"),
    "download": lambda client: client.download("a"),
    "delete": lambda client: client.delete("a"),
    "stop": lambda client: client.stop("a"),
    "in_session": lambda client: client.in_session("session-1"),
    "all_since": lambda client: list(client.all_since(NOON)),
}


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize("status", [401, 403])
def test_wrong_credentials_raise_an_error_and_are_reported_once(
    api: Api, ask: Callable[[VideoClient], object], status: int
) -> None:
    api.constant = dict.fromkeys(("GET", "DELETE", "stop", "list"), an_error(status, status))
    error, reported = refused(api, ask)
    assert type(error) is Unauthorized
    assert not error.is_item_specific
    assert reported == 1


@pytest.mark.parametrize("operation", ["get", "download", "delete", "stop"])
def test_a_403_with_accepted_credentials_concerns_the_recording_only(
    api: Api, operation: str
) -> None:
    api.constant = dict.fromkeys(("GET", "DELETE", "stop"), FORBIDDEN)
    error, reported = refused(api, ASKS[operation])
    assert type(error) is Forbidden
    assert error.is_item_specific
    assert reported == 0


def test_a_403_to_a_session_with_accepted_credentials_concerns_the_session_only(api: Api) -> None:
    api.faults = {"list": [FORBIDDEN]}
    error, reported = refused(api, ASKS["in_session"])
    assert (type(error), reported) == (Forbidden, 0)


def test_a_403_to_the_deletion_of_an_unknown_archive_means_already_deleted(
    api: Api, client: VideoClient
) -> None:
    api.constant = {"DELETE": FORBIDDEN}
    assert client.delete("a") == "already_deleted"


# --- delete ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["available", "uploaded"])
def test_an_archive_is_deleted_once(api: Api, client: VideoClient, status: str) -> None:
    api.archives = [an_archive("a", status)]
    assert client.delete("a") == "deleted"
    assert client.delete("a") == "deleted"
    assert api.operations == ["DELETE"] * 2
    api.archives = []
    assert client.delete("a") == "already_deleted"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("started", "not_yet"),
        ("paused", "not_yet"),
        ("stopped", "not_yet"),
        ("failed", "already_deleted"),
        ("expired", "already_deleted"),
    ],
)
@pytest.mark.parametrize("refusal", [400, 403, 404, 409])
def test_a_refused_deletion_is_decided_by_the_status(
    api: Api, client: VideoClient, status: str, outcome: str, refusal: int
) -> None:
    api.archives = [an_archive("a", status)]
    api.constant = {"DELETE": an_error(refusal, 15004)}
    assert client.delete("a") == outcome
    assert api.operations == ["DELETE", "GET"]


@pytest.mark.parametrize("refusal", [400, 403, 404, 409])
@pytest.mark.parametrize("gone", [NOT_FOUND, an_error(400, 400)])
def test_a_refused_deletion_of_an_absent_archive_is_done(
    api: Api, client: VideoClient, refusal: int, gone: Reply
) -> None:
    api.constant = {"DELETE": an_error(refusal, 15004), "GET": gone}
    assert client.delete("a") == "already_deleted"


def test_an_archive_that_becomes_available_meanwhile_is_deleted(
    api: Api, client: VideoClient
) -> None:
    api.archives = [an_archive()]
    api.faults = {"DELETE": [CONFLICT]}
    assert client.delete("a") == "deleted"
    assert api.operations == ["DELETE", "GET", "DELETE"]


@pytest.mark.parametrize("refusal", [400, 403, 404, 409])
@pytest.mark.parametrize("status", ["available", "uploaded"])
def test_a_lasting_refusal_to_delete_a_deletable_archive_is_a_failure(
    api: Api, client: VideoClient, status: str, refusal: int
) -> None:
    api.archives = [an_archive("a", status)]
    api.constant = {"DELETE": an_error(refusal, 15004, "not for you")}
    with pytest.raises(NotDeletable, match=r"15004 \(not for you\)") as caught:
        client.delete("a")
    assert caught.value.is_item_specific
    assert (caught.value.status, caught.value.name) == (refusal, "15004")
    assert api.operations == ["DELETE", "GET"] * 2


def test_an_unknown_status_after_a_refused_deletion_is_no_outcome(
    api: Api, client: VideoClient
) -> None:
    api.archives = [an_archive("a", "melted")]
    with pytest.raises(InvalidRecording):
        client.delete("a")


@pytest.mark.parametrize("body", [HTML, b"{}", b'{"id":"a"}'])
def test_a_deletion_with_a_body_is_no_deletion(api: Api, client: VideoClient, body: bytes) -> None:
    api.constant = {"DELETE": (200, body)}
    with pytest.raises(InvalidResponse):
        client.delete("a")


def test_a_deletion_whose_first_response_was_lost_is_done(api: Api, client: VideoClient) -> None:
    api.archives = [an_archive("a", "deleted")]
    api.faults = {"DELETE": [(502, b"")]}
    assert client.delete("a") == "deleted"


# --- stop -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", ["started", "paused", "stopped"])
def test_a_recording_is_stopped(api: Api, client: VideoClient, status: str) -> None:
    api.archives = [an_archive("a", status)]
    found = client.stop("a")
    assert found is not None
    assert found.event == "recording:ended"
    assert api.operations == ["POST"]


@pytest.mark.parametrize("status", ["available", "uploaded", "failed", "expired"])
def test_a_recording_that_is_over_stays_as_it_is(
    api: Api, client: VideoClient, status: str
) -> None:
    api.archives = [an_archive("a", status)]
    found = client.stop("a")
    assert found is not None
    assert found.event == STATUSES[status]
    assert api.operations == ["POST", "GET"]


def test_an_absent_recording_cannot_be_stopped(api: Api, client: VideoClient) -> None:
    assert client.stop("a") is None


@pytest.mark.parametrize("refusal", [400, 404, 409])
def test_a_refusal_to_stop_a_running_recording_is_a_failure(
    api: Api, client: VideoClient, refusal: int
) -> None:
    api.archives = [an_archive("a", "started")]
    api.constant = {"stop": an_error(refusal, 15002)}
    with pytest.raises(NotStoppable, match="which is started"):
        client.stop("a")


# --- lists ----------------------------------------------------------------------------------------


def many(count: int, **changes: Any) -> list[dict[str, Any]]:
    """Return archives, newest first, one a minute."""
    return [
        an_archive(f"a{i}", createdAt=milliseconds(NOON - timedelta(minutes=i)), **changes)
        for i in range(count)
    ]


EVERYTHING = NOON - timedelta(days=3650)


@pytest.mark.parametrize(
    ("count", "pages"),
    [
        (0, 1),
        (1, 1),
        (PAGE_SIZE - 1, 1),
        (PAGE_SIZE, 2),
        (PAGE_SIZE + 1, 2),
        (2 * PAGE_SIZE - OVERLAP, 3),
        (2500, 3),
    ],
)
def test_every_archive_is_listed_once_and_newest_first(
    api: Api, client: VideoClient, count: int, pages: int
) -> None:
    api.archives = many(count)
    assert ids(client, EVERYTHING) == [f"a{i}" for i in range(count)]
    assert len(api.operations) == pages
    assert all("count=1000" in each.path for each in api.script.received)


@pytest.mark.parametrize("count", [0, 1, 10**6, None, "x"])
def test_the_count_in_a_list_is_never_used(api: Api, client: VideoClient, count: Any) -> None:
    body = {"count": count, "items": many(3)}
    api.constant = {"list": (200, json.dumps(body).encode())}
    assert ids(client) == ["a0", "a1", "a2"]


def test_new_archives_while_paging_cause_no_repetition(api: Api, client: VideoClient) -> None:
    api.archives = many(2500)

    def start_more(offset: int) -> None:
        if offset:
            api.archives[:0] = [an_archive(f"new-{offset}-{i}") for i in range(50)]

    api.before_page = start_more
    assert ids(client, EVERYTHING) == [f"a{i}" for i in range(2500)]


def test_deletions_while_paging_cause_no_gap(api: Api, client: VideoClient) -> None:
    api.archives = many(2500)

    def delete_some(offset: int) -> None:
        if offset:
            del api.archives[:100]

    api.before_page = delete_some
    assert ids(client, EVERYTHING) == [f"a{i}" for i in range(2500)]


def test_the_list_ends_at_the_horizon(api: Api, client: VideoClient) -> None:
    api.archives = many(2500)
    assert ids(client, NOON - timedelta(minutes=10)) == [f"a{i}" for i in range(11)]
    assert len(api.operations) == 1


def test_an_archive_of_the_same_second_as_the_horizon_is_included(
    api: Api, client: VideoClient
) -> None:
    api.archives = [an_archive("a", createdAt=milliseconds(NOON) + 700)]
    assert ids(client, NOON + timedelta(milliseconds=300)) == ["a"]


def test_one_old_archive_out_of_order_does_not_end_the_list(api: Api, client: VideoClient) -> None:
    api.archives = many(1500)
    api.archives[500]["createdAt"] = 1
    expected = [f"a{i}" for i in range(1500) if i != 500]
    assert ids(client, NOON - timedelta(days=30)) == expected


def test_an_archive_without_a_start_is_included(api: Api, client: VideoClient) -> None:
    api.archives = [an_archive("a", createdAt=None)]
    assert ids(client, NOON) == ["a"]


BAD: dict[str, Any] = {
    "a number": 5,
    "null": None,
    "without an id": {"status": "available"},
    "an invalid session": an_archive("bad", sessionId="a/b"),
    "an invalid id": an_archive("../x"),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
def test_one_invalid_archive_loses_no_page(
    api: Api, client: VideoClient, bad: Any, caplog: pytest.LogCaptureFixture
) -> None:
    body = {"items": [an_archive("a"), bad, an_archive("b")]}
    api.constant = {"list": (200, json.dumps(body).encode())}
    (page,) = client.all_since(NOON)
    assert [each.recording_id for each in page.found] == ["a", "b"]
    (message,) = page.invalid
    assert message.startswith(
        "bad: " if isinstance(bad, dict) and bad.get("id") == "bad" else "without an id: "
    )
    assert "Ada" not in message
    assert message in caplog.text


def test_an_archive_in_a_new_status_is_no_invalid_one(
    api: Api, client: VideoClient, caplog: pytest.LogCaptureFixture
) -> None:
    api.archives = [an_archive("a"), an_archive("new", "melted"), an_archive("b")]
    (page,) = client.all_since(NOON)
    assert [each.recording_id for each in page.found] == ["a", "b"]
    assert (page.invalid, page.unrecognized) == ((), (MELTED,))
    assert MELTED in caplog.text
    listed = client.in_session("session-1")
    assert listed is not None
    assert (listed.invalid, listed.unrecognized) == ([], [MELTED])


MELTED = "new: the archive status melted is not known here"


@pytest.mark.parametrize(
    "changes",
    [
        {"size": 2**70},
        {"size": "2471453295"},
        {"createdAt": 1.5e12},
        {"name": "\ud83d"},
        {"streams": [{"streamId": {}}]},
        {"url": 5},
        {"later": {"a": [1e300]}},
    ],
)
def test_an_archive_of_another_form_is_listed(
    api: Api, client: VideoClient, changes: dict[str, Any]
) -> None:
    api.archives = [an_archive("a", **changes), an_archive("b")]
    assert ids(client, EVERYTHING) == ["a", "b"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", HTML, b'{"items":null}', b'{"items":{}}'])
def test_a_list_in_another_form_is_an_invalid_response(
    api: Api, client: VideoClient, body: bytes
) -> None:
    api.constant = {"list": (200, body)}
    with pytest.raises(InvalidResponse):
        ids(client)


def test_a_list_that_cannot_be_found_is_an_invalid_response(api: Api, client: VideoClient) -> None:
    api.constant = {"list": NOT_FOUND}
    with pytest.raises(InvalidResponse, match="base URL"):
        ids(client)


def test_a_list_that_repeats_its_first_page_for_ever_is_an_invalid_response(
    api: Api, client: VideoClient
) -> None:
    page = json.dumps({"items": many(PAGE_SIZE)}).encode()
    api.constant = {"list": (200, page)}
    with pytest.raises(InvalidResponse, match="repeats a page"):
        ids(client, EVERYTHING)
    # The third page shows that the second was not the last. Others may have been read ahead.
    assert 3 <= len(api.operations) <= 3 + PAGES_AHEAD


def test_a_bounded_number_of_pages_is_read_ahead(api: Api, client: VideoClient) -> None:
    api.archives = many((2 + PAGES_AHEAD) * PAGE_SIZE)
    asked = {page: threading.Event() for page in range(3 + PAGES_AHEAD)}
    api.before_page = lambda offset: asked[offset // (PAGE_SIZE - OVERLAP)].set()
    pages = client.all_since(EVERYTHING)
    assert isinstance(pages, Generator)

    next(pages)

    assert asked[PAGES_AHEAD].wait(30), "not read while the first page is worked on"
    assert not asked[PAGES_AHEAD + 1].wait(0.5), "read too far ahead"
    pages.close()


def test_a_session_has_its_recordings_only(api: Api, client: VideoClient) -> None:
    api.archives = [*many(1500), *many(2, sessionId="session-2"), an_archive("bad", "-")]
    found = client.in_session("session-1")
    assert found is not None
    assert [each.recording_id for each in found.found] == [f"a{i}" for i in range(1500)]
    assert [message.partition(":")[0] for message in found.invalid] == ["bad"]
    assert all("sessionId=session-1" in each.path for each in api.script.received)


def test_a_session_without_recordings_has_an_empty_list(api: Api, client: VideoClient) -> None:
    found = client.in_session("none")
    assert found is not None
    assert (found.found, found.invalid) == ([], [])


@pytest.mark.parametrize("absence", [NOT_FOUND, an_error(400, 400)])
def test_a_session_that_vonage_does_not_know_is_absent(
    api: Api, client: VideoClient, absence: Reply
) -> None:
    api.constant = {"list": absence}
    assert client.in_session("session-1") is None


def test_secrets_are_in_no_error(api: Api, client: VideoClient) -> None:
    api.constant = {"GET": an_error(409, 5, "see https://x.example/a?token=hidden, Bearer hidden")}
    with pytest.raises(BadRequest) as caught:
        client.get("a")
    assert "hidden" not in str(caught.value)
    assert SECRET not in repr(client) + str(caught.value)
    assert not isinstance(caught.value, NotFound)
    assert client.product == "video"


def test_observations_of_callbacks_and_of_lists_are_the_same(api: Api, client: VideoClient) -> None:
    for status in STATUSES.keys() - {"paused", "started"}:
        fields = an_archive("a", status)
        api.archives = [fields]
        (page,) = client.all_since(NOON)
        posted = parse(json.dumps({**fields, "event": "archive"}).encode())
        assert isinstance(posted, RecordingObservation)
        assert [*page.found] == [posted]
        assert client.get("a") == posted
