"""What is asked of the API, before it becomes HTTP. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from roomkeeper.vonage.errors import Exchange, UnusableId, VonageError


@dataclass(frozen=True, slots=True)
class Call:
    """A request: `path` is below the base URL, its segments quoted."""

    method: str
    path: str
    query: Mapping[str, str | int] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    repeatable: bool = True
    """Whether doing it twice is the same as doing it once."""
    refusals: Mapping[tuple[int, str | None], type[VonageError]] = field(default_factory=dict)
    """What a status means with this call: together with the error's name, or with any (None).

    An answer without a name is not Vonage's own, and has no such meaning.
    """

    @property
    def exchange(self) -> Exchange:
        """What an error that has no answer tells of it."""
        return Exchange(self.method, self.path)


def path(method: str, *segments: str) -> str:
    """Return the path of these segments, ids among them, none of which can lead out of its place.

    Quoting does that for every id but those that mean "here" or "above" even when quoted, or would
    once a proxy has unquoted them.

    Raises:
        UnusableId: a segment is empty, is no Unicode text, or has a part that is `.` or `..`.
    """
    for segment in segments:
        if {"", ".", ".."} & set(re.split(r"[/\\]", segment)) or not _is_text(segment):
            shown = ascii(segment if len(segment) <= 80 else f"{segment[:80]}...")
            raise UnusableId(f"{shown} is not an id", Exchange(method, f"/{segments[0]}/..."))
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


def _is_text(segment: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in segment)
