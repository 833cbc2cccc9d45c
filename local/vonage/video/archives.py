"""Archives of the Video API: their statuses, limits and JSON. Pure.

Source: Vonage's OpenAPI description of the Video API, and its guides "Archiving" of both
environments.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from local.vonage.video.projects import API_KEY, APPLICATION_ID, Environment

Status = Literal["started", "paused", "stopped", "available", "uploaded", "expired", "failed"]
Outcome = Literal["available", "uploaded", "failed"]
"""The status after the processing of a stopped archive."""

RECORDING: frozenset[str] = frozenset({"started", "paused"})
STOPPABLE: frozenset[str] = frozenset({"started", "paused", "stopped"})
DELETABLE: frozenset[str] = frozenset({"available", "uploaded"})
WITH_FILE: frozenset[str] = frozenset({"available", "uploaded", "expired"})
"""The statuses in which an archive shows the size, duration and hash of its file."""

MAX_RECORDING = timedelta(hours=4)
"""The longest recording; pauses do not count."""
MAX_PAUSE = timedelta(minutes=60)
"""How long an archive stays paused while clients are connected but nobody publishes."""
MAX_DESERTED_PAUSE = timedelta(seconds=60)
"""How long an archive stays paused after everybody left."""
RETENTION = timedelta(hours=72)
"""How long an archive is kept in Vonage's cloud, from its creation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive. `since` is when its status began."""

    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    session_id: str
    environment: Environment = "unified"
    created_at: datetime
    since: datetime
    updated_at: datetime
    status: Status = "started"
    recorded: timedelta = timedelta()
    """The recorded time before `since`."""
    reason: str = ""
    name: str = ""
    output_mode: Literal["composed", "individual"] = "composed"
    stream_mode: Literal["auto", "manual"] = "auto"
    resolution: str = "1280x720"
    tag: str = ""
    has_audio: bool = True
    has_video: bool = True
    has_transcription: bool = False
    encrypted: bool = False
    streams: tuple[str, ...] = ()
    """The ids of the streams that were added to a `manual` archive."""
    deserted: bool = False
    """Whether everybody left while it was paused."""
    automatic: bool = False
    """Whether it continues in a new archive after MAX_RECORDING."""
    frozen: bool = False
    """Whether the clock never changes it."""
    silent: bool = False
    """Whether its changes send no callbacks."""
    deleted: bool = False

    @property
    def file_name(self) -> str:
        """The name of its file."""
        return "archive.mp4" if self.output_mode == "composed" else "archive.zip"

    @property
    def is_recording(self) -> bool:
        """Whether it is started or paused."""
        return self.status in RECORDING

    def recorded_until(self, at: datetime) -> timedelta:
        """Return the recorded time until `at`, without pauses."""
        running = at - self.since if self.status == "started" else timedelta()
        return self.recorded + max(timedelta(), running)


def started(session_id: str, at: datetime, **fields: Any) -> Archive:
    """Return an archive that starts `at` a time."""
    return Archive(session_id=session_id, created_at=at, since=at, updated_at=at, **fields)


def changed(archive: Archive, status: Status, at: datetime, reason: str | None = None) -> Archive:
    """Return the archive with another status since `at`. `reason` stays as it is when None."""
    return replace(
        archive,
        status=status,
        since=at,
        updated_at=at,
        recorded=archive.recorded_until(at),
        reason=archive.reason if reason is None else reason,
        deserted=archive.deserted and status == "paused",
        frozen=False,
        streams=archive.streams if status in RECORDING else (),
    )


def due(archive: Archive, processing: timedelta) -> datetime | None:
    """Return when the archive's status changes by itself, or None if it never does.

    `processing` is the time from `stopped` to the status after it.
    """
    if archive.deleted or archive.frozen:
        return None
    pause = MAX_DESERTED_PAUSE if archive.deserted else MAX_PAUSE
    by_status = {
        "started": archive.since + MAX_RECORDING - archive.recorded,
        "paused": archive.since + pause,
        "stopped": archive.since + processing,
        "available": archive.created_at + RETENTION,
    }
    return by_status.get(archive.status)


def progressed(archive: Archive, at: datetime, outcome: Outcome) -> Archive:
    """Return the archive after the change that is due `at` this time."""
    if archive.status == "started":
        return changed(archive, "stopped", at, "maximum duration exceeded")
    if archive.status == "paused":
        reason = "session ended" if archive.deserted else "maximum idle time exceeded"
        return changed(archive, "stopped", at, reason)
    if archive.status == "stopped":
        return processed(archive, at, outcome)
    return changed(archive, "expired", at)


def processed(archive: Archive, at: datetime, outcome: Outcome) -> Archive:
    """Return a stopped archive with the status after its processing."""
    return changed(archive, outcome, at, "failure" if outcome == "failed" else None)


def as_json(archive: Archive, size: int, sha256sum: str, url: str | None) -> dict[str, Any]:
    """Return the archive as responses and callbacks show it.

    `size` (bytes) and `sha256sum` are those of its file; `url` is set only while it is available.
    """
    has_file = archive.status in WITH_FILE
    is_composed = archive.output_mode == "composed"
    return {
        "id": archive.id,
        "status": archive.status,
        "name": archive.name,
        "reason": archive.reason,
        "sessionId": archive.session_id,
        **_project(archive.environment),
        "createdAt": _created_at(archive),
        "size": size if has_file else 0,
        "duration": int(archive.recorded.total_seconds()) if has_file else 0,
        "outputMode": archive.output_mode,
        "streamMode": archive.stream_mode,
        "hasAudio": archive.has_audio,
        "hasVideo": archive.has_video,
        "sha256sum": sha256sum if has_file else "",
        "password": "RW5jcnlwdGVkIHBhc3N3b3JkIG9mIGFuIGFyY2hpdmU=" if archive.encrypted else "",
        "updatedAt": milliseconds(archive.updated_at),
        "multiArchiveTag": archive.tag,
        "event": "archive",
        **({"resolution": archive.resolution} if is_composed else {}),
        **_streams(archive),
        **_transcription(archive, url),
        "url": url if archive.status == "available" else None,
    }


def milliseconds(at: datetime) -> int:
    """Return the milliseconds since 1970."""
    return round(at.timestamp() * 1000)


def _created_at(archive: Archive) -> int:
    """Return the start of the recording: exact at first, in whole seconds after a change."""
    exact = milliseconds(archive.created_at)
    return exact if archive.updated_at == archive.created_at else exact // 1000 * 1000


def _project(environment: Environment) -> dict[str, Any]:
    if environment == "unified":
        return {"applicationId": APPLICATION_ID}
    return {"projectId": int(API_KEY), "partnerId": int(API_KEY)}


def _streams(archive: Archive) -> dict[str, Any]:
    if archive.stream_mode == "auto" or archive.status != "started":
        return {}
    shown = [{"streamId": each, "hasAudio": True, "hasVideo": True} for each in archive.streams]
    return {"streams": shown}


def _transcription(archive: Archive, url: str | None) -> Mapping[str, Any]:
    if archive.environment == "classic":
        return {}
    if not archive.has_transcription:
        return {"hasTranscription": False}
    made = {"status": "available", "url": url, "primaryLanguageCode": "en-US", "hasSummary": False}
    is_made = archive.status == "available"
    return {"hasTranscription": True, "transcription": made if is_made else {"status": "requested"}}
