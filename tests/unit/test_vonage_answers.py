from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict

from roomkeeper.errors import RoomkeeperError
from roomkeeper.vonage import (
    NotDeletableYet,
    NotFound,
    NotUpdatable,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    VonageError,
)
from roomkeeper.vonage.answers import LONGEST_MESSAGE, Answer, require_success
from roomkeeper.vonage.calls import Call
from tests.vonage_samples import DOWNLOAD_URL, GATEWAY_ERROR, SERVICE_ERROR

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
GET_ROOM = Call("GET", "/rooms/42")
UPDATE = Call("PATCH", "/rooms/42", refusals={(400, "BadRequestError"): NotUpdatable})
DELETE = Call("DELETE", "/recordings/7", refusals={(403, None): NotDeletableYet})


def error_of(
    status: int,
    body: dict[str, Any] | bytes = b"",
    *,
    call: Call = GET_ROOM,
    headers: dict[str, str] | None = None,
) -> VonageError:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    with pytest.raises(VonageError) as caught:
        require_success(call, Answer(status, CaseInsensitiveDict(headers or {}), raw), NOON)
    return caught.value


@pytest.mark.parametrize(
    ("status", "own"),
    [(400, True), (403, True), (409, True), (401, False), (404, False), (429, False), (503, False)],
)
def test_a_refusal_of_one_request_says_nothing_about_others(status: int, own: bool) -> None:
    assert error_of(status, SERVICE_ERROR).is_the_items_own is own


@pytest.mark.parametrize("status", [400, 403, 409, 410])
@pytest.mark.parametrize("body", [b"", b"<h1>Forbidden</h1>", {"error": "no"}])
def test_a_refusal_in_another_form_than_vonages_may_be_about_everything(
    status: int, body: dict[str, Any] | bytes
) -> None:
    assert not error_of(status, body).is_the_items_own


def test_a_403_of_a_gateway_may_be_about_everything() -> None:
    assert not error_of(403, GATEWAY_ERROR).is_the_items_own
    assert not error_of(403, {"message": "Forbidden"}).is_the_items_own
    assert error_of(400, GATEWAY_ERROR).is_the_items_own


@pytest.mark.parametrize("status", [200, 201, 204])
def test_success_gives_the_body(status: int) -> None:
    assert require_success(GET_ROOM, Answer(status, {}, b"{}"), NOON) == b"{}"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (301, UnexpectedAnswer),
        (302, UnexpectedAnswer),
        (400, Refused),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, NotFound),
        (409, Refused),
        (429, RateLimited),
        (500, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
    ],
)
def test_every_status_has_its_error(status: int, kind: type[VonageError]) -> None:
    problem = error_of(status)
    assert type(problem) is kind
    assert isinstance(problem, RoomkeeperError)
    assert problem.status == status


def test_an_error_of_the_service_is_kept_whole() -> None:
    problem = error_of(404, SERVICE_ERROR)
    assert (problem.method, problem.path) == ("GET", "/rooms/42")
    assert (problem.name, problem.message) == ("NotFoundError", "Failed to find it")
    assert str(problem) == (
        "GET /rooms/42: Vonage answered 404 NotFoundError (Failed to find it). "
        "If nothing at all is found, check the base URL."
    )


def test_an_error_of_the_gateway_has_a_message_but_no_name() -> None:
    problem = error_of(401, GATEWAY_ERROR)
    assert problem.name is None
    assert problem.message == "Unauthorized: You did not provide correct credentials"


def test_a_404_of_the_service_differs_from_that_of_a_wrong_base_url() -> None:
    own, other = error_of(404, SERVICE_ERROR), error_of(404, {"title": "Not Found"})
    assert isinstance(own, NotFound)
    assert isinstance(other, NotFound)
    assert own.is_vonages_own
    assert not other.is_vonages_own
    own.raise_unless_certain()
    with pytest.raises(NotFound):
        other.raise_unless_certain()


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>Bad Gateway</html>", b"[1]", b"null", b'{"message": 5, "name": {}}', b"\xff{"],
)
def test_a_body_that_says_nothing_leaves_the_status_alone(body: bytes) -> None:
    problem = error_of(502, body)
    assert (problem.name, problem.message) == (None, None)
    assert "Vonage answered 502. " in str(problem)


def test_an_instant_room_is_not_updatable() -> None:
    told = {"message": "because of its type: temporary", "name": "BadRequestError", "status": 400}
    assert type(error_of(400, told, call=UPDATE)) is NotUpdatable


def test_an_update_that_breaks_a_rule_is_refused() -> None:
    told = {"message": "at least 1 key", "name": "InputValidationError", "status": 400}
    assert type(error_of(400, told, call=UPDATE)) is Refused


def test_a_403_in_vonages_own_form_may_mean_not_deletable_yet() -> None:
    told = SERVICE_ERROR | {"name": "ForbiddenError"}
    assert type(error_of(403, told, call=DELETE)) is NotDeletableYet


@pytest.mark.parametrize("body", [GATEWAY_ERROR, {"message": "Forbidden"}, b"", b"<h1>No</h1>"])
def test_a_403_without_vonages_name_for_it_means_nothing_about_the_recording(
    body: dict[str, Any] | bytes,
) -> None:
    assert type(error_of(403, body, call=DELETE)) is Unauthorized


@pytest.mark.parametrize("status", [429, 503])
def test_the_wait_that_was_asked_for_is_kept(status: int) -> None:
    assert error_of(status, headers={"retry-after": "7"}).retry_after == 7


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (f"cannot sign {DOWNLOAD_URL} again", "archive.mp4?... again"),
        ("bad header 'Basic YWJjOnNlY3JldA==' given", "bad header 'Basic ...' given"),
        ("token Bearer eyJhbGciOi.secret.sig expired", "token Bearer ... expired"),
    ],
)
def test_what_could_be_a_credential_is_left_out(told: str, kept: str) -> None:
    problem = error_of(500, {"message": told, "name": "InternalServerError"})
    assert kept in str(problem)
    for text in (str(problem), problem.message or ""):
        assert "ecret" not in text


@given(st.text())
def test_a_message_is_one_line_of_bounded_length(text: str) -> None:
    told = msgspec.json.encode({"message": text.encode("utf-8", "ignore").decode()})
    message = error_of(500, told).message or ""
    assert len(message.splitlines()) <= 1
    assert len(message) <= LONGEST_MESSAGE + 3


@given(st.integers(100, 599).filter(lambda status: not 200 <= status < 300), st.binary())
def test_any_other_answer_is_some_vonage_error(status: int, body: bytes) -> None:
    assert error_of(status, body).status == status
