"""Validation of requests to the management API. Pure."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar
from urllib.parse import unquote

import msgspec
from msgspec import Meta, Struct

from roomkeeper.http_api import InvalidRequest
from roomkeeper.times import iso
from roomkeeper.types import Id

FIVE_YEARS = timedelta(days=5 * 365 + 1)
"""Vonage's limit for the time until a room's expiry."""

PAGE_SIZES = range(1, 101)
DEFAULT_PAGE_SIZE = 20

Body = TypeVar("Body", bound=Struct)
Text = Annotated[str, Meta(min_length=1, max_length=500, pattern=r"\S")]


class Page(Struct, frozen=True):
    """The requested rooms: at most `size`, from `cursor` on."""

    cursor: str | None
    size: int


class _NewExpiry(Struct, forbid_unknown_fields=True):
    expires_at: datetime


class HoldRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """A request to protect a recording: the reason, and the requester if not the caller."""

    reason: Text
    requested_by: Text | None = None


def id_in(segment: str) -> str:
    """Return the id in a percent-encoded `segment` of a path.

    Raises:
        InvalidRequest: the segment does not have the form of Vonage's ids.
    """
    try:
        return msgspec.convert(unquote(segment), Id)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(
            "The id in the path is invalid: an id has 1 to 256 letters, digits and characters of "
            "-_~.=+, and not only dots."
        ) from exc


def page_in(query: Mapping[str, str]) -> Page:
    """Return the page that `cursor` and `page_size` in `query` select.

    Raises:
        InvalidRequest: one of them is invalid.
    """
    cursor, size = query.get("cursor") or None, query.get("page_size", str(DEFAULT_PAGE_SIZE))
    if cursor is not None and len(cursor) > 256:
        raise InvalidRequest("cursor: more than 256 characters; use an earlier next_cursor.")
    if not (size.isascii() and size.isdigit() and len(size) <= 3 and int(size) in PAGE_SIZES):
        raise InvalidRequest(f"page_size: must be from {PAGE_SIZES[0]} to {PAGE_SIZES[-1]}.")
    return Page(cursor, int(size))


def deletes_copy_in(query: Mapping[str, str]) -> bool:
    """Return whether `copy=delete` in `query` asks for the deletion of the copy, too.

    Raises:
        InvalidRequest: `copy` has another value.
    """
    copy = query.get("copy", "keep")
    if copy not in ("keep", "delete"):
        raise InvalidRequest("copy: must be delete or keep, which is the default.")
    return copy == "delete"


def expiry_in(body: bytes, now: datetime) -> datetime:
    """Return the expiry, in UTC, in `body`: `{"expires_at": "2030-01-01T00:00:00Z"}`.

    Raises:
        InvalidRequest: the body has another form, or the time is in the past, has no time zone, or
            is more than five years ahead.
    """
    expires_at = _decoded(body, _NewExpiry).expires_at
    if expires_at.tzinfo is None:
        raise InvalidRequest("expires_at has no time zone: add Z, or an offset such as +01:00.")
    if expires_at <= now:
        raise InvalidRequest(f"expires_at is in the past: the current time is {iso(now)}.")
    if expires_at > now + FIVE_YEARS:
        latest = iso(now + FIVE_YEARS)
        raise InvalidRequest(f"expires_at is more than five years ahead: the latest is {latest}.")
    return expires_at.astimezone(UTC)


def hold_in(body: bytes) -> HoldRequest:
    """Return the hold request in `body`: `{"reason": "...", "requested_by": "..."}`.

    `requested_by` is optional.

    Raises:
        InvalidRequest: the body has another form.
    """
    return _decoded(body, HoldRequest)


def _decoded(body: bytes, body_type: type[Body]) -> Body:
    try:
        return msgspec.json.decode(body.decode(), type=body_type)
    except UnicodeDecodeError as exc:
        raise InvalidRequest(f"The body is not UTF-8: byte {exc.start}.") from exc
    except msgspec.ValidationError as exc:
        raise InvalidRequest(f"The body: {exc}.") from exc
    except msgspec.DecodeError as exc:
        raise InvalidRequest(f"The body is not JSON: {exc}.") from exc
    except RecursionError as exc:
        raise InvalidRequest("The body is nested too deeply.") from exc
