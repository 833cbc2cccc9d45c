"""The emulator's switches, and where its callbacks go."""

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
    """How the emulator behaves where the published descriptions leave a choice."""

    page_form: Literal["embedded", "list"] = "embedded"
    """`_embedded.rooms` (guide, OpenAPI) or `_embedded` itself the list (SDK fixtures)."""
    link_form: Literal["absolute", "bare"] = "absolute"
    """Whether the links of a page start with a scheme; the SDK fixtures' do not."""
    list_end: ListEnd = "no_next"
    """How a list of rooms ends; see `paging.ListEnd`."""
    room_form: RoomForm = "is_available"
    url_form: Literal["X-Amz", "Expires"] = "X-Amz"
    url_lifetime: Annotated[int, Meta(ge=1, le=604_800)] = 72_000
    """Seconds until a download URL expires."""
    refused_ids: str = ""
    """A prefix: requests for what has an id that starts so are answered 400."""
    attempts: Annotated[int, Meta(ge=1, le=100)] = 5
    """How often a callback is posted at most, until it is answered by other than 429 or 5xx."""
    backoff: Seconds = 0.25
    """Seconds before the first repetition; doubled for each further one, up to 30."""
    timeout: Annotated[float, Meta(gt=0, le=600)] = 10.0
    """Seconds that a callback's receiver may take to answer."""


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where callbacks are posted, and how their sender proves to be Vonage."""

    url: Annotated[str, Meta(pattern=r"^https?://[^\s/]+", max_length=4096)]
    signature_secret: Annotated[str, Meta(min_length=1)] | None = None
    """As at Vonage it may be short, though HS256 asks for 32 bytes (RFC 7518, section 3.2)."""
    headers: Mapping[HeaderName, HeaderValue] = {}
    api_key: str = "a1b2c3d4"
    application_id: str = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
