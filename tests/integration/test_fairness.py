"""Items that always fail cost little and do not delay the others, however many there are."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

import msgspec
import pytest

from roomkeeper import store
from roomkeeper.domain.observations import Listed
from roomkeeper.domain.recordings import Recording
from roomkeeper.jobs.batch import Limits, Summary, deadline_in
from roomkeeper.jobs.cleanup import Cleanup, CleanupOptions
from roomkeeper.jobs.fairness import MAX_DELAY
from roomkeeper.jobs.reconciliation import UPLOAD_TIMEOUT, Reconciliation, ReconciliationOptions
from roomkeeper.jobs.runner import OptionsT, Run
from roomkeeper.vonage.meetings import MeetingsClient
from tests.support.env import NOW, Books, an_upload

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GRACE = 6 * HOUR
MONTH_AGO = NOW - 30 * DAY
FORGED = 300
CAPACITY = FORGED // 10
"""The number of items that a run can process in these tests."""


class SmallRun(Run[OptionsT], frozen=True, kw_only=True):
    """A run that can process CAPACITY items, even without a limit."""

    @property
    def deferred_at_most(self) -> int:
        return CAPACITY // 10


def a_run(options: OptionsT, now: datetime, *, dry_run: bool = False) -> Run[OptionsT]:
    limits = Limits(concurrency=4, per_second=100_000.0, deadline=deadline_in(300.0))
    return SmallRun(options=options, dry_run=dry_run, limits=limits, call_seconds=1.0, now=now)


def clean(
    books: Books, now: datetime = NOW, *, limit: int | None = None, dry_run: bool = False
) -> tuple[Cleanup, Summary]:
    """Delete what was uploaded a month before `now` or earlier."""
    run = a_run(CleanupOptions(limit=limit), now, dry_run=dry_run)
    cleanup = Cleanup(run, books.store, {"meetings": books.client}, retention=30 * DAY)
    return cleanup, cleanup.run().summary


def reconcile(
    books: Books, now: datetime = NOW, *, limit: int | None = None, client: Any = None
) -> tuple[Reconciliation, Summary]:
    run = a_run(ReconciliationOptions(limit=limit), now)
    apis: Any = {"meetings": client or books.client}
    reconciliation = Reconciliation(run, books.store, apis, grace=GRACE)
    return reconciliation, reconciliation.run().summary


def forge(books: Books, count: int, at: datetime, spread: timedelta = timedelta(0)) -> list[str]:
    """Receive uploads of recordings that Vonage refuses requests for, at times around `at`."""
    books.vonage.settings(refused_ids="forged")
    ids = [f"forged-{n}" for n in range(count)]
    for n, recording_id in enumerate(ids):
        moment = at + spread * (2 * n / count - 1)
        books.hear(an_upload(recording_id, f"forged-session-{n}"), moment)
    return ids


def forge_sessions(books: Books, count: int, at: datetime) -> None:
    books.vonage.settings(refused_ids="forged")
    for n in range(count):
        books.hear(a_session(f"forged-{n}"), at)


def a_session(session_id: str, event: str = "session:ended") -> dict[str, Any]:
    times = {"started_at": "2026-06-01T10:00:00Z", "ended_at": "2026-06-01T11:00:00Z"}
    return {"event": event, "session_id": session_id, "room_id": "room", **times}


def a_start(recording_id: str, session_id: str = "s") -> dict[str, Any]:
    event = "recording:started"
    return {"event": event, "recording_id": recording_id, "session_id": session_id}


def deferred(books: Books, worklist: Any, until: datetime) -> list[str]:
    return [each.id for each in books.store.worklists.read(worklist, until)]


def requests_for(books: Books, prefix: str) -> int:
    return sum(prefix in each["path"] for each in books.vonage.requests())


# --- cleanup --------------------------------------------------------------------------------------


def test_a_confirmed_recording_among_forged_ones_is_deleted_by_the_first_run(books: Books) -> None:
    meeting = books.vonage.hold_meeting()
    [real] = meeting["recording_ids"]
    books.hear_all(meeting["callbacks"], MONTH_AGO - DAY)
    reconcile(books, MONTH_AGO - DAY + 7 * HOUR)
    forge(books, FORGED, MONTH_AGO - 2 * DAY, DAY + 23 * HOUR)

    _, summary = clean(books, limit=CAPACITY)

    assert real not in books.left_at_vonage()
    assert summary.outcomes == {"deleted": 1, "failed": CAPACITY - 1}
    assert summary.stopped_by is None


def test_an_unconfirmed_recording_waits_for_each_forged_one_only_once(books: Books) -> None:
    forge(books, CAPACITY, MONTH_AGO - 2 * DAY)
    [real] = books.uploaded(1, MONTH_AGO - DAY)

    clean(books, limit=CAPACITY)
    assert real in books.left_at_vonage()
    clean(books, NOW + HOUR, limit=CAPACITY)

    assert real not in books.left_at_vonage()


def test_forged_recordings_cost_at_most_a_tenth_of_a_run_after_their_first_attempt(
    books: Books,
) -> None:
    forge(books, CAPACITY, MONTH_AGO - DAY)
    costs = []
    for run in range(4):
        before = requests_for(books, "forged")
        clean(books, NOW + run * HOUR, limit=CAPACITY)
        costs.append(requests_for(books, "forged") - before)

    assert costs[0] == CAPACITY
    assert all(cost <= CAPACITY / 10 for cost in costs[1:])


def test_deferred_recordings_get_a_tenth_of_a_run_and_the_others_the_rest(books: Books) -> None:
    forge(books, CAPACITY, MONTH_AGO - DAY)
    clean(books)
    real = books.uploaded(CAPACITY, MONTH_AGO - DAY)

    _, summary = clean(books, NOW + 2 * HOUR, limit=CAPACITY)

    assert summary.outcomes == {"deleted": CAPACITY - CAPACITY // 10, "failed": CAPACITY // 10}
    assert len(set(real) & books.left_at_vonage()) == CAPACITY // 10


def test_repeated_failures_are_retried_with_backoff_up_to_a_day(books: Books) -> None:
    [forged] = forge(books, 1, MONTH_AGO - DAY)
    now, waits = NOW, []
    for attempt in range(1, 8):
        assert clean(books, now)[1].outcomes == {"failed": 1}
        item = books.item(f"RECORDING#{forged}")
        assert item["attempts"] == {"N": str(attempt)}
        [entry] = books.store.worklists.read("deferred_retained", now + MAX_DELAY)
        waits.append(entry.since - now)
        assert clean(books, entry.since - timedelta(seconds=1))[1].processed == 0
        now = entry.since

    max_hours = [1, 2, 4, 8, 16, 24, 24]
    assert all(
        hours * HOUR / 2 <= wait <= hours * HOUR
        for hours, wait in zip(max_hours, waits, strict=True)
    )


def test_a_deferral_is_one_write_and_no_event(books: Books) -> None:
    [forged] = forge(books, 1, MONTH_AGO - DAY)
    before = books.item(f"RECORDING#{forged}")

    cleanup, _ = clean(books)

    after = books.item(f"RECORDING#{forged}")
    assert cleanup.deferred == 1
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed == {"worklist", "since", "attempts", "queued_at"}
    assert after["queued_at"] == before["since"]
    change = {"ApproximateCreationDateTime": 0, "Keys": {"pk": after["pk"]}}
    record = {"eventName": "MODIFY", "dynamodb": change | {"OldImage": before, "NewImage": after}}
    assert store.events_due(record) == []


def test_a_deferred_recording_is_deleted_when_vonage_allows_it_and_its_deferral_is_cleared(
    books: Books,
) -> None:
    [recording_id] = books.uploaded(1, MONTH_AGO - DAY)
    books.vonage.fault("delete_recording", status=400, times=1)
    assert clean(books)[1].outcomes == {"failed": 1}

    assert clean(books, NOW + HOUR)[1].outcomes == {"deleted": 1}

    item = books.item(f"RECORDING#{recording_id}")
    assert not {"worklist", "since", "attempts", "queued_at"} & item.keys()


def test_a_new_upload_clears_a_recordings_deferral(books: Books) -> None:
    books.hear(a_start("forged"), NOW - 7 * HOUR)
    books.vonage.settings(refused_ids="forged")
    reconcile(books)
    assert deferred(books, "deferred_awaiting_upload", NOW + HOUR) == ["forged"]

    books.hear(an_upload("forged"), NOW)

    assert deferred(books, "retained", NOW) == ["forged"]
    assert not {"attempts", "queued_at"} & books.item("RECORDING#forged").keys()


def test_a_deferred_recording_on_hold_causes_no_request(books: Books) -> None:
    [forged] = forge(books, 1, MONTH_AGO - DAY)
    clean(books)
    books.store.recordings.hold(forged, "a court order", "legal", NOW)
    asked = requests_for(books, "forged")

    cleanup, summary = clean(books, NOW + HOUR)

    assert (cleanup.on_hold, summary.processed, requests_for(books, "forged")) == (1, 0, asked)


def test_a_deferred_recording_is_not_deleted_within_a_longer_retention(
    books: Books,
) -> None:
    [recording_id] = books.uploaded(1, MONTH_AGO - DAY)
    books.vonage.fault("delete_recording", status=400, times=1)
    clean(books)
    later = NOW + 2 * HOUR

    run = a_run(CleanupOptions(), later)
    longer = Cleanup(run, books.store, {"meetings": books.client}, retention=60 * DAY)
    assert list(longer.items()) == []

    assert books.left_at_vonage() == {recording_id}


def test_a_dry_run_defers_nothing_and_lists_deferred_recordings_with_their_upload_time(
    books: Books,
) -> None:
    [recording_id] = books.uploaded(1, MONTH_AGO - DAY)
    books.vonage.fault("delete_recording", status=400, times=1)
    clean(books)
    before = books.item(f"RECORDING#{recording_id}")

    cleanup, _ = clean(books, NOW + HOUR, dry_run=True)

    [plan] = cleanup.planned
    assert plan == {"recording_id": recording_id, "uploaded_at": "2026-05-31T12:00:00.000Z"}
    assert (books.item(f"RECORDING#{recording_id}"), cleanup.deferred) == (before, 0)


def test_a_corrupt_item_is_deferred(books: Books) -> None:
    [recording_id] = books.uploaded(1, MONTH_AGO - DAY)
    item = books.item(f"RECORDING#{recording_id}") | {"seen": {"N": "5"}}
    books.dynamodb.put_item(TableName="books", Item=item)

    assert clean(books)[1].outcomes == {"failed": 1}

    assert deferred(books, "deferred_retained", NOW + HOUR) == [recording_id]


# --- Vonage's refusals ----------------------------------------------------------------------------


def test_an_uploaded_recording_that_vonage_refuses_to_delete_is_a_failure(books: Books) -> None:
    [recording_id] = books.uploaded(1, MONTH_AGO - DAY)
    books.vonage.fault("delete_recording", status=403)

    _, summary = clean(books)

    assert summary.outcomes == {"failed": 1}
    assert "refuses to delete" in summary.sample_errors[0]
    assert deferred(books, "deferred_confirmed", NOW + HOUR) == [recording_id]


@pytest.mark.parametrize("status", [403, 409, 400])
def test_an_error_response_that_is_not_vonages_own_ends_the_run_and_defers_nothing(
    books: Books, status: int
) -> None:
    ids = books.uploaded(30, MONTH_AGO - DAY)
    books.vonage.fault("delete_recording", status=status, body="<h1>Forbidden</h1>")

    _, summary = clean(books)

    assert summary.stopped_by == "failures"
    assert summary.outcomes["not_deletable_yet"] == 0
    assert set(deferred(books, "retained", NOW)) == set(ids)


# --- reconciliation -------------------------------------------------------------------------------


@pytest.mark.parametrize("forged", ["recordings", "sessions"])
def test_recordings_and_sessions_each_get_a_share_of_every_run(books: Books, forged: str) -> None:
    meeting = books.vonage.hold_meeting()
    if forged == "recordings":
        books.vonage.settings(refused_ids="forged")
        for n in range(FORGED):
            books.hear(a_start(f"forged-{n}"), NOW - 8 * HOUR)
        books.hear_all(
            [b for b in meeting["callbacks"] if b["event"] == "session:ended"], NOW - GRACE
        )
    else:
        forge_sessions(books, FORGED, NOW - 8 * HOUR)
        received = [b for b in meeting["callbacks"] if b["event"] == "recording:started"]
        books.hear_all(received, NOW - GRACE)

    reconcile(books, limit=CAPACITY)

    found = books.store.recordings.get(meeting["recording_ids"][0])
    assert found is not None
    assert found.status == "uploaded"


def test_forged_recordings_and_sessions_cost_a_tenth_of_a_run_after_their_first_attempt(
    books: Books,
) -> None:
    books.vonage.settings(refused_ids="forged")
    for n in range(CAPACITY):
        books.hear(a_start(f"forged-{n}", f"forged-{n}"), NOW - 8 * HOUR)
    forge_sessions(books, CAPACITY, NOW - 8 * HOUR)
    reconcile(books)

    reconciliation, summary = reconcile(books, NOW + 2 * HOUR)

    assert summary.outcomes == {"failed": CAPACITY // 10}
    assert reconciliation.deferred == CAPACITY // 10


def test_known_recordings_are_confirmed_by_the_list_of_their_session(books: Books) -> None:
    meeting = books.vonage.hold_meeting(recordings=2)
    books.hear_all(meeting["callbacks"], NOW - 7 * HOUR)
    books.hear(an_upload("forged", meeting["session_id"]), NOW - 7 * HOUR)

    reconcile(books)

    assert set(deferred(books, "confirmed", NOW)) == set(meeting["recording_ids"])
    assert deferred(books, "retained", NOW) == ["forged"]
    assert "confirmed_at" in books.item(f"SESSION#{meeting['session_id']}")
    assert "confirmed_at" not in books.item("RECORDING#forged")


def test_a_session_that_vonage_does_not_know_is_not_confirmed(books: Books) -> None:
    books.hear(a_session("unknown"), NOW - 7 * HOUR)
    reconcile(books)
    assert "confirmed_at" not in books.item("SESSION#unknown")


def test_a_confirmation_is_one_write_and_no_event(books: Books) -> None:
    meeting = books.vonage.hold_meeting()
    key = f"RECORDING#{meeting['recording_ids'][0]}"
    books.hear_all(meeting["callbacks"], NOW - 7 * HOUR)
    before = books.item(key)

    reconcile(books)

    after = books.item(key)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed == {"worklist", "confirmed_at"}
    known = books.store.recordings.get(meeting["recording_ids"][0])
    assert known is not None
    assert not books.store.recordings.confirm(known, NOW + HOUR)


def test_a_deferred_recording_that_vonage_returns_is_back_on_its_worklist(
    books: Books,
) -> None:
    recording_id = a_started_meeting(books, NOW - 7 * HOUR)
    books.vonage.fault("*", status=400, times=1)
    reconcile(books)
    assert deferred(books, "deferred_awaiting_upload", NOW + HOUR) == [recording_id]

    assert reconcile(books, NOW + HOUR)[1].outcomes == {"waiting": 1}

    [entry] = books.store.worklists.read("awaiting_upload", NOW)
    assert entry.since == NOW - 7 * HOUR
    assert not {"attempts", "queued_at"} & books.item(f"RECORDING#{recording_id}").keys()


def test_a_deferred_upload_that_vonage_returns_is_deferred_as_confirmed(
    books: Books,
) -> None:
    meeting = books.vonage.hold_meeting()
    [recording_id] = meeting["recording_ids"]
    books.hear_all(meeting["callbacks"], MONTH_AGO - DAY, "session:ended", "session:started")
    books.vonage.fault("delete_recording", status=400, times=1)
    clean(books)
    books.hear_all(meeting["callbacks"], NOW - 7 * HOUR)

    reconcile(books)

    assert deferred(books, "deferred_confirmed", NOW + HOUR) == [recording_id]


# --- waiting ends ---------------------------------------------------------------------------------


class WithEvent:
    """A client for which every recording has the given event as its latest."""

    def __init__(self, client: MeetingsClient, event: str) -> None:
        self._client, self._event = client, event

    def in_session(self, session_id: str) -> Listed | None:
        listed = self._client.in_session(session_id)
        if listed is None:
            return None
        found = [msgspec.structs.replace(each, event=self._event) for each in listed.found]
        return Listed(found)


def a_started_meeting(books: Books, at: datetime) -> str:
    meeting = books.vonage.hold_meeting(upload=False)
    books.hear_all([b for b in meeting["callbacks"] if b["event"] == "recording:started"], at)
    recording_id: str = meeting["recording_ids"][0]
    return recording_id


@pytest.mark.parametrize(
    ("event", "waited", "outcome"),
    [
        ("recording:failed", 7 * HOUR, "never_uploaded"),
        ("recording:expired", 7 * HOUR, "lost"),
        ("recording:started", 7 * HOUR, "waiting"),
        ("recording:started", GRACE + UPLOAD_TIMEOUT - HOUR, "waiting"),
        ("recording:started", GRACE + UPLOAD_TIMEOUT, "never_uploaded"),
        ("recording:ended", GRACE + UPLOAD_TIMEOUT, "never_uploaded"),
    ],
)
def test_waiting_for_an_upload_ends_with_a_failure_or_a_timeout(
    books: Books, event: str, waited: timedelta, outcome: str
) -> None:
    recording_id = a_started_meeting(books, NOW - waited)

    assert reconcile(books, client=WithEvent(books.client, event))[1].outcomes == {outcome: 1}

    again = reconcile(books, client=WithEvent(books.client, event))[1]
    assert again.processed == (outcome == "waiting")
    item = books.item(f"RECORDING#{recording_id}")
    assert ("ttl" in item) == (outcome != "waiting")


def test_an_upload_received_after_giving_up_counts(books: Books) -> None:
    recording_id = a_started_meeting(books, NOW - GRACE - UPLOAD_TIMEOUT)
    reconcile(books)
    assert "N" in books.item(f"RECORDING#{recording_id}")["ttl"]

    books.hear(an_upload(recording_id), NOW)

    assert books.item(f"RECORDING#{recording_id}")["ttl"] == {"NULL": True}
    assert deferred(books, "retained", NOW) == [recording_id]


@pytest.mark.parametrize("kind", ["recording", "session"])
def test_items_that_vonage_refuses_for_a_month_are_given_up(books: Books, kind: str) -> None:
    books.vonage.settings(refused_ids="forged")
    books.hear(a_start("forged") if kind == "recording" else a_session("forged"), NOW - 7 * HOUR)
    reconcile(books)

    reconcile(books, NOW + UPLOAD_TIMEOUT)

    item = books.item(f"{kind.upper()}#forged")
    assert "worklist" not in item
    assert "ttl" in item
    assert reconcile(books, NOW + UPLOAD_TIMEOUT + 2 * DAY)[1].processed == 0


def test_lost_recordings_leave_the_table_unless_they_are_on_hold(books: Books) -> None:
    for recording_id in ("lost", "on_hold"):
        books.hear(a_start(recording_id), NOW - 7 * HOUR)
    books.store.recordings.hold("on_hold", "a court order", "legal", NOW)

    assert reconcile(books)[1].outcomes == {"lost": 2}

    assert books.item("RECORDING#lost")["ttl"] == {"N": str(int((NOW + 90 * DAY).timestamp()))}
    assert "ttl" not in books.item("RECORDING#on_hold")


def test_a_hold_keeps_a_lost_recording_in_the_table(books: Books) -> None:
    books.hear(a_start("lost"), NOW - 7 * HOUR)
    reconcile(books)

    books.store.recordings.hold("lost", "a court order", "legal", NOW)

    assert "ttl" not in books.item("RECORDING#lost")


# --- one invalid element --------------------------------------------------------------------------


class WithInvalidRecording:
    """A client whose lists have an additional invalid recording."""

    def __init__(self, client: MeetingsClient) -> None:
        self._client = client

    def in_session(self, session_id: str) -> Listed | None:
        listed = self._client.in_session(session_id)
        assert listed is not None
        return Listed(listed.found, ["recording bad: no status"])


def test_an_invalid_recording_counts_as_failed_and_the_others_are_stored(
    books: Books,
) -> None:
    meeting = books.vonage.hold_meeting(recordings=2)
    books.hear_all([b for b in meeting["callbacks"] if b["event"] == "session:ended"], NOW - GRACE)

    reconciliation, summary = reconcile(books, client=WithInvalidRecording(books.client))

    assert (summary.outcomes, reconciliation.discovered) == ({"failed": 1}, 2)
    assert "recording bad" in summary.sample_errors[0]
    assert reconcile(books, NOW + HOUR)[1].outcomes == {"session_checked": 1}


def known(books: Books, ids: Iterable[str]) -> dict[str, Recording]:
    return books.store.recordings.get_many(ids)


def test_items_of_earlier_versions_are_read_without_newer_attributes(books: Books) -> None:
    [recording_id] = books.uploaded(1, NOW)
    item = books.item(f"RECORDING#{recording_id}")
    del item["received_at"]
    books.dynamodb.put_item(TableName="books", Item=item)
    [recording] = known(books, [recording_id]).values()
    assert msgspec.structs.asdict(recording)["received_at"] is None


def test_an_entry_that_left_its_worklist_is_not_deferred(books: Books) -> None:
    books.hear(a_start("forged"), NOW - 7 * HOUR)
    [entry] = books.store.worklists.read("awaiting_upload", NOW)
    books.hear(an_upload("forged"), NOW)

    assert not books.store.worklists.defer(entry, NOW, lambda _: HOUR, confirmed=False)
    assert deferred(books, "retained", NOW) == ["forged"]
