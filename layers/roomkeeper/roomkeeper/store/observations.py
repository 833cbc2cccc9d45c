"""The write that stores an observation: one update of its item."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec

from roomkeeper.domain import events
from roomkeeper.domain.observations import (
    Observation,
    Occurrence,
    RecordingObservation,
    SessionObservation,
    Unrecognized,
)
from roomkeeper.store.items import (
    CLOSED,
    DEFERRAL,
    RECORDING,
    SESSION,
    Update,
    build_update,
    event_key,
    shard_of,
)
from roomkeeper.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from roomkeeper.domain.recordings import Worklist


class CallbackStore:
    """Writes the observations of callbacks.

    Args:
        client: a DynamoDB client of `roomkeeper.aws`.
        table: the table's name.
        session_days: the days for which a session's item is kept.
        event_days: the days for which an outbox item is kept, to detect repeated callbacks.
        deleted_days: the days for which a recording's item is kept once the recording is deleted,
            failed, expired, missing at Vonage, or marked as never uploaded.
        copies: whether recordings are copied, so that uploaded ones await their copy.
    """

    def __init__(
        self,
        client: "DynamoDBClient",
        table: str,
        *,
        session_days: int = 0,
        event_days: int = 0,
        deleted_days: int = 0,
        copies: bool = False,
    ) -> None:
        self._table = Table(client, table)
        self._session_time = timedelta(days=session_days)
        self._event_time = timedelta(days=event_days)
        self._deleted_time = timedelta(days=deleted_days)
        self._copies = copies

    def apply(self, observation: Observation, now: datetime) -> bool:
        """Write a callback's observation, received at `now`; return False if it changes nothing.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown; the sender should retry.
        """
        if isinstance(observation, RecordingObservation):
            ttl = int((now + self._deleted_time).timestamp())
            update = recording_update(observation, now, ttl, copies=self._copies)
        elif isinstance(observation, SessionObservation):
            update = session_update(observation, now, now + self._session_time)
        else:
            update = outbox_update(observation, now, now + self._event_time)
        return self._table.update(**build_update(update))


def key_of(observation: Observation) -> str:
    """Return the key of the item that an observation updates."""
    if isinstance(observation, RecordingObservation):
        return RECORDING + observation.recording_id
    if isinstance(observation, SessionObservation):
        return SESSION + observation.session_id
    if isinstance(observation, Unrecognized):
        return event_key(observation.body)
    return event_key(observation.event + observation.identity)


def recording_update(
    observation: RecordingObservation, now: datetime, ttl: int, *, copies: bool = False
) -> Update:
    """Return the update of a recording's item for its observation, received at `now`.

    `ttl` is when the item expires if the recording has no file at Vonage any more, in Unix seconds.
    With `copies`, an uploaded recording goes on the worklist of those that await their copy.
    """
    match observation.event:
        case "recording:uploaded" if copies:
            return _uploaded(observation, now, "awaiting_copy")
        case "recording:uploaded" | "recording:stored":
            return _uploaded(observation, now, "retained")
        case "recording:failed" | "recording:expired":
            return _closed(observation, now, ttl)
        case "recording:deleted":
            return _deleted(observation, now, ttl)
        case _:
            return _awaiting_upload(observation, now)


def confirmed_update(
    observation: RecordingObservation, now: datetime, ttl: int, *, copies: bool = False
) -> Update:
    """Return the same update for an observation of Vonage's API, which confirms the recording."""
    update = recording_update(observation, now, ttl, copies=copies)
    state = dict(update.set_unless_closed)
    shard = shard_of(observation.recording_id)
    if state.get("worklist") == f"retained#{shard}":
        state["worklist"] = f"confirmed#{shard}"
    return msgspec.structs.replace(
        update,
        set_if_absent={**update.set_if_absent, "confirmed_at": now},
        set_unless_closed=state,
        reconciled=True,
    )


def _awaiting_upload(observation: RecordingObservation, now: datetime) -> Update:
    shard = shard_of(observation.recording_id)
    queued = {"worklist": f"awaiting_upload#{shard}", "since": now}
    return Update(
        key=RECORDING + observation.recording_id,
        set_if_absent=_facts(observation, now) | queued,
        seen=observation.event,
    )


def _uploaded(observation: RecordingObservation, now: datetime, worklist: "Worklist") -> Update:
    # If the recording was deferred or marked as never uploaded, it has the attributes of a deferral
    # and a TTL, which no longer apply.
    return Update(
        key=RECORDING + observation.recording_id,
        set_if_absent=_facts(observation, now),
        set_unless_closed={
            "worklist": f"{worklist}#{shard_of(observation.recording_id)}",
            "since": now,
            "ttl": None,
        },
        removed=DEFERRAL,
        seen=observation.event,
    )


def _closed(observation: RecordingObservation, now: datetime, ttl: int) -> Update:
    # No job reads the worklist `closed`. The recording stays on it, so that the observations of an
    # earlier stage, which may come later, put it on no other one.
    state = {"worklist": f"closed#{shard_of(observation.recording_id)}", "since": now, "ttl": ttl}
    final = {f"{CLOSED}{name}": value for name, value in state.items()}
    return Update(
        key=RECORDING + observation.recording_id,
        set_if_absent=_facts(observation, now) | final,
        set_unless_closed=state,
        removed=DEFERRAL,
        seen=observation.event,
    )


def _deleted(observation: RecordingObservation, now: datetime, ttl: int) -> Update:
    deletion = {"deleted_by": "vonage", "deleted_received_at": now}
    return Update(
        key=RECORDING + observation.recording_id,
        set_if_absent=_facts(observation, now) | deletion,
        set_unless_closed={"ttl": ttl},
        removed=("worklist", "since", *DEFERRAL),
        seen=observation.event,
    )


def _facts(observation: RecordingObservation, now: datetime) -> dict[str, Any]:
    facts = msgspec.structs.asdict(observation)
    del facts["event"]
    # Vonage reports 0 as long as it does not know them.
    facts |= {name: facts[name] or None for name in ("size", "duration")}
    if observation.event == "recording:failed":
        facts["failure_reason"] = facts.pop("reason")
    return facts | {"received_at": now, events.RECEIVED_AT[observation.event]: now}


def session_update(observation: SessionObservation, now: datetime, until: datetime) -> Update:
    """Return the update of a session's item for its observation, received at `now`; TTL `until`."""
    facts = msgspec.structs.asdict(observation) | {"ttl": int(until.timestamp())}
    del facts["event"]
    facts |= {"received_at": now, events.RECEIVED_AT[observation.event]: now}
    # Only sessions have used_at, so only they are in the index by_room. A start in the future would
    # count as a use of the room until then.
    facts |= {"used_at": min(observation.started_at, now)}
    state: Mapping[str, Any] = {}
    removed: tuple[str, ...] = ()
    shard = shard_of(observation.session_id)
    if observation.ended_at is not None:
        state = {"worklist": f"ended_session#{shard}", "since": now}
        removed = DEFERRAL
    else:
        facts |= {"worklist": f"open_session#{shard}", "since": now}
    return Update(
        key=SESSION + observation.session_id,
        set_if_absent=facts,
        set_always=state,
        removed=removed,
        seen=observation.event,
    )


def outbox_update(observation: Occurrence | Unrecognized, now: datetime, until: datetime) -> Update:
    """Return the outbox item of an observation that changes no other item; TTL `until`."""
    key = key_of(observation)
    if isinstance(observation, Unrecognized):
        data: msgspec.Struct = events.Unrecognized(
            product=observation.product,
            key=key,
            reason=observation.reason,
            name=observation.name and observation.name[:128],
        )
        facts: dict[str, Any] = {"body": observation.body}
    else:
        data, facts = observation.data, {}
    facts |= {"event": observation.event, "detail": msgspec.json.encode(data).decode()}
    facts |= {"received_at": now, "ttl": int(until.timestamp())}
    return Update(key=key, set_if_absent=facts)
