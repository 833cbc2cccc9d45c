"""Requests to an API of Vonage, and their URL paths."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from roomkeeper.vonage.errors import InvalidId, RequestContext, VonageError


@dataclass(frozen=True, slots=True)
class Call:
    """An idempotent request. `path` is relative to the base URL, and quoted.

    `refusals` maps a status, and optionally Vonage's name for the error, to the exception to raise
    for this request.
    """

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    refusals: Mapping[tuple[int, str | None], type[VonageError]] = field(default_factory=dict)

    @property
    def context(self) -> RequestContext:
        """Return the context of an error without a response."""
        return RequestContext(self.method, self.path)


def path(method: str, *segments: str) -> str:
    """Return the URL path of these segments, each quoted.

    Quoting keeps an id within its segment. The exception is a dot segment, which servers and
    proxies resolve even when quoted (RFC 3986, 5.2.4).

    Raises:
        InvalidId: a segment is empty, is not Unicode text, or has a part that is `.` or `..`.
    """
    for segment in segments:
        if {"", ".", ".."} & set(re.split(r"[/\\]", segment)) or not _is_text(segment):
            shown = ascii(segment if len(segment) <= 80 else f"{segment[:80]}...")
            context = RequestContext(method, f"/{segments[0]}/...")
            raise InvalidId(f"{shown} is not an id", context)
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


def _is_text(segment: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in segment)
