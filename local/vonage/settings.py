"""The emulator's settings and the targets of its callbacks."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from local.vonage.paging import ListEnd
from local.vonage.rooms import RoomForm

Kind = Literal["rooms", "sessions", "recordings"]
KINDS: tuple[Kind, ...] = ("rooms", "sessions", "recordings")

Seconds = Annotated[float, Meta(ge=0, le=3600)]
HeaderValue = Annotated[str, Meta(pattern=r"^[\x20-\x7e]*$", max_length=4096)]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]+$", max_length=128)]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Choices where the published descriptions are incomplete or contradict each other."""

    page_form: Literal["embedded", "list"] = "embedded"
    """The list is `_embedded.rooms` (guide, OpenAPI) or `_embedded` itself (SDK fixtures)."""
    link_form: Literal["absolute", "bare"] = "absolute"
    """Whether a page's links have a scheme; in the SDK fixtures they have none (`bare`)."""
    list_end: ListEnd = "no_next"
    """How a list of rooms ends; see `paging.ListEnd`."""
    room_form: RoomForm = "is_available"
    url_form: Literal["X-Amz", "Expires"] = "X-Amz"
    url_lifetime: Annotated[int, Meta(ge=1, le=604_800)] = 72_000
    """Seconds until a download URL expires."""
    refused_ids: str = ""
    """A prefix of ids. Requests for such ids get 400."""
    attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    """The most attempts to post a callback. 429, 5xx and no response are retried."""
    backoff: Seconds = 0.25
    """Seconds before the first retry; doubled for each further retry, up to 30."""
    timeout: Annotated[float, Meta(gt=0, le=600)] = 10.0
    """Seconds to wait for the response of a callback's receiver."""


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The URL for callbacks, and the credentials that are sent with them."""

    url: Annotated[str, Meta(pattern=r"^https?://[^\s/]+", max_length=4096)]
    signature_secret: Annotated[str, Meta(min_length=1)] | None = None
    """May be short, as at Vonage, although HS256 requires 32 bytes (RFC 7518, section 3.2)."""
    headers: Mapping[HeaderName, HeaderValue] = {}
    api_key: str = "a1b2c3d4"
    application_id: str = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
