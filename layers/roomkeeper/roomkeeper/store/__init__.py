"""The table in DynamoDB: the only package that knows its keys, attributes and expressions.

What a callback or a job tells is one conditional UpdateItem. Facts are first-writer-wins, what has
happened is a set that only grows, and a name that is in it already changes nothing, so callbacks
may be applied in any order and any number of times. The table's stream, not the writer, makes
events of it.

Source: "Update expressions" and "Reading and processing a stream" in the DynamoDB guide.
"""

from roomkeeper.store import correlation
from roomkeeper.store.items import CorruptItem
from roomkeeper.store.recordings import Store
from roomkeeper.store.rooms import Checkpoint, InterruptedExtension, RoomStore
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
