import itertools
import random
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from roomkeeper.domain.recordings import WorklistEntry
from roomkeeper.store import Store
from roomkeeper.store import worklists as store_worklists
from roomkeeper.store.items import shard_of
from tests.support.env import NOW, TABLE, Env, an_upload

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

HOUR = timedelta(hours=1)


def on(worklist: str, recording_id: str, since: datetime) -> WorklistEntry:
    """Return a recording's entry on a worklist."""
    return WorklistEntry("recording", recording_id, since, f"{worklist}#{shard_of(recording_id)}")


@pytest.fixture
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_worklists, "_PAGE", 3)


@pytest.mark.usefixtures("_small_pages")
def test_a_worklist_is_read_oldest_first_across_its_shards_and_pages(env: Env) -> None:
    ages = list(range(60))
    random.Random(1).shuffle(ages)
    for age in ages:
        env.receive(an_upload(f"recording-{age}"), NOW - timedelta(seconds=age))

    read = list(env.store.worklists.read("retained", NOW - timedelta(seconds=10)))

    assert [entry.id for entry in read] == [f"recording-{age}" for age in range(59, 9, -1)]
    assert read[0] == on("retained", "recording-59", NOW - timedelta(seconds=59))
    assert env.store.worklists.count("retained", NOW - timedelta(seconds=10)) == 50


@pytest.mark.usefixtures("_small_pages")
def test_a_worklist_is_read_at_most_one_page_of_each_shard_ahead(env: Env) -> None:
    for number in range(80):
        env.receive(an_upload(f"recording-{number}"), NOW - HOUR)
    counting: Any = Counting(env.dynamodb)
    assert (
        len(list(itertools.islice(Store(counting, TABLE).worklists.read("retained", NOW), 10)))
        == 10
    )

    assert 0 < counting.entries <= (8 + 4) * 3


class Counting:
    """A DynamoDB client that counts the entries of the pages that it reads."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client, self.entries = client, 0

    def query(self, **arguments: Any) -> Any:
        page = self._client.query(**arguments)
        self.entries += page["Count"]
        return page


def test_a_recording_awaits_its_upload_from_its_first_callback_on(env: Env) -> None:
    started = {"event": "recording:started", "recording_id": "r", "session_id": "s"}
    env.receive(started, NOW - 3 * HOUR)
    ended = an_upload("r") | {"event": "recording:ended"}
    env.receive(ended, NOW - 2 * HOUR)

    [waiting] = env.store.worklists.read("awaiting_upload", NOW)
    assert waiting == on("awaiting_upload", "r", NOW - 3 * HOUR)

    env.receive(an_upload("r"), NOW - HOUR)

    assert list(env.store.worklists.read("awaiting_upload", NOW)) == []
    assert list(env.store.worklists.read("retained", NOW)) == [on("retained", "r", NOW - HOUR)]
    assert list(env.store.worklists.read("retained", NOW - 2 * HOUR)) == []


def a_session(event: str) -> dict[str, str]:
    times = {"started_at": "2026-07-01T10:00:00Z", "ended_at": "2026-07-01T11:00:00Z"}
    return {"event": event, "session_id": "s", "room_id": "room", **times}


def test_a_session_is_open_until_its_end_is_received_and_then_awaits_its_check(
    env: Env,
) -> None:
    env.receive(a_session("session:started"), NOW - 2 * HOUR)
    [open_one] = env.store.worklists.read("open_session", NOW)

    env.receive(a_session("session:ended"), NOW - HOUR)

    assert list(env.store.worklists.read("open_session", NOW)) == []
    [ended] = env.store.worklists.read("ended_session", NOW)
    assert ended == WorklistEntry("session", "s", NOW - HOUR, f"ended_session#{shard_of('s')}")
    assert not env.store.worklists.mark_session_checked(open_one)  # it was queued again meanwhile
    assert env.store.worklists.mark_session_checked(ended)
    assert list(env.store.worklists.read("ended_session", NOW)) == []


@pytest.mark.parametrize("order", [1, -1])
def test_the_order_of_a_sessions_callbacks_does_not_matter(env: Env, order: int) -> None:
    for event in ("session:started", "session:ended")[::order]:
        env.receive(a_session(event), NOW)

    assert [entry.id for entry in env.store.worklists.read("ended_session", NOW)] == ["s"]
