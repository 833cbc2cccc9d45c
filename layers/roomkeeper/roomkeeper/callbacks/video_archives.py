"""The archive of the Video API, in callbacks and responses alike: its fields and its statuses.

An archive is a recording. Source: Vonage's Video API, "Archiving", and the OpenAPI description of
its REST API.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from types import MappingProxyType

from msgspec import Struct

from roomkeeper.callbacks import leniency
from roomkeeper.callbacks.leniency import Fields, whole_second
from roomkeeper.domain.observations import RecordingObservation

AVAILABILITY = timedelta(hours=72)
"""How long after an archive's creation Vonage deletes its file, if Vonage stores it.

Source: Vonage's guide "Archiving": available for 72 hours.
"""

MAX_REASON_LENGTH = 128

EVENTS: Mapping[str, str] = MappingProxyType(
    {
        "started": "recording:started",
        "paused": "recording:started",
        "stopped": "recording:ended",
        "available": "recording:uploaded",
        "uploaded": "recording:stored",
        "failed": "recording:failed",
        "expired": "recording:expired",
        "deleted": "recording:deleted",
    }
)
"""For each status, the stage in the life of the recording."""

_HAS_REASON = {"stopped", "failed"}
_SHA256 = re.compile(r"[A-Za-z0-9+/]{43}=")
_STATUS = re.compile(r"[A-Za-z_]{1,32}")


class InvalidArchive(ValueError):
    """An archive that cannot become an observation. The message quotes no untrusted text."""


class UnknownStatus(InvalidArchive):
    """An archive whose status is a word that is not known here. Vonage may add statuses."""


class Archive(Struct, frozen=True, kw_only=True):
    """An archive, as far as Roomkeeper uses it. Facts are None if they are missing or invalid.

    Its name is untrusted text, and `password` and `transcription.url` are secrets: they are left
    out.
    """

    id: str
    session_id: str
    status: str
    created_at: int | None
    """Milliseconds since 1970, like `updated_at`."""
    updated_at: int | None
    duration: int | None
    """Seconds."""
    size: int | None
    """Bytes."""
    sha256: str | None
    reason: str | None
    url: str | None


def archive(fields: Fields) -> Archive:
    """Return the archive with these fields.

    Raises:
        UnknownStatus: its status is not known.
        InvalidArchive: its id, the id of its session or its status is missing or invalid.
    """
    archive_id = leniency.identifier(fields, "id")
    session_id = leniency.identifier(fields, "sessionId")
    if archive_id is None or session_id is None:
        raise InvalidArchive(f"the archive has no valid {'sessionId' if archive_id else 'id'}")
    return Archive(
        id=archive_id,
        session_id=session_id,
        status=_status(fields),
        created_at=leniency.milliseconds(fields, "createdAt"),
        updated_at=leniency.milliseconds(fields, "updatedAt"),
        duration=leniency.seconds(fields, "duration"),
        size=leniency.number(fields, "size"),
        sha256=_sha256(fields),
        reason=leniency.text(fields, "reason", MAX_REASON_LENGTH),
        url=leniency.url(fields, "url"),
    )


def observation(archive: Archive) -> RecordingObservation:
    """Return the stage in the life of the recording that the archive's status stands for."""
    started_at = whole_second(archive.created_at)
    return RecordingObservation(
        event=EVENTS[archive.status],
        product="video",
        recording_id=archive.id,
        session_id=archive.session_id,
        started_at=started_at,
        ended_at=whole_second(_ended_at(archive)),
        duration=archive.duration,
        size=archive.size,
        sha256=archive.sha256,
        # The statuses after `stopped` repeat its reason or have one of their own.
        reason=archive.reason if archive.status in _HAS_REASON else None,
        url=archive.url if archive.status == "available" else None,
        expires_at=_expires_at(archive, started_at),
    )


def _expires_at(archive: Archive, started_at: datetime | None) -> datetime | None:
    """Return when Vonage deletes, or has deleted, the file; None if Vonage does not store it."""
    is_stored_by_vonage = archive.status in {"available", "expired"}
    return started_at + AVAILABILITY if is_stored_by_vonage and started_at else None


def _ended_at(archive: Archive) -> int | None:
    """Return when the recording ended, in milliseconds; None if it is unknown.

    `updatedAt` is the time of the latest status change, so only `stopped` reports the end. Start
    plus duration is no substitute in later statuses: the duration leaves out pauses, so the sum may
    be an hour too early, and would differ from the time that `stopped` reported.
    """
    return archive.updated_at if archive.status == "stopped" else None


def _status(fields: Fields) -> str:
    status = leniency.value(fields, "status")
    if not isinstance(status, str) or not _STATUS.fullmatch(status):
        raise InvalidArchive("the archive has no valid status")
    if status not in EVENTS:
        raise UnknownStatus(f"the archive status {status} is not known here")
    return status


def _sha256(fields: Fields) -> str | None:
    found = leniency.value(fields, "sha256sum")
    return found if isinstance(found, str) and _SHA256.fullmatch(found) else None
