"""The body of a callback of any product: its size, its text, and its fields.

read(body)                     # a JsonObject, or CallbackRejected
decode(decoder, json_object)   # the decoder's type, without optional fields that are invalid
"""

import codecs
import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar, TypeVar

import msgspec
from msgspec import Raw, Struct

from roomkeeper.errors import RoomkeeperError
from roomkeeper.types import EARLIEST, LATEST, Seconds, is_within_bounds

BYTE_ORDER_MARK = codecs.BOM_UTF8
"""A receiver of JSON may ignore it. Source: RFC 8259, section 8.1."""

MAX_BODY_BYTES = 256 * 1024
"""Larger bodies are rejected. Callbacks are far smaller, and a table item is at most 400 KB."""

Content = TypeVar("Content", bound=Struct)

_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")

_OPTIONAL_SECONDS = Seconds | None
"""Parsed from any form of a whole number, such as 38.0 and "38"."""

_objects = msgspec.json.Decoder(dict[str, Raw])


class CallbackRejected(RoomkeeperError):
    """A request that can never be accepted. `status` and `code` are those of its response."""

    status: ClassVar[int]
    code: ClassVar[str]


class Malformed(CallbackRejected):
    """The body is not a JSON object in UTF-8."""

    status, code = 400, "invalid_request"


class TooLarge(CallbackRejected):
    """The body is larger than MAX_BODY_BYTES."""

    status, code = 413, "body_too_large"


class JsonObject(Struct, frozen=True):
    """A JSON object that was posted: its text, and its fields in a form that msgspec can decode."""

    text: str
    decodable: bytes
    fields: Mapping[str, Raw]

    def text_of(self, field: str) -> str | None:
        """Return the value of a field if it is a string; None otherwise."""
        try:
            return msgspec.json.decode(self.fields.get(field, b"null"), type=str)
        except msgspec.DecodeError:
            return None


class BoundedMoments(Struct, frozen=True, kw_only=True):
    """The base of callbacks whose times must be within the bounds of `roomkeeper.types`."""

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            value = getattr(self, field)
            if isinstance(value, datetime) and not EARLIEST <= value < LATEST:
                raise ValueError(f"{field} is out of range: year {value.year}")


def require_size(body: bytes) -> None:
    """Check the size of `body`.

    Raises:
        TooLarge: it has more than MAX_BODY_BYTES.
    """
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(f"The body has {len(body)} bytes; at most {MAX_BODY_BYTES} are accepted.")


def read(body: bytes) -> JsonObject:
    """Return the JSON object in `body`.

    Raises:
        Malformed: the body is not UTF-8, not JSON, or not an object. The message says where.
    """
    body = body.removeprefix(BYTE_ORDER_MARK)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"The body is not UTF-8: byte {error.start}.") from error
    try:
        decodable = without_lone_surrogates(body) if _SURROGATE.search(text) else body
        return JsonObject(text, decodable, _objects.decode(decodable))
    except msgspec.ValidationError as error:
        raise Malformed(f"The body must be a JSON object: {error}.") from error
    except ValueError as error:
        raise Malformed(f"The body of {len(body)} bytes is not JSON: {error}.") from error
    except RecursionError as error:
        raise Malformed("The JSON in the body is nested too deeply.") from error


def decode(decoder: "msgspec.json.Decoder[Content]", posted: JsonObject) -> Content:
    """Return the content of `posted`, without optional fields that are invalid.

    Raises:
        msgspec.DecodeError: a required field is missing or invalid.
    """
    try:
        return decoder.decode(posted.decodable)
    except msgspec.DecodeError:
        return decoder.decode(msgspec.json.encode(_without_invalid(decoder.type, posted.fields)))


def _without_invalid(content_type: type[Struct], fields: Mapping[str, Raw]) -> dict[str, Raw]:
    """Return `fields` with null for each invalid optional one, and durations as plain integers."""
    valid = dict(fields)
    for field in msgspec.structs.fields(content_type):
        name = field.encode_name
        if not field.required and name in fields:
            valid[name] = Raw(msgspec.json.encode(_optional(fields[name], field.type)))
    return valid


def _optional(raw: Raw, field_type: Any) -> Any:
    """Return the value of an optional field, or None if it is invalid."""
    try:
        value = msgspec.json.decode(raw, type=field_type, strict=field_type != _OPTIONAL_SECONDS)
    except msgspec.DecodeError:
        return None
    # The callback type checks times too, but would reject the callback for one invalid field.
    return None if isinstance(value, datetime) and not is_within_bounds(value) else value


def without_lone_surrogates(body: bytes) -> bytes:
    """Return the JSON with a question mark for each lone surrogate, as from a truncated emoji.

    JSON's grammar allows such escapes, but msgspec does not.
    """
    text = body.decode()
    if not _SURROGATE.search(text):
        return body
    return json.dumps(json.loads(text), ensure_ascii=False).encode(errors="replace")
