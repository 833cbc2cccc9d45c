"""What the management API is asked, checked against its rules. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct

from roomkeeper.callbacks.meetings import Id
from roomkeeper.errors import RoomkeeperError
from roomkeeper.times import iso

FIVE_YEARS = timedelta(days=5 * 365 + 1)
"""The furthest ahead that Vonage lets a room's expiry be."""

PAGE_SIZES = range(1, 101)
DEFAULT_PAGE_SIZE = 20

Body = TypeVar("Body", bound=Struct)
Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S")]


class InvalidRequest(RoomkeeperError):
    """A rule is broken; the message says which, and where."""


class Page(Struct, frozen=True):
    """Which rooms are asked for: `size` of them at most, from `cursor` on."""

    cursor: str | None
    size: int


class _NewExpiry(Struct, forbid_unknown_fields=True):
    expires_at: datetime


class HoldRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A recording is to be kept from cleanup: why, and by whose order if not the caller's."""

    reason: Text
    by: Text | None = None


def id_in(segment: str) -> str:
    """Return the id that a `segment` of a path holds, percent-encoded.

    Raises:
        InvalidRequest: Vonage makes no such ids.
    """
    try:
        return msgspec.convert(unquote(segment), Id)
    except msgspec.ValidationError as problem:
        raise InvalidRequest(
            "The id in the path is none of Vonage's: those have 1 to 256 letters, digits and "
            "characters of -_~.=+, and more than dots."
        ) from problem


def page_in(query: Mapping[str, str]) -> Page:
    """Return the page that `query` asks for by `cursor` and `page_size`.

    Raises:
        InvalidRequest: one of them breaks a rule.
    """
    cursor, size = query.get("cursor") or None, query.get("page_size", str(DEFAULT_PAGE_SIZE))
    if cursor is not None and len(cursor) > 256:
        raise InvalidRequest("cursor: at most 256 characters, as an earlier answer gave it.")
    if not (size.isascii() and size.isdigit() and len(size) <= 3 and int(size) in PAGE_SIZES):
        raise InvalidRequest(f"page_size: a number from {PAGE_SIZES[0]} to {PAGE_SIZES[-1]}.")
    return Page(cursor, int(size))


def expiry_in(body: bytes, now: datetime) -> datetime:
    """Return the expiry, in UTC, that `body` asks for: `{"expires_at": "2030-01-01T00:00:00Z"}`.

    Raises:
        InvalidRequest: it is no such object, or the time is past, has no zone, or is more than
            five years away.
    """
    expires_at = _decoded(body, _NewExpiry).expires_at
    if expires_at.tzinfo is None:
        raise InvalidRequest("expires_at has no zone: add Z, or an offset such as +01:00.")
    if expires_at <= now:
        raise InvalidRequest(f"expires_at is past: it is {iso(now)} now.")
    if expires_at > now + FIVE_YEARS:
        latest = iso(now + FIVE_YEARS)
        raise InvalidRequest(f"expires_at is over five years away: {latest} at most.")
    return expires_at.astimezone(UTC)


def hold_in(body: bytes) -> HoldRequest:
    """Return the hold that `body` orders: `{"reason": "...", "by": "..."}`, `by` being optional.

    Raises:
        InvalidRequest: it is no such object.
    """
    return _decoded(body, HoldRequest)


def _decoded(body: bytes, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body.decode(), type=kind)
    except UnicodeDecodeError as problem:
        raise InvalidRequest(f"The body is not UTF-8: byte {problem.start}.") from problem
    except msgspec.ValidationError as problem:
        raise InvalidRequest(f"The body: {problem}.") from problem
    except msgspec.DecodeError as problem:
        raise InvalidRequest(f"The body is not JSON: {problem}.") from problem
    except RecursionError as problem:
        raise InvalidRequest("The body is nested too deeply.") from problem
