"""The correlation id of a callback or job: the id of the event that it causes.

The id is derived from the item's key and the event's name. The writer of the item can therefore log
it before the event exists, and it is neither stored nor passed on.
"""

from typing import TYPE_CHECKING

from roomkeeper.domain import events
from roomkeeper.domain.observations import Observation
from roomkeeper.store.items import RECORDING, event_key
from roomkeeper.store.observations import key_of
from roomkeeper.times import iso

if TYPE_CHECKING:
    from roomkeeper.domain.rooms import Extension


def event_id_for_observation(observation: Observation) -> str:
    """Return the id of the event that the observation causes; repetitions cause no other."""
    return events.event_id(key_of(observation), observation.event)


def event_id_for_recording(recording_id: str, event: str) -> str:
    """Return the id of a recording's event, such as its `recording:deleted`."""
    return events.event_id(RECORDING + recording_id, event)


def event_id_for_extension(extension: "Extension") -> str:
    """Return the id of the `room:extended` of this extension."""
    return events.event_id(extension_key(extension), "room:extended")


def extension_key(extension: "Extension") -> str:
    """Return the key of an extension's outbox item: one for each change of the expiry."""
    times = f"{iso(extension.previous_expires_at)} {iso(extension.expires_at)}"
    return event_key(f"room:extended {extension.room_id} {times}")
