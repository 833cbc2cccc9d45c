"""The demonstration's part about copies: an archive is copied, verified, and only then deleted."""

import base64
import hashlib
from datetime import timedelta
from typing import Any

import requests

from local import back_dating
from local.clients.management import ManagementApi
from local.demo import steps, timeline
from local.demo.report import Report
from local.stack import LocalStack
from local.waiting import wait_until
from operations.subscriber import Subscriber
from roomkeeper.store import Store

SIZE = 20 * 1024 * 1024
"""Bytes of the archive's file: three parts of a copy."""
RETENTION = 30  # days
AGE = timedelta(days=RETENTION + 1)


def show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    """Show that an archive is deleted only after its copy; add the checks."""
    with report.timed("copies"):
        _show(report, local, subscriber)


def _show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    timeline.heading("Copies: an archive is copied to the operator's bucket, and only then deleted")
    store = Store(local.stack.client("dynamodb"), local.stack.outputs["TableName"])
    local.vonage.fault("download", status=403)
    [archive_id] = local.vonage.video.play_session(size=SIZE)["archive_ids"]
    wait_until(lambda: _is_deferred(store, archive_id), steps.EVENTS_WITHIN)
    timeline.say(
        f"Archive {archive_id[:8]} is uploaded, {SIZE:,} bytes. Vonage's download links fail, so "
        "there is no copy. The archive is back-dated past its retention."
    )
    too_early = _clean_up(local, archive_id)

    local.vonage.clear_faults()
    path = f"/recordings/{archive_id}"
    api = ManagementApi(local.stack)
    timeline.say("The links work again.")
    timeline.say_response(f"POST {path}/copy", api.call("POST", f"{path}/copy"))
    events = steps.events_about(subscriber, "recording:copied", archive_id)
    for event in events:
        timeline.show_event(event)
    after_copy = _clean_up(local, archive_id)
    file = api.call("GET", f"{path}/file").json()
    content = requests.get(file["url"], timeout=30).content
    timeline.say(f"GET {path}/file: a link to the copy, {len(content):,} bytes")

    report.check(
        "the cleanup deletes no archive before its copy",
        ok=too_early == {"deleted": 0, "at_vonage": True},
        detail=_in_words(too_early),
    )
    original = local.vonage.video.file(archive_id)
    digest = hashlib.sha256(content).digest()
    report.check(
        "the copy is the file at Vonage, byte for byte",
        ok=digest.hex() == original["sha256"]
        and [event["detail"]["data"]["sha256"] for event in events]
        == [base64.b64encode(digest).decode()],
        detail=f"SHA-256 {digest.hex()[:16]}... of both; {len(events)} recording:copied",
    )
    report.check(
        "the cleanup deletes the archive once it is copied, and the copy stays",
        ok=after_copy == {"deleted": 1, "at_vonage": False} and len(content) == SIZE,
        detail=_in_words(after_copy),
    )
    if recording := store.recordings.get(archive_id):
        report.note_life(recording)


def _is_deferred(store: Store, archive_id: str) -> bool:
    """Return True once an attempt to copy the archive has failed and is over."""
    known = store.recordings.get(archive_id)
    is_deferred = known and (known.worklist or "").startswith("deferred_awaiting_copy")
    return bool(known and is_deferred and known.copy_claimed_until is None)


def _clean_up(local: LocalStack, archive_id: str) -> dict[str, Any]:
    """Back-date the archive and run a cleanup; return the outcome for the archive."""
    back_dating.back_date(local.stack, back_dating.recordings([archive_id]), AGE)
    deleted = steps.start_job(local, "cleanup", retention_days=RETENTION)["deleted"]
    [archive] = [each for each in local.vonage.video.archives() if each["id"] == archive_id]
    return {"deleted": deleted, "at_vonage": not archive["deleted"]}


def _in_words(outcome: dict[str, Any]) -> str:
    verb = "is" if outcome["at_vonage"] else "is no longer"
    return f"{outcome['deleted']} deleted; the archive {verb} at Vonage"
