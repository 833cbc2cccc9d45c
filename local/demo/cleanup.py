"""The demonstration's part about two scheduled jobs: cleanup and reconciliation."""

from datetime import UTC, datetime, timedelta

from local import back_dating
from local.clients.management import ManagementApi
from local.demo import steps, timeline
from local.demo.report import Report
from local.stack import LocalStack
from operations.subscriber import Subscriber
from roomkeeper.store import Store

CLEANUP, RECONCILIATION = "cleanup", "reconciliation"
RETENTION = 30  # days


def show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    """Show a cleanup, first as a dry run, and the recovery of a lost callback; add the checks."""
    with report.timed("cleanup"):
        _show_cleanup(report, local, subscriber)
    with report.timed("reconciliation"):
        _show_recovery(report, local, subscriber)


def _show_cleanup(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    timeline.heading(f"Cleanup: Vonage's recordings are deleted after {RETENTION} days")
    old, on_hold = local.vonage.hold_meeting(recordings=2)["recording_ids"]
    [young] = local.vonage.hold_meeting()["recording_ids"]
    store = Store(local.stack.client("dynamodb"), local.stack.outputs["TableName"])
    for recording_id in (old, on_hold, young):
        steps.events_about(subscriber, "recording:copied", recording_id)
    store.recordings.hold(on_hold, "a court order", "legal", datetime.now(UTC))
    age = timedelta(days=RETENTION + 1)
    back_dating.back_date(local.stack, back_dating.recordings([old, on_hold]), age)
    timeline.say(
        f"Three recordings are uploaded and copied. Two are back-dated by {age.days} days, so "
        "that the demonstration need not wait; one of these is on hold."
    )

    dry_run = steps.start_job(local, CLEANUP, dry_run=True, retention_days=RETENTION)
    after_dry_run = _at_vonage(local)
    steps.start_job(local, CLEANUP, retention_days=RETENTION)
    events = steps.events_about(subscriber, "recording:deleted", old)

    planned = [each["recording_id"] for each in dry_run["planned"]]
    report.check(
        "a dry run of the cleanup lists what is due, and deletes nothing",
        ok=planned == [old] and {old, on_hold, young} <= after_dry_run,
        detail=f"{len(planned)} listed, {dry_run['on_hold']} on hold",
    )
    remaining = {old, on_hold, young} & _at_vonage(local)
    report.check(
        "the cleanup deletes what is due, and nothing on hold or younger",
        ok=remaining == {on_hold, young},
        detail=f"{len(remaining)} of 3 recordings remain at Vonage",
    )
    report.check(
        "recording:deleted is published once",
        ok=[steps.origin(event) for event in events] == ["cleanup"],
        detail=f"{len(events)} received",
    )
    _note_lives(report, store, [old, on_hold, young])
    _show_release(report, local, on_hold)
    _note_lives(report, store, [on_hold])


def _show_release(report: Report, local: LocalStack, on_hold: str) -> None:
    """Try to delete a recording on hold, release the hold, then delete the recording."""
    api, path = ManagementApi(local.stack), f"/recordings/{on_hold}"
    statuses: list[int] = []
    for call in (path, f"{path}/hold", path):
        response = api.call("DELETE", call)
        statuses.append(response.status_code)
        timeline.say_response(f"DELETE {call}", response)
    report.check(
        "the management API deletes a recording on hold only after the hold is released",
        ok=statuses == [409, 204, 200],
        detail=f"responses {', '.join(map(str, statuses))}",
    )


def _note_lives(report: Report, store: Store, recording_ids: list[str]) -> None:
    for recording in store.recordings.get_many(recording_ids).values():
        report.note_life(recording)


def _show_recovery(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    timeline.heading("Reconciliation in the Meetings API: the callback of an upload is lost")
    meeting = local.vonage.hold_meeting(drop={"recording:uploaded"})
    [recording_id] = meeting["recording_ids"]

    steps.start_job(local, RECONCILIATION, grace_hours=0)
    recovered = steps.events_about(subscriber, "recording:uploaded", recording_id)
    late = local.vonage.upload(recording_id)["status"]
    subscriber.receive_all()
    events = steps.events_about(subscriber, "recording:uploaded", recording_id)

    report.check(
        "reconciliation recovers the lost upload and publishes it",
        ok=[steps.origin(event) for event in recovered] == ["reconciliation"],
        detail=f"{len(recovered)} event, origin {', '.join(map(steps.origin, recovered))}",
    )
    report.check(
        "the late callback causes no second event",
        ok=late == 204 and len(events) == 1,
        detail=f"response {late}, {len(events)} event in total",
    )


def _at_vonage(local: LocalStack) -> set[str]:
    return {each["id"] for each in local.vonage.recordings() if not each["deleted"]}
