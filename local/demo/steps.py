"""Steps that several parts of the demonstration share: starting a job, and waiting for events."""

from collections.abc import Mapping
from typing import Any

from local.clients import jobs
from local.demo import timeline
from local.stack import LocalStack
from operations.subscriber import Subscriber

EVENTS_WITHIN = 30.0  # seconds

COUNTS = {
    "deleted": "deleted",
    "would_delete": "would be deleted",
    "already_deleted": "already deleted at Vonage",
    "not_deletable_yet": "not deletable yet",
    "not_copied_yet": "not copied yet",
    "on_hold": "skipped because of a hold",
    "deferred": "deferred to a later run",
    "failed": "failed",
    "record_deleted": "deleted as a record, because the file is the owner's",
    "scanned": "compared with Vonage's list",
    "recovered": "recovered because a callback was lost",
    "discovered": "discovered without any callback",
    "expiring": "expiring soon at Vonage",
    "expired": "expired at Vonage",
    "unrecognized": "of an unknown status at Vonage",
    "lost": "lost at Vonage",
    "never_uploaded": "never uploaded",
    "waiting": "still waiting",
    "already_resolved": "resolved before",
    "session_checked": "sessions checked at Vonage",
    "remaining": "left for the next run",
}
"""The counts in the reports of the jobs, in words."""


def start_job(local: LocalStack, job: str, **options: Any) -> dict[str, Any]:
    """Start a job with a signed request; show and return its report."""
    result = jobs.start(local.stack, job, **options)
    given = ", ".join(f"{name} {value}".lower() for name, value in options.items())
    timeline.say(f"POST /jobs/{job}{given and f' ({given})'}: {in_words(result)}")
    return result


def in_words(result: Mapping[str, Any]) -> str:
    """Return the counts above zero of a job's report in words."""
    counts = [f"{result[name]} {phrase}" for name, phrase in COUNTS.items() if result.get(name)]
    return ", ".join(counts) or "nothing to do"


def events_about(subscriber: Subscriber, name: str, recording_id: str) -> list[dict[str, Any]]:
    """Wait for an event with this name about a recording; return all such events."""

    def about(events: Any) -> list[dict[str, Any]]:
        return [
            event
            for event in events
            if event["detail-type"] == name
            and event["detail"]["data"]["recording_id"] == recording_id
        ]

    return about(subscriber.wait_for(lambda events: bool(about(events)), EVENTS_WITHIN))


def event_id(event: Mapping[str, Any]) -> str:
    """Return an event's id."""
    found: str = event["detail"]["metadata"]["event_id"]
    return found


def origin(event: Mapping[str, Any]) -> str:
    """Return an event's origin, such as `callback`."""
    found: str = event["detail"]["metadata"]["origin"]
    return found
