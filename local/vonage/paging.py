"""Pages of rooms. Pure.

`start_id` is the serial number of the first room of a page, `end_id` that of the first room after
it. Source: Vonage's Meetings API reference, "Get all rooms" (a serial number, not the room's id).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self

from local.vonage.refusal import invalid

DEFAULT_SIZE = 20

ListEnd = Literal["no_next", "empty_page", "cut_short", "loop"]
"""The `next` link at the end of a list:

- `no_next`: the last page has no link.
- `empty_page`: the last page links to an empty page, which links to itself.
- `cut_short`: the first page has no link, even if there are more rooms.
- `loop`: the last page links to the first page.
"""


@dataclass(frozen=True, slots=True)
class Page:
    """The rooms with serial numbers from `first` to before `stop`."""

    size: int
    first: int
    stop: int
    end: int | None
    """The `end_id` of a request that also has a `start_id`: following pages stop there."""
    total: int

    @classmethod
    def requested(cls, query: Mapping[str, str], total: int) -> Self:
        """Return the page that `query` requests, of `total` rooms numbered from 1.

        `end_id` alone requests the page that ends there, as `prev` links do.

        Raises:
            Refusal: a parameter is not a number, or `page_size` is below 1.
        """
        size = _number(query, "page_size")
        size = DEFAULT_SIZE if size is None else size
        if size < 1:
            raise invalid('"page_size" must be greater than or equal to 1')
        start, end = _number(query, "start_id"), _number(query, "end_id")
        limit = cls._limit(end, total)
        first = max(1, limit - size) if start is None and end is not None else max(1, start or 1)
        return cls(size, first, min(first + size, limit), end if start is not None else None, total)

    @staticmethod
    def _limit(end: int | None, total: int) -> int:
        """Return the serial number at which the last page stops."""
        return total + 1 if end is None else max(1, min(end, total + 1))

    def links(self, rooms_url: str, end: ListEnd = "no_next") -> dict[str, dict[str, str]]:
        """Return the page's links, with `prev` and `next` only if there are such pages."""
        links = {"first": {}, "self": {"start_id": self.first, **self._end()}}
        if self.first > 1:
            links["prev"] = {"end_id": self.first}
        following = self._following(end)
        if following is not None:
            links["next"] = {"start_id": following, **self._end()}
        return {name: {"href": self._href(rooms_url, query)} for name, query in links.items()}

    def _end(self) -> dict[str, int]:
        return {} if self.end is None else {"end_id": self.end}

    def _following(self, end: ListEnd) -> int | None:
        """Return the serial number at which the next page starts; None without a next page."""
        if end != "cut_short" and self.stop < self._limit(self.end, self.total):
            return self.stop
        return {"empty_page": max(self.first, self.stop), "loop": 1}.get(end)

    def _href(self, rooms_url: str, query: Mapping[str, int]) -> str:
        pairs = {"page_size": self.size, **query}
        return f"{rooms_url}?{'&'.join(f'{name}={value}' for name, value in pairs.items())}"


def _number(query: Mapping[str, str], name: str) -> int | None:
    if name not in query:
        return None
    if not re.fullmatch(r"-?[0-9]{1,15}", query[name]):
        raise invalid(f'"{name}" must be a number')
    return int(query[name])
