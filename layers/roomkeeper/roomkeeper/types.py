"""The types of single values that Vonage sends, with their bounds. No I/O.

They are the same for all of Vonage's products, for callbacks and for responses of its APIs.
"""

from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta

# Ids are UUIDs or base64, and become part of a URL path. "%", "?", "#", slashes and dot-only ids
# are rejected: they would address another resource. `(?!\n)`: `$` also matches before a newline.
ID_PATTERN = r"^(?!\.+$)[A-Za-z0-9_~.=+-]+$(?!\n)"
MAX_ID_LENGTH = 256
Id = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH, pattern=ID_PATTERN)]

Moment = Annotated[datetime, Meta(tz=True)]
EARLIEST, LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
"""Bounds for every moment: at or after EARLIEST and before LATEST, compared in UTC."""

URL_MAX_LENGTH = 16 * 1024
"""Characters. The limit applies to callbacks and to responses of Vonage's APIs.

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
MAX_SECONDS = 10**9
Seconds = Annotated[int, Meta(ge=0, le=MAX_SECONDS)]
Bytes = Annotated[int, Meta(ge=0, le=2**63 - 1)]
"""A size. Files may be larger than 2 GiB, so 32 bits are not enough."""
ShortText = Annotated[str, Meta(max_length=64)]
"""A value from a list of Vonage's, such as the type of a participant."""


def is_within_bounds(moment: datetime) -> bool:
    """Return True if a time is between EARLIEST and LATEST."""
    return EARLIEST <= moment < LATEST
