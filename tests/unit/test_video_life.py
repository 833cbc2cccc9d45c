"""The callbacks of the Video API, from their bodies to the items and events."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from roomkeeper.callbacks.video import parse
from tests.unit.conftest import PureTable
from tests.unit.test_recording_life import lived
from tests.unit.test_video_callbacks import CREATED_AT, EVENTS, SECRETS, a_body

LIFE = (
    a_body("archive_started", createdAt=CREATED_AT + 206, updatedAt=CREATED_AT + 206),
    a_body("archive_paused"),
    a_body("archive_resumed"),
    a_body("archive_paused", updatedAt=CREATED_AT + 900_000),
    a_body("archive_stopped"),
    a_body("archive_available", createdAt=str(CREATED_AT), duration=3570.0),
    a_body("archive_expired"),
)


@pytest.fixture(scope="module")
def table(pure_table: PureTable) -> PureTable:
    return pure_table


@pytest.mark.parametrize(("name", "event"), EVENTS.items())
def test_every_sample_causes_its_event_once(table: PureTable, name: str, event: str) -> None:
    _, published = lived(table, [parse(a_body(name)), parse(a_body(name))])
    assert [each.split()[1] for each in published] == [event]


@pytest.mark.parametrize("name", EVENTS)
def test_no_item_has_personal_data_or_secrets(table: PureTable, name: str) -> None:
    images, _ = lived(table, [parse(a_body(name))])
    stored = json.dumps(images, default=str)
    assert [secret for secret in SECRETS if secret in stored] == []


@settings(max_examples=15)
@given(st.data())
def test_callbacks_in_any_order_and_repeated_give_the_same_items_and_events(
    table: PureTable, data: st.DataObject
) -> None:
    expected = lived(table, [parse(body) for body in LIFE])
    repeated: list[Any] = data.draw(st.lists(st.sampled_from(LIFE), max_size=4))
    order = data.draw(st.permutations([*LIFE, *repeated]))
    assert lived(table, [parse(body) for body in order]) == expected
    assert len(expected[1]) == len(LIFE)
