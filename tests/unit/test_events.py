import json
import uuid
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from local.testing.builders import ENDED_AT, NOON, PUBLISHED, STARTED_AT
from roomkeeper.callbacks.meetings import type_of
from roomkeeper.domain import events
from roomkeeper.domain.changes import events_for_change, from_outbox
from roomkeeper.domain.events import Event
from roomkeeper.domain.recordings import Recording, Session
from roomkeeper.times import from_iso, iso

KEY = "RECORDING#r"
ENDED = {"started_at": STARTED_AT, "ended_at": ENDED_AT, "duration": 38}
UPLOADED = ENDED | {"url": "https://a/b.mp4?Expires=1635940573&Signature=x"}


def a_recording(*seen: str, **facts: Any) -> Recording:
    ids = {"recording_id": "r", "session_id": "s"}
    return msgspec.convert(
        {**ids, "seen": [f"recording:{name}" for name in seen], **facts}, Recording
    )


def a_session(*seen: str, **facts: Any) -> Session:
    ids = {"session_id": "s", "room_id": "room"}
    return msgspec.convert({**ids, "seen": [f"session:{name}" for name in seen], **facts}, Session)


def due(new: Recording | Session, old: Recording | Session | None = None) -> list[Event]:
    return events_for_change(KEY, old.seen if old else frozenset(), new, NOON)


def names(found: list[Event]) -> list[str]:
    return [event.name for event in found]


def the_event(new: Recording | Session) -> Event:
    [event] = due(new)
    return event


def data_of(event: Event) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(event.detail())["data"]
    return data


# --- which events are due -------------------------------------------------------------------------


def test_a_new_recording_causes_its_first_event() -> None:
    assert names(due(a_recording("started"))) == ["recording:started"]


def test_events_that_were_seen_before_are_not_due_again() -> None:
    before, after = (
        a_recording("started", "ended", **ENDED),
        a_recording("started", "ended", **ENDED),
    )
    assert due(after, before) == []


def test_a_late_event_is_due() -> None:
    before = a_recording("uploaded", **UPLOADED)
    after = a_recording("uploaded", "started", **UPLOADED)
    assert names(due(after, before)) == ["recording:started"]


def test_all_new_events_of_one_change_are_due_in_the_order_of_their_names() -> None:
    after = a_recording("uploaded", "started", "ended", **UPLOADED)
    assert names(due(after)) == ["recording:ended", "recording:started", "recording:uploaded"]


def test_a_change_of_facts_alone_causes_no_event() -> None:
    assert due(a_recording("started", room_id="room"), a_recording("started")) == []


def test_an_unknown_event_name_is_an_error() -> None:
    with pytest.raises(KeyError, match="recording:erased"):
        due(a_recording("erased"))


def test_an_event_without_a_required_field_is_an_error() -> None:
    with pytest.raises(msgspec.ValidationError, match="missing_at"):
        due(a_recording("lost", **ENDED))


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        (["started"], "started"),
        (["ended", "started"], "ended"),
        (["lost", "ended"], "lost"),
        (["lost", "uploaded"], "uploaded"),
        (["stored", "uploaded"], "stored"),
        (["failed", "uploaded"], "failed"),
        (["failed", "expired", "expiring"], "expired"),
        (["expired", "deleted"], "deleted"),
    ],
)
def test_the_status_is_the_latest_stage(seen: list[str], status: str) -> None:
    assert a_recording(*seen).status == status


def test_a_failure_has_its_own_reason() -> None:
    reasons = {"reason": "session ended", "failure_reason": "disk full"}
    ended, failed = due(a_recording("ended", "failed", **reasons))
    assert (data_of(ended)["reason"], data_of(failed)["reason"]) == ("session ended", "disk full")


@pytest.mark.parametrize(("product", "session"), [("meetings", "s"), ("video", None)])
def test_only_the_meetings_api_has_rooms_to_add(product: str, session: str | None) -> None:
    assert the_event(a_recording("started", product=product)).session_lacking_room == session


@pytest.mark.parametrize(
    ("reported", "reconciled", "origin"),
    [
        (None, [], "cleanup"),
        (NOON, [], "callback"),
        (NOON, ["recording:deleted"], "reconciliation"),
    ],
)
def test_the_origin_of_a_deletion_by_vonage_is_who_noticed_it(
    reported: datetime | None, reconciled: list[str], origin: str
) -> None:
    deletion = {"deleted_at": NOON, "deleted_by": "vonage", "deleted_received_at": reported}
    event = the_event(a_recording("deleted", **deletion, reconciled=reconciled))
    assert event.metadata.origin == origin


# --- the content of an event ----------------------------------------------------------------------


def test_recording_started_has_only_ids() -> None:
    event = the_event(a_recording("started"))
    assert data_of(event) == {"product": "meetings", "recording_id": "r", "session_id": "s"}


def test_recording_ended_has_times_and_duration() -> None:
    event = the_event(a_recording("ended", **ENDED))
    assert data_of(event) == {
        "product": "meetings",
        "recording_id": "r",
        "session_id": "s",
        "started_at": "2021-11-02T15:55:35Z",
        "ended_at": "2021-11-02T15:56:13Z",
        "duration": 38,
    }


def test_recording_uploaded_has_all_fields() -> None:
    event = the_event(a_recording("uploaded", room_id="room", **UPLOADED))
    assert data_of(event) == {
        "product": "meetings",
        "recording_id": "r",
        "session_id": "s",
        "room_id": "room",
        "started_at": "2021-11-02T15:55:35Z",
        "ended_at": "2021-11-02T15:56:13Z",
        "duration": 38,
        "url": "https://a/b.mp4?Expires=1635940573&Signature=x",
        "url_expires_at": "2021-11-03T11:56:13Z",
    }


def test_a_url_that_does_not_expire_is_published_without_an_expiry() -> None:
    event = the_event(a_recording("uploaded", **UPLOADED | {"url": "https://a/b.mp4"}))
    assert "url_expires_at" not in data_of(event)


def test_session_events_have_the_room() -> None:
    event = the_event(a_session("ended", started_at=STARTED_AT, ended_at=ENDED_AT))
    assert data_of(event) == {
        "product": "meetings",
        "session_id": "s",
        "room_id": "room",
        "started_at": "2021-11-02T15:55:35Z",
        "ended_at": "2021-11-02T15:56:13Z",
    }


def test_an_outbox_event_has_the_data_of_its_item() -> None:
    stored = '{"participant_id":"p","session_id":"s","room_id":"room","type":null,"is_host":true}'
    event = from_outbox("EVENT#1", "session:participant:joined", stored, NOON)
    assert data_of(event) == {
        "product": "meetings",  # an item of an earlier version has none
        "participant_id": "p",
        "session_id": "s",
        "room_id": "room",
        "is_host": True,
    }


@pytest.mark.parametrize("name", type_of)
def test_every_callback_has_an_event_with_the_same_fields(name: str) -> None:
    fields = set(PUBLISHED[name]) - {"name"}
    assert fields <= set(events.data_types[name].__struct_fields__)


def test_the_metadata_has_id_version_times_and_origin() -> None:
    detail = json.loads(the_event(a_recording("started")).detail())
    assert detail.keys() == {"metadata", "data"}
    assert detail["metadata"] == {
        "event_id": str(uuid.UUID(detail["metadata"]["event_id"])),
        "version": "1",
        "occurred_at": "2021-11-02T16:00:00Z",
        "received_at": "2021-11-02T16:00:00Z",
        "origin": "callback",
    }


@pytest.mark.parametrize(
    ("item", "occurred_at"),
    [
        (a_recording("started", **ENDED), iso(NOON)),
        (a_recording("ended", **ENDED), ENDED_AT),
        (a_recording("uploaded", **UPLOADED), iso(NOON)),
        (a_session("started", started_at=STARTED_AT), STARTED_AT),
        (a_session("ended", started_at=STARTED_AT, ended_at=ENDED_AT), ENDED_AT),
    ],
)
def test_occurred_at_is_vonages_time_or_else_the_time_of_receipt(
    item: Recording | Session, occurred_at: str
) -> None:
    metadata = the_event(item).metadata
    assert (metadata.occurred_at, metadata.received_at) == (from_iso(occurred_at), NOON)


def test_every_event_of_an_item_has_an_attribute_for_its_time_of_receipt() -> None:
    occurrences = {"recording:paused", "recording:resumed", "session:notification"}
    of_items = {"recording", "session"}
    assert {*events.RECEIVED_AT} == {
        name
        for name in events.data_types
        if name.partition(":")[0] in of_items and name.count(":") == 1 and name not in occurrences
    }
    fields = {*Recording.__struct_fields__, *Session.__struct_fields__}
    assert fields >= {*events.RECEIVED_AT.values()}


# --- ids ------------------------------------------------------------------------------------------


def test_the_same_change_gives_the_same_event_id_at_any_time() -> None:
    [one] = events_for_change(KEY, frozenset(), a_recording("started"), NOON)
    [other] = events_for_change(KEY, frozenset(), a_recording("started"), NOON + timedelta(days=1))
    assert one.metadata.event_id == other.metadata.event_id


def test_event_ids_stay_the_same_across_releases() -> None:
    assert the_event(a_recording("started")).metadata.event_id == (
        "6aac23d0-eeaa-5bf5-8734-669dcded8765"
    )


def test_different_events_and_items_have_different_ids() -> None:
    all_of_one = due(a_recording("started", "ended", "uploaded", **UPLOADED))
    of_another = events_for_change("RECORDING#other", frozenset(), a_recording("started"), NOON)
    assert len({event.metadata.event_id for event in [*all_of_one, *of_another]}) == 4


# --- the room of a recording ----------------------------------------------------------------------


def test_a_recording_event_without_a_room_names_the_session_to_look_up() -> None:
    event = the_event(a_recording("uploaded", **UPLOADED))
    assert event.session_lacking_room == "s"
    completed = event.in_room("room")
    assert data_of(completed) == data_of(event) | {"room_id": "room"}
    assert completed.metadata == event.metadata
    assert completed.session_lacking_room is None


@pytest.mark.parametrize(
    "item", [a_recording("started", room_id="room"), a_session("started", started_at=STARTED_AT)]
)
def test_an_event_with_a_room_needs_no_lookup(item: Recording | Session) -> None:
    assert the_event(item).session_lacking_room is None
