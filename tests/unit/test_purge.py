"""`make purge` removes only items that Vonage's API never confirmed."""

import sys
from datetime import timedelta
from typing import Any

import boto3
import pytest

from local.testing.builders import (
    NOON,
    a_callback,
    a_record,
    a_recording_started,
    a_recording_uploaded,
    a_session_ended,
)
from operations import purge
from operations.purge import Window
from roomkeeper.callbacks import video
from roomkeeper.domain.recordings import WorklistEntry
from roomkeeper.store import Store, events_due
from tests.unit.conftest import Table
from tests.unit.test_video_callbacks import a_body as video_body

HOUR = timedelta(hours=1)
ALL = Window(NOON - HOUR, NOON + HOUR)


class AStack:
    """A stack with only a table."""

    name = "roomkeeper"

    def __init__(self, table: Table) -> None:
        self.outputs = {"TableName": table.name}

    def client(self, service: str, **options: Any) -> Any:
        session: Any = boto3
        return session.client(service, region_name="eu-west-1", **options)

    def account_and_region(self) -> str:
        return "account 123456789012, region eu-west-1"


@pytest.fixture
def store(table: Table) -> Store:
    return Store(table.client, table.name, session_days=400, event_days=30, deleted_days=90)


@pytest.fixture
def stack(table: Table) -> Any:
    return AStack(table)


def defer(store: Store, recording_id: str) -> None:
    known = store.recordings.get(recording_id)
    assert known is not None
    entry = WorklistEntry("recording", recording_id, NOON, known.worklist or "")
    assert store.worklists.defer(entry, NOON, lambda _: HOUR, confirmed=False)


def test_only_items_that_vonage_never_confirmed_are_selected(store: Store, stack: Any) -> None:
    for recording_id in ("forged", "held", "real", "deleted"):
        store.apply(a_recording_uploaded(recording_id=recording_id), NOON)
    store.recordings.hold("held", "a court order", "legal", NOON)
    real = store.recordings.get("real")
    assert real is not None
    store.recordings.confirm(real, NOON)
    store.recordings.mark_deleted("deleted", "cleanup", NOON)
    store.apply(a_recording_started(recording_id="started"), NOON)
    store.apply(a_session_ended(session_id="forged"), NOON)
    store.apply(a_session_ended(session_id="real"), NOON)
    asked = next(e for e in store.worklists.read("ended_session", NOON) if e.id == "real")
    store.worklists.mark_session_checked(asked, NOON)
    store.apply(a_callback("room:expired"), NOON)

    selection = purge.select(stack, ALL)

    assert sorted(selection.recordings) == ["RECORDING#forged", "RECORDING#started"]
    assert selection.sessions == ["SESSION#forged"]
    assert {reason: sorted(keys) for reason, keys in selection.left.items()} == {
        "returned by Vonage's API": ["RECORDING#real", "SESSION#real"],
        "on hold": ["RECORDING#held"],
        "already deleted": ["RECORDING#deleted"],
    }


def test_one_product_can_be_selected(store: Store, stack: Any) -> None:
    store.apply(a_recording_uploaded(recording_id="meeting"), NOON)
    store.apply(a_session_ended(session_id="meeting"), NOON)
    store.apply(video.parse(video_body("archive_available", id="archive")), NOON)

    def selected(product: str) -> list[str]:
        window = Window(NOON - HOUR, NOON + HOUR, product=product)
        return sorted(purge.select(stack, window).keys)

    assert selected("video") == ["RECORDING#archive"]
    assert selected("meetings") == ["RECORDING#meeting", "SESSION#meeting"]
    assert len(selected("")) == 3


@pytest.mark.parametrize(
    ("at", "is_selected"), [(-HOUR, True), (-2 * HOUR, False), (0 * HOUR, True), (HOUR, False)]
)
def test_the_time_of_receipt_decides(
    store: Store, stack: Any, at: timedelta, is_selected: bool
) -> None:
    store.apply(a_recording_uploaded(recording_id="forged"), NOON + at)
    selection = purge.select(stack, ALL)
    assert bool(selection.recordings) is is_selected
    assert bool(selection.left.get("received at another time")) is not is_selected


def test_a_deferral_does_not_change_the_time_of_receipt(
    store: Store, stack: Any, table: Table
) -> None:
    store.apply(a_recording_started(recording_id="forged"), NOON)
    defer(store, "forged")
    item = dict(table.item("RECORDING#forged") or {})
    del item["received_at"]  # as items of earlier versions are
    table.put(item)
    selection = purge.select(stack, Window(NOON, NOON + HOUR / 2))
    assert selection.recordings == ["RECORDING#forged"]


def test_with_refused_only_items_denied_by_vonage_are_selected(store: Store, stack: Any) -> None:
    for recording_id in ("refused", "unasked"):
        store.apply(a_recording_uploaded(recording_id=recording_id), NOON)
    defer(store, "refused")

    assert purge.select(stack, ALL).refused == 1
    only = purge.select(stack, Window(ALL.start, ALL.end, only_refused=True))
    assert only.recordings == ["RECORDING#refused"]
    assert only.left == {"access not denied by Vonage": ["RECORDING#unasked"]}


def test_an_item_changed_since_its_selection_is_kept(
    store: Store, stack: Any, table: Table
) -> None:
    for recording_id in ("forged", "held", "real"):
        store.apply(a_recording_uploaded(recording_id=recording_id), NOON)
    keys = purge.select(stack, ALL).keys
    store.recordings.hold("held", "a court order", "legal", NOON)
    real = store.recordings.get("real")
    assert real is not None
    store.recordings.confirm(real, NOON)

    assert sorted(purge.remove(stack, keys)) == ["RECORDING#held", "RECORDING#real"]
    assert [item["pk"]["S"] for item in table.items()] == ["RECORDING#held", "RECORDING#real"]


def test_a_removal_is_no_event(store: Store, table: Table) -> None:
    store.apply(a_recording_uploaded(recording_id="forged"), NOON)
    [item] = table.items()
    record = a_record(item)
    record["eventName"] = "REMOVE"
    record["dynamodb"]["OldImage"] = record["dynamodb"].pop("NewImage")
    assert events_due(record) == []


@pytest.fixture
def command(stack: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command with these arguments; return its exit code and output."""
    monkeypatch.setattr(purge, "deployed_stack", lambda _: stack)

    def run(*arguments: str) -> tuple[int, str]:
        window = ["--from", ALL.start.isoformat(), "--to", ALL.end.isoformat()]
        monkeypatch.setattr(sys, "argv", ["purge", *window, *arguments])
        code = purge.main()
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return run


def test_without_confirmation_it_shows_and_removes_nothing(
    store: Store, table: Table, command: Any
) -> None:
    for number in range(7):
        store.apply(a_recording_uploaded(recording_id=f"forged-{number}"), NOON)

    code, text = command()

    assert code == 0
    assert "7 recordings: RECORDING#forged-" in text
    assert text.count("RECORDING#") == purge.SAMPLES
    assert "Nothing was removed. To remove them, add CONFIRM=roomkeeper." in text
    assert len(table.items()) == 7


def test_with_the_stacks_name_it_removes(store: Store, table: Table, command: Any) -> None:
    store.apply(a_recording_uploaded(recording_id="forged"), NOON)
    code, text = command("--confirm", "roomkeeper")
    assert (code, table.items()) == (0, [])
    assert "1 items were removed." in text


def test_with_another_name_it_does_not_start(store: Store, table: Table, command: Any) -> None:
    store.apply(a_recording_uploaded(recording_id="forged"), NOON)
    with pytest.raises(SystemExit):
        command("--confirm", "roomkeeper-prod")
    assert len(table.items()) == 1


@pytest.mark.parametrize("moment", ["", "yesterday", "2026-07-01T12:00:00"])
def test_a_time_without_an_offset_is_rejected_by_name(
    command: Any, capsys: pytest.CaptureFixture[str], moment: str
) -> None:
    with pytest.raises(SystemExit):
        command("--from", moment)
    assert "not a time with a UTC offset" in capsys.readouterr().err


def test_control_characters_of_an_id_do_not_reach_the_terminal(table: Table, command: Any) -> None:
    table.put({"pk": {"S": "RECORDING#\x1b[2J"}, "received_at": {"S": "2021-11-02T16:00:00.000Z"}})
    assert "\x1b" not in command()[1]
