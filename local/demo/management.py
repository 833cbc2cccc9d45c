"""The demonstration's part on the management API: a room looked up and extended, signed."""

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
    """Look a room up, extend it, and see that nobody can who does not sign."""
    with report.timed("management"):
        _show(report, local)


def _show(report: Report, local: LocalStack) -> None:
    timeline.heading("A room looked up and extended through the management API, signed")
    room = local.vonage.create_room(display_name="Algebra, every Tuesday", type="long_term")
    path, later = f"/rooms/{room['id']}", iso(datetime.now(UTC) + FOR)
    api = ManagementApi(local.stack)

    found = _tell(api.call("GET", path))
    moved = _tell(api.call("PATCH", path, json={"expires_at": later}))
    refused = _tell(api.call("PATCH", path, json={"expires_at": "2020-01-01T00:00:00Z"}))
    unsigned = _tell(
        requests.get(f"{local.stack.base_url}{path}", headers=local.stack.headers, timeout=30)
    )

    report.check(
        "a signed caller finds the room",
        ok=found.get("display_name") == room["display_name"],
        detail=f"{found.get('display_name')}, until {found.get('expires_at')}",
    )
    there = {each["id"]: each for each in local.vonage.rooms()}[room["id"]]
    report.check(
        "a signed caller extends the room at Vonage",
        ok=moved.get("id") == room["id"] and there["expires_at"] == later,
        detail=f"Vonage has it until {there['expires_at']}",
    )
    report.check(
        "a past expiry is refused with the reason",
        ok=refused.get("error", {}).get("code") == "invalid_request",
        detail=str(refused.get("error", {}).get("message")),
    )
    report.check(
        "a caller who does not sign is refused",
        ok=unsigned == {"message": "Forbidden"},
        detail=f"it was answered {unsigned}",
    )


def _tell(answer: requests.Response) -> dict[str, Any]:
    """Show a call and its answer's status; return the answer's body."""
    asked = answer.request
    signed = "signed" if "Authorization" in asked.headers else "not signed"
    timeline.say(f"{asked.method:<5} {asked.path_url} ({signed}): {answer.status_code}")
    body: dict[str, Any] = answer.json()
    return body
