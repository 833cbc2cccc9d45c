"""Recordings and sessions, as known from callbacks and from Vonage's API. No I/O."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

from roomkeeper.domain.copies import Copy
from roomkeeper.domain.observations import DeletedBy, Product, RecordingObservation

Status = Literal["started", "ended", "lost", "uploaded", "stored", "failed", "expired", "deleted"]

_STATUS_BY_EVENT: Mapping[str, Status] = {
    "recording:started": "started",
    "recording:ended": "ended",
    "recording:lost": "lost",
    "recording:uploaded": "uploaded",
    "recording:stored": "stored",
    "recording:failed": "failed",
    "recording:expired": "expired",
    "recording:deleted": "deleted",
}
"""Every event that determines the status, and the status, in the order of a recording's life."""


class Hold(Struct, frozen=True, kw_only=True):
    """A hold that protects a recording from cleanup: its reason, its requester, and since when."""

    reason: str
    requested_by: str
    since: datetime


class Recording(Struct, frozen=True, kw_only=True):
    """A recording: the facts received so far, and the names of its events in `seen`."""

    recording_id: str
    session_id: str
    seen: frozenset[str]
    product: Product = "meetings"
    """Items of earlier versions have none: they are all of the Meetings API."""
    room_id: str | None = None
    started_at: datetime | None = None
    started_received_at: datetime | None = None
    """When `recording:started` was received."""
    ended_at: datetime | None = None
    ended_received_at: datetime | None = None
    """When `recording:ended` was received."""
    duration: int | None = None
    """Seconds."""
    size: int | None = None
    """Bytes."""
    sha256: str | None = None
    """The SHA-256 of the file in base64."""
    reason: str | None = None
    """Vonage's reason for the end."""
    failure_reason: str | None = None
    """Vonage's reason for the failure."""
    url: str | None = None
    uploaded_at: datetime | None = None
    """When the upload was received; Vonage does not send the time of the upload itself."""
    expires_at: datetime | None = None
    """When Vonage deletes the file by itself; None if it does not."""
    stored_at: datetime | None = None
    """When `recording:stored` was received."""
    failed_at: datetime | None = None
    """When `recording:failed` was received."""
    expired_at: datetime | None = None
    """When `recording:expired` was received."""
    expiring_at: datetime | None = None
    """When it was noticed that Vonage will soon delete the file."""
    hold: Hold | None = None
    copy: Copy | None = None
    """Its copy in the operator's bucket, in progress until `copied_at` is set.

    If `copy_deleted_at` is set, it is the object that is being deleted.
    """
    copied_at: datetime | None = None
    """When its copy was made and verified; None if it has none."""
    copy_claimed_until: datetime | None = None
    """When an invocation's exclusive claim to copy it ends; None if there is no claim."""
    copy_deleted_at: datetime | None = None
    """When the operator deleted the copy. It is not made again."""
    deleted_at: datetime | None = None
    deleted_by: DeletedBy | None = None
    file_kept: bool = False
    """True if Roomkeeper deleted it at Vonage, and its file stays in its owner's storage."""
    deleted_received_at: datetime | None = None
    """When Vonage's own report of the deletion was received; None without one."""
    missing_at: datetime | None = None
    """When Vonage no longer had it, although no upload was ever received."""
    received_at: datetime | None = None
    """When its first callback was received; None for items of earlier versions."""
    confirmed_at: datetime | None = None
    """When Vonage's API first returned it; None if it is known only from callbacks."""
    queued_at: datetime | None = None
    """When it was queued on its worklist, before it was deferred; None unless it is deferred."""
    worklist: str | None = None
    """The shard of its worklist, such as `retained#3`."""
    since: datetime | None = None
    """When it was queued on its worklist, or its next attempt if it is deferred."""
    reconciled: frozenset[str] = frozenset()
    """The names of the events that come from Vonage's API instead of a callback."""

    @property
    def url_expires_at(self) -> datetime | None:
        """When the URL expires; None if it has none, or does not say it."""
        return url_expiry(self.url) if self.url else None

    @property
    def status(self) -> Status:
        """The latest stage of its life cycle, regardless of the order of the callbacks."""
        return furthest(self.seen)

    def is_behind(self, event: str) -> bool:
        """Return True if `event` is a later stage of the recording's life than its status."""
        return furthest({*self.seen, event}) != self.status

    @property
    def needs_confirmation(self) -> bool:
        """True if a confirmation by Vonage's API would change the recording's item."""
        return not self.confirmed_at or (self.worklist or "").partition("#")[0] in IF_CONFIRMED

    @property
    def keeps_file(self) -> bool:
        """True if its file stays in its owner's storage, although it is deleted at Vonage.

        Vonage's own report of a deletion does not say it, but that of the storage does.
        """
        return self.file_kept or {"recording:stored", "recording:deleted"} <= self.seen

    @property
    def lacks_copy(self) -> bool:
        """True if Vonage has the only file. A stored recording is in its owner's storage."""
        return self.copied_at is None and self.copy_deleted_at is None and self.status != "stored"

    @property
    def unrecorded_copy(self) -> Copy | None:
        """The copy whose object may exist although it is not recorded; None if there is none.

        Its copier may have been killed after S3 had made the object.
        """
        copy = self.copy if self.copied_at is None and self.copy_deleted_at is None else None
        return copy if copy and copy.s3_checksum else None


class Session(Struct, frozen=True, kw_only=True):
    """A session: one meeting, from start to end, in one room."""

    session_id: str
    room_id: str
    seen: frozenset[str]
    product: Product = "meetings"
    """Always `meetings`: sessions of the Video API have no rooms, and no items."""
    started_at: datetime | None = None
    started_received_at: datetime | None = None
    """When `session:started` was received."""
    ended_at: datetime | None = None
    ended_received_at: datetime | None = None
    """When `session:ended` was received."""
    reconciled: frozenset[str] = frozenset()
    """Always empty: events of a session come from callbacks only."""


Worklist = Literal[
    "confirmed",
    "retained",
    "awaiting_upload",
    "awaiting_copy",
    "ended_session",
    "open_session",
    "deferred_confirmed",
    "deferred_retained",
    "deferred_awaiting_upload",
    "deferred_awaiting_copy",
    "deferred_ended_session",
    "deferred_open_session",
]
"""The lists of items that a job will process.

`confirmed` has the uploaded and stored recordings that Vonage's API has returned, `retained` the
others, and `awaiting_upload` those without an upload. Where recordings are copied, an uploaded one
is on `awaiting_copy` until its copy is made, so that the cleanup does not read it. A session is on
`open_session` until its end is received, then on `ended_session`. Each list has a `deferred_` list
for items with an item-specific failure, where `since` is the time of the next attempt.
"""

DEFERRED = "deferred_"

IF_CONFIRMED: Mapping[str, str] = {
    "retained": "confirmed",
    "deferred_retained": "deferred_confirmed",
    "deferred_awaiting_upload": "awaiting_upload",
}
"""The worklist to which a recording moves from each worklist, once it is confirmed."""


class WorklistEntry(Struct, frozen=True):
    """A recording or session on a worklist. `since` is when it was queued, or its next attempt."""

    kind: Literal["recording", "session"]
    id: str
    since: datetime
    worklist: str = ""
    """The shard of the worklist, such as `retained#3`."""

    @property
    def is_deferred(self) -> bool:
        """True if `since` is the time of the next attempt."""
        return self.worklist.startswith(DEFERRED)


def furthest(seen: Iterable[str]) -> Status:
    """Return the latest status of a recording, given the names of its events."""
    happened = set(seen)
    return next(
        status for name, status in reversed([*_STATUS_BY_EVENT.items()]) if name in happened
    )


def is_in_owners_storage(recording: Recording | RecordingObservation) -> bool:
    """Return True if Vonage uploaded the file to the storage that its owner set at Vonage."""
    seen = recording.seen if isinstance(recording, Recording) else {recording.event}
    return "recording:stored" in seen


def url_expiry(url: str) -> datetime | None:
    """Return the expiry time of a pre-signed S3 `url`, in UTC; None if the URL has none.

    Source: "Authenticating requests: using query parameters" in the Amazon S3 API reference
    (X-Amz-Date + X-Amz-Expires in seconds; the older form has Expires, in Unix seconds).
    """
    try:
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        if "Expires" in query:
            return datetime.fromtimestamp(int(query["Expires"]), UTC)
        signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return signed_at + timedelta(seconds=int(query["X-Amz-Expires"]))
    except (KeyError, ValueError, OverflowError, OSError):
        return None
