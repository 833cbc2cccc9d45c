import base64
import json
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from local.testing.builders import (
    NOON,
    RECORDING_ID,
    ROOM_ID,
    SESSION_ID,
    URL,
    a_record,
    a_recording_ended,
    a_recording_started,
    a_recording_uploaded,
    a_session_started,
)
from local.testing.template import environment
from roomkeeper import vonage
from roomkeeper.aws.secrets import SecretUnavailable
from roomkeeper.domain.observations import Observation
from roomkeeper.handlers import management_api as app
from roomkeeper.management.errors import NotDeletableYet
from roomkeeper.store import Store, StoreUnavailable, events_due
from roomkeeper.times import iso
from roomkeeper.vonage.errors import InvalidId, RequestContext
from tests.support.management import (
    CALLER,
    MONTH,
    AVonage,
    a_recording_at_vonage,
    a_request_for,
    a_room,
    call,
    no_such_thing,
    response_to,
)
from tests.support.openapi import operations, validate
from tests.unit.conftest import Table

RECORDING = f"RECORDING#{RECORDING_ID}"
LATER = datetime.now(UTC) + MONTH
ROUTES = [route for route in operations() if "/callbacks" not in route and "/jobs" not in route]
SESSION_ROUTE = "GET /sessions/{session_id}/recordings"
UNUSUAL = ["a/b", "..", "a b", "line\n", "%2e", "ünï", "#", "?", "\x00", "a\\b", '"', "{room_id}"]


@pytest.fixture
def at_vonage(table: Table, monkeypatch: pytest.MonkeyPatch) -> AVonage:
    """Return a fake Vonage without content. The function uses it and `table`."""
    for name, value in (environment("ManagementApi") | {"TABLE_NAME": table.name}).items():
        monkeypatch.setenv(name, value)
    known = AVonage()
    monkeypatch.setattr(app, "_vonage", lambda: known.clients)
    return known


@pytest.fixture
def receive(table: Table) -> Callable[..., None]:
    """Return a function that applies callbacks to the table."""
    store = Store(table.client, table.name, session_days=400, event_days=30)

    def apply(*callbacks: Observation) -> None:
        for callback in callbacks:
            store.apply(callback, NOON)

    return apply


Receive = Callable[..., None]


def conforms(route: str, body: object, status: int = 200) -> bool:
    """Check the response against docs/openapi.yaml; fail with the difference."""
    declared = operations()[route]["responses"][str(status)]
    validate(declared["content"]["application/json"]["schema"], body)
    return True


# --- rooms ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorizer",
    [None, {}, {"iam": None}, {"iam": {}}, {"iam": {"userArn": ""}}, {"iam": {"userArn": None}}],
)
def test_an_unsigned_request_is_refused_without_any_call(
    authorizer: dict[str, Any] | None, at_vonage: AVonage
) -> None:
    request = a_request_for("DELETE /rooms/{room_id}", "room")
    request["requestContext"]["authorizer"] = authorizer
    response = response_to(request)
    assert (response.status, response.body) == (403, {"message": "Forbidden"})
    assert at_vonage.calls == []


def test_the_cursor_leads_through_all_pages_of_rooms(at_vonage: AVonage) -> None:
    at_vonage.rooms = {str(n): a_room(id=str(n)) for n in range(5)}

    first = call("GET /rooms", page_size="3")
    second = call("GET /rooms", page_size="3", cursor=first.body["next_cursor"])

    assert [room["id"] for room in first.body["rooms"]] == ["0", "1", "2"]
    assert [room["id"] for room in second.body["rooms"]] == ["3", "4"]
    assert second.body["next_cursor"] is None
    assert conforms("GET /rooms", first.body)


@pytest.mark.parametrize("size", ["0", "101", "-1", "x", "1.5", "1,2", "", "٣", "9" * 5000])
def test_an_invalid_page_size_is_refused(at_vonage: AVonage, size: str) -> None:
    refused = call("GET /rooms", page_size=size)
    assert (refused.status, refused.code) == (400, "invalid_request")
    assert "page_size: must be from 1 to 100" in refused.message


def test_a_room_is_returned_with_all_fields(at_vonage: AVonage) -> None:
    at_vonage.rooms["room"] = a_room(metadata="x", is_available=False)
    shown = call("GET /rooms/{room_id}", "room")
    assert (shown.status, shown.body["metadata"], shown.body["is_available"]) == (200, "x", False)
    assert conforms("GET /rooms/{room_id}", shown.body)


def test_a_rooms_expiry_is_updated_and_returned_in_utc(at_vonage: AVonage) -> None:
    at_vonage.rooms["room"] = a_room()
    there = LATER.astimezone(tz=None).isoformat()

    moved = call("PATCH /rooms/{room_id}", "room", body={"expires_at": there})

    assert moved.status == 200
    assert moved.body["expires_at"].endswith("Z")
    assert at_vonage.rooms["room"].expires_at == LATER


def test_the_expiry_of_an_instant_room_cannot_be_updated(at_vonage: AVonage) -> None:
    at_vonage.rooms["room"] = a_room(type="instant")
    refused = call("PATCH /rooms/{room_id}", "room", body={"expires_at": iso(LATER)})
    assert (refused.status, refused.code) == (409, "not_updatable")


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (None, "not JSON"),
        ('{"expires_at": ', "not JSON"),
        ("[]", "Expected `object`, got `array`"),
        ("{}", "missing required field `expires_at`"),
        ('{"expires_at": 5}', "at `$.expires_at`"),
        ('{"expires_at": null}', "at `$.expires_at`"),
        ('{"expires_at": "soon"}', "at `$.expires_at`"),
        ('{"expires_at": "2030-01-01"}', "at `$.expires_at`"),
        ('{"expires_at": "2030-01-01T00:00:00"}', "no time zone"),
        ('{"expires_at": "2020-01-01T00:00:00Z"}', "is in the past"),
        ('{"expires_at": "0001-01-01T00:00:00+23:59"}', "is in the past"),
        ('{"expires_at": "9999-12-31T23:59:59-23:59"}', "more than five years"),
        ('{"expires_at": "2030-01-01T00:00:00Z", "name": 1}', "unknown field `name`"),
        ('{"a":' * 100_000, "The body"),
        ('{"expires_at": "\ud800"}', "not UTF-8"),
    ],
)
def test_an_invalid_expiry_is_refused_with_the_rule(
    at_vonage: AVonage, body: str | None, complaint: str
) -> None:
    at_vonage.rooms["room"] = a_room()

    refused = call("PATCH /rooms/{room_id}", "room", body=body)

    assert (refused.status, refused.code) == (400, "invalid_request")
    assert complaint in refused.message
    assert at_vonage.calls == []


def test_five_years_to_the_day_are_allowed(at_vonage: AVonage) -> None:
    at_vonage.rooms["room"] = a_room()
    five_years = timedelta(days=5 * 365 + 1)
    almost = iso(datetime.now(UTC) + five_years - timedelta(seconds=5))
    beyond = iso(datetime.now(UTC) + five_years + timedelta(minutes=1))
    assert call("PATCH /rooms/{room_id}", "room", body={"expires_at": almost}).status == 200
    assert call("PATCH /rooms/{room_id}", "room", body={"expires_at": beyond}).status == 400


def test_a_room_is_deleted_once(at_vonage: AVonage) -> None:
    at_vonage.rooms["room"] = a_room()
    assert call("DELETE /rooms/{room_id}", "room").status == 204
    assert call("DELETE /rooms/{room_id}", "room").code == "not_found"


# --- recordings -----------------------------------------------------------------------------------


def test_a_sessions_recordings_are_each_returned_once_with_their_sources(
    at_vonage: AVonage, receive: Receive
) -> None:
    receive(a_recording_uploaded(), a_recording_uploaded(recording_id="only-ours"))
    at_vonage.recordings = {
        RECORDING_ID: a_recording_at_vonage(),
        "only-theirs": a_recording_at_vonage(recording_id="only-theirs", started_at=NOON + MONTH),
    }

    listed = call("GET /sessions/{session_id}/recordings", SESSION_ID)

    assert {each["recording_id"]: each["known_to"] for each in listed.body["recordings"]} == {
        RECORDING_ID: ["vonage", "roomkeeper"],
        "only-ours": ["roomkeeper"],
        "only-theirs": ["vonage"],
    }
    assert conforms("GET /sessions/{session_id}/recordings", listed.body)


def test_a_recording_known_only_from_its_start_is_in_the_table(
    at_vonage: AVonage, receive: Receive
) -> None:
    receive(a_recording_started())
    at_vonage.recordings[RECORDING_ID] = a_recording_at_vonage(event="recording:started", url=None)
    [shown] = call("GET /sessions/{session_id}/recordings", SESSION_ID).body["recordings"]
    assert (shown["known_to"], shown["status"]) == (["vonage", "roomkeeper"], "started")


def test_a_session_item_is_not_returned_as_a_recording(
    at_vonage: AVonage, receive: Receive, table: Table
) -> None:
    receive(a_session_started(session_id=SESSION_ID), a_recording_ended())
    [shown] = call("GET /sessions/{session_id}/recordings", SESSION_ID).body["recordings"]
    assert (shown["recording_id"], shown["room_id"]) == (RECORDING_ID, ROOM_ID)
    assert Store(table.client, table.name).recordings.in_session(SESSION_ID) == [RECORDING_ID]


def test_a_session_may_have_more_recordings_than_one_batch_get_reads(
    at_vonage: AVonage, receive: Receive
) -> None:
    receive(*(a_recording_ended(recording_id=f"recording-{n:03}") for n in range(120)))
    listed = call("GET /sessions/{session_id}/recordings", SESSION_ID).body["recordings"]
    assert [each["recording_id"] for each in listed] == [f"recording-{n:03}" for n in range(120)]


def test_an_unknown_session_is_not_found(at_vonage: AVonage) -> None:
    assert call("GET /sessions/{session_id}/recordings", "nobodys").code == "not_found"


@pytest.mark.parametrize(
    "status", ["started", "ended", "uploaded", "stored", "failed", "expired", "deleted"]
)
def test_an_event_that_vonage_implies_becomes_the_status(at_vonage: AVonage, status: str) -> None:
    at_vonage.recordings[RECORDING_ID] = a_recording_at_vonage(event=f"recording:{status}")
    shown = call("GET /recordings/{recording_id}", RECORDING_ID)
    assert (shown.body["status"], shown.body["known_to"]) == (status, ["vonage"])
    assert shown.body["product"] == "meetings"
    assert conforms("GET /recordings/{recording_id}", shown.body)


def test_a_recordings_url_is_vonages_fresh_one_and_never_the_stored_one(
    at_vonage: AVonage, receive: Receive
) -> None:
    receive(a_recording_uploaded())
    fresh = "https://a/b.mp4?Expires=1893456000&Signature=x"
    at_vonage.recordings[RECORDING_ID] = a_recording_at_vonage(url=fresh)

    shown = call("GET /recordings/{recording_id}", RECORDING_ID)
    assert (shown.body["url"], shown.body["url_expires_at"]) == (fresh, "2030-01-01T00:00:00Z")
    assert conforms("GET /recordings/{recording_id}", shown.body)

    at_vonage.recordings.clear()
    shown = call("GET /recordings/{recording_id}", RECORDING_ID)
    assert (shown.body["url"], shown.body["known_to"]) == (None, ["roomkeeper"])


def test_an_unknown_recording_is_not_found(at_vonage: AVonage) -> None:
    assert call("GET /recordings/{recording_id}", "nobodys").status == 404


def test_a_404_that_is_not_vonages_own_does_not_count_as_absence(
    at_vonage: AVonage, receive: Receive, table: Table
) -> None:
    receive(a_recording_uploaded())
    at_vonage.failure = no_such_thing(name=None)

    for route in ("GET /recordings/{recording_id}", "DELETE /recordings/{recording_id}"):
        assert call(route, RECORDING_ID).status == 502

    assert "deleted_at" not in table.plain_item(RECORDING)


# --- deletion -------------------------------------------------------------------------------------


def test_a_recording_is_deleted_at_vonage_and_then_marked_in_the_table(
    at_vonage: AVonage, receive: Receive, table: Table
) -> None:
    receive(a_recording_uploaded())
    at_vonage.recordings[RECORDING_ID] = a_recording_at_vonage()

    assert call("DELETE /recordings/{recording_id}", RECORDING_ID).status == 204
    assert call("DELETE /recordings/{recording_id}", RECORDING_ID).status == 204

    assert at_vonage.changes == [("delete_recording", RECORDING_ID)]
    item = table.plain_item(RECORDING)
    assert item["deleted_by"] == "management"
    until = datetime.fromtimestamp(item["ttl"], UTC) - datetime.now(UTC)
    assert timedelta(days=89) < until <= timedelta(days=90)
    shown = call("GET /recordings/{recording_id}", RECORDING_ID)
    assert shown.body["status"] == "deleted"
    assert conforms("GET /recordings/{recording_id}", shown.body)


def test_a_deletion_whose_mark_failed_is_marked_by_a_retry(
    at_vonage: AVonage, receive: Receive, table: Table
) -> None:
    receive(a_recording_uploaded())
    assert call("DELETE /recordings/{recording_id}", RECORDING_ID).status == 204
    assert table.plain_item(RECORDING)["deleted_by"] == "management"


def test_a_recording_that_only_vonage_has_is_deleted_and_recorded(
    at_vonage: AVonage, table: Table
) -> None:
    at_vonage.recordings[RECORDING_ID] = a_recording_at_vonage()
    for _ in range(2):
        assert call("DELETE /recordings/{recording_id}", RECORDING_ID).status == 204
    assert at_vonage.recordings == {}
    [item] = table.items()
    assert item["seen"] == {"SS": ["recording:deleted"]}
    assert item["session_id"] == {"S": SESSION_ID}


def test_the_deletion_of_an_unknown_recording_is_not_found(
    at_vonage: AVonage, table: Table
) -> None:
    assert call("DELETE /recordings/{recording_id}", "nobodys").code == "not_found"
    assert table.items() == []


def test_a_recording_that_is_not_uploaded_cannot_be_deleted_yet(
    at_vonage: AVonage, receive: Receive, table: Table
) -> None:
    receive(a_recording_started())
    at_vonage.recordings[RECORDING_ID] = a_recording_at_vonage(event="recording:ended", url=None)
    refused = call("DELETE /recordings/{recording_id}", RECORDING_ID)
    assert (refused.status, refused.code) == (409, "not_deletable_yet")
    assert "deleted_at" not in table.plain_item(RECORDING)


# --- holds ----------------------------------------------------------------------------------------


def test_a_hold_has_a_reason_and_the_caller_and_is_returned(
    at_vonage: AVonage, receive: Receive
) -> None:
    receive(a_recording_uploaded())

    made = call("PUT /recordings/{recording_id}/hold", RECORDING_ID, body={"reason": "case 7"})

    assert (made.status, made.body["reason"], made.body["requested_by"]) == (200, "case 7", CALLER)
    assert conforms("PUT /recordings/{recording_id}/hold", made.body)
    shown = call("GET /recordings/{recording_id}", RECORDING_ID)
    assert made.body == {"product": "meetings", **shown.body["hold"]}


def test_a_hold_can_name_another_person_than_the_caller(
    at_vonage: AVonage, receive: Receive
) -> None:
    receive(a_recording_uploaded())
    order = {"reason": "case 7", "requested_by": "legal"}
    made = call("PUT /recordings/{recording_id}/hold", RECORDING_ID, body=order)
    assert made.body["requested_by"] == "legal"


def test_a_recording_on_hold_is_not_deleted_until_its_release(
    at_vonage: AVonage, receive: Receive
) -> None:
    receive(a_recording_uploaded())
    at_vonage.recordings[RECORDING_ID] = a_recording_at_vonage()
    call("PUT /recordings/{recording_id}/hold", RECORDING_ID, body={"reason": "case 7"})

    refused = call("DELETE /recordings/{recording_id}", RECORDING_ID)

    assert (refused.status, refused.code) == (409, "on_hold")
    assert "case 7" in refused.message
    assert at_vonage.changes == []
    assert call("DELETE /recordings/{recording_id}/hold", RECORDING_ID).status == 204
    assert call("DELETE /recordings/{recording_id}/hold", RECORDING_ID).status == 204
    assert call("DELETE /recordings/{recording_id}", RECORDING_ID).status == 204


@pytest.mark.parametrize(
    "body", ["{}", '{"reason": ""}', '{"reason": "  "}', '{"reason": "x", "who": "y"}', "5", "\x00"]
)
def test_a_hold_without_a_reason_is_refused(
    at_vonage: AVonage, receive: Receive, body: str
) -> None:
    receive(a_recording_uploaded())
    refused = call("PUT /recordings/{recording_id}/hold", RECORDING_ID, body=body)
    assert (refused.status, refused.code) == (400, "invalid_request")


@pytest.mark.parametrize(
    "route", ["PUT /recordings/{recording_id}/hold", "DELETE /recordings/{recording_id}/hold"]
)
def test_a_recording_that_is_not_in_the_table_has_no_hold(at_vonage: AVonage, route: str) -> None:
    assert call(route, "nobodys", body={"reason": "x"}).code == "not_found"


def test_a_deleted_recording_cannot_be_put_on_hold(at_vonage: AVonage, receive: Receive) -> None:
    receive(a_recording_uploaded())
    call("DELETE /recordings/{recording_id}", RECORDING_ID)
    refused = call("PUT /recordings/{recording_id}/hold", RECORDING_ID, body={"reason": "x"})
    assert (refused.status, refused.code) == (409, "already_deleted")


# --- republishing ---------------------------------------------------------------------------------


def test_a_republished_event_has_the_same_id_and_a_fresh_url(
    at_vonage: AVonage, receive: Receive, table: Table
) -> None:
    receive(a_recording_uploaded())
    uploaded = table.item(RECORDING)
    assert uploaded is not None
    [first] = events_due(a_record(uploaded))
    at_vonage.recordings[RECORDING_ID] = a_recording_at_vonage(url="https://a/b?Expires=1893456000")

    responses = [call("POST /recordings/{recording_id}/republish", RECORDING_ID) for _ in range(2)]

    outbox = [item for item in table.items() if item["pk"]["S"].startswith("EVENT#")]
    again = [event for item in outbox for event in events_due(a_record(item))]
    assert len(again) == 2
    for response, event in zip(responses, again, strict=True):
        assert response.status == 202
        assert conforms("POST /recordings/{recording_id}/republish", response.body, 202)
        assert response.body["event_id"] == event.metadata.event_id == first.metadata.event_id
        assert (event.name, event.metadata.origin) == ("recording:uploaded", "management")
        assert event.metadata.occurred_at == NOON
        before, after = json.loads(first.detail())["data"], json.loads(event.detail())["data"]
        assert after.pop("url") == "https://a/b?Expires=1893456000"
        assert after.pop("url_expires_at") == "2030-01-01T00:00:00Z"
        assert before == {**after, "url": URL, "url_expires_at": before["url_expires_at"]}


@pytest.mark.parametrize(
    ("callbacks", "found", "code"),
    [
        ([], a_recording_at_vonage(), "not_found"),
        ([a_recording_started()], a_recording_at_vonage(), "not_uploaded"),
        ([a_recording_uploaded()], None, "not_uploaded"),
        ([a_recording_uploaded()], a_recording_at_vonage(url=None), "not_uploaded"),
    ],
    ids=["not in the table", "no upload received", "gone at Vonage", "no file at Vonage"],
)
def test_a_recording_without_a_file_is_not_republished(
    at_vonage: AVonage, receive: Receive, table: Table, callbacks: Any, found: Any, code: str
) -> None:
    receive(*callbacks)
    at_vonage.recordings = {RECORDING_ID: found} if found else {}
    before = table.items()
    assert call("POST /recordings/{recording_id}/republish", RECORDING_ID).code == code
    assert table.items() == before


def test_a_deleted_recording_is_not_republished(at_vonage: AVonage, receive: Receive) -> None:
    receive(a_recording_uploaded())
    call("DELETE /recordings/{recording_id}", RECORDING_ID)
    refused = call("POST /recordings/{recording_id}/republish", RECORDING_ID)
    assert refused.code == "already_deleted"


# --- errors ---------------------------------------------------------------------------------------

ASKED = RequestContext("GET", "/rooms/room", 500)


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (no_such_thing(), 404, "not_found"),
        (no_such_thing(name=None), 502, "vonage_invalid_response"),
        (InvalidId("x", ASKED), 404, "not_found"),
        (vonage.BadRequest("x", ASKED), 400, "refused_by_vonage"),
        (vonage.NotUpdatable("x", ASKED), 409, "not_updatable"),
        (NotDeletableYet("x"), 409, "not_deletable_yet"),
        (vonage.NotDeletable("x", ASKED), 502, "vonage_refused_the_deletion"),
        (vonage.Forbidden("x", ASKED), 502, "vonage_refused_our_credentials"),
        (vonage.Unauthorized("x", ASKED), 502, "vonage_refused_our_credentials"),
        (vonage.InvalidResponse("x", ASKED), 502, "vonage_invalid_response"),
        (vonage.Unavailable("x", ASKED), 502, "vonage_failed"),
        (vonage.Unavailable("x", RequestContext("GET", "/rooms")), 504, "vonage_unavailable"),
        (vonage.RateLimited("x", ASKED), 503, "vonage_rate_limited"),
        (StoreUnavailable("arn:aws:dynamodb:secret"), 503, "unavailable"),
        (SecretUnavailable("arn:aws:secretsmanager:secret"), 503, "unavailable"),
        (RuntimeError("in the middle of secret things"), 500, "internal_error"),
    ],
)
def test_every_error_has_the_same_json_body(
    at_vonage: AVonage, error: Exception, status: int, code: str
) -> None:
    at_vonage.failure = error
    response = call("GET /rooms/{room_id}", "room")
    assert (response.status, response.code) == (status, code)
    assert "secret" not in response.message
    assert ("Retry-After" in response.headers) == (status == 503)


def test_the_retry_after_of_a_rate_limit_is_passed_on(at_vonage: AVonage) -> None:
    at_vonage.failure = vonage.RateLimited(
        "x", RequestContext("GET", "/rooms", 429, retry_after=11.2)
    )
    assert call("GET /rooms").headers["Retry-After"] == "12"


def test_a_request_without_a_route_is_not_found(at_vonage: AVonage) -> None:
    response = call("$default")
    assert (response.status, response.code) == (404, "no_such_route")


# --- the Vonage client ----------------------------------------------------------------------------


@pytest.fixture
def secret(moto: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create the template's Vonage secret, with credentials."""
    for name, value in environment("ManagementApi").items():
        monkeypatch.setenv(name, value)
    content = '{"api_key": "abcd1234", "api_secret": "a-secret"}'
    secrets = boto3.client("secretsmanager")
    secrets.create_secret(
        Name=environment("ManagementApi")["VONAGE_SECRET_ARN"], SecretString=content
    )


def test_a_client_is_kept_until_its_credentials_may_be_invalid(secret: None) -> None:
    kept = app._vonage()
    assert app._vonage() is kept

    app.failed(vonage.NotUpdatable("x", ASKED))
    assert app._vonage() is kept

    app.failed(vonage.Unauthorized("x", ASKED))
    assert app._vonage() is not kept


def test_missing_credentials_have_an_error_code_and_advice_of_their_own(
    moto: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment("ManagementApi").items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SERVED_PRODUCTS", "meetings")
    monkeypatch.setenv("VONAGE_SECRET_ARN", "empty")
    empty = '{"application_id": "", "private_key": "", "api_key": "", "api_secret": ""}'
    boto3.client("secretsmanager").create_secret(Name="empty", SecretString=empty)

    response = call("GET /rooms")

    assert (response.status, response.code) == (503, "not_configured")
    assert "make configure" in response.message


@pytest.mark.parametrize("content", [None, "not JSON", '{"api_key": ""}'])
def test_a_hold_needs_no_credentials_for_vonage(
    content: str | None, moto: None, table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither do its release and a link to a copy, also once Vonage's account is closed."""
    variables = environment("ManagementApi") | {"TABLE_NAME": table.name}
    name = uuid.uuid4().hex
    variables |= {"SERVED_PRODUCTS": "meetings", "VONAGE_SECRET_ARN": name}
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    if content:
        boto3.client("secretsmanager").create_secret(Name=name, SecretString=content)
    Store(table.client, table.name).apply(a_recording_uploaded(), datetime.now(UTC))

    assert (
        call("PUT /recordings/{recording_id}/hold", RECORDING_ID, body={"reason": "x"}).status
        == 200
    )
    assert call("DELETE /recordings/{recording_id}/hold", RECORDING_ID).status == 204
    assert call("GET /recordings/{recording_id}", RECORDING_ID).status == 503


# --- ids and bodies -------------------------------------------------------------------------------


@pytest.mark.parametrize("id_", UNUSUAL)
@pytest.mark.parametrize(
    "route", ["DELETE /rooms/{room_id}", "GET /recordings/{recording_id}", SESSION_ROUTE]
)
def test_an_invalid_id_is_refused_without_a_call_to_vonage(
    at_vonage: AVonage, route: str, id_: str
) -> None:
    refused = call(route, id_)
    assert (refused.status, refused.code) == (400, "invalid_request")
    assert "letters, digits" in refused.message
    assert at_vonage.calls == []


@pytest.mark.parametrize("id_", [RECORDING_ID, SESSION_ID, "46201502", "a.b~c_d-e=", "..a"])
def test_a_valid_id_reaches_vonage_unchanged(at_vonage: AVonage, id_: str) -> None:
    assert call("DELETE /rooms/{room_id}", id_).code == "not_found"
    assert at_vonage.calls == [("delete_room", id_)]


def test_an_id_of_256_characters_is_the_longest(at_vonage: AVonage) -> None:
    assert call("GET /rooms/{room_id}", "e" * 256).status == 404
    assert call("GET /rooms/{room_id}", "e" * 257).code == "invalid_request"


def test_a_base64_body_is_decoded(at_vonage: AVonage) -> None:
    at_vonage.rooms["room"] = a_room()
    request = a_request_for("PATCH /rooms/{room_id}", "room")
    body = base64.b64encode(b'{"expires_at": "?"}').decode()
    request |= {"body": body, "isBase64Encoded": True}
    assert "at `$.expires_at`" in response_to(request).message


TEXTS = st.text(min_size=1, max_size=300)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text() | st.datetimes().map(str),
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
)
BODIES = (
    st.none()
    | st.text()
    | JSON.map(json.dumps)
    | st.dictionaries(st.sampled_from(["expires_at", "reason", "requested_by"]), JSON).map(
        json.dumps
    )
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.sampled_from(ROUTES), TEXTS, BODIES, st.dictionaries(TEXTS, TEXTS))
def test_no_request_causes_an_internal_error(
    at_vonage: AVonage, route: str, id_: str, body: str | None, query: dict[str, str]
) -> None:
    request = a_request_for(route, *[id_] * route.count("{"), body=body)
    response = response_to(request | {"queryStringParameters": query})
    assert response.status < 500
    assert response.status in (200, 202, 204) or response.code
