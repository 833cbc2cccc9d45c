"""What Vonage sends: the callbacks' types, and how they are read.

Source of names and fields: Vonage's Meetings API guide, "Callbacks".
"""

import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from roomkeeper.errors import RoomkeeperError

MAX_BODY_BYTES = 256 * 1024
"""Larger bodies are refused: no callback comes near, and a table item ends at 400 KB."""

ALIASES = {
    "recording:ready": "recording:uploaded",
    "participant:joined": "session:participant:joined",
    "participant:left": "session:participant:left",
}
"""Other names that Vonage's own descriptions use, and the one name that we use."""

# The characters of uuids, of base64 and of its URL-safe form, which Vonage makes its ids of. An id
# becomes a path segment, and HTTP APIs decode paths, so that "%", "?", "#" and slashes would name
# something else; so would one of dots alone. `$(?!\n)`: Python's `$` lets a line break follow.
ID_PATTERN = r"^(?!\.+$)[A-Za-z0-9_~.=+-]+$(?!\n)"
Id = Annotated[str, Meta(min_length=1, max_length=256, pattern=ID_PATTERN)]
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

Moment = Annotated[datetime, Meta(tz=True)]
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""A moment is at or after the one and before the other, whatever its offset from UTC."""

URL_MAX_LENGTH = 16 * 1024
"""Characters. The same limit holds for callbacks and for what the Meetings API returns.

Pre-signed URLs grow with the session token in them. A table item may have 400 KB, an entry of
PutEvents 256 KB ("Amazon EventBridge quotas"): 16 KB leave room for all else.
"""
Url = Annotated[
    str,
    Meta(
        # Plain HTTP is for the emulated Vonage alone, which listens on the loopback interface.
        pattern=r"^(https://[^\s/]|http://(127\.0\.0\.1|localhost)(:[0-9]+)?/)\S*$(?!\n)",
        max_length=URL_MAX_LENGTH,
    ),
]
Seconds = Annotated[int, Meta(ge=0, le=10**9)]
_OPTIONAL_SECONDS = Seconds | None
"""Read in any form of a whole number, such as 38.0 and "38"."""


class CallbackRejected(RoomkeeperError):
    """A request that can never be accepted; `status` and `code` are what its sender is told."""

    status: ClassVar[int]
    code: ClassVar[str]


class Malformed(CallbackRejected):
    """Not a JSON object in UTF-8."""

    status, code = 400, "malformed_body"


class TooLarge(CallbackRejected):
    """A body of more than MAX_BODY_BYTES."""

    status, code = 413, "body_too_large"


class _Callback(Struct, frozen=True, kw_only=True):
    """What every callback has in common: a name, and fields of which unknown ones are ignored."""

    event: ClassVar[str]

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, datetime) and not EARLIEST <= value < LATEST:
                raise ValueError(f"{field} is not a year that a meeting can be in: {value.year}")


class RecordingStarted(_Callback, frozen=True, kw_only=True):
    """A recording has begun."""

    event = "recording:started"
    recording_id: Id
    session_id: Id
    room_id: Id | None = None


class RecordingEnded(RecordingStarted, frozen=True, kw_only=True):
    """A recording has ended; its file is not there yet. `duration` is in seconds.

    Vonage always sends a duration. Nothing depends on it, so one that is invalid is left out.
    """

    event = "recording:ended"
    started_at: Moment
    ended_at: Moment
    duration: Seconds | None = None


class RecordingUploaded(RecordingEnded, frozen=True, kw_only=True):
    """A recording can be downloaded, from a `url` that is a secret and expires within a day."""

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
    """Somebody joined a session. The `name` that Vonage sends along is nobody's business here."""

    event = "session:participant:joined"
    participant_id: Id
    session_id: Id
    room_id: Id
    type: Annotated[str, Meta(max_length=64)] | None = None
    is_host: bool | None = None


class ParticipantLeft(ParticipantJoined, frozen=True, kw_only=True):
    """Somebody left a session."""

    event = "session:participant:left"


class RoomExpired(_Callback, frozen=True, kw_only=True):
    """A room is gone for good."""

    event = "room:expired"
    room_id: Id
    room_type: Annotated[str, Meta(max_length=64)] | None = None
    expires_at: Moment | None = None
    created_at: Moment | None = None


class Unrecognized(Struct, frozen=True, kw_only=True):
    """An authentic JSON object that is no callback we know: kept whole, never refused.

    `name` is its `event` when that is a text, `reason` says what was not understood.
    """

    event: ClassVar[str] = "callback:unrecognized"
    name: str | None
    reason: str
    body: str


type_of = {
    kind.event: kind
    for kind in (
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
    name: msgspec.json.Decoder(kind) for name, kind in type_of.items()
}
_objects = msgspec.json.Decoder(dict[str, msgspec.Raw])

RecordingCallback = RecordingStarted  # ended and uploaded ones are started ones that say more
SessionCallback = SessionStarted
OutboxCallback = ParticipantJoined | RoomExpired | Unrecognized
Callback = RecordingCallback | SessionCallback | OutboxCallback


def require_size(body: bytes) -> None:
    """Return only when `body` is not larger than a callback can be.

    Raises:
        TooLarge: more than MAX_BODY_BYTES.
    """
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(f"The body has {len(body)} bytes; at most {MAX_BODY_BYTES} are taken.")


def parse(body: bytes) -> Callback:
    """Return the callback that `body` holds; `Unrecognized` when it is some other JSON object.

    Raises:
        TooLarge: more than MAX_BODY_BYTES.
        Malformed: not UTF-8, not JSON, or not an object; the message says where.
    """
    text, readable, fields = _read_object(body)
    name = _name(fields)
    decoder = _decoders.get(ALIASES.get(name or "", name or ""))
    if decoder is None:
        return Unrecognized(name=name, reason="an event that is not known here", body=text)
    try:
        return _decode(decoder, readable, fields)
    except msgspec.DecodeError as problem:
        return Unrecognized(name=name, reason=str(problem), body=text)


def _decode(
    decoder: msgspec.json.Decoder[Any], body: bytes, fields: dict[str, msgspec.Raw]
) -> Callback:
    """Return the callback in `body`; if it is invalid, the one without its invalid optional fields.

    Raises:
        msgspec.DecodeError: a field that must be there is missing or invalid.
    """
    try:
        callback: Callback = decoder.decode(body)
    except msgspec.DecodeError:
        callback = decoder.decode(msgspec.json.encode(_without_invalid(decoder.type, fields)))
    return callback


def _without_invalid(
    kind: type[Callback], fields: dict[str, msgspec.Raw]
) -> dict[str, msgspec.Raw]:
    """Return `fields` without the optional ones that are invalid; numbers in their plain form."""
    valid = dict(fields)
    for field in msgspec.structs.fields(kind):
        if not field.required and field.name in fields:
            value = _optional(fields[field.name], field.type)
            valid[field.name] = msgspec.Raw(msgspec.json.encode(value))
    return valid


def _optional(raw: msgspec.Raw, kind: Any) -> Any:
    """Return the value of an optional field; None if it is invalid."""
    try:
        value = msgspec.json.decode(raw, type=kind, strict=kind != _OPTIONAL_SECONDS)
        # Checked here, as in a callback, so that only this field is left out.
        return None if isinstance(value, datetime) and not EARLIEST <= value < LATEST else value
    except msgspec.DecodeError:
        return None


def _read_object(body: bytes) -> tuple[str, bytes, dict[str, msgspec.Raw]]:
    """Return the body's text, the same in a form that can be decoded, and its fields."""
    require_size(body)
    try:
        text = body.decode()
    except UnicodeDecodeError as problem:
        raise Malformed(f"The body is not UTF-8: byte {problem.start}.") from problem
    try:
        readable = _without_lone_surrogates(text) if _SURROGATE.search(text) else body
        return text, readable, _objects.decode(readable)
    except msgspec.ValidationError as problem:
        raise Malformed(f"The body must be a JSON object: {problem}.") from problem
    except ValueError as problem:
        raise Malformed(f"The body of {len(body)} bytes is not JSON: {problem}.") from problem
    except RecursionError as problem:
        raise Malformed("The body is not JSON that can be read: nested too deeply.") from problem


def _without_lone_surrogates(text: str) -> bytes:
    """Return JSON with a question mark for each half of a character, as of a name cut in an emoji.

    JSON's grammar allows such escapes, msgspec does not.
    """
    return json.dumps(json.loads(text), ensure_ascii=False).encode(errors="replace")


def _name(fields: dict[str, msgspec.Raw]) -> str | None:
    try:
        return msgspec.json.decode(fields.get("event", b"null"), type=str)
    except msgspec.DecodeError:
        return None
