"""The DynamoDB table. Only this package knows its keys, attributes and expressions.

Each callback and each change by a job is one conditional UpdateItem. Facts are first-writer-wins.
The names of past events are a set that only grows, and a name that is recorded already changes
nothing. Callbacks may therefore be applied in any order, any number of times. Events are derived
from the table's stream, not by the writer.

Source: "Update expressions" and "Reading and processing a stream" in the DynamoDB guide.
"""

from roomkeeper.store import correlation
from roomkeeper.store.items import CorruptItem
from roomkeeper.store.rooms import Checkpoint, InterruptedExtension, RoomStore
from roomkeeper.store.store import Store
from roomkeeper.store.stream import events_due
from roomkeeper.store.table import RETRY, SHORT_RETRY, StoreUnavailable

__all__ = [
    "RETRY",
    "SHORT_RETRY",
    "Checkpoint",
    "CorruptItem",
    "InterruptedExtension",
    "RoomStore",
    "Store",
    "StoreUnavailable",
    "correlation",
    "events_due",
]
