"""The demonstration's part about the Video API: a session, and archives with lost callbacks."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import requests

from local.clients.management import ManagementApi
from local.demo import steps, timeline
from local.demo.report import Report
from local.stack import LocalStack
from operations.subscriber import Subscriber
from roomkeeper.callbacks import video
from roomkeeper.store import Store, correlation
from roomkeeper.times import from_iso

PARTICIPANT = "Katherine Johnson"
REPEATED, LOST = "archive:stopped", "archive:available"
AGE = timedelta(hours=61)
"""The age of the archive without callbacks. Vonage deletes its file after 72 hours."""
NOTICE = timedelta(hours=12)
"""The default of the parameter ExpiringNoticeHours."""


def show(report: Report, local: LocalStack, subscriber: Subscriber) -> None:
    """Show a session's callbacks and events, and how lost ones are recovered; add the checks."""
    with report.timed("video"):
        archive_id = _show_session(report, local, subscriber)
    with report.timed("video reconciliation"):
        _show_recovery(report, local, subscriber, archive_id)


def _show_session(report: Report, local: LocalStack, subscriber: Subscriber) -> str:
    """Play a session, and return the id of its archive."""
    timeline.heading("A Video session: a pause, a server rotation, and a callback that is lost")
    earlier = len(local.vonage.deliveries())
    played = local.vonage.video.play_session(
        participants=[PARTICIPANT],
        pauses=1,
        lives=2,
        rotation=True,
        repeat={REPEATED: 1},
        drop=[LOST],
    )
    [archive_id] = played["archive_ids"]
    report.video_callbacks = local.vonage.deliveries()[earlier:]
    expected = {_event_id(callback["body"]) for callback in report.video_callbacks}
    report.video_events = _received(subscriber, played["session_id"], len(expected))
    timeline.show_session(report.video_callbacks, report.video_events, _event_id)
    _check_session(report, expected)
    return str(archive_id)


def _received(subscriber: Subscriber, session_id: str, count: int) -> list[dict[str, Any]]:
    """Wait for `count` events of a session, then until no more come; return all of them."""

    def of_session(events: Any) -> list[dict[str, Any]]:
        return [each for each in events if each["detail"]["data"].get("session_id") == session_id]

    subscriber.wait_for(lambda events: len(of_session(events)) >= count, steps.EVENTS_WITHIN)
    return of_session(subscriber.receive_all())


def _event_id(body: Mapping[str, Any]) -> str:
    """Return the id of the event that a callback of the Video API causes."""
    return correlation.event_id_for_observation(video.parse(json.dumps(body).encode()))


def _check_session(report: Report, expected: set[str]) -> None:
    events = report.video_events
    ids = [steps.event_id(event) for event in events]
    names = [event["detail-type"] for event in events]
    report.check(
        "every callback of the Video API becomes exactly one event",
        ok=len(ids) == len(expected) and set(ids) == expected,
        detail=f"{len(expected)} expected, {len(ids)} received, {len(set(ids))} of them distinct",
    )
    ends = [_data(event).get("reason") for event in events if _is(event, "session:ended")]
    report.check(
        "the pause and the server rotation are published",
        ok=names.count("recording:paused") == names.count("recording:resumed") == 1
        and sorted(map(str, ends)) == ["clientDisconnected", "serverRotation"],
        detail=f"the session ended {len(ends)} times, by {' and by '.join(map(str, ends))}",
    )
    report.check(
        "no event contains the data of a connection",
        ok=PARTICIPANT in str(report.video_callbacks) and PARTICIPANT not in str(events),
        detail=f"searched for {PARTICIPANT}",
    )


def _show_recovery(
    report: Report, local: LocalStack, subscriber: Subscriber, archive_id: str
) -> None:
    """Reconcile with Vonage's list of archives, which has one more that sent no callback."""
    timeline.heading("Reconciliation: Vonage's list of archives replaces the lost callbacks")
    started_at = (datetime.now(UTC) - AGE).isoformat()
    [silent] = local.vonage.video.add_archives(started_at=started_at, frozen=True)["archive_ids"]
    timeline.say(
        f"Callback {LOST} of archive {archive_id[:8]} was lost. Archive {silent[:8]} sent none at "
        "all, and Vonage deletes its file in 11 hours."
    )

    steps.start_job(local, "reconciliation")
    uploaded = [
        steps.events_about(subscriber, "recording:uploaded", each) for each in (archive_id, silent)
    ]
    expiring = steps.events_about(subscriber, "recording:expiring", silent)
    for event in expiring:
        timeline.show_event(event)

    origins = [steps.origin(event) for events in uploaded for event in events]
    report.check(
        "reconciliation publishes the lost upload, and the archive without callbacks",
        ok=origins == ["reconciliation"] * 2,
        detail=f"{len(origins)} events, origin {', '.join(origins)}",
    )
    _check_expiring(report, expiring)
    _check_link(report, local, archive_id)
    for copied in (archive_id, silent):
        steps.events_about(subscriber, "recording:copied", copied)
    _note(report, local, [archive_id, silent])


def _check_expiring(report: Report, events: Sequence[Mapping[str, Any]]) -> None:
    now = datetime.now(UTC)
    ends = [from_iso(_data(event)["expires_at"]) for event in events]
    left = ", ".join(f"{(end - now) / timedelta(hours=1):.1f} hours" for end in ends)
    report.check(
        "recording:expiring is published before Vonage deletes the file",
        ok=len(ends) == 1 and now < ends[0] <= now + NOTICE,
        detail=f"{left or 'not'} before",
    )


def _check_link(report: Report, local: LocalStack, archive_id: str) -> None:
    response = ManagementApi(local.stack).call("GET", f"/recordings/{archive_id}")
    url = response.json().get("url")
    status = requests.get(url, timeout=30).status_code if url else None
    report.check(
        "the management API gives a fresh download link of the archive",
        ok=response.json().get("product") == "video" and status == 200,
        detail=f"its download responds {status}",
    )


def _note(report: Report, local: LocalStack, archive_ids: Sequence[str]) -> None:
    store = Store(local.stack.client("dynamodb"), local.stack.outputs["TableName"])
    found = store.recordings.get_many(archive_ids)
    report.video_recordings = [msgspec.to_builtins(found[each]) for each in archive_ids]
    report.note_life(found[archive_ids[0]])


def _data(event: Mapping[str, Any]) -> dict[str, Any]:
    data: dict[str, Any] = event["detail"]["data"]
    return data


def _is(event: Mapping[str, Any], name: str) -> bool:
    return bool(event["detail-type"] == name)
