"""Changes to single elements of a response: a room, recording or archive, in a list or alone."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct

Json = dict[str, Any]


class ElementChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change to one element. It has no effect on a response without that element."""

    element: int | str
    """The element's index in the list (from 0; -1 is the last), or its id. An id also selects the
    object of a response with a single element."""
    fields: Mapping[str, Any] = {}
    """Fields to replace or add."""
    without: tuple[str, ...] = ()
    """Fields to remove."""
    value: Any = UNSET
    """Any JSON that replaces the whole element."""

    def apply(self, element: Any) -> Any:
        """Return the changed element; only `value` can change an element that is no object."""
        if self.value is not UNSET or not isinstance(element, dict):
            return element if self.value is UNSET else self.value
        changed = element | dict(self.fields)
        return {name: value for name, value in changed.items() if name not in self.without}


def change_elements(body: bytes, changes: Iterable[ElementChange]) -> bytes:
    """Return a response's `body` with the changes; they refer to the elements' original ids.

    A body that is not a JSON object is returned unchanged.
    """
    try:
        document = msgspec.json.decode(body, type=Json)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    elements = _elements(document)
    ids = [_id_of(element) for element in elements]
    changed: Any = document
    for change in changes:
        found = _index(change.element, ids)
        if found is not None:
            elements[found] = change.apply(elements[found])
        elif change.element == document.get("id"):
            changed = change.apply(document)
    return msgspec.json.encode(changed)


def _elements(document: Json) -> list[Any]:
    """Return the document's own list of elements; a new empty list if it has none."""
    found = document.get("_embedded", document.get("items"))
    if isinstance(found, dict):
        found = found.get("rooms", found.get("recordings"))
    return found if isinstance(found, list) else []


def _id_of(element: Any) -> Any:
    return element.get("id") if isinstance(element, dict) else None


def _index(element: int | str, ids: list[Any]) -> int | None:
    if isinstance(element, str):
        return ids.index(element) if element in ids else None
    return element if -len(ids) <= element < len(ids) else None
