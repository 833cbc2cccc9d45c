"""The jobs and the management API on the deployed stack, with recordings of the Video API."""

import json
from collections import Counter
from collections.abc import Collection, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from local import back_dating
from local.clients.management import ManagementApi
from tests.support import jobs
from tests.support.deployed import WITHIN, Deployed
from tests.support.jobs import DAY
from tests.support.openapi import require_described

pytestmark = pytest.mark.local_stack

RECONCILER, CLEANUP = "RecordingReconcilerName", "RecordingCleanupName"
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def _without_faults_afterwards(deployed: Deployed) -> Iterator[None]:
    yield
    deployed.vonage.clear_faults()


def add_archives(
    deployed: Deployed, count: int = 1, *, age: timedelta = HOUR, **fields: Any
) -> list[str]:
    """Add archives at Vonage without callbacks; return their ids."""
    started_at = (datetime.now(UTC) - age).isoformat()
    ids: list[str] = deployed.vonage.video.add_archives(
        count, **{"started_at": started_at, "frozen": True, **fields}
    )["archive_ids"]
    return ids


def reconciled(deployed: Deployed, count: int = 1, **fields: Any) -> list[str]:
    """Add archives at Vonage and reconcile them; return their ids."""
    ids = add_archives(deployed, count, **fields)
    jobs.run(deployed, RECONCILER)
    assert len(deployed.store().recordings.get_many(ids)) == count
    return ids


def published(
    deployed: Deployed, name: str, ids: Collection[str], count: int
) -> list[dict[str, Any]]:
    """Wait for `count` events of that name about these recordings; return all of them."""

    def about(events: Any) -> list[dict[str, Any]]:
        return [
            event["detail"]
            for event in events
            if event["detail-type"] == name and event["detail"]["data"]["recording_id"] in ids
        ]

    about(deployed.subscriber.wait_for(lambda events: len(about(events)) >= count, WITHIN))
    return about(deployed.subscriber.receive_all())


def test_archives_of_which_no_callback_came_are_all_on_the_bus_after_one_run(
    deployed: Deployed,
) -> None:
    played = deployed.vonage.video.play_sessions(300, drop=1.0, senders=8)
    ids = set(played["archive_ids"])
    assert (len(ids), played["delivered"]) == (300, 0)

    report = jobs.run(deployed, RECONCILER)

    assert report["discovered"] == 300
    events = published(deployed, "recording:uploaded", ids, 300)
    assert Counter(each["data"]["recording_id"] for each in events) == Counter(ids)
    assert {each["metadata"]["origin"] for each in events} == {"reconciliation"}
    again = jobs.run(deployed, RECONCILER)
    assert (again["discovered"], again["recovered"]) == (0, 0)


def test_the_expiry_of_a_file_is_announced_in_time_and_published_afterwards(
    deployed: Deployed,
) -> None:
    [expiring] = add_archives(deployed, age=61 * HOUR)
    [expired] = add_archives(deployed, age=80 * HOUR, status="expired")

    first, second = jobs.run(deployed, RECONCILER), jobs.run(deployed, RECONCILER)

    assert (first["expiring"], first["expired"]) == (1, 1)
    assert (second["expiring"], second["expired"]) == (0, 0)
    [event] = published(deployed, "recording:expiring", [expiring], 1)
    assert datetime.fromisoformat(event["data"]["expires_at"]) < datetime.now(UTC) + 12 * HOUR
    [event] = published(deployed, "recording:expired", [expired], 1)
    assert event["data"]["product"] == "video"


def test_cleanup_deletes_archives_as_far_as_vonage_can(deployed: Deployed) -> None:
    """The file of a stored archive stays, a stopped one is retried, an expired one is gone."""
    [available] = reconciled(deployed)
    [stored] = reconciled(deployed, status="uploaded")
    [stopped] = add_archives(deployed, status="stopped")
    [expired] = add_archives(deployed, status="expired")
    for archive_id in (
        stopped,
        expired,
    ):  # their callbacks had arrived before the archives were available
        deliver(deployed, archive_id, "available")
    ids = [available, stored, stopped, expired]
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 31 * DAY)

    report = jobs.run(deployed, CLEANUP)

    names = ("deleted", "record_deleted", "already_deleted", "not_deletable_yet", "failed")
    assert [report[name] for name in names] == [1, 1, 1, 1, 0]
    deleted = published(deployed, "recording:deleted", ids, 3)
    kept = {each["data"]["recording_id"]: each["data"].get("file_kept") for each in deleted}
    assert kept == {available: None, stored: True, expired: None}
    again = jobs.run(deployed, CLEANUP)
    assert [again[name] for name in names] == [0, 0, 0, 0, 0]

    deliver(deployed, available, "available")  # once more, after its deletion
    recording = deployed.store().recordings.get(available)
    assert recording is not None
    assert recording.status == "deleted"


def deliver(deployed: Deployed, archive_id: str, status: str) -> None:
    """Post a callback with that status to the stack."""
    [archive] = [each for each in deployed.vonage.video.archives() if each["id"] == archive_id]
    response = deployed.post_video(json.dumps({**archive, "event": "archive", "status": status}))
    assert response.status_code == 204


def test_the_management_api_shows_holds_and_deletes_an_archive(deployed: Deployed) -> None:
    archive_id, unknown_to_us = reconciled(deployed)[0], add_archives(deployed)[0]
    api = ManagementApi(deployed.stack)

    for id_ in (archive_id, unknown_to_us):
        shown = api.call("GET", f"/recordings/{id_}")
        require_described("GET /recordings/{recording_id}", shown)
        recording = shown.json()
        assert (recording["product"], recording["status"]) == ("video", "uploaded")
        assert requests.get(recording["url"], timeout=WITHIN).status_code == 200
    listed = api.call("GET", f"/sessions/{recording['session_id']}/recordings")
    require_described("GET /sessions/{session_id}/recordings", listed)
    assert [each["product"] for each in listed.json()["recordings"]] == ["video"]

    hold = api.call("PUT", f"/recordings/{archive_id}/hold", json={"reason": "case 7"})
    require_described("PUT /recordings/{recording_id}/hold", hold)
    assert hold.json()["product"] == "video"
    assert api.call("DELETE", f"/recordings/{archive_id}").json()["error"]["code"] == "on_hold"
    assert api.call("DELETE", f"/recordings/{archive_id}/hold").status_code == 204
    for id_ in (archive_id, unknown_to_us):
        for _ in range(2):
            assert api.call("DELETE", f"/recordings/{id_}").status_code == 204
    assert len(published(deployed, "recording:deleted", [archive_id, unknown_to_us], 2)) == 2


def test_an_archive_that_is_not_finished_cannot_be_deleted_yet(deployed: Deployed) -> None:
    [archive_id] = reconciled(deployed, status="stopped")
    response = ManagementApi(deployed.stack).call("DELETE", f"/recordings/{archive_id}")
    require_described("DELETE /recordings/{recording_id}", response)
    assert response.json()["error"]["code"] == "not_deletable_yet"


def test_a_product_without_credentials_is_named_and_the_other_is_served(
    deployed: Deployed,
) -> None:
    stored = deployed.stack.secret("VonageSecretArn")
    [archive_id] = add_archives(deployed)
    deployed.stack.put_secret("VonageSecretArn", json.dumps(dict.fromkeys(stored, "")))
    try:
        report = jobs.run(deployed, RECONCILER)
    finally:
        deployed.stack.put_secret("VonageSecretArn", json.dumps(stored))
    assert report["not_configured"] == ["meetings"]
    assert deployed.store().recordings.get(archive_id)
