"""The callbacks of the Video API: archives, sessions, connections and streams.

Source: Vonage's Video API guides "Archiving" and "Session monitoring", and the same guides of
OpenTok, its older name.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from roomkeeper.callbacks import leniency, video_archives
from roomkeeper.callbacks.body import read
from roomkeeper.callbacks.leniency import Fields
from roomkeeper.callbacks.redaction import redacted
from roomkeeper.callbacks.video_archives import Archive, InvalidArchive
from roomkeeper.domain import events
from roomkeeper.domain.observations import Observation, Occurrence, Unrecognized

RESUMED_AFTER = 5000
"""Milliseconds. An archive updated later than this after its creation has resumed after a pause.

Vonage sends the same status, `started`, for both. Its samples of a first start have at most 152 ms.
"""

MAX_REASON_LENGTH = 128
MAX_NAME_LENGTH = 128
MAX_TYPE_LENGTH = 64


_ARCHIVE_FIELDS = {"duration", "outputMode", "sha256sum", "size"}
"""Fields of archives only: no other object of the Video API with a `status` has one of them."""


class _Incomplete(ValueError):
    """A callback without a field that its event needs. The message quotes no untrusted text."""


def parse(body: bytes) -> Observation:
    """Return the observation in the callback `body`; Unrecognized for any other JSON object.

    An unrecognized body is kept without personal data and secrets.

    Raises:
        Malformed: the body is not UTF-8, not JSON, or not an object. The message says where.
    """
    posted = read(body)
    try:
        return _observation(posted.fields)
    except (InvalidArchive, _Incomplete) as error:
        return Unrecognized(
            product="video",
            name=leniency.text(posted.fields, "event", MAX_NAME_LENGTH),
            reason=str(error),
            body=redacted(posted.text),
        )


def _observation(fields: Fields) -> Observation:
    event = leniency.value(fields, "event")
    if _is_archive(event, fields):
        return _archive_observation(video_archives.archive(fields))
    to_occurrence = _MONITORED.get(event) if isinstance(event, str) else None
    if to_occurrence is None:
        raise _Incomplete("an event that is not known here")
    return to_occurrence(_Monitored.from_fields(fields))


def _is_archive(event: object, fields: Fields) -> bool:
    """Return True for the callback of an archive; older ones have no `event`."""
    return event == "archive" or (event is None and not _ARCHIVE_FIELDS.isdisjoint(fields))


# --- archives -------------------------------------------------------------------------------------


def _archive_observation(archive: Archive) -> Observation:
    """Return the stage of the recording, or the occurrence of a pause or its end.

    Pauses can recur, so they are no stages of the recording.
    """
    if archive.status == "paused":
        return _pause("recording:paused", archive)
    if archive.status == "started" and _has_resumed(archive):
        return _pause("recording:resumed", archive)
    return video_archives.observation(archive)


def _has_resumed(archive: Archive) -> bool:
    if archive.created_at is None or archive.updated_at is None:
        return False
    return archive.updated_at - archive.created_at >= RESUMED_AFTER


def _pause(event: str, archive: Archive) -> Occurrence:
    data = events.RecordingPaused(
        product="video",
        recording_id=archive.id,
        session_id=archive.session_id,
        occurred_at=_moment(archive.updated_at),
    )
    return _occurrence(event, data, archive.id, archive.updated_at)


# --- session monitoring ---------------------------------------------------------------------------


class _Monitored(Struct, frozen=True, kw_only=True):
    """A callback of session monitoring; `time` is in milliseconds since 1970."""

    session_id: str
    time: int | None
    reason: str | None
    fields: Fields

    @classmethod
    def from_fields(cls, fields: Fields) -> "_Monitored":
        """Return the callback with these fields.

        Raises:
            _Incomplete: it has no valid session id.
        """
        return cls(
            session_id=_required_id(fields, "sessionId"),
            time=leniency.milliseconds(fields, "timestamp"),
            reason=leniency.text(fields, "reason", MAX_REASON_LENGTH),
            fields=fields,
        )

    @property
    def required_time(self) -> int:
        """The time, by which the lives of one session are distinguished.

        Raises:
            _Incomplete: the callback has none.
        """
        if self.time is None:
            raise _Incomplete("the callback has no valid timestamp")
        return self.time


def _session_started(monitored: _Monitored) -> Occurrence:
    time = monitored.required_time
    data = events.SessionStarted(
        product="video", session_id=monitored.session_id, started_at=leniency.moment(time)
    )
    return _occurrence("session:started", data, monitored.session_id, time)


def _session_ended(monitored: _Monitored) -> Occurrence:
    time = monitored.required_time
    data = events.SessionEnded(
        product="video",
        session_id=monitored.session_id,
        started_at=_moment(leniency.milliseconds(monitored.fields, "createdAt")),
        ended_at=leniency.moment(time),
        reason=monitored.reason,
    )
    return _occurrence("session:ended", data, monitored.session_id, time)


def _session_notification(monitored: _Monitored) -> Occurrence:
    time = monitored.required_time
    data = events.SessionNotification(
        product="video",
        session_id=monitored.session_id,
        reason=monitored.reason,
        remaining_time=leniency.seconds(monitored.fields, "remainingTime"),
    )
    return _occurrence("session:notification", data, monitored.session_id, time)


def _participant(event: str, time_field: str, monitored: _Monitored) -> Occurrence:
    """Return the join or leave of a connection, without its `data`, which is personal data."""
    data = events.Participant(
        product="video",
        session_id=monitored.session_id,
        participant_id=_required_id(leniency.nested(monitored.fields, "connection"), "id"),
        reason=monitored.reason,
    )
    timed = replace(data, **{time_field: _moment(monitored.time)})
    return _occurrence(event, timed, monitored.session_id, data.participant_id, monitored.time)


def _stream(event: str, time_field: str, monitored: _Monitored) -> Occurrence:
    """Return the start or end of a stream, without its `name`, which is personal data."""
    stream = leniency.nested(monitored.fields, "stream")
    data = events.Stream(
        product="video",
        session_id=monitored.session_id,
        stream_id=_required_id(stream, "id"),
        participant_id=leniency.identifier(leniency.nested(stream, "connection"), "id"),
        video_type=leniency.text(stream, "videoType", MAX_TYPE_LENGTH),
        reason=monitored.reason,
    )
    timed = replace(data, **{time_field: _moment(monitored.time)})
    return _occurrence(event, timed, monitored.session_id, data.stream_id, monitored.time)


_MONITORED: Mapping[str, Callable[[_Monitored], Occurrence]] = MappingProxyType(
    {
        "sessionCreated": _session_started,
        "sessionDestroyed": _session_ended,
        "sessionNotification": _session_notification,
        "connectionCreated": partial(_participant, "session:participant:joined", "joined_at"),
        "connectionDestroyed": partial(_participant, "session:participant:left", "left_at"),
        "streamCreated": partial(_stream, "session:stream:created", "created_at"),
        "streamDestroyed": partial(_stream, "session:stream:destroyed", "destroyed_at"),
    }
)


def _occurrence(event: str, data: events.Data, *identity: str | int | None) -> Occurrence:
    """Return the occurrence; `identity` is the ids it names and its time in milliseconds.

    Slashes join them, because no id has one. Without a time, an occurrence with the same ids counts
    as a repetition.
    """
    parts = (event, *("" if part is None else str(part) for part in identity))
    return Occurrence(event=event, product="video", identity="/".join(parts), data=data)


def _required_id(fields: Fields, name: str) -> str:
    found = leniency.identifier(fields, name)
    if found is None:
        raise _Incomplete(f"the callback has no valid {name}")
    return found


def _moment(time: int | None) -> datetime | None:
    return None if time is None else leniency.moment(time)
