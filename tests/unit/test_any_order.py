"""A meeting's callbacks give the same items and events in any order of arrival."""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import repeat
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from local.testing.builders import (
    NOON,
    ROOM_ID,
    Image,
    a_callback,
    a_record,
    a_recording_ended,
    a_recording_started,
    a_recording_uploaded,
    a_session_ended,
    a_session_started,
)
from local.testing.sdk import CUT_OFF
from roomkeeper.domain.events import Event
from roomkeeper.domain.observations import Observation
from roomkeeper.store import Store, StoreUnavailable, events_due
from tests.unit.conftest import PureTable

Outcome = Literal["successful", "lost before the write", "lost after the write"]
OUTCOMES: list[Outcome] = ["successful", "lost before the write", "lost after the write"]
URL = "https://prod-meetings-recordings.s3.amazonaws.com/1/archive.mp4?Expires=1635940573"


class Meeting(Struct, frozen=True):
    """A meeting: its participants, and whether each recording's callbacks name the room."""

    participants: int
    recordings: tuple[bool, ...]

    def callbacks(self) -> list[Observation]:
        """Return the callbacks that Vonage sends, in order."""
        joining = [
            a_callback(f"session:participant:{what}", participant_id=f"participant-{n}")
            for what in ("joined", "remaining")
            for n in range(self.participants)
        ]
        recorded = [
            build(recording_id=f"recording-{n}", room_id=ROOM_ID if has_room else None, **more)
            for n, has_room in enumerate(self.recordings)
            for build, more in (
                (a_recording_started, {}),
                (a_recording_ended, {}),
                (a_recording_uploaded, {"url": URL}),
            )
        ]
        return [a_session_started(), *joining, *recorded, a_session_ended()]


class Delivered(Struct):
    """The result of a delivery: all items, and the due events in order."""

    items: list[Image]
    events: list[Event]


class LossyClient:
    """A DynamoDB client that loses calls as its outcomes say, and collects the stream's events."""

    def __init__(self, table: PureTable, outcomes: Iterator[Outcome]) -> None:
        self.events: list[Event] = []
        self.images: dict[str, Image] = {}
        self._table, self._outcomes = table, outcomes

    def update_item(self, **arguments: Any) -> None:
        outcome = next(self._outcomes)
        if outcome == "lost before the write":
            raise CUT_OFF
        key = arguments["Key"]["pk"]["S"]
        old = self.images.get(key)
        new, _ = self._table.run("update_item", old, arguments)
        assert new is not None
        if new != old:  # DynamoDB omits writes without a change from the stream
            self.events += events_due(a_record(new, old))
            self.images[key] = new
        if outcome == "lost after the write":
            raise CUT_OFF


def deliver(
    table: PureTable, order: Sequence[Observation], outcomes: Iterator[Outcome]
) -> Delivered:
    """Deliver callbacks; those without a response are redelivered after all others."""
    client: Any = LossyClient(table, outcomes)
    store = Store(client, table.name, session_days=400, event_days=30)
    pending = list(order)
    while pending:
        callback = pending.pop(0)
        try:
            store.apply(callback, NOON)
        except StoreUnavailable:
            pending.append(callback)
    return Delivered([item for _, item in sorted(client.images.items())], client.events)


def in_any_room(event: Event) -> str:
    """Return an event's content without the room, which may be added on publishing."""
    data = msgspec.to_builtins(event.data)
    if event.name.startswith("recording:"):
        data.pop("room_id", None)
    return repr((event.name, event.metadata.event_id, event.metadata.occurred_at, data))


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[Meeting, list[Observation], list[Outcome]]:
    meeting = Meeting(
        draw(st.integers(0, 2)), tuple(draw(st.lists(st.booleans(), min_size=1, max_size=3)))
    )
    sent = meeting.callbacks()
    repeats = draw(st.lists(st.sampled_from(sent), max_size=4))
    order = draw(st.permutations(sent + repeats))
    return meeting, order, draw(st.lists(st.sampled_from(OUTCOMES), max_size=len(order)))


@pytest.fixture(scope="module")
def in_order(pure_table: PureTable) -> Callable[[Meeting], Delivered]:
    """Return the result of delivering each of a meeting's callbacks once and in order."""

    @cache
    def deliver_in_order(meeting: Meeting) -> Delivered:
        return deliver(pure_table, meeting.callbacks(), repeat("successful"))

    return deliver_in_order


def then_successful(outcomes: Sequence[Outcome]) -> Iterator[Outcome]:
    yield from outcomes
    yield from repeat("successful")


ONE_RECORDING = Meeting(0, (False,))


@settings(max_examples=50)
@given(deliveries())
@example((ONE_RECORDING, ONE_RECORDING.callbacks()[::-1], ["lost after the write"]))
def test_any_order_repetition_or_loss_gives_the_same_items_and_events(
    pure_table: PureTable,
    in_order: Callable[[Meeting], Delivered],
    delivery: tuple[Meeting, list[Observation], list[Outcome]],
) -> None:
    meeting, order, outcomes = delivery
    expected, actual = in_order(meeting), deliver(pure_table, order, then_successful(outcomes))
    assert actual.items == expected.items
    assert sorted(map(in_any_room, actual.events)) == sorted(map(in_any_room, expected.events))


def test_a_meeting_in_order_gives_one_event_for_each_callback(
    in_order: Callable[[Meeting], Delivered],
) -> None:
    meeting = Meeting(2, (False, True, False))
    events = in_order(meeting).events
    assert [event.name for event in events] == [sent.event for sent in meeting.callbacks()]
    assert len({event.metadata.event_id for event in events}) == len(events)
