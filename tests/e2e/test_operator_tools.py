"""The commands of an operator's first day on a deployed stack: smoke, status, logs, events."""

import json
import subprocess
import uuid
from typing import Any

import pytest

from local import leftovers
from local.testing.builders import a_body
from local.waiting import wait_until
from operations.template import ROOT
from tests.support.commands import Result, environment_of, make
from tests.support.deployed import WITHIN, Deployed
from tests.support.suites import LOCAL

pytestmark = pytest.mark.local_stack


def left_by_commands(deployed: Deployed) -> list[str]:
    """Return the names of existing rules and queues of `make events` and `make smoke`."""
    bus = deployed.stack.outputs["EventBusName"]
    rules = deployed.stack.client("events").list_rules(EventBusName=bus)["Rules"]
    queues = deployed.stack.client("sqs").list_queues().get("QueueUrls", [])
    names = [rule["Name"] for rule in rules] + [url.rpartition("/")[2] for url in queues]
    return [name for name in names if name.startswith("make-")]


def items_marked_smoke(deployed: Deployed) -> list[Any]:
    table = deployed.stack.outputs["TableName"]
    found = deployed.stack.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    return [item for page in found for item in page["Items"] if "smoke-" in json.dumps(item)]


def test_smoke_sends_a_callback_through_the_stack_and_leaves_nothing(deployed: Deployed) -> None:
    result = make(deployed.stack, "smoke")
    assert result.code == 0, result.text
    assert result.text.count("ok   ") == 12, result.text
    assert "accepts callbacks of Meetings and Video" in result.text
    assert items_marked_smoke(deployed) == []
    assert left_by_commands(deployed) == []


def test_status_shows_the_stack_and_the_last_run_of_its_job(deployed: Deployed) -> None:
    function = deployed.stack.outputs["RecordingCleanupName"]
    deployed.stack.client("lambda").invoke(FunctionName=function, Payload=b'{"dry_run": true}')
    result = Result(1, "")

    def has_run() -> bool:
        nonlocal result
        result = make(deployed.stack, "status")
        return "ago (dry run), finished: failed 0, remaining 0" in result.text

    assert wait_until(has_run, WITHIN, interval=0.5), result.text
    assert result.code == 0, result.text
    assert "COMPLETE" in result.text
    assert deployed.stack.outputs["TableName"] in result.text
    assert f"{deployed.stack.parameters['VonageBaseUrl']}  (default: https://" in result.text
    for part in ("Last run of each job", "Worklists", "Dead letters", "in state ALARM"):
        assert part in result.text
    assert "cannot be read" not in result.text


def test_events_prints_an_event_as_it_happens(deployed: Deployed) -> None:
    room_id = str(uuid.uuid4())
    command = ["make", "--no-print-directory", "events", "COUNT=1", "SECONDS=300"]
    listening = subprocess.Popen(
        [*command, f"STACK={deployed.stack.name}"],
        cwd=ROOT,
        env=environment_of(deployed.stack),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert wait_until(lambda: bool(left_by_commands(deployed)), WITHIN)
    assert listening.stdout is not None
    assert "Listening" in listening.stdout.readline()
    assert deployed.post(a_body("room:expired", room_id=room_id)).status_code == 204
    text, _ = listening.communicate(timeout=WITHIN)
    assert listening.returncode == 0, text
    assert f"room:expired product=meetings room_id={room_id}" in text
    assert left_by_commands(deployed) == []


def test_logs_print_the_lines_about_a_callback(deployed: Deployed) -> None:
    room_id = str(uuid.uuid4())
    assert deployed.post(a_body("room:expired", room_id=room_id)).status_code == 204

    def lines() -> list[str]:
        result = make(deployed.stack, "logs", "SINCE=5m")
        assert result.code == 0, result.text
        return [line for line in result.text.splitlines() if room_id in line]

    assert wait_until(lambda: len(lines()) == 2, WITHIN, interval=0.5), lines()
    intake, publisher = lines()
    assert "callback_intake callback accepted event=room:expired" in intake
    assert "event_publisher event published event=room:expired" in publisher


def test_items_shows_the_recordings_of_a_session(deployed: Deployed) -> None:
    meeting = deployed.vonage.hold_meeting(recordings=1)
    result = make(deployed.stack, "items", f"SESSION={meeting['session_id']}")
    assert result.code == 0, result.text
    [recording_id] = meeting["recording_ids"]
    assert result.text.split()[:2] == ["pk", f"RECORDING#{recording_id}"]
    assert f"SESSION#{meeting['session_id']}" in result.text


def test_clean_refuses_while_this_stack_runs(deployed: Deployed) -> None:
    assert leftovers.is_running(LOCAL)
    result = make(deployed.stack, "clean")
    assert result.code != 0
    assert "A local stack is running (build/local/" in result.text
