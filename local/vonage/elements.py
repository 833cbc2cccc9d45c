"""Changes to single elements of a response: of a list's rooms or recordings, or of the only one."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import UNSET, Struct

Json = dict[str, Any]


class ElementChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A change to one element. It has no effect on a response without that element."""

    element: int | str
    """Its index in the list (from 0; -1 is the last one), or its id, which also selects the object
    of a response about that one element."""
    fields: Mapping[str, Any] = {}
    """Values that replace those of its fields, or are added."""
    without: tuple[str, ...] = ()
    """Fields that are left out."""
    value: Any = UNSET
    """Any JSON in place of the whole element."""

    def apply(self, element: Any) -> Any:
        """Return the changed element; one that has no fields stays as it is, or gets the value."""
        if self.value is not UNSET or not isinstance(element, dict):
            return element if self.value is UNSET else self.value
        changed = element | dict(self.fields)
        return {name: value for name, value in changed.items() if name not in self.without}


def change_elements(body: bytes, changes: Iterable[ElementChange]) -> bytes:
    """Return a response's `body` with the changes; element ids are those before any change.

    A body that is not a JSON object is returned as it is.
    """
    try:
        document = msgspec.json.decode(body, type=Json)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return body
    elements = _elements(document)
    ids = [_id_of(element) for element in elements]
    changed: Any = document
    for change in changes:
        place = _place(change.element, ids)
        if place is not None:
            elements[place] = change.apply(elements[place])
        elif change.element == document.get("id"):
            changed = change.apply(document)
    return msgspec.json.encode(changed)


def _elements(document: Json) -> list[Any]:
    """Return the list that the document holds, itself; an empty one when it holds none."""
    found = document.get("_embedded")
    if isinstance(found, dict):
        found = found.get("rooms", found.get("recordings"))
    return found if isinstance(found, list) else []


def _id_of(element: Any) -> Any:
    return element.get("id") if isinstance(element, dict) else None


def _place(element: int | str, ids: list[Any]) -> int | None:
    if isinstance(element, str):
        return ids.index(element) if element in ids else None
    return element if -len(ids) <= element < len(ids) else None
