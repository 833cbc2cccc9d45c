"""The DynamoDB table. Its keys, attributes and expressions are in this package only.

Each callback and each change by a job is one conditional UpdateItem. Facts are first-writer-wins.
The names of past events are a set that only grows, and a name that is recorded already changes
nothing. Callbacks may therefore be applied in any order, any number of times. Events are derived
from the table's stream, not by the writer.

Source: "Update expressions" and "Reading and processing a stream" in the DynamoDB guide.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from roomkeeper.store import correlation
from roomkeeper.store.items import CorruptItem
from roomkeeper.store.observations import CallbackStore
from roomkeeper.store.table import StoreUnavailable

if TYPE_CHECKING:
    from roomkeeper.store.rooms import Checkpoint, InterruptedExtension, RoomStore
    from roomkeeper.store.store import Store
    from roomkeeper.store.stream import events_due, lost_uncopied

__all__ = [
    "CallbackStore",
    "Checkpoint",
    "CorruptItem",
    "InterruptedExtension",
    "RoomStore",
    "Store",
    "StoreUnavailable",
    "correlation",
    "events_due",
    "lost_uncopied",
]

_MODULES = {
    "Checkpoint": "rooms",
    "InterruptedExtension": "rooms",
    "RoomStore": "rooms",
    "Store": "store",
    "events_due": "stream",
    "lost_uncopied": "stream",
}
"""For each name that the callback intake does not need, its module."""


def __getattr__(name: str) -> Any:
    """Import a name from its module at the first use, so that a cold intake imports none of them.

    Source: PEP 562.
    """
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
