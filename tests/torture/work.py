"""Work for the jobs, and how all of it gets done."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial

from local import back_dating
from roomkeeper.times import iso
from tests.support import jobs
from tests.support.deployed import Deployed
from tests.support.jobs import DAY, JobFailed

KEEP = "roomkeeper:keep"
JOBS = {
    "RecordingCleanup": "RecordingCleanupName",
    "RecordingReconciler": "RecordingReconcilerName",
    "RoomExpiryExtender": "RoomExpiryExtenderName",
}
"""The jobs, with the outputs that name their functions."""

_DONE = ("deleted", "already_deleted", "extended", "recovered", "lost", "completed", "remaining")
"""What a job counts as long as it has something to do."""


def old_recordings(deployed: Deployed, count: int) -> list[str]:
    """Have the cleanup be due to delete so many recordings more; return their ids."""
    ids = jobs.uploads(deployed, count)
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 31 * DAY)
    return ids


def lapsing_rooms(deployed: Deployed, count: int) -> list[str]:
    """Have the extender be due to extend so many rooms more; return their ids."""
    soon = iso(datetime.now(UTC) + 2 * DAY)
    return deployed.vonage.add_rooms(count, expires_at=soon, metadata=KEEP)


def unheard_of_uploads(deployed: Deployed, count: int) -> list[str]:
    """Have the reconciler be due to find out of so many uploads more; return the recordings."""
    held = [deployed.vonage.hold_meeting(drop={"recording:uploaded"}) for _ in range(count)]
    ids = [meeting["recording_ids"][0] for meeting in held]
    back_dating.back_date(deployed.stack, back_dating.recordings(ids), 2 * DAY)
    return ids


def finish_all(deployed: Deployed, outputs: Iterable[str] = JOBS.values()) -> None:
    """Run these jobs until there is nothing left for them to do."""
    with ThreadPoolExecutor(len(JOBS)) as pool:
        list(pool.map(partial(finish, deployed), outputs))


def finish(deployed: Deployed, output: str) -> None:
    """Run a job until there is nothing left for it to do."""
    while True:
        with suppress(JobFailed):
            report = jobs.run(deployed, output)
            if not any(report.get(name) for name in _DONE):
                return


def undone(deployed: Deployed, recordings: Iterable[str], rooms: Iterable[str]) -> set[str]:
    """Return those that Vonage still has, of recordings to delete, or lets lapse, of rooms."""
    soon = iso(datetime.now(UTC) + 7 * DAY)
    kept = {each["id"] for each in deployed.vonage.recordings() if not each["deleted"]}
    lapsing = {each["id"] for each in deployed.vonage.rooms() if each["expires_at"] < soon}
    return (kept & set(recordings)) | (lapsing & set(rooms))
