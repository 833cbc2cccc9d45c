from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from roomkeeper.errors import RoomkeeperError
from roomkeeper.vonage import (
    BadRequest,
    Forbidden,
    InvalidResponse,
    NotFound,
    NotUpdatable,
    RateLimited,
    Unauthorized,
    Unavailable,
    VonageError,
)
from roomkeeper.vonage.calls import Call
from roomkeeper.vonage.responses import (
    MAX_MESSAGE_LENGTH,
    ErrorBody,
    ReadError,
    Response,
    meetings_error,
    raise_for_status,
    video_error,
)
from tests.support.vonage_samples import DOWNLOAD_URL, GATEWAY_ERROR, SERVICE_ERROR

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
GET_ROOM = Call("GET", "/rooms/42")
UPDATE = Call("PATCH", "/rooms/42", refusals={(400, "BadRequestError"): NotUpdatable})


def error_of(
    status: int,
    body: dict[str, Any] | bytes = b"",
    *,
    call: Call = GET_ROOM,
    headers: dict[str, str] | None = None,
    read_error: ReadError = meetings_error,
) -> VonageError:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    response = Response(status, CaseInsensitiveDict(headers or {}), raw)
    with pytest.raises(VonageError) as caught:
        raise_for_status(call, response, NOON, read_error)
    return caught.value


@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_2xx_response_returns_the_body(status: int) -> None:
    assert raise_for_status(GET_ROOM, Response(status, {}, b"{}"), NOON, meetings_error) == b"{}"


SERVICE = {"message": "no", "name": "SomeError"}


@pytest.mark.parametrize(
    ("status", "body", "kind", "is_item_specific"),
    [
        (301, SERVICE, InvalidResponse, False),
        (302, b"", InvalidResponse, False),
        (400, SERVICE, BadRequest, True),
        (400, GATEWAY_ERROR, BadRequest, True),
        (400, b"", InvalidResponse, False),
        (401, SERVICE, Unauthorized, False),
        (401, b"", Unauthorized, False),
        (403, SERVICE, Forbidden, True),
        (403, b"<html></html>", InvalidResponse, False),
        (404, SERVICE_ERROR, NotFound, False),
        (404, SERVICE, InvalidResponse, False),
        (404, GATEWAY_ERROR, InvalidResponse, False),
        (404, b"", InvalidResponse, False),
        (409, SERVICE, BadRequest, True),
        (409, b"", InvalidResponse, False),
        (429, b"", RateLimited, False),
        (500, b"", Unavailable, False),
        (503, SERVICE, Unavailable, False),
        (504, b"", Unavailable, False),
    ],
)
def test_a_status_counts_only_in_vonages_own_format(
    status: int,
    body: dict[str, Any] | bytes,
    kind: type[VonageError],
    is_item_specific: bool,
) -> None:
    error = error_of(status, body)
    assert type(error) is kind
    assert isinstance(error, RoomkeeperError)
    assert error.status == status
    assert error.is_item_specific is is_item_specific


def test_an_error_of_the_service_keeps_all_its_fields() -> None:
    error = error_of(404, SERVICE_ERROR)
    assert (error.method, error.path) == ("GET", "/rooms/42")
    assert (error.name, error.message) == ("NotFoundError", "Failed to find it")
    assert str(error) == (
        "GET /rooms/42: Vonage returned 404 NotFoundError (Failed to find it). Check the id."
    )


def test_an_error_of_the_gateway_has_a_message_but_no_name() -> None:
    error = error_of(401, GATEWAY_ERROR)
    assert error.name is None
    assert error.message == "Unauthorized: You did not provide correct credentials"


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Gateway</html>", b"[1]", b"null", b'{"message": 5, "name": {}}', b"\xff{"],
)
def test_an_error_without_a_known_body_has_only_the_status(body: bytes) -> None:
    error = error_of(502, body)
    assert (error.name, error.message) == (None, None)
    assert "Vonage returned 502. " in str(error)


def test_an_instant_room_is_not_updatable() -> None:
    body = {"message": "because of its type: temporary", "name": "BadRequestError", "status": 400}
    assert type(error_of(400, body, call=UPDATE)) is NotUpdatable


def test_an_update_that_breaks_a_rule_is_refused() -> None:
    body = {"message": "at least 1 key", "name": "InputValidationError", "status": 400}
    assert type(error_of(400, body, call=UPDATE)) is BadRequest


@pytest.mark.parametrize("status", [429, 503])
def test_the_error_has_the_retry_after_of_the_response(status: int) -> None:
    assert error_of(status, headers={"retry-after": "7"}).retry_after == 7


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        (f"cannot sign {DOWNLOAD_URL} again", "archive.mp4?... again"),
        ("bad header 'Basic YWJjOnNlY3JldA==' given", "bad header 'Basic ...' given"),
        ("token Bearer eyJhbGciOi.secret.sig expired", "token Bearer ... expired"),
    ],
)
def test_possible_credentials_are_redacted(message: str, kept: str) -> None:
    error = error_of(500, {"message": message, "name": "InternalServerError"})
    assert kept in str(error)
    for text in (str(error), error.message or ""):
        assert "ecret" not in text


def test_a_message_of_megabytes_is_redacted_in_linear_time() -> None:
    """Quadratic time would be hours, in which no time limit ends a search for a pattern."""
    repeated = "http://" * 1_000_000
    error = error_of(500, {"message": repeated, "name": "InternalServerError"})
    assert error.message == f"{repeated[:MAX_MESSAGE_LENGTH]}..."


def test_a_name_is_one_line_of_bounded_length_without_credentials() -> None:
    error = error_of(500, {"name": f"token Bearer secret\n{'x' * 5000}"})
    assert str(error.name).startswith("token Bearer ... x")
    assert len(str(error)) < 2 * MAX_MESSAGE_LENGTH


@given(st.text())
def test_a_message_is_one_line_of_bounded_length(text: str) -> None:
    body = msgspec.json.encode({"message": text.encode("utf-8", "ignore").decode()})
    message = error_of(500, body).message or ""
    assert len(message.splitlines()) <= 1
    assert len(message) <= MAX_MESSAGE_LENGTH + 3


@given(st.integers(100, 599).filter(lambda status: not 200 <= status < 300), st.binary())
def test_any_other_response_raises_a_vonage_error(status: int, body: bytes) -> None:
    assert error_of(status, body).status == status


# --- the Video API --------------------------------------------------------------------------------

DELETE = Call("DELETE", "/v2/project/p/archive/a", refusals={(400, None): NotFound})
VIDEO = {"code": 404, "message": "no"}


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, VIDEO, NotFound),
        (400, VIDEO, NotFound),
        (404, {"code": -1, "description": "no"}, NotFound),
        (404, {"code": 0, "message": "no"}, NotFound),
        (404, {"message": "Not Found"}, InvalidResponse),
        (400, {"message": "Not Found"}, InvalidResponse),
        (404, {"code": "404", "message": "no"}, InvalidResponse),
        (404, {"code": True, "message": "no"}, InvalidResponse),
        (404, {"code": 404}, InvalidResponse),
        (404, {"code": 404, "message": ""}, InvalidResponse),
        (404, {"code": 404, "message": None}, InvalidResponse),
        (404, SERVICE_ERROR, InvalidResponse),
        (404, GATEWAY_ERROR, InvalidResponse),
        (404, b"<html>", InvalidResponse),
        (404, b"[]", InvalidResponse),
        (403, VIDEO, Forbidden),
        (403, {"message": "Forbidden"}, Forbidden),
        (403, b"", InvalidResponse),
        (409, VIDEO, BadRequest),
        (401, b"", Unauthorized),
        (429, b"", RateLimited),
        (500, VIDEO, Unavailable),
        (302, VIDEO, InvalidResponse),
    ],
)
def test_only_an_error_with_a_code_and_a_text_proves_the_absence_of_an_archive(
    status: int, body: dict[str, Any] | bytes, kind: type[VonageError]
) -> None:
    assert type(error_of(status, body, call=DELETE, read_error=video_error)) is kind


def test_an_error_of_the_video_api_shows_its_code_and_its_text() -> None:
    body = {"code": 15004, "message": "You can only delete", "description": "the same"}
    error = error_of(409, body, call=DELETE, read_error=video_error)
    assert (error.name, error.message) == ("15004", "You can only delete")
    assert "409 15004 (You can only delete)" in str(error)


def test_a_code_that_repeats_the_status_is_shown_once() -> None:
    error = error_of(403, {"code": 403, "message": "no"}, read_error=video_error)
    assert "returned 403 (no)." in str(error)


@given(st.binary() | st.dictionaries(st.text(), st.integers() | st.text()).map(msgspec.json.encode))
def test_no_error_body_breaks_its_reading(body: bytes) -> None:
    assert isinstance(video_error(body), ErrorBody)
