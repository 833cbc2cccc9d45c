"""However a meeting's callbacks arrive, the table ends up the same and so do the events."""

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
from roomkeeper.callbacks.meetings import Callback
from roomkeeper.domain.events import Event
from roomkeeper.store import Store, StoreUnavailable, events_due
from tests.unit.conftest import Table, with_sorted_sets

Fate = Literal["answered", "lost before the write", "lost after the write"]
FATES: list[Fate] = ["answered", "lost before the write", "lost after the write"]
URL = "https://prod-meetings-recordings.s3.amazonaws.com/1/archive.mp4?Expires=1635940573"


class Meeting(Struct, frozen=True):
    """A meeting: how many took part, and of each recording whether its callbacks tell the room."""

    participants: int
    recordings: tuple[bool, ...]

    def callbacks(self) -> list[Callback]:
        """Return what Vonage sends of it, in order."""
        joining = [
            a_callback(f"session:participant:{what}", participant_id=f"participant-{n}")
            for what in ("joined", "remaining")
            for n in range(self.participants)
        ]
        recorded = [
            build(recording_id=f"recording-{n}", room_id=ROOM_ID if tells_room else None, **more)
            for n, tells_room in enumerate(self.recordings)
            for build, more in (
                (a_recording_started, {}),
                (a_recording_ended, {}),
                (a_recording_uploaded, {"url": URL}),
            )
        ]
        return [a_session_started(), *joining, *recorded, a_session_ended()]


class Delivered(Struct):
    """What came of it: every item, and the events that were due, in their order."""

    items: list[Image]
    events: list[Event]


class Wire:
    """A DynamoDB client that loses what its fates say, and sees what the table's stream shows."""

    def __init__(self, table: Table, fates: Iterator[Fate]) -> None:
        self.events: list[Event] = []
        self._table, self._fates = table, fates
        self._images: dict[str, Image] = {}

    def update_item(self, **arguments: Any) -> None:
        fate = next(self._fates)
        if fate == "lost before the write":
            raise CUT_OFF
        answer = self._table.client.update_item(**arguments, ReturnValues="ALL_NEW")
        self._look_at(with_sorted_sets(answer["Attributes"]))
        if fate == "lost after the write":
            raise CUT_OFF

    def _look_at(self, new: Image) -> None:
        key, old = new["pk"]["S"], self._images.get(new["pk"]["S"])
        if new != old:  # as DynamoDB does: a write that changes nothing is not in the stream
            self.events += events_due(a_record(new, old))
            self._images[key] = new


def deliver(table: Table, order: Sequence[Callback], fates: Iterator[Fate]) -> Delivered:
    """Deliver callbacks; those that were not answered come again, after all others."""
    wire: Any = Wire(table, fates)
    store = Store(wire, table.name, session_days=400, event_days=30)
    waiting = list(order)
    while waiting:
        callback = waiting.pop(0)
        try:
            store.apply(callback, NOON)
        except StoreUnavailable:
            waiting.append(callback)
    return Delivered(table.items(), wire.events)


def in_any_room(event: Event) -> str:
    """Return all that an event says but the room, which may be told when it is published."""
    data = msgspec.to_builtins(event.data)
    if event.name.startswith("recording:"):
        data.pop("room_id", None)
    return repr((event.name, event.metadata.event_id, event.metadata.occurred_at, data))


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[Meeting, list[Callback], list[Fate]]:
    meeting = Meeting(
        draw(st.integers(0, 2)), tuple(draw(st.lists(st.booleans(), min_size=1, max_size=3)))
    )
    sent = meeting.callbacks()
    repeats = draw(st.lists(st.sampled_from(sent), max_size=4))
    order = draw(st.permutations(sent + repeats))
    return meeting, order, draw(st.lists(st.sampled_from(FATES), max_size=len(order)))


@pytest.fixture(scope="module")
def in_order(new_table: Callable[[], Table]) -> Callable[[Meeting], Delivered]:
    """Return what comes of a meeting of which every callback arrives once and in order."""

    @cache
    def deliver_in_order(meeting: Meeting) -> Delivered:
        return deliver(new_table(), meeting.callbacks(), repeat("answered"))

    return deliver_in_order


def then_answered(fates: Sequence[Fate]) -> Iterator[Fate]:
    yield from fates
    yield from repeat("answered")


ONE_RECORDING = Meeting(0, (False,))


@settings(max_examples=50)  # of some 200 ms each
@given(deliveries())
@example((ONE_RECORDING, ONE_RECORDING.callbacks()[::-1], ["lost after the write"]))
def test_any_order_repetition_or_loss_gives_the_same_items_and_events(
    new_table: Callable[[], Table],
    in_order: Callable[[Meeting], Delivered],
    delivery: tuple[Meeting, list[Callback], list[Fate]],
) -> None:
    meeting, order, fates = delivery
    expected, came = in_order(meeting), deliver(new_table(), order, then_answered(fates))
    assert came.items == expected.items
    assert sorted(map(in_any_room, came.events)) == sorted(map(in_any_room, expected.events))


def test_a_meeting_in_order_gives_one_event_for_each_callback(
    in_order: Callable[[Meeting], Delivered],
) -> None:
    meeting = Meeting(2, (False, True, False))
    events = in_order(meeting).events
    assert [event.name for event in events] == [sent.event for sent in meeting.callbacks()]
    assert len({event.metadata.event_id for event in events}) == len(events)
