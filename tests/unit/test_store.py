import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from typing import Any, NoReturn

import pytest

from local.testing.builders import (
    ENDED_AT,
    NOON,
    PARTICIPANT_ID,
    PUBLISHED,
    RECORDING_ID,
    ROOM_ID,
    SESSION_ID,
    STARTED_AT,
    URL,
    a_callback,
    a_record,
    a_recording_ended,
    a_recording_started,
    a_recording_uploaded,
    a_session_ended,
    a_session_started,
)
from local.testing.sdk import CUT_OFF, LONG_TIMEOUT, OUTAGES, AnyOperation
from roomkeeper.aws import crt, sdk
from roomkeeper.callbacks.meetings import parse
from roomkeeper.domain.events import RECEIVED_AT
from roomkeeper.domain.observations import Observation
from roomkeeper.domain.recordings import Recording
from roomkeeper.store import Store, StoreUnavailable, events_due
from roomkeeper.store.table import Table as StoreTable
from roomkeeper.times import from_iso, iso
from tests.unit.conftest import Table

MINUTE = timedelta(minutes=1)
RECORDING, SESSION = f"RECORDING#{RECORDING_ID}", f"SESSION#{SESSION_ID}"
CALLBACKS_OF_A_RECORDING = [a_recording_uploaded(), a_recording_started(), a_recording_ended()]
SHARD = zlib.crc32(RECORDING_ID.encode()) % 8
SESSION_SHARD = zlib.crc32(SESSION_ID.encode()) % 8
OUTBOX = [
    *(a_callback(name) for name in PUBLISHED if "participant" in name or name == "room:expired"),
    a_callback("archive:ready", id=5),
]


@pytest.fixture(scope="module", params=["boto3", "awscrt"])
def dynamodb(moto: None, moto_server: str, request: pytest.FixtureRequest) -> Any:
    """Return each client in turn: the store supports both."""
    if request.param == "boto3":
        return sdk.dynamodb(LONG_TIMEOUT)
    env = {**os.environ, "AWS_ENDPOINT_URL_DYNAMODB": moto_server}
    return AnyOperation(crt.Client(crt.DYNAMODB, LONG_TIMEOUT, env=env))


@pytest.fixture
def store(table: Table) -> Store:
    return Store(table.client, table.name, session_days=400, event_days=30)


def apply_all(store: Store, callbacks: Iterable[Observation]) -> list[bool]:
    """Apply callbacks with a minute between them; return the results."""
    return [store.apply(callback, NOON + n * MINUTE) for n, callback in enumerate(callbacks)]


def a_callback_of(body: str) -> Observation:
    return parse(body.encode())


# --- stored items ---------------------------------------------------------------------------------


def test_a_started_recording_awaits_its_upload(store: Store, table: Table) -> None:
    assert store.apply(a_recording_started(), NOON)
    assert table.plain_item(RECORDING) == {
        "product": "meetings",
        "recording_id": RECORDING_ID,
        "session_id": SESSION_ID,
        "started_received_at": iso(NOON),
        "seen": ["recording:started"],
        "worklist": f"awaiting_upload#{SHARD}",
        "since": iso(NOON),
        "received_at": iso(NOON),
    }


def test_a_recording_ended_callback_stores_the_times(store: Store, table: Table) -> None:
    assert store.apply(a_recording_ended(), NOON)
    assert table.plain_item(RECORDING) == {
        "product": "meetings",
        "recording_id": RECORDING_ID,
        "session_id": SESSION_ID,
        "started_at": STARTED_AT,
        "ended_at": ENDED_AT,
        "ended_received_at": iso(NOON),
        "duration": 38,
        "seen": ["recording:ended"],
        "worklist": f"awaiting_upload#{SHARD}",
        "since": iso(NOON),
        "received_at": iso(NOON),
    }


def test_an_uploaded_recording_is_on_the_retained_worklist(store: Store, table: Table) -> None:
    assert store.apply(a_recording_uploaded(room_id=ROOM_ID), NOON)
    assert table.plain_item(RECORDING) == {
        "product": "meetings",
        "recording_id": RECORDING_ID,
        "session_id": SESSION_ID,
        "room_id": ROOM_ID,
        "started_at": STARTED_AT,
        "ended_at": ENDED_AT,
        "duration": 38,
        "url": URL,
        "uploaded_at": iso(NOON),
        "seen": ["recording:uploaded"],
        "worklist": f"retained#{SHARD}",
        "since": iso(NOON),
        "received_at": iso(NOON),
        "ttl": None,
    }


def test_a_session_expires_after_session_days(store: Store, table: Table) -> None:
    assert store.apply(a_session_started(started_at=STARTED_AT), NOON)
    assert table.plain_item(SESSION) == {
        "product": "meetings",
        "session_id": SESSION_ID,
        "room_id": ROOM_ID,
        "started_at": STARTED_AT,
        "started_received_at": iso(NOON),
        "used_at": STARTED_AT,
        "seen": ["session:started"],
        "worklist": f"open_session#{SESSION_SHARD}",
        "since": iso(NOON),
        "received_at": iso(NOON),
        "ttl": int((NOON + timedelta(days=400)).timestamp()),
    }


@pytest.mark.parametrize("session", [a_session_started, a_session_ended])
def test_the_last_use_of_a_room_is_never_after_the_arrival_of_the_callback(
    store: Store, table: Table, session: Callable[..., Observation]
) -> None:
    store.apply(session(started_at="9998-12-31T23:59:59Z", ended_at="9998-12-31T23:59:59Z"), NOON)
    assert table.plain_item(SESSION)["used_at"] == iso(NOON)
    assert table.plain_item(SESSION)["started_at"] == "9998-12-31T23:59:59.000Z"


def test_an_ended_session_is_queued_for_reconciliation(store: Store, table: Table) -> None:
    assert store.apply(a_session_ended(started_at=STARTED_AT, ended_at=ENDED_AT), NOON)
    assert table.plain_item(SESSION) == {
        "product": "meetings",
        "session_id": SESSION_ID,
        "room_id": ROOM_ID,
        "started_at": STARTED_AT,
        "ended_at": ENDED_AT,
        "ended_received_at": iso(NOON),
        "used_at": STARTED_AT,
        "seen": ["session:ended"],
        "worklist": f"ended_session#{SESSION_SHARD}",
        "since": iso(NOON),
        "received_at": iso(NOON),
        "ttl": int((NOON + timedelta(days=400)).timestamp()),
    }


def test_a_participant_callback_goes_into_the_outbox_without_the_name(
    store: Store, table: Table
) -> None:
    assert store.apply(a_callback("session:participant:joined", is_host=True, type="Guest"), NOON)
    [item] = table.items()
    kept = table.plain_item(item["pk"]["S"])
    assert json.loads(kept.pop("detail")) == {
        "product": "meetings",
        "participant_id": PARTICIPANT_ID,
        "session_id": SESSION_ID,
        "room_id": ROOM_ID,
        "type": "Guest",
        "is_host": True,
    }
    assert kept == {
        "event": "session:participant:joined",
        "received_at": iso(NOON),
        "ttl": int((NOON + timedelta(days=30)).timestamp()),
    }


def test_an_unrecognized_body_is_stored_unchanged(store: Store, table: Table) -> None:
    body = '{"event": "archive:ready",\n "x": "\N{SNOWMAN}\\u2603"}'
    assert store.apply(a_callback_of(body), NOON)
    key = f"EVENT#{hashlib.sha256(body.encode()).hexdigest()}"
    kept = table.plain_item(key)
    assert kept["body"] == body
    assert kept["event"] == "callback:unrecognized"
    assert json.loads(kept["detail"]) == {
        "product": "meetings",
        "key": key,
        "reason": "an event that is not known here",
        "name": "archive:ready",
    }


def test_a_long_unknown_event_name_is_truncated(store: Store, table: Table) -> None:
    store.apply(a_callback("x" * 1000), NOON)
    [item] = table.items()
    assert json.loads(item["detail"]["S"])["name"] == "x" * 128


def test_the_largest_body_fits_into_an_item(store: Store, table: Table) -> None:
    body = json.dumps({"x": "\N{SNOWMAN}" * 87_000}, ensure_ascii=False)
    assert store.apply(a_callback_of(body), NOON)
    [item] = table.items()
    assert item["body"]["S"] == body


# --- repeats --------------------------------------------------------------------------------------


@pytest.mark.parametrize("callback", [*map(a_callback, PUBLISHED), *OUTBOX], ids=repr)
def test_a_repeated_callback_returns_false_and_changes_nothing(
    callback: Observation, store: Store, table: Table
) -> None:
    assert store.apply(callback, NOON)
    before = table.items()
    assert not store.apply(callback, NOON + MINUTE)
    assert table.items() == before


def test_a_repeated_callback_with_other_facts_changes_nothing(store: Store, table: Table) -> None:
    store.apply(a_recording_ended(duration=38), NOON)
    before = table.items()
    assert not store.apply(a_recording_ended(duration=39, ended_at=STARTED_AT), NOON + MINUTE)
    assert table.items() == before


@pytest.mark.parametrize("one", OUTBOX, ids=repr)
def test_different_callbacks_are_stored_separately(
    one: Observation, store: Store, table: Table
) -> None:
    assert apply_all(store, OUTBOX) == [True] * len(OUTBOX)
    assert not store.apply(one, NOON)
    assert len(table.items()) == len(OUTBOX)


def test_a_callback_under_its_other_published_name_is_a_repeat(store: Store) -> None:
    assert store.apply(a_recording_uploaded(), NOON)
    assert not store.apply(a_callback("recording:ready"), NOON)
    assert store.apply(a_callback("participant:joined"), NOON)
    assert not store.apply(a_callback("session:participant:joined"), NOON)


# --- order ----------------------------------------------------------------------------------------


def test_the_first_value_of_a_fact_wins(store: Store, table: Table) -> None:
    apply_all(store, [a_recording_ended(duration=38), a_recording_uploaded(duration=39)])
    assert table.plain_item(RECORDING)["duration"] == 38


def test_a_later_callback_adds_missing_facts(store: Store, table: Table) -> None:
    apply_all(store, [a_recording_started(), a_recording_started(room_id=ROOM_ID)])
    assert "room_id" not in table.plain_item(RECORDING)
    store.apply(a_recording_ended(room_id=ROOM_ID), NOON)
    assert table.plain_item(RECORDING)["room_id"] == ROOM_ID


def test_the_queue_time_is_that_of_the_first_callback_and_then_of_the_upload(
    store: Store, table: Table
) -> None:
    states = []
    for minute, callback in enumerate(
        [a_recording_started(), a_recording_ended(), a_recording_uploaded()]
    ):
        store.apply(callback, NOON + minute * MINUTE)
        item = table.plain_item(RECORDING)
        states.append((item["worklist"], item["since"]))
    assert states == [
        (f"awaiting_upload#{SHARD}", iso(NOON)),
        (f"awaiting_upload#{SHARD}", iso(NOON)),
        (f"retained#{SHARD}", iso(NOON + 2 * MINUTE)),
    ]


@pytest.mark.parametrize("late", [a_recording_started(), a_recording_ended()], ids=repr)
def test_a_callback_after_the_upload_is_recorded_without_a_change_of_state(
    late: Observation, store: Store, table: Table
) -> None:
    store.apply(a_recording_uploaded(), NOON)
    before = table.plain_item(RECORDING)
    assert store.apply(late, NOON + MINUTE)
    after = table.plain_item(RECORDING)
    assert after.pop("seen") == sorted([late.event, *before.pop("seen")])
    assert after.pop(RECEIVED_AT[late.event]) == iso(NOON + MINUTE)
    assert after == before


def test_a_session_whose_start_arrives_after_its_end_stays_queued(
    store: Store, table: Table
) -> None:
    apply_all(store, [a_session_ended(), a_session_started()])
    item = table.plain_item(SESSION)
    assert item["seen"] == ["session:ended", "session:started"]
    assert (item["worklist"], item["since"]) == (f"ended_session#{SESSION_SHARD}", iso(NOON))


def test_a_checked_session_is_queued_again_when_its_start_arrives_late(
    store: Store, table: Table
) -> None:
    apply_all(store, [a_session_ended()])
    item = dict(table.item(SESSION) or {})
    del item["worklist"], item["since"]
    table.put(item)
    assert apply_all(store, [a_session_started(), a_session_ended()]) == [True, False]
    assert table.plain_item(SESSION)["worklist"] == f"open_session#{SESSION_SHARD}"


@pytest.mark.parametrize(
    "late", [a_recording_started(), a_recording_ended(), a_recording_uploaded()], ids=repr
)
def test_a_late_callback_does_not_change_a_deleted_recording(
    late: Observation, store: Store, table: Table
) -> None:
    table.put({"pk": {"S": RECORDING}, "deleted_at": {"S": iso(NOON)}, "seen": {"SS": ["x"]}})
    before = table.items()
    assert not store.apply(late, NOON)
    assert table.items() == before


# --- worklists and indexes ------------------------------------------------------------------------


def test_a_worklist_has_its_entries_oldest_first(store: Store, table: Table) -> None:
    shard = zlib.crc32(b"a") % 8
    ids = [id_ for n in range(200) if zlib.crc32((id_ := f"id-{n}").encode()) % 8 == shard][:3]
    apply_all(store, [a_recording_started(recording_id=id_) for id_ in reversed(ids)])
    store.apply(a_recording_uploaded(recording_id=ids[0]), NOON)
    waiting = table.keys_in("worklist", "worklist", f"awaiting_upload#{shard}")
    assert waiting == [f"RECORDING#{id_}" for id_ in (ids[2], ids[1])]
    assert table.keys_in("worklist", "worklist", f"retained#{shard}") == [f"RECORDING#{ids[0]}"]


def test_the_index_by_session_has_a_session_and_its_recordings(store: Store, table: Table) -> None:
    apply_all(store, [a_session_started(started_at="2021-11-02T15:55:17Z"), a_recording_ended()])
    assert table.keys_in("by_session", "session_id", SESSION_ID) == [SESSION, RECORDING]


def test_a_worklist_is_spread_evenly_over_its_shards(store: Store, table: Table) -> None:
    apply_all(store, [a_recording_started(recording_id=f"id-{n}") for n in range(40)])
    found = [len(table.keys_in("worklist", "worklist", f"awaiting_upload#{n}")) for n in range(8)]
    assert sum(found) == 40
    assert min(found) > 0


# --- reading --------------------------------------------------------------------------------------


def test_a_recording_is_read_as_it_was_written(store: Store) -> None:
    apply_all(store, [a_recording_uploaded(), a_recording_started()])
    assert store.recordings.get(RECORDING_ID) == Recording(
        recording_id=RECORDING_ID,
        session_id=SESSION_ID,
        seen=frozenset({"recording:started", "recording:uploaded"}),
        started_at=from_iso(STARTED_AT),
        started_received_at=NOON + MINUTE,
        ended_at=from_iso(ENDED_AT),
        duration=38,
        url=URL,
        uploaded_at=NOON,
        received_at=NOON,
        worklist=f"retained#{SHARD}",
        since=NOON,
    )


def test_an_unknown_recording_is_none(store: Store) -> None:
    assert store.recordings.get("unknown") is None


def test_rooms_are_read_consistently(table: Table) -> None:
    """An event is published only once, so it must have a room that was written just before."""
    requests: list[Any] = []

    class Noting:
        def batch_get_item(self, **request: Any) -> Any:
            requests.append(request["RequestItems"][table.name])
            return table.client.batch_get_item(**request)

    client: Any = Noting()
    assert Store(client, table.name).sessions.room_ids(["a-session"]) == {}
    assert [request["ConsistentRead"] for request in requests] == [True]


def test_room_ids_are_returned_for_any_number_of_sessions(store: Store) -> None:
    known = {f"s-{n:03}": f"r-{n}" for n in (0, 99, 100, 101, 200, 249)}
    apply_all(store, [a_session_started(session_id=s, room_id=r) for s, r in known.items()])
    assert store.sessions.room_ids([f"s-{n:03}" for n in range(250)] * 2) == known


def test_without_sessions_no_call_is_made() -> None:
    client: Any = Failing(CUT_OFF)
    assert Store(client, "any").sessions.room_ids([]) == {}


class Reluctant:
    """A DynamoDB client that reads at most `most` items of each batch."""

    def __init__(self, table: Table, most: int) -> None:
        self._table, self._most, self.calls = table, most, 0

    def batch_get_item(self, RequestItems: Mapping[str, Any]) -> dict[str, Any]:  # noqa: N803
        self.calls += 1
        [(name, query)] = RequestItems.items()
        now, later = query["Keys"][: self._most], query["Keys"][self._most :]
        response: dict[str, Any] = {"Responses": {}, "UnprocessedKeys": {}}
        if now:
            some = {name: query | {"Keys": now}}
            response |= self._table.client.batch_get_item(RequestItems=some)
        if later:
            response["UnprocessedKeys"] = {name: query | {"Keys": later}}
        return response


def test_unprocessed_keys_are_requested_again(store: Store, table: Table) -> None:
    known = {f"s-{n}": f"r-{n}" for n in range(10)}
    apply_all(store, [a_session_started(session_id=s, room_id=r) for s, r in known.items()])
    client: Any = Reluctant(table, most=4)
    assert Store(client, table.name).sessions.room_ids(known) == known
    assert client.calls == 3


def test_the_delay_before_unprocessed_keys_are_requested_grows(table: Table) -> None:
    """A throttled table must not be read again at once."""
    pauses: list[float] = []
    client: Any = Reluctant(table, most=0)
    throttled = StoreTable(client, table.name, sleep=pauses.append)
    with pytest.raises(StoreUnavailable):
        list(throttled.get_all(["SESSION#s"]))
    assert len(pauses) == client.calls - 1 == 4
    assert all(0 < pause <= 0.1 * 2**n for n, pause in enumerate(pauses))


def test_keys_that_stay_unprocessed_raise_after_five_attempts(table: Table) -> None:
    client: Any = Reluctant(table, most=0)
    with pytest.raises(StoreUnavailable, match="throttles"):
        list(StoreTable(client, table.name, sleep=lambda _: None).get_all(["SESSION#s"]))
    assert client.calls == 5


# --- when DynamoDB fails --------------------------------------------------------------------------


class Failing:
    """A DynamoDB client whose every call fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def _fail(self, **_arguments: Any) -> NoReturn:
        raise self._error

    update_item = get_item = batch_get_item = _fail


@pytest.mark.parametrize("error", OUTAGES, ids=repr)
@pytest.mark.parametrize(
    "use",
    [
        lambda store: store.apply(a_recording_started(), NOON),
        lambda store: store.recordings.get("r"),
        lambda store: store.sessions.room_ids(["s"]),
    ],
    ids=["apply", "recording", "rooms_of"],
)
def test_an_aws_error_raises_store_unavailable_with_the_cause(
    use: Callable[[Store], object], error: Exception
) -> None:
    client: Any = Failing(error)
    with pytest.raises(
        StoreUnavailable, match=r"A call to DynamoDB failed.*(Rate exceeded|connect|problem)"
    ) as raised:
        use(Store(client, "any"))
    assert raised.value.__cause__ is error


def test_a_missing_table_raises_store_unavailable(table: Table) -> None:
    with pytest.raises(StoreUnavailable, match="not found"):
        Store(table.client, "missing").apply(a_recording_started(), NOON)


# --- events from the stream -----------------------------------------------------------------------


def changes(store: Store, table: Table, callbacks: Iterable[Observation]) -> list[list[str]]:
    """Apply callbacks; return the names of the events that each caused."""
    due = []
    for callback in callbacks:
        before = {item["pk"]["S"]: item for item in table.items()}
        store.apply(callback, NOON)
        changed = [item for item in table.items() if item != before.get(item["pk"]["S"])]
        records = [a_record(item, before.get(item["pk"]["S"])) for item in changed]
        due.append([event.name for record in records for event in events_due(record)])
    return due


@pytest.mark.parametrize("callback", [*map(a_callback, PUBLISHED), *OUTBOX], ids=repr)
def test_every_callback_causes_its_event_once(
    callback: Observation, store: Store, table: Table
) -> None:
    assert changes(store, table, [callback, callback]) == [[callback.event], []]


def test_each_change_of_an_item_causes_only_the_new_events(store: Store, table: Table) -> None:
    came = [
        a_recording_uploaded(),
        a_recording_started(),
        a_recording_started(),
        a_recording_ended(),
    ]
    assert changes(store, table, came) == [
        ["recording:uploaded"], ["recording:started"], [], ["recording:ended"]
    ]  # fmt: skip


@pytest.mark.parametrize("event", [*PUBLISHED, "archive:ready"])
def test_received_at_is_the_time_of_the_callback_and_not_of_the_stream(
    event: str, store: Store, table: Table
) -> None:
    came_at = NOON + timedelta(milliseconds=102)  # the stream's NOON is rounded down to seconds
    store.apply(a_callback(event), came_at)
    [item] = table.items()
    [due] = events_due(a_record(item))
    assert due.metadata.received_at == came_at


def test_each_event_of_an_item_has_the_time_of_its_own_callback(store: Store, table: Table) -> None:
    for minutes, callback in enumerate([*CALLBACKS_OF_A_RECORDING, *CALLBACKS_OF_A_RECORDING]):
        store.apply(callback, NOON + minutes * MINUTE)
    [item] = table.items()
    received = {event.name: event.metadata.received_at for event in events_due(a_record(item))}
    assert received == {
        callback.event: NOON + minutes * MINUTE
        for minutes, callback in enumerate(CALLBACKS_OF_A_RECORDING)
    }


@pytest.mark.parametrize("event", ["recording:ended", "room:expired"])
def test_the_same_change_causes_the_same_event_at_any_time(
    event: str, store: Store, table: Table
) -> None:
    store.apply(a_callback(event), NOON)
    [item] = table.items()
    later = a_record(item)
    later["dynamodb"]["ApproximateCreationDateTime"] += 86_400
    assert events_due(a_record(item)) == events_due(later)


def test_received_at_is_the_time_of_the_stream_if_the_item_has_none(
    store: Store, table: Table
) -> None:
    store.apply(a_recording_started(), NOON - MINUTE)
    [item] = table.items()
    without = {name: value for name, value in item.items() if name != "started_received_at"}
    [event] = events_due(a_record(without))
    assert event.metadata.received_at == NOON


def test_a_changed_outbox_item_causes_no_event(store: Store, table: Table) -> None:
    store.apply(a_callback("room:expired"), NOON)
    [item] = table.items()
    assert events_due(a_record({**item, "ttl": {"N": "1"}}, item)) == []
    assert events_due(a_record({**item, "metadata": {"S": "no JSON"}}, item)) == []


def test_a_removed_item_causes_no_event(store: Store, table: Table) -> None:
    store.apply(a_recording_started(), NOON)
    [item] = table.items()
    gone = a_record(item, item) | {"eventName": "REMOVE"}
    del gone["dynamodb"]["NewImage"]
    assert events_due(gone) == []


def test_a_corrected_item_causes_no_event_and_no_error(store: Store, table: Table) -> None:
    """An operator corrects corrupt items in the table, as the message of CorruptItem says."""
    store.apply(a_recording_uploaded(), NOON)
    item = table.item(RECORDING)
    assert item is not None
    corrupt = {**item, "started_at": {"S": "yesterday"}}
    assert events_due(a_record(corrupt, item)) == []
    assert events_due(a_record(item, corrupt)) == []


@pytest.mark.parametrize("damage", [{"started_at": {"S": "yesterday"}}, {"seen": {"S": "?"}}])
def test_a_correction_that_adds_an_event_causes_it(
    damage: dict[str, Any], store: Store, table: Table
) -> None:
    store.apply(a_recording_started(), NOON)
    before = table.item(RECORDING)
    store.apply(a_recording_ended(), NOON)
    after = table.item(RECORDING)
    assert before is not None
    assert after is not None
    names = [event.name for event in events_due(a_record(after, {**before, **damage}))]
    assert names[:1] == ["recording:ended"]


def test_an_item_of_another_kind_causes_no_event() -> None:
    assert events_due(a_record({"pk": {"S": "COUNTER#1"}, "value": {"N": "1"}})) == []


@pytest.mark.parametrize(
    "item",
    [
        {"pk": {"S": RECORDING}},
        {"pk": {"S": RECORDING}, "recording_id": {"S": "r"}, "session_id": {"S": "s"}},
        {"pk": {"S": SESSION}, "session_id": {"S": "s"}, "seen": {"SS": ["session:started"]}},
        {"pk": {"S": "EVENT#1"}, "event": {"S": "room:expired"}},
        {"pk": {"S": "EVENT#1"}, "event": {"S": "room:expired"}, "detail": {"S": "{}"}},
        {"pk": {"S": "EVENT#1"}, "event": {"S": "nobody:knows"}, "detail": {"S": "{}"}},
    ],
    ids=str,
)
def test_an_impossible_item_raises(item: dict[str, Any]) -> None:
    with pytest.raises((KeyError, ValueError)):
        events_due(a_record(item))
