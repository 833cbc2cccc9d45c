"""Scenarios that need every permission of a role, run on the deployed stack.

A scenario raises AssertionError if a step fails. Each creates its own items, so it can be repeated
and fails only for a missing permission.
"""

import hashlib
import json
import secrets
import uuid
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import requests
from msgspec import structs

import local.clients.jobs
from local import back_dating
from local.clients.management import ManagementApi
from local.testing.builders import a_body, a_record
from local.testing.template import resources
from local.waiting import wait_until
from roomkeeper.aws import sdk
from roomkeeper.aws.bucket import Bucket
from roomkeeper.domain.copies import MAX_SINGLE, MIB, PART_SIZE, Copy, object_key
from roomkeeper.domain.recordings import WorklistEntry
from roomkeeper.times import iso
from tests.support import jobs
from tests.support.deployed import WITHIN, Deployed
from tests.support.jobs import DAY

REFUSAL = "The schedule's role does not allow it to start"
KEEP = "roomkeeper:keep"

Scenario = Callable[[Deployed], None]


def take_a_callback(deployed: Deployed) -> None:
    """Have the intake store a callback of each product."""
    session = deployed.vonage.video.play_session(drop={"archive:available"})
    assert deployed.item(f"RECORDING#{session['archive_ids'][0]}")
    recording_id = _new()
    body = a_body("recording:started", recording_id=recording_id, session_id=_new())
    response = deployed.post(body)
    assert response.status_code == 204, response.text
    assert deployed.item(f"RECORDING#{recording_id}")


def publish_and_dead_letter(deployed: Deployed) -> None:
    """Have the publisher look up an upload's room, and send an invalid record to the DLQ."""
    response = deployed.stack.client("lambda").invoke(
        FunctionName=deployed.id_of("EventPublisher"),
        Payload=json.dumps({"Records": _records(deployed)}),
    )
    assert "FunctionError" not in response
    assert json.loads(response["Payload"].read()) == {"batchItemFailures": []}


@cache
def _records(deployed: Deployed) -> list[dict[str, Any]]:
    """Return stream records: an upload without a room, and an event of an unknown type."""
    recording_id, session_id = _new(), _new()
    started = a_body("session:started", session_id=session_id)
    uploaded = a_body("recording:uploaded", recording_id=recording_id, session_id=session_id)
    for body in (started, uploaded):
        assert deployed.post(body).status_code == 204
    upload = deployed.item(f"RECORDING#{recording_id}")
    assert upload is not None
    poison = {
        "pk": {"S": f"EVENT#{_new()}"},
        "event": {"S": "unknown:event"},
        "detail": {"S": "{}"},
    }
    return [a_record(upload, number="1"), a_record(poison, number="2")]


def look_after_recordings(deployed: Deployed) -> None:
    """Have the management API read and change a recording's item."""
    api = ManagementApi(deployed.stack)
    [recording_id] = jobs.uploads(deployed, 1)
    recording = deployed.store().recordings.get(recording_id)
    assert recording is not None
    for method, path, body in (
        ("GET", f"/recordings/{recording_id}", None),
        ("GET", f"/sessions/{recording.session_id}/recordings", None),
        ("PUT", f"/recordings/{recording_id}/hold", {"reason": "a permission test"}),
        ("DELETE", f"/recordings/{recording_id}/hold", None),
    ):
        response = api.call(method, path, json=body)
        assert response.ok, response.text
    [archive_id] = deployed.vonage.video.play_session()["archive_ids"]
    response = api.call("DELETE", f"/recordings/{archive_id}")
    assert response.ok, response.text


def look_after_copies(deployed: Deployed) -> None:
    """Have the management API queue, serve, hold and delete copies, with and without versions."""
    api = ManagementApi(deployed.stack)
    uncopied, copied = known_only_from_its_callback(deployed), jobs.uploads(deployed, 2)
    response = api.call("POST", f"/recordings/{uncopied}/copy")
    assert response.ok, response.text
    await_copies(deployed, copied)
    without_version, _ = copied
    forget_version(deployed, without_version)
    for recording_id in copied:
        path = f"/recordings/{recording_id}"
        file = api.call("GET", f"{path}/file")
        assert file.ok, file.text
        assert requests.get(file.json()["url"], timeout=WITHIN).ok
        for method, body in (("PUT", {"reason": "a permission test"}), ("DELETE", None)):
            response = api.call(method, f"{path}/hold", json=body)
            assert response.ok, response.text
        response = api.call("DELETE", f"{path}?copy=delete")
        assert response.ok, response.text


def known_only_from_its_callback(deployed: Deployed) -> str:
    """Have the intake store an upload that Vonage has no file for; return its id."""
    recording_id = _new()
    body = a_body("recording:uploaded", recording_id=recording_id, session_id=_new())
    assert deployed.post(body).status_code == 204
    return recording_id


def await_copies(deployed: Deployed, ids: Sequence[str], failed_before: int = 0) -> None:
    """Wait until recordings are copied; fail at once if a copy fails."""
    store = deployed.store().recordings

    def are_copied() -> bool:
        known = store.get_many(ids)
        return len(known) == len(ids) and all(each.copied_at for each in known.values())

    assert wait_until(lambda: are_copied() or failed_copies(deployed, ids) > failed_before, WITHIN)
    assert are_copied()


def failed_copies(deployed: Deployed, ids: Sequence[str]) -> int:
    """Return how many attempts to copy these recordings have failed."""
    return sum(len(lines(deployed, "copy failed", each)) for each in ids)


def lines(deployed: Deployed, *texts: str) -> list[str]:
    """Return the lines of the copier's log that have all of these texts."""
    name = deployed.stack.outputs["RecordingCopierName"]
    log = deployed.folder / "functions" / f"{name}.log"
    written = log.read_text().splitlines() if log.exists() else ()
    return [line for line in written if all(each in line for each in texts)]


def forget_version(deployed: Deployed, recording_id: str) -> None:
    """Change a copy's item as in a bucket without versioning."""
    deployed.stack.client("dynamodb").update_item(
        TableName=deployed.stack.outputs["TableName"],
        Key={"pk": {"S": f"RECORDING#{recording_id}"}},
        UpdateExpression="REMOVE #copy.version_id",
        ExpressionAttributeNames={"#copy": "copy"},
    )


def manage(deployed: Deployed) -> None:
    """Call all operations of the management API on recordings and their copies."""
    look_after_recordings(deployed)
    look_after_copies(deployed)


def clean_up(deployed: Deployed) -> None:
    """Have the cleanup delete a copied recording of each product past its retention."""
    ids = [*jobs.uploads(deployed, 1), *deployed.vonage.video.play_session()["archive_ids"]]
    await_copies(deployed, ids)
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 31 * DAY)
    require_done(deployed, "cleanup", "deleted", len(ids))


def reconcile(deployed: Deployed) -> None:
    """Have the reconciler recover a callback of each product that was lost."""
    meeting = deployed.vonage.hold_meeting(drop={"recording:uploaded"})
    session = deployed.vonage.video.play_session(drop={"archive:available"})
    ids = [*meeting["recording_ids"], *session["archive_ids"]]
    waiting = [WorklistEntry("recording", each, datetime.now(UTC)) for each in ids]
    back_dating.back_date(deployed.stack, waiting, 2 * DAY)
    require_done(deployed, "reconciliation", "recovered", len(ids))


def extend_rooms(deployed: Deployed) -> None:
    """Have the extender extend a recently used room; ONLY_ROOMS_USED_WITHIN_DAYS must be set."""
    soon = iso(datetime.now(UTC) + timedelta(days=2))
    [room_id] = deployed.vonage.add_rooms(1, expires_at=soon, metadata=KEEP)
    deployed.vonage.hold_meeting(room_id)
    require_done(deployed, "room-extension", "extended")


def require_done(deployed: Deployed, job: str, count: str, least: int = 1) -> None:
    """Run a job by HTTP and fail unless its report has at least `least` of this count.

    By HTTP a job does not raise; after an error the local AWS would start a new process each time.
    """
    response = local.clients.jobs.post(deployed.stack, job, {})
    report = response.json()
    assert response.ok, report
    assert report["failed"] == 0, report
    assert report["stopped_by"] is None, report
    assert report[count] >= least, report


def copy_recordings(deployed: Deployed) -> None:
    """Have the sweep queue interrupted copies, and the copier complete them and apply holds."""
    await_copies(deployed, jobs.uploads(deployed, 1))  # the sweep looks at it: it is retained
    with nothing_copied(deployed):
        whole = jobs.uploads(deployed, 1)[0]
        archive = deployed.vonage.video.play_session()["archive_ids"][0]
        resumed, changed = (sized_upload(deployed, MAX_SINGLE + MIB) for _ in range(2))
        made = sized_upload(deployed, 1000)
        for each in (whole, archive, resumed, changed, made):
            await_failure(deployed, each)
    deployed.store().recordings.hold(whole, "a permission test", "a test", datetime.now(UTC))
    begin(deployed, resumed)
    begin(deployed, changed, source_etag='"another"', sha256="unknown")
    make(deployed, made)
    ids = [whole, archive, resumed, changed, made]
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), DAY)
    failed, failed_before = failed_copies(deployed, ids), failed_copies(deployed, [whole])
    require_done(deployed, "copying", "queued", len(ids))
    await_copies(deployed, ids, failed)
    require_tag(deployed, whole, failed_before)
    require_retry(deployed)


@contextmanager
def nothing_copied(deployed: Deployed) -> Iterator[None]:
    """Have Vonage refuse its files within the context."""
    for operation in ("get_recording", "get_archive"):
        deployed.vonage.fault(operation, status=403)
    try:
        yield
    finally:
        deployed.vonage.clear_faults()


def sized_upload(deployed: Deployed, size: int) -> str:
    """Have Vonage upload a recording of this size in bytes; return its id."""
    [recording_id] = deployed.vonage.add_recordings(1, status="stopped", size=size)["recording_ids"]
    deployed.vonage.upload(recording_id)
    return str(recording_id)


def await_failure(deployed: Deployed, recording_id: str) -> None:
    """Wait until an attempt to copy a recording has failed for a reason of its own."""
    assert wait_until(lambda: failed_copies(deployed, [recording_id]) > 0, WITHIN)
    known = deployed.store().recordings.get(recording_id)
    assert known is not None
    assert (known.worklist or "").startswith("deferred_awaiting_copy#")


def begin(deployed: Deployed, recording_id: str, **changes: Any) -> None:
    """Start the copy of a recording, as an invocation that ran out of time leaves it."""
    copy = a_copy(deployed, recording_id)
    upload_id = bucket_of(deployed).start(copy.key, "mp4")
    save(deployed, recording_id, structs.replace(copy, upload_id=upload_id, **changes))


def make(deployed: Deployed, recording_id: str) -> None:
    """Make the copy of a recording, as an invocation that was then killed."""
    copy = a_copy(deployed, recording_id)
    data = bytearray(copy.size)
    digest = b64encode(hashlib.sha256(data).digest()).decode()
    assert bucket_of(deployed).put(copy.key, "mp4", data, digest)
    save(deployed, recording_id, structs.replace(copy, sha256=digest, s3_checksum=digest))


def a_copy(deployed: Deployed, recording_id: str) -> Copy:
    """Return the copy of a recording that is about to be begun."""
    file, now = deployed.vonage.video.file(recording_id), datetime.now(UTC)
    return Copy(
        bucket=deployed.stack.outputs["CopyBucketName"],
        key=object_key(now, "a-session", recording_id, "mp4"),
        size=file["size"],
        part_size=PART_SIZE,
        source_etag=f'"{file["etag"].strip(chr(34))}"',
        started_at=now,
    )


def save(deployed: Deployed, recording_id: str, copy: Copy) -> None:
    """Save how far a copy is."""
    copies, now = deployed.store().copies, datetime.now(UTC)
    assert copies.claim(recording_id, "a test", now + DAY, now)
    copies.save(recording_id, "a test", copy)
    assert copies.release(recording_id, "a test")


def bucket_of(deployed: Deployed) -> Bucket:
    """Return the bucket of the copies."""
    return Bucket(deployed.stack.outputs["CopyBucketName"], _s3(deployed))


def _s3(deployed: Deployed) -> Any:
    return sdk.Client(deployed.stack.client("s3"))


def require_tag(deployed: Deployed, recording_id: str, failed: int) -> None:
    """Wait until the copy of a recording on hold is out of the bucket's retention.

    Fail at once if a copy fails, after `failed` earlier ones.
    """
    known = deployed.store().recordings.get(recording_id)
    assert known is not None
    assert known.copy is not None
    arguments = {"Bucket": known.copy.bucket, "Key": known.copy.key}

    def is_kept() -> bool:
        [tag] = deployed.stack.client("s3").get_object_tagging(**arguments)["TagSet"]
        return str(tag["Value"]) == "on-hold"

    assert wait_until(lambda: is_kept() or failed_copies(deployed, [recording_id]) > failed, WITHIN)
    assert is_kept()


def require_retry(deployed: Deployed) -> None:
    """Have a copy fail for a reason of Vonage; fail if the copier may not delay its message."""
    deployed.vonage.fault("get_recording", status=401)
    try:
        [recording_id] = jobs.uploads(deployed, 1)
        assert wait_until(lambda: failed_copies(deployed, [recording_id]) > 0, WITHIN)
        before = len(lines(deployed, DELAY_FAILED))
        message = {
            "messageId": "a message",
            "receiptHandle": "none",  # which SQS refuses, after it has checked the permission
            "body": json.dumps(recording_id),
            "attributes": {"ApproximateReceiveCount": "1"},
        }
        deployed.stack.client("lambda").invoke(
            FunctionName=deployed.stack.outputs["RecordingCopierName"],
            Payload=json.dumps({"Records": [message]}),
        )
        assert wait_until(lambda: len(lines(deployed, DELAY_FAILED)) > before, WITHIN)
        assert "AccessDenied" not in lines(deployed, DELAY_FAILED)[-1]
    finally:
        deployed.vonage.clear_faults()


DELAY_FAILED = "delay of the message failed"


SCENARIOS: Mapping[str, Scenario] = {
    "CallbackIntakeRole": take_a_callback,
    "EventPublisherRole": publish_and_dead_letter,
    "ManagementApiRole": manage,
    "RecordingCleanupRole": clean_up,
    "RecordingCopierRole": copy_recordings,
    "RecordingReconcilerRole": reconcile,
    "RoomExpiryExtenderRole": extend_rooms,
}
"""The scenario of each function's role."""

SCHEDULES = [*resources("AWS::Scheduler::Schedule")]
SCHEDULE_ROLES = [f"{schedule}Role" for schedule in SCHEDULES]
"""The role of each schedule."""


def start_by_schedule(deployed: Deployed) -> None:
    """Start every schedule's target once, now, with its schedule's role."""
    scheduler = deployed.stack.client("scheduler")
    for schedule in SCHEDULES:
        target = scheduler.get_schedule(Name=deployed.id_of(schedule))["Target"]
        scheduler.create_schedule(
            Name=f"once-{secrets.token_hex(4)}",
            ScheduleExpression=f"at({datetime.now(UTC):%Y-%m-%dT%H:%M:%S})",
            FlexibleTimeWindow={"Mode": "OFF"},
            ActionAfterCompletion="DELETE",
            Target=target,
        )


def refused_starts(deployed: Deployed) -> int:
    """Return how often the local AWS refused to start a schedule's target."""
    return (deployed.folder / "local.aws.log").read_text().count(REFUSAL)


def _new() -> str:
    return str(uuid.uuid4())
