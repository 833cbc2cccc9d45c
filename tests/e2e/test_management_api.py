"""The deployed management API over HTTP: authorization, operations and published events."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests
from botocore.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from local.clients.management import ManagementApi
from local.waiting import wait_until
from roomkeeper.times import iso
from tests.support.callers import a_caller
from tests.support.deployed import WITHIN, Deployed
from tests.support.openapi import ROOT, operations, require_described

pytestmark = pytest.mark.local_stack

Call = Callable[..., requests.Response]
COPYING = "POST /jobs/copying"  # tests/e2e/test_copies.py has a stack with this route
SIGNED = sorted(route for route in operations() if "/callbacks" not in route)
MANAGEMENT = [route for route in SIGNED if "/jobs" not in route]
JOBS = [route for route in SIGNED if "/jobs" in route and route != COPYING]


@pytest.fixture(scope="module")
def api(deployed: Deployed) -> ManagementApi:
    return ManagementApi(deployed.stack)


@pytest.fixture
def call(deployed: Deployed, api: ManagementApi) -> Iterator[Call]:
    """Call a route with ids; the response must be valid for the OpenAPI description."""

    def ask(route: str, *ids: str, **request: Any) -> requests.Response:
        response = api.call(route.partition(" ")[0], path_of(route, *ids), **request)
        require_described(route, response)
        return response

    yield ask
    deployed.vonage.clear_faults()


def path_of(route: str, *ids: str) -> str:
    """Return the path of a route with these ids, URL-quoted."""
    path = route.partition(" ")[2]
    names = [part for part in path.split("/") if part.startswith("{")]
    for name, id_ in zip(names, ids, strict=True):
        path = path.replace(name, quote(id_, safe=""))
    return path


def meeting_of(deployed: Deployed, **meeting: Any) -> tuple[str, str]:
    """Hold a meeting with one recording; return the ids of session and recording."""
    meeting = deployed.vonage.hold_meeting(**meeting)
    return meeting["session_id"], meeting["recording_ids"][0]


# --- authorization --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def operator(deployed: Deployed) -> Iterator[Callable[[str], Credentials]]:
    """Create a user who may invoke the routes of a pattern; return the credentials."""
    with ExitStack() as exits:
        yield lambda pattern: exits.enter_context(a_caller(deployed.stack, pattern))


@pytest.mark.parametrize("route", SIGNED)
def test_an_unsigned_request_is_refused(deployed: Deployed, route: str) -> None:
    path = path_of(route, *["x"] * route.count("{"))
    response = requests.request(
        route.partition(" ")[0],
        deployed.stack.base_url + path,
        headers=dict(deployed.stack.headers),
        timeout=30,
    )
    require_described(route, response)
    assert response.status_code == 403


def test_a_user_gets_only_the_allowed_routes_and_only_with_the_right_key(
    deployed: Deployed, operator: Callable[[str], Credentials]
) -> None:
    credentials = operator("GET/rooms*")
    right = ManagementApi(deployed.stack, credentials)
    forged = ManagementApi(deployed.stack, Credentials(credentials.access_key, "guessed" * 6))

    # AWS takes a while to propagate a new access key.
    assert wait_until(lambda: right.call("GET", "/rooms").status_code == 200, WITHIN)

    assert right.call("DELETE", "/rooms/x").status_code == 403
    assert right.call("GET", "/recordings/x").status_code == 403
    assert forged.call("GET", "/rooms").status_code == 403


def test_an_unknown_route_gets_an_error_in_this_apis_form(api: ManagementApi) -> None:
    response = api.call("GET", "/no/such/route")
    assert (response.status_code, response.json()["error"]["code"]) == (404, "no_such_route")


# --- rooms ----------------------------------------------------------------------------------------


def test_rooms_are_listed_page_by_page(deployed: Deployed, call: Call) -> None:
    added = set(deployed.vonage.add_rooms(5, display_name="Paged", type="long_term"))
    found: list[str] = []
    query = {"page_size": "2"}
    while query.get("cursor") != "end":
        page = call("GET /rooms", query=query).json()
        found += [room["id"] for room in page["rooms"]]
        query["cursor"] = page["next_cursor"] or "end"

    assert len(found) == len(set(found))
    assert added <= set(found)


def test_a_room_is_looked_up_extended_and_deleted(deployed: Deployed, call: Call) -> None:
    room = deployed.vonage.create_room(display_name="Algebra", type="long_term")
    later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=90)

    assert call("GET /rooms/{room_id}", room["id"]).json()["display_name"] == "Algebra"
    moved = call("PATCH /rooms/{room_id}", room["id"], json={"expires_at": iso(later)})
    assert datetime.fromisoformat(moved.json()["expires_at"]) == later
    shown = call("GET /rooms/{room_id}", room["id"])
    assert shown.json() == moved.json()
    assert call("DELETE /rooms/{room_id}", room["id"]).status_code == 204


def test_an_instant_room_is_left_as_it_is(deployed: Deployed, call: Call) -> None:
    room = deployed.vonage.create_room(display_name="Quick", type="instant")
    later = iso(datetime.now(UTC) + timedelta(days=1))
    response = call("PATCH /rooms/{room_id}", room["id"], json={"expires_at": later})
    assert (response.status_code, response.json()["error"]["code"]) == (409, "not_updatable")


# --- recordings -----------------------------------------------------------------------------------


def test_recordings_of_vonage_and_the_table_are_merged(deployed: Deployed, call: Call) -> None:
    session_id, known_to_both = meeting_of(deployed)
    unheard = deployed.vonage.add_recordings(1, session_id=session_id)["recording_ids"][0]

    listed = call("GET /sessions/{session_id}/recordings", session_id).json()["recordings"]

    assert {each["recording_id"]: each["known_to"] for each in listed} == {
        known_to_both: ["vonage", "roomkeeper"],
        unheard: ["vonage"],
    }
    shown = call("GET /recordings/{recording_id}", known_to_both).json()
    assert requests.get(shown["url"], timeout=30).headers["Content-Type"] == "video/mp4"


def test_a_deletion_is_done_at_vonage_and_published_once(deployed: Deployed, call: Call) -> None:
    session_id, recording_id = meeting_of(deployed)

    assert call("DELETE /recordings/{recording_id}", recording_id).status_code == 204
    assert call("DELETE /recordings/{recording_id}", recording_id).status_code == 204

    events = deployed.events_about(recording_id, count=4)
    [deleted] = [event for event in events if event["detail-type"] == "recording:deleted"]
    schema = json.loads((ROOT / "docs/events/recording-deleted.json").read_text())
    Draft202012Validator(schema).validate(deleted["detail"])
    assert deleted["detail"]["metadata"]["origin"] == "management"
    assert deleted["detail"]["data"]["deleted_by"] == "management"
    assert deleted["detail"]["data"]["room_id"]
    shown = call("GET /recordings/{recording_id}", recording_id).json()
    assert (shown["status"], shown["known_to"]) == ("deleted", ["roomkeeper"])
    assert call("GET /sessions/{session_id}/recordings", session_id).status_code == 200


def test_a_recording_that_is_not_uploaded_stays(deployed: Deployed, call: Call) -> None:
    _, recording_id = meeting_of(deployed, upload=False)
    response = call("DELETE /recordings/{recording_id}", recording_id)
    assert (response.status_code, response.json()["error"]["code"]) == (409, "not_deletable_yet")
    deployed.vonage.upload(recording_id)
    assert call("DELETE /recordings/{recording_id}", recording_id).status_code == 204


def test_a_deletion_succeeds_although_vonages_response_was_lost(
    deployed: Deployed, call: Call
) -> None:
    _, recording_id = meeting_of(deployed)
    deployed.vonage.fault("delete_recording", status=500, after=True, times=1)
    assert call("DELETE /recordings/{recording_id}", recording_id).status_code == 204
    recording = deployed.store().recordings.get(recording_id)
    assert recording is not None
    assert recording.deleted_by == "management"


def test_a_recording_on_hold_stays_until_its_release(deployed: Deployed, call: Call) -> None:
    _, recording_id = meeting_of(deployed)
    hold = "PUT /recordings/{recording_id}/hold"

    stored = call(hold, recording_id, json={"reason": "an exam"}).json()

    assert stored["requested_by"].startswith("arn:")
    refused = call("DELETE /recordings/{recording_id}", recording_id)
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "on_hold")
    assert call("DELETE /recordings/{recording_id}/hold", recording_id).status_code == 204
    assert call("DELETE /recordings/{recording_id}", recording_id).status_code == 204


def test_an_event_is_republished_each_time_under_its_old_id(deployed: Deployed, call: Call) -> None:
    _, recording_id = meeting_of(deployed)
    deployed.events_about(recording_id, count=3)

    responses = [call("POST /recordings/{recording_id}/republish", recording_id) for _ in range(2)]

    events = deployed.events_about(recording_id, count=5)
    uploaded = [event["detail"] for event in events if event["detail-type"] == "recording:uploaded"]
    assert {detail["metadata"]["event_id"] for detail in uploaded} == {
        response.json()["event_id"] for response in responses
    }
    origins = [detail["metadata"]["origin"] for detail in uploaded]
    assert sorted(origins) == ["callback", "management", "management"]
    again = uploaded[origins.index("management")]
    assert requests.get(again["data"]["url"], timeout=30).status_code == 200
    assert again["data"]["room_id"]
    schema = json.loads((ROOT / "docs/events/recording-uploaded.json").read_text())
    Draft202012Validator(schema).validate(again)


# --- jobs -----------------------------------------------------------------------------------------


def test_a_stack_that_makes_no_copies_has_no_route_for_them(call: Call) -> None:
    response = call(COPYING, json={"dry_run": True})
    assert (response.status_code, response.json()["error"]["code"]) == (404, "no_such_route")


@pytest.mark.parametrize("route", JOBS)
def test_a_jobs_response_is_as_described(call: Call, route: str) -> None:
    assert call(route, json={"dry_run": True}).json()["dry_run"] is True
    assert call(route, json={"dry_run": "perhaps"}).status_code == 400


# --- failures ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"status": 503}, 502, "vonage_failed"),
        ({"reset": True}, 504, "vonage_unavailable"),
        ({"latency": 12}, 504, "vonage_unavailable"),
        ({"status": 401}, 502, "vonage_refused_our_credentials"),
        ({"status": 429, "retry_after": 60}, 503, "vonage_rate_limited"),
        ({"status": 302, "location": "http://127.0.0.1:1/"}, 502, "vonage_invalid_response"),
        ({"status": 404, "body": "<h1>Not here</h1>"}, 502, "vonage_invalid_response"),
    ],
    ids=["fails", "breaks off", "is silent", "refuses us", "limits us", "moved", "is elsewhere"],
)
def test_a_failure_of_vonage_is_reported_and_changes_nothing(
    deployed: Deployed, call: Call, fault: dict[str, Any], status: int, code: str
) -> None:
    _, recording_id = meeting_of(deployed)
    deployed.vonage.fault("delete_recording", **fault)

    response = call("DELETE /recordings/{recording_id}", recording_id)

    assert (response.status_code, response.json()["error"]["code"]) == (status, code)
    recording = deployed.store().recordings.get(recording_id)
    assert recording is not None
    assert recording.deleted_at is None


def test_the_log_names_caller_and_route_and_no_secret(deployed: Deployed, call: Call) -> None:
    _, recording_id = meeting_of(deployed)
    call("GET /recordings/{recording_id}", recording_id)
    group = deployed.stack.client("cloudformation").describe_stack_resource(
        StackName=deployed.stack.name, LogicalResourceId="ManagementApiLogs"
    )["StackResourceDetail"]["PhysicalResourceId"]
    pages = deployed.stack.client("logs").get_paginator("filter_log_events")

    def lines() -> list[str]:
        found = pages.paginate(logGroupName=group)
        return [event["message"] for page in found for event in page["events"]]

    assert wait_until(lambda: recording_id in str(lines()), WITHIN, interval=1.0)
    [line] = [json.loads(line) for line in lines() if recording_id in line]
    assert line["route"] == "GET /recordings/{recording_id}"
    assert line["caller"].startswith("arn:")
    for secret in ("Signature=", "AWS4-HMAC", "Basic ", "participant_token"):
        assert secret not in str(lines())


IDS = st.text(min_size=1, max_size=300).filter(lambda id_: id_ not in {".", ".."})
BODIES = st.binary(max_size=300) | st.sampled_from(
    [
        b'{"expires_at": "9999-12-31T23:59:59-23:59"}',
        b'{"expires_at": "\\ud800"}',
        b'{"reason": "\\u0000"}',
        b'{"reason": "a", "requested_by": ["b"]}',
        b"[" * 50_000,
        b'{"expires_at":' * 20_000,
        b"1e400",
    ]
)
HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(["", "text/plain", "application/xml", "a/b; charset=x"]),
        "Accept": st.sampled_from(["", "*/*;q=x", "image/png"]),
        "X-Forwarded-For": st.sampled_from(["", "::1,,", "a" * 2000]),
        "Cookie": st.sampled_from(["=", ";;;", "a=b; a=c"]),
    },
)
QUERIES = st.dictionaries(st.sampled_from(["cursor", "page_size", "\x00", "a[]"]), st.text())


@pytest.mark.parametrize("route", MANAGEMENT)
def test_no_request_causes_a_server_error(
    deployed: Deployed, api: ManagementApi, route: str
) -> None:
    @settings(
        max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
    )
    @given(IDS, BODIES, QUERIES, HEADERS)
    def ask(id_: str, body: bytes, query: dict[str, str], headers: dict[str, str]) -> None:
        path = path_of(route, *[id_] * route.count("{"))
        response = api.call(route.partition(" ")[0], path, body, query=query, headers=headers)
        assert response.status_code < 500, response.text
        assert "Traceback" not in response.text
        if "/" not in id_:  # the local API splits the path at it, even encoded
            require_described(route, response)

    ask()
