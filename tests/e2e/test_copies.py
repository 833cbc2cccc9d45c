"""Copies of recordings on a deployed stack that copies them: the file, the event, the deletion."""

import hashlib
import json
from base64 import b64encode
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests

from local import back_dating
from local.clients import jobs as http
from local.clients.management import ManagementApi
from local.waiting import wait_until
from roomkeeper.domain.recordings import Recording
from roomkeeper.times import iso
from tests.support.deployed import WITHIN, Deployed
from tests.support.jobs import DAY
from tests.support.openapi import require_described

pytestmark = pytest.mark.local_stack

MIB = 1024 * 1024


def upload(copying: Deployed, size: int) -> str:
    """Have the emulator upload a recording of this size, and return its id."""
    [recording_id] = copying.vonage.add_recordings(1, status="stopped", size=size)["recording_ids"]
    copying.vonage.upload(recording_id)
    return str(recording_id)


def known(copying: Deployed, recording_id: str) -> Recording:
    recording = copying.store().recordings.get(recording_id)
    assert recording is not None
    return recording


def copied(copying: Deployed, recording_id: str) -> Recording:
    """Return a recording once it is copied."""
    store = copying.store().recordings
    assert wait_until(lambda: bool((each := store.get(recording_id)) and each.copied_at), WITHIN)
    return known(copying, recording_id)


def events(copying: Deployed, recording_id: str, count: int) -> list[dict[str, Any]]:
    found = copying.events_about(recording_id, count=count)
    return [each for each in found if each["detail-type"] == "recording:copied"]


@pytest.mark.parametrize("size", [1000, 40 * MIB])
def test_an_upload_is_copied_announced_and_only_then_deleted(size: int, copying: Deployed) -> None:
    recording_id = upload(copying, size)
    recording = copied(copying, recording_id)
    copy = recording.copy
    assert copy is not None
    assert copy.size == size

    file = ManagementApi(copying.stack).call("GET", f"/recordings/{recording_id}/file").json()
    content = requests.get(file["url"], timeout=WITHIN).content
    assert len(content) == size
    assert b64encode(hashlib.sha256(content).digest()).decode() == copy.sha256 == file["sha256"]

    [event] = events(copying, recording_id, 2)
    assert event["detail"]["data"] == {
        "product": "meetings",
        "recording_id": recording_id,
        "session_id": recording.session_id,
        **({"room_id": recording.room_id} if recording.room_id else {}),
        "bucket": copying.stack.outputs["CopyBucketName"],
        "key": copy.key,
        "size": size,
        "sha256": copy.sha256,
        "version_id": copy.version_id,
    }

    back_date(copying, recording_id)
    assert http.post(copying.stack, "cleanup", {}).json()["deleted"] == 1
    assert known(copying, recording_id).copied_at
    shown = ManagementApi(copying.stack).call("GET", f"/recordings/{recording_id}").json()
    assert shown["copy"]["key"] == copy.key


def back_date(copying: Deployed, recording_id: str) -> None:
    """Put the upload past its retention."""
    back_dating.back_date(copying.stack, back_dating.recordings([recording_id]), 31 * DAY)


def has_failed(copying: Deployed, recording_id: str) -> bool:
    """Return whether a copy was tried, and the attempt is over without a copy."""
    recording = known(copying, recording_id)
    is_over = recording.copy_claimed_until is None and recording.copied_at is None
    return is_over and any(
        recording_id in each["path"] and each["status"] == 403 for each in copying.vonage.requests()
    )


def test_the_cleanup_deletes_nothing_that_is_not_copied(copying: Deployed) -> None:
    copying.vonage.fault("get_recording", status=403)
    try:
        recording_id = upload(copying, 1000)
        assert wait_until(lambda: has_failed(copying, recording_id), WITHIN)
        back_date(copying, recording_id)
        report = http.post(copying.stack, "cleanup", {}).json()
        assert (report["due"], report["deleted"]) == (0, 0)
    finally:
        copying.vonage.clear_faults()
    assert http.post(copying.stack, "copying", {}).json()["queued"] == 1
    copied(copying, recording_id)
    back_date(copying, recording_id)
    assert http.post(copying.stack, "cleanup", {}).json()["deleted"] == 1


def test_an_archive_is_deleted_only_after_its_copy(copying: Deployed) -> None:
    [archive_id] = copying.vonage.video.play_session(size=40 * MIB)["archive_ids"]
    copy = copied(copying, archive_id).copy
    assert copy is not None
    assert copy.sha256 == copying.vonage.video.file(archive_id)["sha256sum"]
    [event] = events(copying, archive_id, 4)
    assert event["detail"]["data"]["product"] == "video"
    assert not is_deleted(copying, archive_id)
    back_date(copying, archive_id)
    assert http.post(copying.stack, "cleanup", {}).json()["deleted"] == 1
    assert is_deleted(copying, archive_id)


def test_only_an_archive_without_a_copy_is_announced_as_expiring(copying: Deployed) -> None:
    video, old = copying.vonage.video, iso(datetime.now(UTC) - timedelta(hours=61))
    [with_copy] = video.play_session(started_at=old)["archive_ids"]
    copied(copying, with_copy)
    copying.vonage.fault("get_archive", status=403)
    try:
        [without] = video.play_session(started_at=old)["archive_ids"]
        assert wait_until(lambda: has_failed(copying, without), WITHIN)
        assert http.post(copying.stack, "reconciliation", {}).json()["expiring"] == 1
        for each in (with_copy, without):
            back_date(copying, each)
        assert http.post(copying.stack, "cleanup", {}).json()["deleted"] == 1
    finally:
        copying.vonage.clear_faults()
    assert "recording:expiring" in known(copying, without).seen
    assert (is_deleted(copying, with_copy), is_deleted(copying, without)) == (True, False)


def is_deleted(copying: Deployed, archive_id: str) -> bool:
    """Return whether an archive is deleted at Vonage."""
    [archive] = [each for each in copying.vonage.video.archives() if each["id"] == archive_id]
    return bool(archive["deleted"])


def test_a_copy_can_be_requested_and_deleted(copying: Deployed) -> None:
    [recording_id] = copying.vonage.add_recordings(1, size=2000)["recording_ids"]
    store = copying.store()
    observed = copying.vonage.recordings()
    [session_id] = [each["session_id"] for each in observed if each["id"] == recording_id]
    body = {
        "event": "recording:uploaded",
        "recording_id": recording_id,
        "session_id": session_id,
        "started_at": "2026-05-01T12:00:00Z",
        "ended_at": "2026-05-01T12:00:38Z",
        "duration": 38,
        "url": "https://recordings.example/archive.mp4?Expires=1",
    }
    assert copying.post(json.dumps(body)).status_code == 204
    api = ManagementApi(copying.stack)
    assert api.call("POST", f"/recordings/{recording_id}/copy").status_code in (200, 202)
    copied(copying, recording_id)
    response = api.call("DELETE", f"/recordings/{recording_id}?copy=delete")
    assert response.json() == {"recording_id": recording_id, "copy": "deleted"}
    recording = store.recordings.get(recording_id)
    assert recording is not None
    assert recording.copy is None
    assert api.call("GET", f"/recordings/{recording_id}/file").status_code == 404


@pytest.mark.parametrize(("options", "status"), [({"dry_run": True}, 200), ({"days": 1}, 400)])
def test_the_sweep_responds_as_described(
    options: dict[str, Any], status: int, copying: Deployed
) -> None:
    response = http.post(copying.stack, "copying", options)
    require_described("POST /jobs/copying", response)
    assert response.status_code == status
    assert response.json().get("dry_run") is (True if status == 200 else None)
