"""The deployed functions' logs: one id from callback to subscriber, and `make trace`."""

import json
import re
import sys
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from local import back_dating
from local.clients.management import ManagementApi
from local.waiting import wait_until
from operations import insights, trace
from operations.insights import Line
from tests.support import jobs
from tests.support.deployed import WITHIN, Deployed

RunTrace = Callable[[str], tuple[int, str, str]]
LIFE = [
    "session:started accepted",
    "recording:started accepted",
    "recording:started published",
    "recording:uploaded accepted",
    "recording:uploaded repeated, nothing new",
    "put on hold",
    "recording:uploaded published again",
    "hold released",
    "deleted by cleanup",
    "deleted at Vonage",
    "recording:deleted published",
]


@pytest.fixture
def run_trace(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> RunTrace:
    """Run `make trace`; return its exit code, stdout and stderr."""
    monkeypatch.setattr(trace, "deployed_stack", lambda _: deployed.stack)

    def run(recording_id: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["trace", "--", recording_id])
        return trace.main(), *capsys.readouterr()

    return run


def lines_of(deployed: Deployed, event_id: str, count: int) -> list[Line]:
    """Wait for `count` log lines with an event's id; return all of them."""
    found: list[Line] = []

    def are_there() -> bool:
        found[:] = insights.lines(deployed.stack, [event_id], datetime.now(UTC) - timedelta(1))
        return len(found) >= count

    assert wait_until(are_there, WITHIN, interval=0.5), f"only {len(found)} lines about {event_id}"
    return found


def test_a_callbacks_log_lines_and_event_have_one_id(deployed: Deployed) -> None:
    meeting = deployed.vonage.hold_meeting(participants=["Ada"])
    for event in deployed.events_about(meeting["session_id"], count=len(meeting["callbacks"])):
        event_id = event["detail"]["metadata"]["event_id"]
        lines = lines_of(deployed, event_id, count=2)
        assert [line["service"] for line in lines] == ["callback_intake", "event_publisher"]
        assert {line["event"] for line in lines} == {event["detail-type"]}
        assert {line["correlation_id"] for line in lines} == {event_id}


@pytest.mark.local_stack
def test_trace_shows_a_recording_from_its_callback_to_its_deletion(
    deployed: Deployed, run_trace: RunTrace
) -> None:
    meeting = deployed.vonage.hold_meeting(recordings=2, repeat={"recording:uploaded": 1})
    recording_id, other = meeting["recording_ids"]
    deployed.events_about(recording_id, count=3)
    api, path = ManagementApi(deployed.stack), f"/recordings/{recording_id}"
    assert api.call("PUT", f"{path}/hold", json={"reason": "an inquiry"}).status_code == 200
    assert api.call("POST", f"{path}/republish").status_code == 202
    assert api.call("DELETE", f"{path}/hold").status_code == 204
    back_dating.back_date(
        deployed.stack, back_dating.recordings([recording_id]), timedelta(days=31)
    )
    jobs.run(deployed, "RecordingCleanupName")
    events = deployed.events_about(recording_id, count=5)

    def story() -> str:
        code, text, _ = run_trace(recording_id)
        assert code == 0
        return text

    assert wait_until(lambda: "recording:deleted published" in story(), WITHIN, interval=0.5)
    text = story()
    positions = [text.find(step) for step in LIFE]
    assert -1 not in positions, f"{LIFE[positions.index(-1)]} is missing in\n{text}"
    assert positions == sorted(positions), text
    assert {event["detail"]["metadata"]["event_id"] for event in events} <= set(text.split())
    assert text.startswith(f"Recording {recording_id}: deleted\n")
    assert f"room {meeting['room_id']}" in text
    assert other not in text
    queries = {body["url"].partition("?")[2] for body in meeting["callbacks"] if "url" in body}
    token = deployed.stack.callback_secret()["token"]
    assert not [secret for secret in [*queries, token] if secret in text]


def test_an_unknown_recording_is_named_with_what_to_do(run_trace: RunTrace) -> None:
    unknown = str(uuid.uuid4())
    code, text, complaint = run_trace(unknown)
    assert (code, text) == (1, "")
    assert unknown in complaint
    assert "STACK=" in complaint


def test_without_an_id_trace_shows_its_usage(
    run_trace: RunTrace, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run_trace("")
    assert "make trace RECORDING=" in capsys.readouterr().err


def test_the_dashboard_shows_this_stack(deployed: Deployed) -> None:
    name = deployed.stack.outputs["DashboardUrl"].rpartition("name=")[2]
    response = deployed.stack.client("cloudwatch").get_dashboard(DashboardName=name)
    body = response["DashboardBody"]
    assert len(json.loads(body)["widgets"]) == 12
    functions = {v for k, v in deployed.stack.outputs.items() if k.startswith("Recording")}
    assert all(f'"{function}"' in body for function in functions)
    assert set(re.findall(r"\$\{.+?\}", body)) == {
        f"${{PROP('Dim.{name}')}}" for name in ("event", "reason", "status")
    }
