"""The jobs with the emulated Video API, alone and beside the Meetings API."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from local.testing.builders import instant_retries
from local.vonage.video.projects import APPLICATION_ID
from roomkeeper import store
from roomkeeper.callbacks import video
from roomkeeper.domain.observations import Listed, Product
from roomkeeper.domain.recordings import Recording
from roomkeeper.jobs.batch import Limits, deadline_in
from roomkeeper.jobs.cleanup import Cleanup, CleanupOptions
from roomkeeper.jobs.reconciliation import Reconciliation, ReconciliationOptions
from roomkeeper.jobs.recording_scan import ScanPeriod
from roomkeeper.jobs.report import Report
from roomkeeper.jobs.runner import Run
from roomkeeper.vonage import RecordingsApi
from roomkeeper.vonage.video import VideoClient, video_credentials_from
from tests.support.env import Env, an_upload

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
PERIOD = ScanPeriod(horizon=96 * HOUR, notice=12 * HOUR)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def client(env: Env) -> Iterator[VideoClient]:
    """A client of the emulated Video API."""
    key = env.vonage.video.credentials()["private_key"]
    credentials = video_credentials_from(application_id=APPLICATION_ID, private_key=key)
    base = env.vonage.video.api_url
    with closing(VideoClient(base, credentials, timeout=20.0, retry=instant_retries())) as made:
        yield made


@pytest.fixture
def apis(env: Env, client: VideoClient) -> Mapping[Product, RecordingsApi]:
    return {"meetings": env.client, "video": client}


def add_archives(env: Env, count: int = 1, *, age: timedelta = HOUR, **fields: Any) -> list[str]:
    """Add archives that started `age` ago to the Video API; return their ids."""
    fields = {"started_at": (now() - age).isoformat(), "frozen": True} | fields
    ids: list[str] = env.vonage.video.add_archives(count, **fields)["archive_ids"]
    return ids


def receive_archives(env: Env, archive_ids: list[str], status: str, at: datetime) -> None:
    """Store a callback with that status for each archive."""
    archives = {each["id"]: each for each in env.vonage.video.archives()}
    for archive_id in archive_ids:
        known = archives[archive_id]
        body = {**known, "event": "archive", "status": status}
        if status == "started":  # a later time would mean that the archive was resumed
            body["updatedAt"] = known["createdAt"]
        env.store.apply(video.parse(json.dumps(body).encode()), at)


def a_run(options: Any, *, dry_run: bool = False, seconds: float = 60.0, **limits: Any) -> Run[Any]:
    limits = {"concurrency": 1, "per_second": 1000.0, "deadline": deadline_in(seconds)} | limits
    return Run(
        options=options, dry_run=dry_run, limits=Limits(**limits), call_seconds=5.0, now=now()
    )


def reconcile(
    env: Env, apis: Any, *, options: Any = None, period: ScanPeriod = PERIOD, **run: Any
) -> dict[str, Any]:
    job = Reconciliation(
        a_run(options or ReconciliationOptions(), **run),
        env.store,
        apis,
        grace=6 * HOUR,
        period=period,
    )
    return job.run().as_json()


def clean(env: Env, apis: Any, **run: Any) -> Report:
    return Cleanup(a_run(CleanupOptions(), **run), env.store, apis, retention=30 * DAY).run()


def known(env: Env, recording_id: str) -> Recording:
    found = env.store.recordings.get(recording_id)
    assert found is not None
    return found


def counted(report: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: report[name] for name in names}


SCANNED = ("scanned", "discovered", "recovered", "expiring", "expired", "failed")

# --- the scan -------------------------------------------------------------------------------------


def test_archives_without_any_callback_are_discovered_in_one_run(env: Env, apis: Any) -> None:
    ids = add_archives(env, 3)
    report = reconcile(env, apis)
    assert counted(report, *SCANNED) == {
        "scanned": 3, "discovered": 3, "recovered": 0, "expiring": 0, "expired": 0, "failed": 0,
    }  # fmt: skip
    assert {known(env, each).status for each in ids} == {"uploaded"}
    assert {known(env, each).reconciled for each in ids} == {frozenset({"recording:uploaded"})}
    again = reconcile(env, apis)
    assert (again["scanned"], again["discovered"], again["recovered"]) == (3, 0, 0)


def test_an_archive_whose_stage_is_behind_is_recovered_and_others_are_confirmed(
    env: Env, apis: Any
) -> None:
    behind, current = add_archives(env, 2)
    receive_archives(env, [behind], "started", now())
    receive_archives(env, [current], "available", now())
    report = reconcile(env, apis)
    assert counted(report, "discovered", "recovered") == {"discovered": 0, "recovered": 1}
    assert known(env, behind).status == "uploaded"
    assert known(env, current).reconciled == frozenset()
    confirmed = {each.id for each in env.store.worklists.read("confirmed", now() + HOUR)}
    assert confirmed == {behind, current}


def test_a_deleted_recording_is_not_brought_back(env: Env, apis: Any) -> None:
    [archive_id] = add_archives(env)
    receive_archives(env, [archive_id], "available", now())
    env.store.recordings.mark_deleted(archive_id, "cleanup", now())
    before = env.item(f"RECORDING#{archive_id}")
    assert reconcile(env, apis)["recovered"] == 0
    receive_archives(env, [archive_id], "available", now())  # its callback comes late once more
    assert env.item(f"RECORDING#{archive_id}") == before


def test_the_end_of_a_file_is_announced_once_and_in_time(env: Env, apis: Any) -> None:
    [soon] = add_archives(env, age=61 * HOUR)
    [later] = add_archives(env, age=59 * HOUR)
    [stored] = add_archives(env, age=61 * HOUR, status="uploaded")
    receive_archives(env, [later], "available", now())
    assert reconcile(env, apis)["expiring"] == 1
    expiring = known(env, soon)
    assert "recording:expiring" in expiring.seen
    assert expiring.expires_at is not None
    assert not {"recording:expiring"} & (known(env, later).seen | known(env, stored).seen)
    assert reconcile(env, apis)["expiring"] == 0


def test_the_end_of_a_file_is_not_announced_once_its_copy_is_made(env: Env) -> None:
    [copied] = add_archives(env, age=61 * HOUR)
    receive_archives(env, [copied], "available", now())
    env.dynamodb.update_item(
        TableName="table",
        Key={"pk": {"S": f"RECORDING#{copied}"}},
        UpdateExpression="SET copied_at = :at",
        ExpressionAttributeValues={":at": {"S": now().isoformat()}},
    )
    assert not env.store.recordings.mark_expiring(copied, now())  # by a run that read it before
    assert "recording:expiring" not in known(env, copied).seen


@pytest.mark.parametrize("status", [None, "started", "available"])
def test_the_expiry_of_a_file_is_published_when_vonage_has_deleted_it(
    env: Env, apis: Any, status: str | None
) -> None:
    [archive_id] = add_archives(env, age=80 * HOUR, status="expired")
    if status:
        receive_archives(env, [archive_id], status, now() - 7 * HOUR)
    assert reconcile(env, apis)["expired"] == 1
    assert known(env, archive_id).status == "expired"
    assert reconcile(env, apis)["expired"] == 0
    assert env.store.worklists.count("retained", now()) == 0


def test_archives_beyond_the_horizon_are_not_processed(env: Env, apis: Any) -> None:
    add_archives(env, age=97 * HOUR)
    assert reconcile(env, apis)["scanned"] == 0


@pytest.mark.parametrize("status", ["failed", "expired"])
def test_an_archive_without_a_file_is_not_discovered_again_once_its_item_may_have_expired(
    env: Env, apis: Any, status: str
) -> None:
    """Vonage goes on listing it, and its event was published long ago."""
    session_id = "a-session"
    kept = timedelta(days=90)
    add_archives(env, age=kept + HOUR, status=status, session_id=session_id)
    [young] = add_archives(env, age=kept - HOUR, status=status)
    [waiting] = add_archives(env, age=HOUR, status="stopped", session_id=session_id)
    receive_archives(env, [waiting], "stopped", now() - 7 * HOUR)

    report = reconcile(env, apis, period=ScanPeriod(horizon=2 * kept, notice=12 * HOUR))

    assert counted(report, "scanned", "discovered") == {"scanned": 3, "discovered": 1}
    assert known(env, young).status == status
    assert report["waiting"] == 1


def test_a_dry_run_lists_what_a_run_would_store(env: Env, apis: Any) -> None:
    [new] = add_archives(env)
    [soon] = add_archives(env, age=61 * HOUR)
    receive_archives(env, [soon], "available", now())
    report = reconcile(env, apis, dry_run=True)
    assert counted(report, "discovered", "expiring") == {"discovered": 1, "expiring": 1}
    assert {(each["event"], each["recording_id"]) for each in report["planned"]} == {
        ("recording:uploaded", new),
        ("recording:expiring", soon),
    }
    assert env.store.recordings.get(new) is None
    assert "recording:expiring" not in known(env, soon).seen


class Pages:
    """A Video API whose list has these pages."""

    product: Product = "video"

    def __init__(self, *pages: Listed) -> None:
        self.pages = pages
        self.positions: list[int] = []

    def all_since(self, _moment: datetime, position: int = 0) -> Iterator[Listed]:
        self.positions.append(position)
        for index, page in enumerate(self.pages[position:], start=position + 1):
            yield msgspec.structs.replace(page, next_position=index)


def pages_of(env: Env, client: VideoClient, *sizes: int) -> Pages:
    """Return an API that lists as many new archives on its pages."""
    add_archives(env, sum(sizes))
    found = iter([each for page in client.all_since(now() - DAY) for each in page.found])
    return Pages(*(Listed([next(found) for _ in range(size)]) for size in sizes))


def test_an_invalid_archive_fails_by_itself_and_is_named(env: Env, client: VideoClient) -> None:
    api = pages_of(env, client, 2, 1)
    api.pages = (msgspec.structs.replace(api.pages[0], invalid=["bad-id: no status"]), api.pages[1])
    report = reconcile(env, {"video": api})
    assert counted(report, "discovered", "failed", "remaining") == {
        "discovered": 3, "failed": 1, "remaining": 0,
    }  # fmt: skip
    assert "bad-id" in report["sample_errors"][0]


def test_many_invalid_archives_do_not_keep_the_others_from_being_found(
    env: Env, client: VideoClient
) -> None:
    api = pages_of(env, client, 1, 1)
    invalid = [f"bad-{number}: no status" for number in range(30)]
    api.pages = (msgspec.structs.replace(api.pages[0], invalid=invalid), api.pages[1])
    report = reconcile(env, {"video": api})
    assert counted(report, "scanned", "discovered", "failed") == {
        "scanned": 32,
        "discovered": 2,
        "failed": 30,
    }


def test_an_archive_in_a_new_status_is_counted_and_is_no_failure(
    env: Env, client: VideoClient
) -> None:
    api = pages_of(env, client, 2)
    api.pages = (msgspec.structs.replace(api.pages[0], unrecognized=["new: a new status"]),)
    report = reconcile(env, {"video": api})
    assert counted(report, "scanned", "discovered", "unrecognized", "failed") == {
        "scanned": 3, "discovered": 2, "unrecognized": 1, "failed": 0,
    }  # fmt: skip


def test_a_corrupt_item_fails_by_itself_and_is_named(env: Env, apis: Any) -> None:
    corrupt, _valid = add_archives(env, 2)
    receive_archives(env, [corrupt], "started", now())
    env.dynamodb.update_item(
        TableName="table",
        Key={"pk": {"S": f"RECORDING#{corrupt}"}},
        UpdateExpression="SET started_at = :bad",
        ExpressionAttributeValues={":bad": {"S": "yesterday"}},
    )
    report = reconcile(env, apis)
    assert counted(report, "discovered", "failed") == {"discovered": 1, "failed": 1}
    assert corrupt in report["sample_errors"][0]


def test_an_interrupted_scan_is_continued_by_the_next_run(env: Env, client: VideoClient) -> None:
    api = pages_of(env, client, 2, 2, 2)
    first = reconcile(env, {"video": api}, options=ReconciliationOptions(limit=3))
    assert first["discovered"] == 3
    assert env.store.scans.position("video") == 1
    second = reconcile(env, {"video": api})
    assert second["discovered"] == 3
    assert api.positions == [0, 1, 0]
    assert env.store.scans.position("video") == 0


def test_a_scan_stops_when_its_share_of_the_run_is_over(env: Env, client: VideoClient) -> None:
    api = pages_of(env, client, 1, 1)
    assert reconcile(env, {"video": api}, seconds=-1.0)["scanned"] == 0
    assert reconcile(env, {"video": api})["scanned"] == 2


def test_an_outage_of_the_table_stops_the_scan_where_it_is(
    env: Env, client: VideoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = pages_of(env, client, 1, 8, 1)

    def fail(*_: object) -> bool:
        raise store.StoreUnavailable("DynamoDB is down")

    with monkeypatch.context() as outage:
        outage.setattr(env.store.recordings, "reconcile", fail)
        report = reconcile(env, {"video": api}, consecutive_failures=5)
    assert report["failed"] == 1  # the first page has one; the list is read on from there
    assert env.store.scans.position("video") == 0
    assert reconcile(env, {"video": api})["discovered"] == 10


def test_the_list_is_read_again_after_an_error(env: Env, apis: Any) -> None:
    add_archives(env, 3)
    env.vonage.fault("list_archives", status=403, times=1)
    refused = reconcile(env, apis)
    assert refused["stopped_products"] == {"video": "unauthorized"}
    assert reconcile(env, apis)["discovered"] == 3


# --- one product beside the other -----------------------------------------------------------------


def due_for_cleanup(env: Env, count: int) -> tuple[list[str], list[str]]:
    """Add due recordings to both products, those of the Video API first."""
    archives = add_archives(env, count)
    receive_archives(env, archives, "available", now() - 32 * DAY)
    meetings = env.vonage.add_recordings(count)["recording_ids"]
    for recording_id in meetings:
        env.receive(an_upload(recording_id), now() - 31 * DAY)
    return meetings, archives


def test_both_products_are_cleaned_up(env: Env, apis: Any) -> None:
    meetings, archives = due_for_cleanup(env, 3)
    report = clean(env, apis).as_json()
    assert counted(report, "due", "deleted", "remaining") == {
        "due": 6, "deleted": 6, "remaining": 0,
    }  # fmt: skip
    assert {known(env, each).deleted_by for each in meetings + archives} == {"cleanup"}


@pytest.mark.parametrize(
    ("status", "reason", "failed"), [(403, "unauthorized", 1), (503, "failures", 5)]
)
def test_a_failing_product_does_not_stop_the_others_items(
    env: Env, apis: Any, status: int, reason: str, failed: int
) -> None:
    meetings, archives = due_for_cleanup(env, 10)
    for operation in ("delete_archive", "get_archive", "list_archives"):
        env.vonage.fault(operation, status=status)
    report = clean(env, apis, consecutive_failures=5, seconds=600.0).as_json()
    assert report["stopped_products"] == {"video": reason}
    assert counted(report, "deleted", "failed", "remaining", "stopped_by") == {
        "deleted": 10, "failed": failed, "remaining": 10 - failed, "stopped_by": None,
    }  # fmt: skip
    assert all(known(env, each).deleted_at for each in meetings)
    assert not any(known(env, each).deleted_at for each in archives)
    assert env.store.worklists.count("retained", now()) == 10


def test_the_items_of_a_product_without_credentials_stay_where_they_are(
    env: Env, apis: Any
) -> None:
    due_for_cleanup(env, 3)
    report = clean(env, {"meetings": apis["meetings"]}).as_json()
    assert counted(report, "deleted", "failed", "deferred", "remaining") == {
        "deleted": 3, "failed": 0, "deferred": 0, "remaining": 3,
    }  # fmt: skip
    assert clean(env, apis).as_json()["deleted"] == 3


# --- deletions ------------------------------------------------------------------------------------


def test_only_the_record_is_deleted_of_a_file_in_its_owners_storage(env: Env, apis: Any) -> None:
    [archive_id] = add_archives(env, status="uploaded")
    receive_archives(env, [archive_id], "uploaded", now() - 31 * DAY)
    planned = clean(env, apis, dry_run=True).as_json()["planned"]
    assert planned[0]["file"] == "kept in its owner's storage"
    report = clean(env, apis).as_json()
    assert counted(report, "deleted", "record_deleted") == {"deleted": 0, "record_deleted": 1}
    assert known(env, archive_id).file_kept
    image = env.item(f"RECORDING#{archive_id}")
    record = {
        "eventName": "INSERT",
        "dynamodb": {
            "ApproximateCreationDateTime": 0,
            "Keys": {"pk": image["pk"]},
            "NewImage": image,
        },
    }
    due = {event.name: json.loads(event.detail())["data"] for event in store.events_due(record)}
    assert due["recording:deleted"]["file_kept"] is True


@pytest.mark.parametrize(
    ("status", "outcome"),
    [("stopped", "not_deletable_yet"), ("expired", "already_deleted"), ("deleted", None)],
)
def test_a_deletion_that_vonage_refuses_is_understood(
    env: Env, apis: Any, status: str, outcome: str | None
) -> None:
    [archive_id] = add_archives(env, status=status)
    receive_archives(env, [archive_id], "available", now() - 31 * DAY)
    report = clean(env, apis).as_json()
    assert report["failed"] == 0
    if outcome:
        assert report[outcome] == 1
    assert (known(env, archive_id).deleted_at is None) == (status == "stopped")
    receive_archives(env, [archive_id], "available", now())
    assert (known(env, archive_id).deleted_at is None) == (status == "stopped")


@pytest.mark.parametrize("unknown_on_delete", [404, 400, 403])
def test_an_archive_that_is_deleted_twice_is_deleted(
    env: Env, apis: Any, unknown_on_delete: int
) -> None:
    env.vonage.settings(unknown_on_delete=unknown_on_delete)
    [archive_id] = add_archives(env)
    receive_archives(env, [archive_id], "available", now() - 31 * DAY)
    assert apis["video"].delete(archive_id) == "deleted"
    report = clean(env, apis).as_json()
    assert report["deleted"] + report["already_deleted"] == 1
    assert known(env, archive_id).status == "deleted"


def test_a_known_archive_costs_no_write(env: Env, apis: Any, monkeypatch: Any) -> None:
    add_archives(env, 101)  # one more than are looked up at once
    assert reconcile(env, apis)["discovered"] == 101

    def fail(*_: object, **__: object) -> bool:
        raise store.StoreUnavailable("a write")

    for write in ("reconcile", "confirm", "mark_expiring"):
        monkeypatch.setattr(env.store.recordings, write, fail)
    report = reconcile(env, apis)
    assert counted(report, "scanned", "failed") == {"scanned": 101, "failed": 0}
