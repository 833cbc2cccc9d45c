"""The demonstration's part about the management API: reads and extends a room."""

from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from local.clients.management import ManagementApi
from local.demo import timeline
from local.demo.report import Report
from local.stack import LocalStack
from operations.subscriber import Subscriber
from roomkeeper.times import iso

FOR = timedelta(days=90)


def show(report: Report, local: LocalStack, _subscriber: Subscriber) -> None:
    """Read a room, extend it, and show that unsigned requests are rejected."""
    with report.timed("management"):
        _show(report, local)


def _show(report: Report, local: LocalStack) -> None:
    timeline.heading("The management API: read and extend a room with signed requests")
    room = local.vonage.create_room(display_name="Algebra, every Tuesday", type="long_term")
    path, later = f"/rooms/{room['id']}", iso(datetime.now(UTC) + FOR)
    api = ManagementApi(local.stack)

    found = _shown(api.call("GET", path))
    moved = _shown(api.call("PATCH", path, json={"expires_at": later}))
    rejected = _shown(api.call("PATCH", path, json={"expires_at": "2020-01-01T00:00:00Z"}))
    unsigned = _shown(
        requests.get(f"{local.stack.base_url}{path}", headers=local.stack.headers, timeout=30)
    )

    report.check(
        "a signed request reads the room",
        ok=found.get("display_name") == room["display_name"],
        detail=f"{found.get('display_name')}, until {found.get('expires_at')}",
    )
    at_vonage = {each["id"]: each for each in local.vonage.rooms()}[room["id"]]
    report.check(
        "a signed request extends the room at Vonage",
        ok=moved.get("id") == room["id"] and at_vonage["expires_at"] == later,
        detail=f"at Vonage it expires at {at_vonage['expires_at']}",
    )
    report.check(
        "an expiry in the past is rejected with the reason",
        ok=rejected.get("error", {}).get("code") == "invalid_request",
        detail=str(rejected.get("error", {}).get("message")),
    )
    report.check(
        "an unsigned request is rejected",
        ok=unsigned == {"message": "Forbidden"},
        detail=f"the message is {unsigned.get('message')}",
    )


def _shown(response: requests.Response) -> dict[str, Any]:
    """Show a request and its response; return the response's body."""
    request = response.request
    signed = "signed" if "Authorization" in request.headers else "not signed"
    timeline.say_response(f"{request.method:<5} {request.path_url} ({signed})", response)
    body: dict[str, Any] = response.json()
    return body
