"""What a recording and a session are to us, as the callbacks made them known. Pure."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Literal
from urllib.parse import parse_qs, urlsplit

from msgspec import Struct

Status = Literal["started", "ended", "lost", "uploaded", "deleted"]
DeletedBy = Literal["cleanup", "management", "vonage"]
"""Who deleted a recording; `vonage` when it was gone there before the cleanup came to it."""

_LIFE: Mapping[str, Status] = {
    "recording:started": "started",
    "recording:ended": "ended",
    "recording:lost": "lost",
    "recording:uploaded": "uploaded",
    "recording:deleted": "deleted",
}


class Hold(Struct, frozen=True, kw_only=True):
    """What protects a recording from cleanup: why, by whose order, and since when."""

    reason: str
    who: str
    since: datetime


class Recording(Struct, frozen=True, kw_only=True):
    """A recording: the facts heard about it so far, and the names of what has happened to it."""

    recording_id: str
    session_id: str
    seen: frozenset[str]
    room_id: str | None = None
    started_at: datetime | None = None
    started_received_at: datetime | None = None
    """When `recording:started` was received."""
    ended_at: datetime | None = None
    ended_received_at: datetime | None = None
    """When `recording:ended` was received."""
    duration: int | None = None
    """Seconds."""
    url: str | None = None
    url_expires_at: datetime | None = None
    uploaded_at: datetime | None = None
    """When we heard of the upload; Vonage does not tell when it was."""
    hold: Hold | None = None
    deleted_at: datetime | None = None
    deleted_by: DeletedBy | None = None
    missing_at: datetime | None = None
    """When Vonage was found not to have it any more, though no upload was ever told."""
    received_at: datetime | None = None
    """When the first callback about it arrived; None for items of earlier versions."""
    confirmed_at: datetime | None = None
    """When Vonage's API first returned it. None: only callbacks say that it exists."""
    queued_at: datetime | None = None
    """While it is deferred: since when it had been on its worklist."""
    worklist: str | None = None
    """The shard of the worklist that it is on, such as `retained#3`."""
    reconciled: frozenset[str] = frozenset()
    """The names of what was not told by a callback, but found out by asking Vonage."""

    @property
    def status(self) -> Status:
        """The furthest that its life has come, in whatever order the callbacks arrived."""
        return furthest(self.seen)


class Session(Struct, frozen=True, kw_only=True):
    """A session: one meeting, from start to end, in one room."""

    session_id: str
    room_id: str
    seen: frozenset[str]
    started_at: datetime | None = None
    started_received_at: datetime | None = None
    """When `session:started` was received."""
    ended_at: datetime | None = None
    ended_received_at: datetime | None = None
    """When `session:ended` was received."""
    reconciled: frozenset[str] = frozenset()
    """Always empty: what happens to a session is told by callbacks alone."""


Worklist = Literal[
    "confirmed",
    "retained",
    "awaiting_upload",
    "ended_session",
    "open_session",
    "deferred_confirmed",
    "deferred_retained",
    "deferred_awaiting_upload",
    "deferred_ended_session",
    "deferred_open_session",
]
"""What a job has to look at some day.

`confirmed` and `retained` are uploaded recordings that Vonage's API has returned or has not, and
`awaiting_upload` those that are not uploaded. Sessions are on `ended_session` once their end was
told, before that on `open_session`. Each has a `deferred_` list for what failed for a reason of its
own; there, `since` is the time of the next attempt.
"""

DEFERRED = "deferred_"


class WorklistEntry(Struct, frozen=True):
    """A recording or a session on a worklist, and since when."""

    kind: Literal["recording", "session"]
    id: str
    since: datetime
    worklist: str = ""
    """The shard of the worklist that it is on, such as `retained#3`."""

    @property
    def is_deferred(self) -> bool:
        """Whether `since` is the time of its next attempt."""
        return self.worklist.startswith(DEFERRED)


def furthest(seen: Iterable[str]) -> Status:
    """Return how far a recording has come to which the events of these names have happened."""
    happened = set(seen)
    return next(status for name, status in reversed([*_LIFE.items()]) if name in happened)


def url_expiry(url: str) -> datetime | None:
    """Return when a pre-signed S3 `url` stops working, in UTC; None when it does not tell.

    Source: "Authenticating requests: using query parameters" in the Amazon S3 API reference
    (X-Amz-Date + X-Amz-Expires; the older form has Expires, in Unix seconds).
    """
    try:
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        if "Expires" in query:
            return datetime.fromtimestamp(int(query["Expires"]), UTC)
        signed_at = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        return signed_at + timedelta(seconds=int(query["X-Amz-Expires"]))
    except (KeyError, ValueError, OverflowError, OSError):
        return None
