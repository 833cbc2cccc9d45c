"""What the table's stream tells."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from roomkeeper import events
from roomkeeper.events import from_outbox
from roomkeeper.recordings import Recording, Session
from roomkeeper.store.items import EVENT, RECORDING, SESSION, plain


def events_due(record: Mapping[str, Any]) -> list[events.Event]:
    """Return the events that a record of the table's stream makes due, in the order of their names.

    Raises:
        KeyError, ValueError: the record is not one that this table can produce.
    """
    change = record["dynamodb"]
    key = change["Keys"]["pk"]["S"]
    if record["eventName"] == "REMOVE" or not key.startswith((RECORDING, SESSION, EVENT)):
        return []
    changed_at = datetime.fromtimestamp(change["ApproximateCreationDateTime"], UTC)
    new = plain(change["NewImage"])
    old = plain(change.get("OldImage", {}))
    if key.startswith(EVENT):
        said = msgspec.json.decode(new.get("metadata", "{}"))
        return [] if old else [from_outbox(key, new["event"], new["detail"], changed_at, said)]
    kind: type[Recording | Session] = Recording if key.startswith(RECORDING) else Session
    before = msgspec.convert(old, kind) if old else None
    return events.newly_seen(key, before, msgspec.convert(new, kind), changed_at)
