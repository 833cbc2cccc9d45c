"""Many forged recordings on the deployed stack: the cleanup still deletes the real one.

`make torture` forges 20,000 recordings, `make test` 200.
"""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from local import back_dating
from local.testing.builders import a_body
from local.waiting import wait_until
from operations import purge
from roomkeeper.callbacks.meetings import parse
from roomkeeper.domain.observations import RecordingObservation
from roomkeeper.store import observations
from roomkeeper.store.items import serialize
from roomkeeper.times import from_iso
from tests.support import commands, functions, jobs
from tests.support.deployed import WITHIN, Deployed
from tests.support.jobs import DAY, JobFailed
from tests.support.measurements import Measurements

pytestmark = pytest.mark.local_stack

CLEANUP, RECONCILER = "RecordingCleanupName", "RecordingReconcilerName"


@pytest.fixture
def prefix(deployed: Deployed) -> Iterator[str]:
    """A prefix of recording ids that the emulated Vonage refuses."""
    refused = f"forged-{uuid.uuid4().hex[:8]}-"
    deployed.vonage.settings(refused_ids=refused)
    yield refused
    deployed.vonage.settings(refused_ids="")


def item_of(body: bytes, at: datetime) -> dict[str, Any]:
    """Return the item that the intake writes for an upload received at that time."""
    callback = parse(body)
    assert isinstance(callback, RecordingObservation)
    update = observations.recording_update(callback, at, 0)
    known = {name: value for name, value in update.set_if_absent.items() if value is not None}
    written = {
        name: serialize(value) for name, value in {**known, **update.set_unless_closed}.items()
    }
    return {"pk": {"S": update.key}, "seen": {"SS": [callback.event]}, **written}


def put_all(deployed: Deployed, items: list[dict[str, Any]]) -> None:
    client, table = deployed.stack.client("dynamodb"), deployed.stack.outputs["TableName"]

    def put(batch: Any) -> None:
        pending = {table: [{"PutRequest": {"Item": item}} for item in batch]}
        while pending:
            pending = client.batch_write_item(RequestItems=pending)["UnprocessedItems"]

    with ThreadPoolExecutor(4) as pool:
        batches = [items[start : start + 25] for start in range(0, len(items), 25)]
        list(pool.map(put, batches))


def forge(deployed: Deployed, prefix: str, count: int) -> list[str]:
    """Put uploads of forged recordings, received 30 to 32 days ago, into the table; return ids."""
    middle = datetime.now(UTC) - 31 * DAY
    ids = [f"{prefix}{index}" for index in range(count)]
    moments = [middle + DAY * (2 * index / count - 1) for index in range(count)]
    bodies = [
        a_body("recording:uploaded", recording_id=id_, session_id=f"session-{id_}") for id_ in ids
    ]
    put_all(deployed, [item_of(*each) for each in zip(bodies, moments, strict=True)])
    return ids


def a_real_recording(deployed: Deployed) -> str:
    """Hold a meeting; return its recording, confirmed by reconciliation and past its retention."""
    meeting = deployed.vonage.hold_meeting()
    [recording_id] = meeting["recording_ids"]
    assert wait_until(lambda: deployed.item(f"SESSION#{meeting['session_id']}") is not None, WITHIN)
    with suppress(JobFailed):  # items of other tests may be unknown at Vonage
        jobs.run(deployed, RECONCILER, grace_hours=0)
    assert "confirmed_at" in (deployed.item(f"RECORDING#{recording_id}") or {})
    back_dating.back_date(deployed.stack, back_dating.recordings([recording_id]), 31 * DAY)
    return str(recording_id)


def request_count(deployed: Deployed, prefix: str) -> int:
    """Return the number of requests to Vonage for ids with this prefix."""
    return sum(prefix in request["path"] for request in deployed.vonage.requests())


def clean(deployed: Deployed, **options: Any) -> None:
    with suppress(JobFailed):  # forged recordings fail
        jobs.run(deployed, CLEANUP, **options)


def test_forged_items_are_put_into_the_table_as_the_intake_writes_them(
    deployed: Deployed,
) -> None:
    recording_id = str(uuid.uuid4())
    body = a_body("recording:uploaded", recording_id=recording_id)
    assert deployed.post(body).status_code == 204
    written = deployed.item(f"RECORDING#{recording_id}")
    assert written is not None
    assert written == item_of(body, from_iso(written["received_at"]["S"]))


def test_a_real_recording_among_forged_ones_is_deleted_by_the_first_run(
    deployed: Deployed, prefix: str, measurements: Measurements, full: bool
) -> None:
    count = 20_000 if full else 100
    real = a_real_recording(deployed)
    ids = forge(deployed, prefix, count)
    deployed.store().recordings.hold(ids[0], "a court order", "legal", datetime.now(UTC))
    costs: list[int] = []

    quickly = {"JOB_RATE_PER_SECOND": "1000", "JOB_CONCURRENCY": "16"}
    with functions.configured(deployed, deployed.stack.outputs[CLEANUP], **quickly):
        for limit in (count // 10, None, None, None):
            before = request_count(deployed, prefix)
            clean(deployed, **({"limit": limit} if limit else {}))
            costs.append(request_count(deployed, prefix) - before)
            assert real not in {e["id"] for e in deployed.vonage.recordings() if not e["deleted"]}

    measurements.add("forged", recordings=count, first_run=costs[0], third_run=costs[2])
    assert sum(costs) == count - 1
    assert costs[0] < count // 10
    assert costs[2:] == [0, 0]
    purge_all(deployed, prefix, ids)


def purge_all(deployed: Deployed, prefix: str, ids: list[str]) -> None:
    """Remove all forged recordings but the one on hold with `make purge`."""
    deployed.subscriber.receive_all()
    start, end = (datetime.now(UTC) - timedelta(days=days) for days in (33, 29))
    window = (f"FROM={start.isoformat()}", f"TO={end.isoformat()}")
    selected = purge.select(deployed.stack, purge.Window(start, end, only_refused=True))
    assert {f"RECORDING#{id_}" for id_ in ids[1:]} <= set(selected.recordings)
    assert f"RECORDING#{ids[0]}" in selected.left["on hold"]

    seen = commands.make(deployed.stack, "purge", *window, "ARGS=--refused")
    assert seen.code == 0, seen.text
    assert f"{len(selected.recordings)} recordings: " in seen.text
    assert f"kept, on hold: {len(selected.left['on hold'])}, " in seen.text
    assert "Nothing was removed." in seen.text
    assert deployed.item(f"RECORDING#{ids[1]}") is not None

    done = commands.make(
        deployed.stack, "purge", *window, "ARGS=--refused", f"CONFIRM={deployed.stack.name}"
    )
    assert done.code == 0, done.text
    assert f"{len(selected.keys)} items were removed." in done.text
    assert deployed.item(f"RECORDING#{ids[0]}") is not None
    assert deployed.item(f"RECORDING#{ids[1]}") is None
    before = len(deployed.subscriber.received)
    marker = str(uuid.uuid4())
    assert deployed.post(a_body("recording:started", recording_id=marker)).status_code == 204
    deployed.events_about(marker, count=1)  # events of removals would precede it
    later = deployed.subscriber.received[before:]
    assert not [event for event in later if prefix in str(event["detail"])]
    on_hold = deployed.store().recordings.get(ids[0])
    assert on_hold is not None
    assert deployed.store().recordings.release(on_hold, ttl=None)
