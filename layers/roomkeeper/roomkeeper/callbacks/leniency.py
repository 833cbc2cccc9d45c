"""Reads values that the Video API sends in several forms. A value in no accepted form is None.

Numbers come as integers, floats and texts. Zero means "not known yet" for sizes, durations and
times, so it is None too.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Raw

from roomkeeper.types import MAX_ID_LENGTH, MAX_SECONDS, Id, Url

Fields = Mapping[str, Raw]
"""The fields of a JSON object, each decoded when it is read: an invalid one affects no other."""

_anything = msgspec.json.Decoder()
_objects = msgspec.json.Decoder(dict[str, Raw])
_ids = msgspec.json.Decoder(Id)
_urls = msgspec.json.Decoder(Url)

_LIMIT = 2**63
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = re.compile(r"([0-9]{1,19})(\.[0-9]+)?")
_SECONDS_BELOW = 10**11
"""A smaller time is in seconds, any other in milliseconds: no archive is from before 1973."""
_LATEST = 253_370_764_800_000
"""The start of the year 9999 in milliseconds."""


def value(fields: Fields, name: str, decoder: "msgspec.json.Decoder[Any]" = _anything) -> Any:
    """Return the field as `decoder` decodes it; None if it is missing or invalid."""
    try:
        return decoder.decode(fields.get(name, b"null"))
    except (ValueError, RecursionError):
        return None


def nested(fields: Fields, name: str) -> Fields:
    """Return the fields of an object within the object; none if there is no such object."""
    found: Fields | None = value(fields, name, _objects)
    return found or {}


def number(fields: Fields, name: str) -> int | None:
    """Return a positive number below 2^63, without its fraction."""
    found = value(fields, name)
    if isinstance(found, str) and (digits := _DIGITS.fullmatch(found.strip())):
        found = int(digits[1])
    is_number = isinstance(found, int | float) and not isinstance(found, bool)
    return int(found) or None if is_number and 0 < found < _LIMIT else None


def seconds(fields: Fields, name: str) -> int | None:
    """Return a duration in seconds."""
    found = number(fields, name)
    return found if found is None or found <= MAX_SECONDS else None


def milliseconds(fields: Fields, name: str) -> int | None:
    """Return a time in milliseconds since 1970, before the year 9999."""
    found = number(fields, name)
    if found is not None and found < _SECONDS_BELOW:
        found *= 1000
    return found if found is None or found < _LATEST else None


def moment(time: int) -> datetime:
    """Return a time in milliseconds as a UTC time."""
    return _EPOCH + timedelta(milliseconds=time)


def whole_second(time: int | None) -> datetime | None:
    """Return a time in milliseconds as a UTC time in whole seconds, rounded down.

    The Video API reports the same time first with milliseconds, later in whole seconds. All forms
    must give the same fact.
    """
    return None if time is None else moment(time // 1000 * 1000)


def identifier(fields: Fields, name: str) -> str | None:
    """Return an id, by the rules for ids in callbacks. A number is an id as well."""
    found: str | None = value(fields, name, _ids)
    if found is None and type(numeric := value(fields, name)) is int:  # not bool
        return str(numeric) if len(str(numeric)) <= MAX_ID_LENGTH else None
    return found


def text(fields: Fields, name: str, max_length: int) -> str | None:
    """Return a text on one line, cut to `max_length` characters; None if it is empty."""
    found = value(fields, name)
    return " ".join(found.split())[:max_length] or None if isinstance(found, str) else None


def url(fields: Fields, name: str) -> str | None:
    """Return a download URL."""
    found: str | None = value(fields, name, _urls)
    return found
