"""The emulator's settings and the targets of its callbacks."""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from local.vonage.paging import ListEnd
from local.vonage.rooms import RoomForm

Kind = Literal[
    "rooms", "sessions", "recordings", "video_archives", "video_sessions", "video_others"
]
KINDS: tuple[Kind, ...] = ("rooms", "sessions", "recordings")
"""The kinds of the Meetings API."""
VIDEO_KINDS: tuple[Kind, ...] = ("video_archives", "video_sessions", "video_others")
"""The kinds of the Video API; `video_others` are broadcasts, captions, renders and SIP calls."""

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

    archive_count: Literal["total", "returned"] = "total"
    """Whether the `count` of a list of archives is their total number or the number returned."""
    unknown_archive: Literal[404, 400] = 404
    """The status for the id of an archive that does not exist."""
    unknown_on_delete: Literal[404, 400, 403] = 404
    """The status for the deletion of an archive that does not exist."""
    repeated_delete: Literal[204, 404] = 204
    """The status for the deletion of a deleted archive."""
    deleted_archive: Literal["unknown", "shown"] = "unknown"
    """Whether a deleted archive is unknown, or shown with the status `deleted`."""
    processing: Annotated[float, Meta(ge=0, le=86_400)] = 5.0
    """Seconds from the end of an archive to the status after `stopped`."""
    archive_url_lifetime: Annotated[int, Meta(ge=1, le=604_800)] = 600
    """Seconds until the download URL of an archive expires."""
    sha256_limit: Annotated[int, Meta(ge=0)] = 1024 * 1024
    """The size in bytes up to which a file's hash is known without asking for it."""
    video_retries: Literal["documented", "brief"] = "documented"
    """How callbacks of the Video API are retried: for 24 hours, or as those of the Meetings API."""
    unsigned_first: bool = False
    """Whether the first attempt of each callback lacks its signature, as after an internal error.
    Only retries by `documented` rules are signed then."""


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The URL for callbacks, and the credentials that are sent with them."""

    url: Annotated[str, Meta(pattern=r"^https?://[^\s/]+", max_length=4096)]
    signature_secret: Annotated[str, Meta(min_length=1)] | None = None
    """May be short, as at Vonage, although HS256 requires 32 bytes (RFC 7518, section 3.2)."""
    headers: Mapping[HeaderName, HeaderValue] = {}
    api_key: str = "a1b2c3d4"
    application_id: str = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
