"""The callbacks of the Meetings API: their types, and the parser that makes observations of them.

Source of names and fields: Vonage's Meetings API guide, "Callbacks".
"""

from typing import Any, ClassVar

import msgspec

from roomkeeper.callbacks import body
from roomkeeper.domain import events
from roomkeeper.domain.observations import (
    Observation,
    Occurrence,
    RecordingObservation,
    SessionObservation,
    Unrecognized,
)
from roomkeeper.types import Id, Moment, Seconds, ShortText, Url

ALIASES = {
    "recording:ready": "recording:uploaded",
    "participant:joined": "session:participant:joined",
    "participant:left": "session:participant:left",
}
"""Other event names in Vonage's documentation, and the names that Roomkeeper uses for them."""


class _Callback(body.BoundedMoments, frozen=True, kw_only=True):
    """The base of all callbacks: an event name and fields. Unknown fields are ignored."""

    event: ClassVar[str]


class RecordingStarted(_Callback, frozen=True, kw_only=True):
    """A recording has started."""

    event = "recording:started"
    recording_id: Id
    session_id: Id
    room_id: Id | None = None


class RecordingEnded(RecordingStarted, frozen=True, kw_only=True):
    """A recording has ended, but its file is not available yet. `duration` is in seconds.

    Vonage always sends a duration. Nothing depends on it, so an invalid one is dropped.
    """

    event = "recording:ended"
    started_at: Moment
    ended_at: Moment
    duration: Seconds | None = None


class RecordingUploaded(RecordingEnded, frozen=True, kw_only=True):
    """A recording can be downloaded. Its `url` is a secret and expires within a day."""

    event = "recording:uploaded"
    url: Url


class SessionStarted(_Callback, frozen=True, kw_only=True):
    """A session has started in a room."""

    event = "session:started"
    session_id: Id
    room_id: Id
    started_at: Moment


class SessionEnded(SessionStarted, frozen=True, kw_only=True):
    """A session has ended."""

    event = "session:ended"
    ended_at: Moment


class ParticipantJoined(_Callback, frozen=True, kw_only=True):
    """A participant joined a session. The participant's `name` is dropped for privacy."""

    event = "session:participant:joined"
    participant_id: Id
    session_id: Id
    room_id: Id
    type: ShortText | None = None
    is_host: bool | None = None


class ParticipantLeft(ParticipantJoined, frozen=True, kw_only=True):
    """A participant left a session."""

    event = "session:participant:left"


class RoomExpired(_Callback, frozen=True, kw_only=True):
    """A room has expired for good."""

    event = "room:expired"
    room_id: Id
    room_type: ShortText | None = None
    expires_at: Moment | None = None
    created_at: Moment | None = None


type_of = {
    callback_type.event: callback_type
    for callback_type in (
        RecordingStarted,
        RecordingEnded,
        RecordingUploaded,
        SessionStarted,
        SessionEnded,
        ParticipantJoined,
        ParticipantLeft,
        RoomExpired,
    )
}
_decoders: dict[str, msgspec.json.Decoder[Any]] = {
    name: msgspec.json.Decoder(callback_type) for name, callback_type in type_of.items()
}
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])


def parse(posted: bytes) -> Observation:
    """Return the observation in the body `posted`; Unrecognized if it is no known callback.

    Raises:
        Malformed: the body is not UTF-8, not JSON, or not an object. The message says where.
    """
    found = body.read(posted)
    name = found.text_of("event")
    decoder = _decoders.get(ALIASES.get(name or "", name or ""))
    if decoder is None:
        return _unrecognized(found, name, "an event that is not known here")
    try:
        return _observation(body.decode(decoder, found))
    except msgspec.DecodeError as error:
        return _unrecognized(found, name, str(error))


def _unrecognized(found: body.JsonObject, name: str | None, reason: str) -> Unrecognized:
    return Unrecognized(product="meetings", name=name, reason=reason, body=found.text)


def _observation(callback: _Callback) -> Observation:
    fields = {"event": callback.event, "product": "meetings"} | msgspec.structs.asdict(callback)
    if isinstance(callback, RecordingStarted):
        return RecordingObservation(**fields)
    if isinstance(callback, SessionStarted):
        return SessionObservation(**fields)
    return Occurrence(
        event=callback.event,
        product="meetings",
        identity=msgspec.json.encode(callback).decode(),
        data=msgspec.convert(fields, events.data_types[callback.event]),
    )
