"""One correlation id from a callback to its subscribers: the id of the event that it causes.

That id follows from the item and the event's name alone, so that whoever writes the item can log it
before the stream shows the write, and nothing has to be stored or handed on for it.
"""

from typing import TYPE_CHECKING

from roomkeeper.callbacks.meetings import Callback
from roomkeeper.domain import events
from roomkeeper.store.items import RECORDING, event_key
from roomkeeper.store.updates import key_of
from roomkeeper.times import iso

if TYPE_CHECKING:
    from roomkeeper.domain.rooms import Extension


def event_id_for_callback(callback: Callback) -> str:
    """Return the id of the event that the first of these callbacks causes; repeats cause none."""
    return events.event_id(key_of(callback), callback.event)


def event_id_for_recording(recording_id: str, event: str) -> str:
    """Return the id of a recording's event, such as its `recording:deleted`."""
    return events.event_id(RECORDING + recording_id, event)


def event_id_for_extension(extension: "Extension") -> str:
    """Return the id of the `room:extended` that tells of this extension."""
    return events.event_id(extension_key(extension), "room:extended")


def extension_key(extension: "Extension") -> str:
    """Return the key of the outbox item that tells of an extension: one for each new expiry."""
    return event_key(f"room:extended {extension.room_id} {iso(extension.expires_at)}")
