"""Runs of the room extension, with the template's table and an emulated Vonage."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec import Struct

from local.testing import sdk
from local.testing.template import table_definition
from local.vonage.control import VonageControl
from local.vonage.server import served
from local.waiting import wait_until
from roomkeeper.callbacks.meetings import parse
from roomkeeper.domain.rooms import ExtensionPolicy
from roomkeeper.jobs.batch import BatchIncomplete, Limits, deadline_in
from roomkeeper.jobs.report import Report
from roomkeeper.jobs.room_extension import PAGE_SIZE, SCAN, RoomExtension
from roomkeeper.jobs.runner import Options, Run
from roomkeeper.store import Checkpoint, RoomStore, Store
from roomkeeper.times import from_iso, iso
from roomkeeper.vonage import BadRequest, Forbidden, VonageError
from roomkeeper.vonage.errors import RequestContext
from roomkeeper.vonage.meetings import MeetingsClient
from tests.support.env import a_client

TABLE = "rooms"
NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
SOON, LATER = iso(NOW + 2 * DAY), iso(NOW + 30 * DAY)


class Killed(BaseException):
    """The process is killed. Nothing runs after it."""


class Rooms(Struct):
    """A table and an emulated Vonage, and methods to run the job on them."""

    vonage: VonageControl
    client: MeetingsClient
    dynamodb: Any
    table: RoomStore

    def extend(self, run: Run[Options] | None = None, **policy: Any) -> Report:
        return RoomExtension(
            run or a_run(), self.table, self.client, policy=a_policy(**policy)
        ).run()

    def expiries(self) -> dict[str, str]:
        return {room["id"]: room["expires_at"] for room in self.vonage.rooms()}

    def published(self) -> Counter[tuple[str, str]]:
        """Count the events in the outbox, by room and new expiry."""
        items = self.dynamodb.scan(TableName=TABLE)["Items"]
        details = [json.loads(item["detail"]["S"]) for item in items if "detail" in item]
        return Counter((each["room_id"], iso(from_iso(each["expires_at"]))) for each in details)

    def keys(self) -> set[str]:
        items = self.dynamodb.scan(TableName=TABLE)["Items"]
        return {item["pk"]["S"].partition("#")[0] for item in items}

    def changing_calls(self) -> list[str]:
        return [each["path"] for each in self.vonage.requests() if each["method"] != "GET"]

    def receive(self, event: str, room_id: str, started_at: datetime, **more: Any) -> None:
        session = {"session_id": f"{room_id}-{started_at:%Y%m%dT%H%M}", "room_id": room_id}
        body = {"event": event, "started_at": iso(started_at)} | session | more
        store = Store(self.dynamodb, TABLE, session_days=400, event_days=30)
        store.apply(parse(json.dumps(body).encode()), NOW)


def a_policy(**changes: Any) -> ExtensionPolicy:
    known: dict[str, Any] = {
        "within": 7 * DAY,
        "extend_to": 30 * DAY,
        "selection": "all",
        "keep_marker": "roomkeeper:keep",
        "let_expire_marker": "roomkeeper:let-expire",
        "used_within": None,
        "expire_after_use": False,
    }
    return ExtensionPolicy(**(known | changes))


def a_run(
    *,
    dry_run: bool = False,
    limit: int | None = None,
    now: datetime = NOW,
    seconds: float = 60.0,
    **limits: Any,
) -> Run[Options]:
    known: dict[str, Any] = {
        "concurrency": 4,
        "per_second": 1000.0,
        "deadline": deadline_in(seconds),
        "consecutive_failures": 5,
    }
    return Run(
        options=Options(limit=limit),
        dry_run=dry_run,
        limits=Limits(**(known | limits)),
        call_seconds=1.0,
        now=now,
    )


@pytest.fixture(scope="module")
def emulator() -> Iterator[VonageControl]:
    with served(0, "127.0.0.1", None) as base:
        yield VonageControl(base)


@pytest.fixture
def rooms(emulator: VonageControl, dynamodb_client: Any) -> Iterator[Rooms]:
    emulator.reset()
    client = a_client(emulator)
    with sdk.moto(), client:
        dynamodb_client.create_table(TableName=TABLE, **table_definition())
        table = RoomStore(dynamodb_client, TABLE, event_days=30)
        yield Rooms(emulator, client, dynamodb_client, table)


def test_due_rooms_are_extended_with_one_event_each_and_no_intent_remains(
    rooms: Rooms,
) -> None:
    due = rooms.vonage.add_rooms(45, expires_at=SOON)
    rooms.vonage.add_rooms(30, expires_at=iso(NOW + 90 * DAY))

    report = rooms.extend()

    assert {rooms.expiries()[room_id] for room_id in due} == {LATER}
    assert rooms.published() == Counter((room_id, LATER) for room_id in due)
    assert rooms.keys() == {"EVENT"}
    assert report.counts["seen"] == 75
    assert report.counts["selected"] == report.counts["extended"] == 45
    assert report.counts["not_due"] == 30
    assert report.counts["remaining"] == 0
    assert report.counts["scan_completed"] is True


def test_every_room_is_counted_under_one_verdict(rooms: Rooms) -> None:
    month = iso(NOW - 30 * DAY)
    kinds: list[dict[str, Any]] = [
        {"type": "instant"},
        {"expires_at": iso(NOW - DAY), "created_at": month},
        {"expires_at": SOON, "metadata": "roomkeeper:let-expire"},
        {"expires_at": SOON, "expire_after_use": True},
        {"expires_at": SOON, "deleted": True},
        {"expires_at": SOON, "created_at": iso(NOW - (5 * 365 - 10) * DAY)},
        {"expires_at": SOON},
    ]
    for kind in kinds:
        rooms.vonage.create_room(**kind)

    counts = rooms.extend(selection="opt-out").counts

    assert {name: counts[name] for name in ("seen", "selected", "extended")} == {
        "seen": 7,
        "selected": 2,
        "extended": 2,
    }
    partition = ("opted_out", "expire_after_use", "expired", "extended_to_limit")
    assert [counts[name] for name in partition] == [1, 1, 1, 1]
    assert counts["not_updatable"] == 2  # the instant room and the deleted one


def test_a_run_right_after_extends_nothing(rooms: Rooms) -> None:
    rooms.vonage.add_rooms(5, expires_at=SOON)
    rooms.vonage.create_room(expires_at=SOON, created_at=iso(NOW - (5 * 365 - 3) * DAY))
    rooms.extend()
    calls, published = rooms.changing_calls(), rooms.published()

    again = rooms.extend(a_run(now=NOW + timedelta(minutes=1)))

    assert rooms.changing_calls() == calls
    assert rooms.published() == published
    assert (again.counts["not_due"], again.counts["max_lifetime_reached"]) == (5, 1)


def test_each_extension_of_a_room_to_its_limit_has_an_event(rooms: Rooms) -> None:
    """Somebody may shorten the room in between; the next extension has the same new expiry."""
    room = rooms.vonage.create_room(expires_at=SOON, created_at=iso(NOW - (5 * 365 - 10) * DAY))
    rooms.extend()
    [(room_id, limit)] = rooms.published()

    rooms.client.update_room_expiry(room["id"], NOW + 3 * DAY)
    rooms.extend(a_run(now=NOW + timedelta(minutes=1)))

    assert rooms.expiries() == {room_id: limit}
    assert rooms.published() == {(room_id, limit): 2}


def test_a_dry_run_lists_decisions_with_reasons_and_changes_nothing(rooms: Rooms) -> None:
    due = rooms.vonage.add_rooms(25, expires_at=SOON)
    [kept] = rooms.vonage.add_rooms(1, expires_at=iso(NOW + 90 * DAY))
    before = rooms.expiries()

    report = rooms.extend(a_run(dry_run=True))

    assert rooms.expiries() == before
    assert rooms.changing_calls() == []
    assert rooms.keys() == set()
    assert report.counts["selected"] == 25
    assert report.counts["extended"] == 0
    planned = {each["room_id"]: each for each in report.planned}
    assert {planned[room_id]["new_expires_at"] for room_id in due} == {LATER}
    assert planned[due[0]]["reason"] == "expires within 7 days"
    assert planned[kept]["verdict"] == "not_due"


def test_a_dry_run_limits_its_list_and_logs_every_extension(
    rooms: Rooms, caplog: pytest.LogCaptureFixture
) -> None:
    due = rooms.vonage.add_rooms(150, expires_at=SOON)

    report = rooms.extend(a_run(dry_run=True))

    assert len(report.planned) == 100
    assert report.counts["selected"] == 150
    logged = [vars(each) for each in caplog.records if each.message == "room would be extended"]
    assert {each["room_id"] for each in logged} == set(due)
    assert len(logged) == 150
    assert {each["expires_at"] for each in logged} == {LATER}


@pytest.mark.parametrize("step", ["record_intent", "update_room_expiry", "complete", "discard"])
@pytest.mark.parametrize("after", [False, True])
def test_the_run_after_a_crash_at_any_step_completes_each_extension_with_one_event(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch, step: str, after: bool
) -> None:
    due = rooms.vonage.add_rooms(3, expires_at=SOON)
    kill_at(monkeypatch, MeetingsClient if step.startswith("update") else RoomStore, step, after)
    with pytest.raises(Killed):
        rooms.extend(a_run(concurrency=1))
    monkeypatch.undo()

    rooms.extend(a_run(now=NOW + timedelta(hours=6)))

    expiries = rooms.expiries()
    assert all(from_iso(expiries[room_id]) > NOW + 29 * DAY for room_id in due)
    assert rooms.published() == Counter((room_id, expiries[room_id]) for room_id in due)
    patched = Counter(rooms.changing_calls())
    assert set(patched.values()) == {1}
    assert rooms.keys() == {"EVENT"}


def kill_at(monkeypatch: pytest.MonkeyPatch, cls: type, step: str, after: bool) -> None:
    """Kill the run at the second call of a step, before or after it."""
    original, calls = getattr(cls, step), iter(range(100))

    def killing(*args: Any, **options: Any) -> Any:
        second = next(calls) == 1
        if second and not after:
            raise Killed
        outcome = original(*args, **options)
        if second:
            raise Killed
        return outcome

    monkeypatch.setattr(cls, step, killing)


def test_an_extension_whose_response_was_lost_is_published_by_the_next_run(rooms: Rooms) -> None:
    [room_id] = rooms.vonage.add_rooms(1, expires_at=SOON)
    rooms.vonage.fault("update_room", status=503, after=True)
    assert rooms.extend().summary.outcomes["failed"] == 1
    assert rooms.published() == Counter()
    rooms.vonage.clear_faults()

    report = rooms.extend(a_run(now=NOW + timedelta(hours=6)))

    assert rooms.published() == {(room_id, LATER): 1}
    assert report.counts["completed"] == 1
    assert report.counts["extended"] == 0


def test_an_extension_that_vonage_did_not_apply_is_never_published(rooms: Rooms) -> None:
    [room_id] = rooms.vonage.add_rooms(1, expires_at=SOON)
    rooms.vonage.fault("update_room", status=503)
    rooms.extend()
    rooms.vonage.clear_faults()
    opted_out = {"selection": "opt-in"}

    rooms.extend(a_run(now=NOW + timedelta(minutes=1)), **opted_out)
    assert rooms.keys() == {"ROOM"}  # its run might still be running
    rooms.extend(a_run(now=NOW + timedelta(minutes=16)), **opted_out)

    assert rooms.keys() == set()
    assert rooms.expiries()[room_id] == SOON


def test_a_run_continues_at_the_checkpoint_until_all_rooms_are_scanned(rooms: Rooms) -> None:
    due = rooms.vonage.add_rooms(5 * PAGE_SIZE, expires_at=SOON)
    runs, read = 0, []

    while not (report := rooms.extend(a_run(limit=2 * PAGE_SIZE + 5))).counts["scan_completed"]:
        runs += 1
        read.append(report.counts["remaining"])

    assert (runs, read) == (2, [60, 20])
    assert rooms.published() == Counter((room_id, LATER) for room_id in due)
    assert rooms.table.checkpoint(SCAN) is None


def test_a_run_past_its_deadline_reports_it_and_leaves_the_rest(rooms: Rooms) -> None:
    rooms.vonage.add_rooms(50)

    report = rooms.extend(a_run(seconds=0.0))

    assert report.summary.stopped_by == "deadline"
    assert report.counts["scan_completed"] is False


def test_completing_interrupted_extensions_counts_towards_the_deadline(
    rooms: Rooms, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms.vonage.add_rooms(5, expires_at=SOON)

    run = a_run(seconds=0.2)

    def slow(_before: datetime) -> Iterator[str]:
        assert wait_until(lambda: time.monotonic() >= run.limits.deadline, 30)
        yield from ()

    monkeypatch.setattr(rooms.table, "pending_extensions", slow)
    report = rooms.extend(run)

    assert (report.summary.stopped_by, report.counts["seen"]) == ("deadline", 0)


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(
            BadRequest("the expiry is in the past", RequestContext("PATCH", "/rooms", 400)),
            id="400",
        ),
        pytest.param(
            Forbidden("belongs to another application", RequestContext("PATCH", "/rooms", 403)),
            id="403",
        ),
    ],
)
def test_pages_of_rooms_that_always_fail_do_not_block_the_others(
    rooms: Rooms, error: VonageError
) -> None:
    failing = rooms.vonage.add_rooms(3 * PAGE_SIZE, expires_at=SOON)
    healthy = rooms.vonage.add_rooms(5, expires_at=SOON)
    rooms.client = FailingRooms(rooms.client, set(failing), error)  # type: ignore[assignment]

    reports = [rooms.extend(a_run(now=NOW + timedelta(hours=run))) for run in range(2)]

    assert [report.summary.stopped_by for report in reports] == [None, None]
    assert {room_id for room_id, _ in rooms.published()} == set(healthy)
    assert any(report.counts["scan_completed"] for report in reports)


def test_an_interrupted_extension_of_a_forbidden_room_is_discarded_once_stale(
    rooms: Rooms,
) -> None:
    [room_id] = rooms.vonage.add_rooms(1, expires_at=SOON)
    rooms.vonage.fault("update_room", status=503)
    rooms.extend()
    error = Forbidden("belongs to another application", RequestContext("GET", "/rooms", 403))
    rooms.client = FailingRooms(rooms.client, {room_id}, error)  # type: ignore[assignment]
    opted_out = {"selection": "opt-in"}

    reports = [
        rooms.extend(a_run(now=NOW + timedelta(minutes=minutes)), **opted_out)
        for minutes in (1, 15, 16, 31)
    ]

    assert [report.summary.outcomes["failed"] for report in reports] == [1, 1, 1, 0]
    assert rooms.keys() == set()


class FailingRooms:
    """A client that fails to extend some rooms, and with Forbidden also to read them."""

    def __init__(
        self, client: MeetingsClient, failing: set[str], error: VonageError | None = None
    ) -> None:
        self._client, self._failing, self._error = client, failing, error

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def update_room_expiry(self, room_id: str, expires_at: datetime) -> Any:
        self._raise_if_failing(room_id)
        return self._client.update_room_expiry(room_id, expires_at)

    def get_room(self, room_id: str) -> Any:
        if isinstance(self._error, Forbidden):
            self._raise_if_failing(room_id)
        return self._client.get_room(room_id)

    def _raise_if_failing(self, room_id: str) -> None:
        if self._error and room_id in self._failing:
            raise self._error


def test_wrong_credentials_stop_the_run_at_once_and_skip_no_room(rooms: Rooms) -> None:
    rooms.vonage.add_rooms(50, expires_at=SOON)
    rooms.vonage.fault("update_room", status=401)

    report = rooms.extend(a_run(concurrency=1))

    assert report.summary.stopped_by == "unauthorized"
    assert len(rooms.changing_calls()) == 1
    rooms.vonage.clear_faults()
    assert rooms.extend().counts["extended"] == 50


def test_rooms_deleted_after_they_were_listed_are_counted_and_no_failure(rooms: Rooms) -> None:
    rooms.vonage.add_rooms(4, expires_at=SOON)
    listing = rooms.client.list_rooms

    class Racing(FailingRooms):
        def list_rooms(self, start: str | None, size: int) -> Any:
            page = listing(start, size)
            rooms.client.delete_room(page.rooms[0].id)
            return page

    client = rooms.client
    report = RoomExtension(a_run(), rooms.table, Racing(client, set()), policy=a_policy()).run()  # type: ignore[arg-type]

    assert report.summary.outcomes == {"extended": 3, "gone": 1}
    assert rooms.keys() == {"EVENT"}


def test_a_404_that_is_not_vonages_own_is_a_failure(rooms: Rooms) -> None:
    rooms.vonage.add_rooms(1, expires_at=SOON)
    rooms.vonage.fault("update_room", status=404, body="<h1>Not here</h1>")

    assert rooms.extend().summary.outcomes == {"failed": 1}


def test_a_page_that_cannot_be_read_ends_the_run_and_is_read_by_the_next(rooms: Rooms) -> None:
    due = rooms.vonage.add_rooms(30, expires_at=SOON)
    rooms.vonage.fault("list_rooms", status=503)
    assert rooms.extend().summary.stopped_by == "read_error"
    rooms.vonage.clear_faults()

    assert rooms.extend().counts["extended"] == len(due)


def test_a_checkpoint_that_is_no_longer_valid_restarts_the_scan(rooms: Rooms) -> None:
    due = rooms.vonage.add_rooms(3, expires_at=SOON)
    rooms.table.save_checkpoint(SCAN, Checkpoint(start_id="no-number", scanned=40))

    report = rooms.extend()

    assert report.counts["extended"] == len(due)
    assert report.counts["scan_completed"] is True


def test_a_corrupt_session_affects_its_room_only(rooms: Rooms) -> None:
    corrupt, valid = rooms.vonage.add_rooms(2, expires_at=SOON)
    for room_id in (corrupt, valid):
        rooms.receive("session:started", room_id, NOW - DAY)
    key = {"pk": {"S": f"SESSION#{corrupt}-{NOW - DAY:%Y%m%dT%H%M}"}}
    rooms.dynamodb.update_item(
        TableName=TABLE,
        Key=key,
        UpdateExpression="SET used_at = :no_time",
        ExpressionAttributeValues={":no_time": {"S": "yesterday"}},
    )

    report = rooms.extend(used_within=14 * DAY)

    assert (report.counts["extended"], rooms.expiries()[valid]) == (1, LATER)
    [error] = report.summary.sample_errors
    assert key["pk"]["S"] in error


def test_with_used_within_only_recently_used_rooms_are_extended(rooms: Rooms) -> None:
    used, ended, idle, unused = rooms.vonage.add_rooms(4, expires_at=SOON)
    rooms.receive("session:started", used, NOW - 90 * DAY)
    rooms.receive("session:started", used, NOW - 3 * DAY)
    rooms.receive("session:ended", ended, NOW - 5 * DAY, ended_at=iso(NOW - 4 * DAY))
    rooms.receive("session:started", idle, NOW - 15 * DAY)

    report = rooms.extend(used_within=14 * DAY)

    assert {room_id for room_id, _ in rooms.published()} == {used, ended}
    assert report.counts["unused"] == 2
    assert report.counts["selected"] == report.counts["extended"] == 2
    assert rooms.table.last_used(used) == NOW - 3 * DAY
    assert rooms.table.last_used(unused) is None


def test_overlapping_runs_extend_every_room_with_one_event_each(rooms: Rooms) -> None:
    due = rooms.vonage.add_rooms(30, expires_at=SOON)
    first = RoomExtension(a_run(), rooms.table, rooms.client, policy=a_policy())
    rooms.extend(a_run(now=NOW + timedelta(seconds=1)))

    first.run()

    published = rooms.published()
    assert {room_id for room_id, _ in published} == set(due)
    assert set(published.values()) == {1}


# --- single invalid rooms -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {"fields": {"expires_at": 1_900_000_000}},
        {"fields": {"type": ["long_term"]}},
        {"fields": {"created_at": "yesterday"}},
        {"fields": {"is_available": "yes"}},
        {"fields": {"expire_after_use": "no"}},
        {"fields": {"id": 7}},
        {"fields": {"id": ".."}},
        {"without": ["id"]},
        {"value": None},
        {"value": "room"},
    ],
    ids=str,
)
def test_an_invalid_room_is_a_failure_and_all_others_are_extended(
    rooms: Rooms, change: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    due = rooms.vonage.add_rooms(4, expires_at=SOON)
    rooms.vonage.fault("list_rooms", elements=[{"element": due[2], **change}])

    report = rooms.extend()

    others = [*due[:2], *due[3:]]
    assert rooms.published() == Counter((room_id, LATER) for room_id in others)
    assert (report.counts["seen"], report.counts["extended"]) == (4, 3)
    assert (report.counts["scan_completed"], report.counts["remaining"]) == (True, 0)
    assert report.counts["unlisted"] == 0
    assert report.summary.outcomes["failed"] == 1
    assert report.summary.stopped_by is None
    [logged] = [vars(each) for each in caplog.records if each.message == "room is invalid"]
    [example] = report.summary.sample_errors
    assert logged["error"] == example
    shown = {"7": "'7'", "..": "'..'"}.get(str(change.get("fields", {}).get("id")))
    known = "fields" in change and "id" not in change["fields"]
    assert (shown or (repr(due[2]) if known else "Room 3 on the page")) in example
    assert example.endswith("(start_id of its page: none)")
    with pytest.raises(BatchIncomplete, match="failed 1"):
        report.summary.raise_if_failed()


def test_pages_with_only_invalid_rooms_stop_no_run(rooms: Rooms) -> None:
    due = rooms.vonage.add_rooms(2 * PAGE_SIZE + 1, expires_at=SOON)
    bad = [{"element": room_id, "fields": {"type": 5}} for room_id in due[: 2 * PAGE_SIZE]]
    rooms.vonage.fault("list_rooms", elements=bad)

    report = rooms.extend(a_run(limit=1))

    assert rooms.published() == {(due[-1], LATER): 1}
    assert report.summary.outcomes == {"extended": 1, "failed": 2 * PAGE_SIZE}
    assert len(report.summary.sample_errors) == 5
    assert report.counts["scan_completed"] is True


def test_markers_are_found_in_metadata_that_is_no_string(rooms: Rooms) -> None:
    kept, left = rooms.vonage.add_rooms(2, expires_at=SOON)
    tags = {"tags": ["a", "roomkeeper:keep"]}
    bad = [
        {"element": kept, "fields": {"metadata": tags, "display_name": 5, "_links": "none"}},
        {"element": left, "fields": {"metadata": {"team": "a"}}},
    ]
    rooms.vonage.fault("*", elements=bad)

    report = rooms.extend(selection="opt-in")

    assert rooms.published() == {(kept, LATER): 1}
    assert report.summary.outcomes == {"extended": 1}
    assert report.counts["opted_out"] == 1


def test_a_room_listed_twice_on_a_page_is_extended_once(rooms: Rooms) -> None:
    first, second = rooms.vonage.add_rooms(2, expires_at=SOON)
    rooms.vonage.fault("list_rooms", elements=[{"element": second, "fields": {"id": first}}])

    report = rooms.extend()

    assert rooms.published() == {(first, LATER): 1}
    assert len(rooms.changing_calls()) == 1
    assert report.counts["scan_completed"] is True


# --- how a list ends ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [0, 5, PAGE_SIZE, 2 * PAGE_SIZE + 5])
def test_an_empty_page_that_links_to_itself_ends_the_scan(rooms: Rooms, count: int) -> None:
    rooms.vonage.settings(list_end="empty_page")
    due = rooms.vonage.add_rooms(count, expires_at=SOON) if count else []

    report = rooms.extend()

    assert report.summary.stopped_by is None
    assert (report.counts["scan_completed"], report.counts["extended"]) == (True, len(due))
    assert rooms.table.checkpoint(SCAN) is None


def test_a_list_that_links_back_to_pages_with_rooms_is_an_error(rooms: Rooms) -> None:
    rooms.vonage.settings(list_end="loop")
    due = rooms.vonage.add_rooms(2 * PAGE_SIZE + 5, expires_at=SOON)

    report = rooms.extend()

    assert report.summary.stopped_by == "read_error"
    assert {room_id for room_id, _ in rooms.published()} == set(due)
    assert "loop" in report.summary.sample_errors[0]


def test_a_page_of_invalid_rooms_that_links_to_itself_is_an_error(rooms: Rooms) -> None:
    rooms.vonage.settings(list_end="loop")
    [room_id] = rooms.vonage.add_rooms(1, expires_at=SOON)
    rooms.vonage.fault("list_rooms", elements=[{"element": room_id, "fields": {"type": 5}}])

    assert rooms.extend().summary.stopped_by == "read_error"


def test_a_list_that_ends_before_its_total_is_reported_as_incomplete(
    rooms: Rooms, caplog: pytest.LogCaptureFixture
) -> None:
    rooms.vonage.settings(list_end="cut_short")
    rooms.vonage.add_rooms(PAGE_SIZE + 5, expires_at=SOON)

    report = rooms.extend()

    assert (report.counts["seen"], report.counts["unlisted"]) == (PAGE_SIZE, 5)
    assert "the list of rooms is incomplete" in caplog.text
