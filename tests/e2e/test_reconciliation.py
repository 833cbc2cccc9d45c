"""The recording reconciler on the deployed stack recovers recordings of lost callbacks."""

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from local import back_dating
from local.clients import jobs as http
from local.testing.template import ROOT
from roomkeeper.domain.recordings import WorklistEntry
from tests.support import jobs
from tests.support.deployed import WITHIN, Deployed
from tests.support.jobs import DAY, JobFailed

pytestmark = pytest.mark.local_stack

JOB, FUNCTION = "reconciliation", "RecordingReconcilerName"


@pytest.fixture(autouse=True)
def _without_faults_afterwards(deployed: Deployed) -> Iterator[None]:
    yield
    deployed.vonage.clear_faults()


def overdue(deployed: Deployed, ids: set[str]) -> None:
    """Back-date the worklist entries of these recordings and sessions by two days."""
    store, later = deployed.store(), datetime.now(UTC) + timedelta(minutes=1)
    waiting: list[WorklistEntry] = [
        entry
        for worklist in ("awaiting_upload", "ended_session", "open_session")
        for entry in store.worklists.read(worklist, later)
        if entry.id in ids
    ]
    back_dating.back_date(deployed.stack, waiting, 2 * DAY)


def uploads(deployed: Deployed, ids: set[str], count: int) -> list[dict[str, Any]]:
    """Wait for `count` recording:uploaded events of these recordings; return all of them."""

    def about(events: Any) -> list[dict[str, Any]]:
        return [
            event
            for event in events
            if event["detail-type"] == "recording:uploaded"
            and event["detail"]["data"]["recording_id"] in ids
        ]

    about(deployed.subscriber.wait_for(lambda events: len(about(events)) >= count, WITHIN))
    return about(deployed.subscriber.receive_all())


def undiscoverable(deployed: Deployed, meetings: dict[str, Any]) -> set[str]:
    """Return the recordings for whose session no callback was delivered at all."""
    received = {
        delivery["body"]["session_id"]
        for delivery in deployed.vonage.deliveries()
        if delivery["delivered"] and "participant" not in delivery["event"]
    }
    return {
        recording["id"]
        for recording in deployed.vonage.recordings()
        if recording["id"] in meetings["recording_ids"] and recording["session_id"] not in received
    }


def test_with_every_fifth_callback_lost_every_upload_is_published_once(deployed: Deployed) -> None:
    meetings = deployed.vonage.hold_meetings(
        20, recordings=5, senders=8, drop=0.2, duplicates=0.1, seed=4, participants=["Ada"]
    )
    ids = set(meetings["recording_ids"])
    assert len(ids) == 100
    assert meetings["dropped"]["recording:uploaded"] > 10
    overdue(deployed, ids | set(meetings["session_ids"]))
    deployed.vonage.fault("*", probability=0.1, status=500)

    runs = 0
    while runs < 4:
        runs += 1
        with suppress(JobFailed):
            if jobs.run(deployed, FUNCTION)["remaining"] == 0:
                break

    found = ids - undiscoverable(deployed, meetings)
    known = deployed.store().recordings.get_many(ids)
    assert set(known) == found
    assert {recording.status for recording in known.values()} == {"uploaded"}
    events = uploads(deployed, ids, len(found))
    assert Counter(event["detail"]["data"]["recording_id"] for event in events) == Counter(found)
    assert len({event["detail"]["metadata"]["event_id"] for event in events}) == len(found)
    origins = Counter(event["detail"]["metadata"]["origin"] for event in events)
    assert origins["reconciliation"] >= meetings["dropped"]["recording:uploaded"] - len(ids - found)
    assert set(origins) == {"callback", "reconciliation"}


def test_a_late_callback_for_a_recovered_recording_gives_no_second_event(
    deployed: Deployed,
) -> None:
    meeting = deployed.vonage.hold_meeting(drop={"recording:uploaded"})
    [recording_id] = meeting["recording_ids"]
    overdue(deployed, {recording_id, meeting["session_id"]})
    dry_run = http.start(deployed.stack, JOB, dry_run=True)
    assert {"event": "recording:uploaded", "recording_id": recording_id} in dry_run["planned"]
    assert deployed.store().recordings.get_many([recording_id])[recording_id].status == "ended"

    report = http.start(deployed.stack, JOB)

    assert (report["recovered"], report["failed"]) == (1, 0)
    [event] = uploads(deployed, {recording_id}, 1)
    assert event["detail"]["metadata"]["origin"] == "reconciliation"
    assert event["detail"]["data"]["room_id"] == meeting["room_id"]
    schema = json.loads((ROOT / "docs/events/recording-uploaded.json").read_text())
    Draft202012Validator(schema).validate(event["detail"])

    assert deployed.vonage.upload(recording_id)["status"] == 204
    later = deployed.vonage.hold_meeting()["recording_ids"][0]
    assert len(uploads(deployed, {recording_id, later}, 2)) == 2


def test_a_recording_that_vonage_no_longer_has_is_published_as_lost(deployed: Deployed) -> None:
    recording_id = str(uuid.uuid4())
    body = {"event": "recording:started", "recording_id": recording_id, "session_id": "gone"}
    assert deployed.post(json.dumps(body)).status_code == 204
    overdue(deployed, {recording_id})

    assert http.start(deployed.stack, JOB)["lost"] == 1

    events = deployed.events_about(recording_id, count=2)
    [lost] = [event for event in events if event["detail-type"] == "recording:lost"]
    schema = json.loads((ROOT / "docs/events/recording-lost.json").read_text())
    Draft202012Validator(schema).validate(lost["detail"])
    assert lost["detail"]["metadata"]["origin"] == "reconciliation"


def test_a_recording_of_an_ongoing_session_keeps_waiting(deployed: Deployed) -> None:
    meeting = deployed.vonage.hold_meeting(ongoing=True)
    [recording_id] = meeting["recording_ids"]
    overdue(deployed, {recording_id})

    assert http.start(deployed.stack, JOB)["waiting"] == 1

    assert deployed.store().recordings.get_many([recording_id])[recording_id].status == "started"
    deployed.vonage.end_meeting(meeting["session_id"])
    [event] = uploads(deployed, {recording_id}, 1)
    assert event["detail"]["metadata"]["origin"] == "callback"


def test_an_unsigned_request_starts_no_run(deployed: Deployed) -> None:
    assert http.post(deployed.stack, JOB, {}, sign=False).status_code == 403
