"""The callbacks of the Meetings API: their types and their parser.

Source of names and fields: Vonage's Meetings API guide, "Callbacks".
"""

import codecs
import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar

import msgspec
from msgspec import Meta, Struct

from roomkeeper.errors import RoomkeeperError

MAX_BODY_BYTES = 256 * 1024
"""Larger bodies are rejected. Callbacks are far smaller, and a table item is at most 400 KB."""

ALIASES = {
    "recording:ready": "recording:uploaded",
    "participant:joined": "session:participant:joined",
    "participant:left": "session:participant:left",
}
"""Other event names in Vonage's documentation, and the names that Roomkeeper uses for them."""

# Ids are UUIDs or base64, and become part of a URL path. "%", "?", "#", slashes and dot-only ids
# are rejected: they would address another resource. `(?!\n)`: `$` also matches before a newline.
ID_PATTERN = r"^(?!\.+$)[A-Za-z0-9_~.=+-]+$(?!\n)"
Id = Annotated[str, Meta(min_length=1, max_length=256, pattern=ID_PATTERN)]
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

Moment = Annotated[datetime, Meta(tz=True)]
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""Bounds for every moment: at or after EARLIEST and before LATEST, compared in UTC."""

URL_MAX_LENGTH = 16 * 1024
"""Characters. The limit applies to callbacks and to responses of the Meetings API.

A pre-signed URL contains a session token of varying length. A table item may have 400 KB, an entry
of PutEvents 256 KB ("Amazon EventBridge quotas"). 16 KB leave enough for all other fields.
"""
Url = Annotated[
    str,
    Meta(
        # Plain HTTP is only for the emulated Vonage, which listens on the loopback interface.
        pattern=r"^(https://[^\s/]|http://(127\.0\.0\.1|localhost)(:[0-9]+)?/)\S*$(?!\n)",
        max_length=URL_MAX_LENGTH,
    ),
]
Seconds = Annotated[int, Meta(ge=0, le=10**9)]
_OPTIONAL_SECONDS = Seconds | None
"""Parsed from any form of a whole number, such as 38.0 and "38"."""


class CallbackRejected(RoomkeeperError):
    """A request that can never be accepted. `status` and `code` are those of its response."""

    status: ClassVar[int]
    code: ClassVar[str]


class Malformed(CallbackRejected):
    """The body is not a JSON object in UTF-8."""

    status, code = 400, "malformed_body"


class TooLarge(CallbackRejected):
    """The body is larger than MAX_BODY_BYTES."""

    status, code = 413, "body_too_large"


class _Callback(Struct, frozen=True, kw_only=True):
    """The base of all callbacks: an event name and fields. Unknown fields are ignored."""

    event: ClassVar[str]

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, datetime) and not EARLIEST <= value < LATEST:
                raise ValueError(f"{field} is out of range: year {value.year}")


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
    type: Annotated[str, Meta(max_length=64)] | None = None
    is_host: bool | None = None


class ParticipantLeft(ParticipantJoined, frozen=True, kw_only=True):
    """A participant left a session."""

    event = "session:participant:left"


class RoomExpired(_Callback, frozen=True, kw_only=True):
    """A room has expired for good."""

    event = "room:expired"
    room_id: Id
    room_type: Annotated[str, Meta(max_length=64)] | None = None
    expires_at: Moment | None = None
    created_at: Moment | None = None


class Unrecognized(Struct, frozen=True, kw_only=True):
    """An authentic JSON object that is no known callback. It is stored whole, never rejected.

    `name` is its `event` if that is a string. `reason` says why it was not recognized.
    """

    event: ClassVar[str] = "callback:unrecognized"
    name: str | None
    reason: str
    body: str


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

RecordingCallback = (
    RecordingStarted  # the types of ended and uploaded recordings are its subclasses
)
SessionCallback = SessionStarted
OutboxCallback = ParticipantJoined | RoomExpired | Unrecognized
Callback = RecordingCallback | SessionCallback | OutboxCallback


def without_mark(body: bytes) -> bytes:
    """Return `body` without the byte order mark of UTF-8, which a receiver of JSON may ignore.

    Source: RFC 8259, section 8.1.
    """
    return body.removeprefix(codecs.BOM_UTF8)


def require_size(body: bytes) -> None:
    """Check the size of `body`.

    Raises:
        TooLarge: it has more than MAX_BODY_BYTES.
    """
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(f"The body has {len(body)} bytes; at most {MAX_BODY_BYTES} are accepted.")


def parse(body: bytes) -> Callback:
    """Return the callback in `body`, or Unrecognized for any other JSON object.

    Raises:
        TooLarge: the body has more than MAX_BODY_BYTES.
        Malformed: the body is not UTF-8, not JSON, or not an object. The message says where.
    """
    text, decodable, fields = _read_object(body)
    name = _name(fields)
    decoder = _decoders.get(ALIASES.get(name or "", name or ""))
    if decoder is None:
        return Unrecognized(name=name, reason="an event that is not known here", body=text)
    try:
        return _decode(decoder, decodable, fields)
    except msgspec.DecodeError as error:
        return Unrecognized(name=name, reason=str(error), body=text)


def _decode(
    decoder: msgspec.json.Decoder[Any], body: bytes, fields: dict[str, msgspec.Raw]
) -> Callback:
    """Return the callback in `body`, without optional fields that are invalid.

    Raises:
        msgspec.DecodeError: a required field is missing or invalid.
    """
    try:
        callback: Callback = decoder.decode(body)
    except msgspec.DecodeError:
        callback = decoder.decode(msgspec.json.encode(_without_invalid(decoder.type, fields)))
    return callback


def _without_invalid(
    callback_type: type[Callback], fields: dict[str, msgspec.Raw]
) -> dict[str, msgspec.Raw]:
    """Return `fields` with null for each invalid optional one, and durations as plain integers."""
    valid = dict(fields)
    for field in msgspec.structs.fields(callback_type):
        if not field.required and field.name in fields:
            value = _optional(fields[field.name], field.type)
            valid[field.name] = msgspec.Raw(msgspec.json.encode(value))
    return valid


def _optional(raw: msgspec.Raw, field_type: Any) -> Any:
    """Return the value of an optional field, or None if it is invalid."""
    try:
        value = msgspec.json.decode(raw, type=field_type, strict=field_type != _OPTIONAL_SECONDS)
        # The callback checks times too, but would be rejected whole for one invalid field.
        return None if isinstance(value, datetime) and not EARLIEST <= value < LATEST else value
    except msgspec.DecodeError:
        return None


def _read_object(body: bytes) -> tuple[str, bytes, dict[str, msgspec.Raw]]:
    """Return the body's text, its bytes in a form that msgspec can decode, and its fields."""
    require_size(body)
    body = without_mark(body)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start}.") from error
    try:
        decodable = _without_lone_surrogates(text) if _SURROGATE.search(text) else body
        return text, decodable, _objects.decode(decodable)
    except msgspec.ValidationError as error:
        raise Malformed(f"The body must be a JSON object: {error}.") from error
    except ValueError as error:
        raise Malformed(f"The body of {len(body)} bytes is not JSON: {error}.") from error
    except RecursionError as error:
        raise Malformed("The JSON in the body is nested too deeply.") from error


def _without_lone_surrogates(text: str) -> bytes:
    """Return the JSON with a question mark for each lone surrogate, as from a truncated emoji.

    JSON's grammar allows such escapes, but msgspec does not.
    """
    return json.dumps(json.loads(text), ensure_ascii=False).encode(errors="replace")


def _name(fields: dict[str, msgspec.Raw]) -> str | None:
    try:
        return msgspec.json.decode(fields.get("event", b"null"), type=str)
    except msgspec.DecodeError:
        return None
