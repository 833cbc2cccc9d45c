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
from tests.support.env import NOW, TABLE, Env, an_upload

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
GRACE = 6 * HOUR
MONTH_AGO = NOW - 30 * DAY
CAPACITY = 10
"""The number of items that a run can process in these tests."""
FORGED = 3 * CAPACITY


class SmallRun(Run[OptionsT], frozen=True, kw_only=True):
    """A run that can process CAPACITY items, even without a limit."""

    @property
    def deferred_at_most(self) -> int:
        return CAPACITY // 10


def a_run(options: OptionsT, now: datetime, *, dry_run: bool = False) -> Run[OptionsT]:
    limits = Limits(concurrency=4, per_second=100_000.0, deadline=deadline_in(300.0))
    return SmallRun(options=options, dry_run=dry_run, limits=limits, call_seconds=1.0, now=now)


def clean(
    env: Env, now: datetime = NOW, *, limit: int | None = None, dry_run: bool = False
) -> tuple[Cleanup, Summary]:
    """Delete what was uploaded a month before `now` or earlier."""
    run = a_run(CleanupOptions(limit=limit), now, dry_run=dry_run)
    cleanup = Cleanup(run, env.store, {"meetings": env.client}, retention=30 * DAY)
    return cleanup, cleanup.run().summary


def reconcile(
    env: Env, now: datetime = NOW, *, limit: int | None = None, client: Any = None
) -> tuple[Reconciliation, Summary]:
    run = a_run(ReconciliationOptions(limit=limit), now)
    apis: Any = {"meetings": client or env.client}
    reconciliation = Reconciliation(run, env.store, apis, grace=GRACE)
    return reconciliation, reconciliation.run().summary


def forge(env: Env, count: int, at: datetime, spread: timedelta = timedelta(0)) -> list[str]:
    """Receive uploads of recordings that Vonage refuses requests for, at times around `at`."""
    env.vonage.settings(refused_ids="forged")
    ids = [f"forged-{n}" for n in range(count)]
    for n, recording_id in enumerate(ids):
        moment = at + spread * (2 * n / count - 1)
        env.receive(an_upload(recording_id, f"forged-session-{n}"), moment)
    return ids


def forge_sessions(env: Env, count: int, at: datetime) -> None:
    env.vonage.settings(refused_ids="forged")
    for n in range(count):
        env.receive(a_session(f"forged-{n}"), at)


def a_session(session_id: str, event: str = "session:ended") -> dict[str, Any]:
    times = {"started_at": "2026-06-01T10:00:00Z", "ended_at": "2026-06-01T11:00:00Z"}
    return {"event": event, "session_id": session_id, "room_id": "room", **times}


def a_start(recording_id: str, session_id: str = "s") -> dict[str, Any]:
    event = "recording:started"
    return {"event": event, "recording_id": recording_id, "session_id": session_id}


def deferred(env: Env, worklist: Any, until: datetime) -> list[str]:
    return [each.id for each in env.store.worklists.read(worklist, until)]


def requests_for(env: Env, prefix: str) -> int:
    return sum(prefix in each["path"] for each in env.vonage.requests())


# --- cleanup --------------------------------------------------------------------------------------


def test_a_confirmed_recording_among_forged_ones_is_deleted_by_the_first_run(env: Env) -> None:
    meeting = env.vonage.hold_meeting()
    [real] = meeting["recording_ids"]
    env.receive_all(meeting["callbacks"], MONTH_AGO - DAY)
    reconcile(env, MONTH_AGO - DAY + 7 * HOUR)
    forge(env, FORGED, MONTH_AGO - 2 * DAY, DAY + 23 * HOUR)

    _, summary = clean(env, limit=CAPACITY)

    assert real not in env.left_at_vonage()
    assert summary.outcomes == {"deleted": 1, "failed": CAPACITY - 1}
    assert summary.stopped_by is None


def test_an_unconfirmed_recording_waits_for_each_forged_one_only_once(env: Env) -> None:
    forge(env, CAPACITY, MONTH_AGO - 2 * DAY)
    [real] = env.uploaded(1, MONTH_AGO - DAY)

    clean(env, limit=CAPACITY)
    assert real in env.left_at_vonage()
    clean(env, NOW + HOUR, limit=CAPACITY)

    assert real not in env.left_at_vonage()


def test_forged_recordings_cost_at_most_a_tenth_of_a_run_after_their_first_attempt(
    env: Env,
) -> None:
    forge(env, CAPACITY, MONTH_AGO - DAY)
    costs = []
    for run in range(4):
        before = requests_for(env, "forged")
        clean(env, NOW + run * HOUR, limit=CAPACITY)
        costs.append(requests_for(env, "forged") - before)

    assert costs[0] == CAPACITY
    assert all(cost <= CAPACITY / 10 for cost in costs[1:])


def test_deferred_recordings_get_a_tenth_of_a_run_and_the_others_the_rest(env: Env) -> None:
    forge(env, CAPACITY, MONTH_AGO - DAY)
    clean(env)
    real = env.uploaded(CAPACITY, MONTH_AGO - DAY)

    _, summary = clean(env, NOW + 2 * HOUR, limit=CAPACITY)

    assert summary.outcomes == {"deleted": CAPACITY - CAPACITY // 10, "failed": CAPACITY // 10}
    assert len(set(real) & env.left_at_vonage()) == CAPACITY // 10


def test_repeated_failures_are_retried_with_backoff_up_to_a_day(env: Env) -> None:
    [forged] = forge(env, 1, MONTH_AGO - DAY)
    now, waits = NOW, []
    for attempt in range(1, 8):
        assert clean(env, now)[1].outcomes == {"failed": 1}
        item = env.item(f"RECORDING#{forged}")
        assert item["attempts"] == {"N": str(attempt)}
        [entry] = env.store.worklists.read("deferred_retained", now + MAX_DELAY)
        waits.append(entry.since - now)
        assert clean(env, entry.since - timedelta(seconds=1))[1].processed == 0
        now = entry.since

    max_hours = [1, 2, 4, 8, 16, 24, 24]
    assert all(
        hours * HOUR / 2 <= wait <= hours * HOUR
        for hours, wait in zip(max_hours, waits, strict=True)
    )


def test_a_deferral_is_one_write_and_no_event(env: Env) -> None:
    [forged] = forge(env, 1, MONTH_AGO - DAY)
    before = env.item(f"RECORDING#{forged}")

    cleanup, _ = clean(env)

    after = env.item(f"RECORDING#{forged}")
    assert cleanup.deferred == 1
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed == {"worklist", "since", "attempts", "queued_at"}
    assert after["queued_at"] == before["since"]
    change = {"ApproximateCreationDateTime": 0, "Keys": {"pk": after["pk"]}}
    record = {"eventName": "MODIFY", "dynamodb": change | {"OldImage": before, "NewImage": after}}
    assert store.events_due(record) == []


def test_a_deferred_recording_is_deleted_when_vonage_allows_it_and_its_deferral_is_cleared(
    env: Env,
) -> None:
    [recording_id] = env.uploaded(1, MONTH_AGO - DAY)
    env.vonage.fault("delete_recording", status=400, times=1)
    assert clean(env)[1].outcomes == {"failed": 1}

    assert clean(env, NOW + HOUR)[1].outcomes == {"deleted": 1}

    item = env.item(f"RECORDING#{recording_id}")
    assert not {"worklist", "since", "attempts", "queued_at"} & item.keys()


def test_a_new_upload_clears_a_recordings_deferral(env: Env) -> None:
    env.receive(a_start("forged"), NOW - 7 * HOUR)
    env.vonage.settings(refused_ids="forged")
    reconcile(env)
    assert deferred(env, "deferred_awaiting_upload", NOW + HOUR) == ["forged"]

    env.receive(an_upload("forged"), NOW)

    assert deferred(env, "retained", NOW) == ["forged"]
    assert not {"attempts", "queued_at"} & env.item("RECORDING#forged").keys()


def test_a_deferred_recording_on_hold_causes_no_request(env: Env) -> None:
    [forged] = forge(env, 1, MONTH_AGO - DAY)
    clean(env)
    env.store.recordings.hold(forged, "a court order", "legal", NOW)
    asked = requests_for(env, "forged")

    cleanup, summary = clean(env, NOW + HOUR)

    assert (cleanup.on_hold, summary.processed, requests_for(env, "forged")) == (1, 0, asked)


def test_deferred_recordings_on_hold_take_no_share_from_the_others(env: Env) -> None:
    forge(env, 3, MONTH_AGO - DAY)
    clean(env)
    first, second, _third = deferred(env, "deferred_retained", NOW + HOUR)
    for recording_id in (first, second):
        env.store.recordings.hold(recording_id, "cannot be deleted", "legal", NOW)

    cleanup, summary = clean(env, NOW + HOUR)

    assert (cleanup.on_hold, summary.outcomes) == (2, {"failed": 1})
    assert deferred(env, "deferred_retained", NOW + HOUR) == [first, second]


def test_a_deferred_recording_is_not_deleted_within_a_longer_retention(
    env: Env,
) -> None:
    [recording_id] = env.uploaded(1, MONTH_AGO - DAY)
    env.vonage.fault("delete_recording", status=400, times=1)
    clean(env)
    later = NOW + 2 * HOUR

    run = a_run(CleanupOptions(), later)
    longer = Cleanup(run, env.store, {"meetings": env.client}, retention=60 * DAY)
    assert list(longer.items()) == []

    assert env.left_at_vonage() == {recording_id}


def test_a_dry_run_defers_nothing_and_lists_deferred_recordings_with_their_upload_time(
    env: Env,
) -> None:
    [recording_id] = env.uploaded(1, MONTH_AGO - DAY)
    env.vonage.fault("delete_recording", status=400, times=1)
    clean(env)
    before = env.item(f"RECORDING#{recording_id}")

    cleanup, _ = clean(env, NOW + HOUR, dry_run=True)

    [plan] = cleanup.planned
    assert plan == {"recording_id": recording_id, "uploaded_at": "2026-05-31T12:00:00.000Z"}
    assert (env.item(f"RECORDING#{recording_id}"), cleanup.deferred) == (before, 0)


def test_a_corrupt_item_is_deferred(env: Env) -> None:
    [recording_id] = env.uploaded(1, MONTH_AGO - DAY)
    item = env.item(f"RECORDING#{recording_id}") | {"seen": {"N": "5"}}
    env.dynamodb.put_item(TableName=TABLE, Item=item)

    assert clean(env)[1].outcomes == {"failed": 1}

    assert deferred(env, "deferred_retained", NOW + HOUR) == [recording_id]


def test_an_entry_with_a_corrupt_time_does_not_block_the_others(
    env: Env, caplog: pytest.LogCaptureFixture
) -> None:
    corrupt, valid = env.uploaded(2, MONTH_AGO - DAY)
    item = env.item(f"RECORDING#{corrupt}") | {"since": {"S": "2020-01-01, noon"}}
    env.dynamodb.put_item(TableName=TABLE, Item=item)

    assert clean(env)[1].outcomes == {"deleted": 1}

    assert env.left_at_vonage() == {corrupt}
    assert valid not in caplog.text
    assert f"RECORDING#{corrupt} is corrupt" in caplog.text


@pytest.mark.parametrize("corrupt", [{"attempts": {"S": "many"}}, {"queued_at": {"S": "noon"}}])
def test_a_corrupt_deferral_is_deferred_again(env: Env, corrupt: Any) -> None:
    env.vonage.settings(refused_ids="forged")
    env.receive(a_start("forged"), NOW - 7 * HOUR)
    reconcile(env)
    env.dynamodb.put_item(TableName=TABLE, Item=env.item("RECORDING#forged") | corrupt)

    assert reconcile(env, NOW + 2 * HOUR)[1].outcomes == {"failed": 1}

    assert deferred(env, "deferred_awaiting_upload", NOW + 2 * HOUR) == []
    assert deferred(env, "deferred_awaiting_upload", NOW + 2 * DAY) == ["forged"]


# --- Vonage's refusals ----------------------------------------------------------------------------


def test_an_uploaded_recording_that_vonage_refuses_to_delete_is_a_failure(env: Env) -> None:
    [recording_id] = env.uploaded(1, MONTH_AGO - DAY)
    env.vonage.fault("delete_recording", status=403)

    _, summary = clean(env)

    assert summary.outcomes == {"failed": 1}
    assert "refuses to delete" in summary.sample_errors[0]
    assert deferred(env, "deferred_confirmed", NOW + HOUR) == [recording_id]


@pytest.mark.parametrize("status", [403, 409, 400])
def test_an_error_that_is_not_in_vonages_format_ends_the_run_without_deferrals(
    env: Env, status: int
) -> None:
    ids = env.uploaded(30, MONTH_AGO - DAY)
    env.vonage.fault("delete_recording", status=status, body="<h1>Forbidden</h1>")

    _, summary = clean(env)

    assert summary.stopped_by == "failures"
    assert summary.outcomes["not_deletable_yet"] == 0
    assert set(deferred(env, "retained", NOW)) == set(ids)


# --- reconciliation -------------------------------------------------------------------------------


@pytest.mark.parametrize("forged", ["recordings", "sessions"])
def test_recordings_and_sessions_each_get_a_share_of_every_run(env: Env, forged: str) -> None:
    meeting = env.vonage.hold_meeting()
    if forged == "recordings":
        env.vonage.settings(refused_ids="forged")
        for n in range(FORGED):
            env.receive(a_start(f"forged-{n}"), NOW - 8 * HOUR)
        env.receive_all(
            [b for b in meeting["callbacks"] if b["event"] == "session:ended"], NOW - GRACE
        )
    else:
        forge_sessions(env, FORGED, NOW - 8 * HOUR)
        received = [b for b in meeting["callbacks"] if b["event"] == "recording:started"]
        env.receive_all(received, NOW - GRACE)

    reconcile(env, limit=CAPACITY)

    found = env.store.recordings.get(meeting["recording_ids"][0])
    assert found is not None
    assert found.status == "uploaded"


def test_forged_recordings_and_sessions_cost_a_tenth_of_a_run_after_their_first_attempt(
    env: Env,
) -> None:
    env.vonage.settings(refused_ids="forged")
    for n in range(CAPACITY):
        env.receive(a_start(f"forged-{n}", f"forged-{n}"), NOW - 8 * HOUR)
    forge_sessions(env, CAPACITY, NOW - 8 * HOUR)
    reconcile(env)

    reconciliation, summary = reconcile(env, NOW + 2 * HOUR)

    assert summary.outcomes == {"failed": CAPACITY // 10}
    assert reconciliation.deferred == CAPACITY // 10


def test_known_recordings_are_confirmed_by_the_list_of_their_session(env: Env) -> None:
    meeting = env.vonage.hold_meeting(recordings=2)
    env.receive_all(meeting["callbacks"], NOW - 7 * HOUR)
    env.receive(an_upload("forged", meeting["session_id"]), NOW - 7 * HOUR)

    reconcile(env)

    assert set(deferred(env, "confirmed", NOW)) == set(meeting["recording_ids"])
    assert deferred(env, "retained", NOW) == ["forged"]
    assert "confirmed_at" in env.item(f"SESSION#{meeting['session_id']}")
    assert "confirmed_at" not in env.item("RECORDING#forged")


def test_a_session_that_vonage_does_not_know_is_not_confirmed(env: Env) -> None:
    env.receive(a_session("unknown"), NOW - 7 * HOUR)
    reconcile(env)
    assert "confirmed_at" not in env.item("SESSION#unknown")


def test_a_confirmation_is_one_write_and_no_event(env: Env) -> None:
    meeting = env.vonage.hold_meeting()
    key = f"RECORDING#{meeting['recording_ids'][0]}"
    env.receive_all(meeting["callbacks"], NOW - 7 * HOUR)
    before = env.item(key)

    reconcile(env)

    after = env.item(key)
    changed = {name for name in {*before, *after} if before.get(name) != after.get(name)}
    assert changed == {"worklist", "confirmed_at"}
    known = env.store.recordings.get(meeting["recording_ids"][0])
    assert known is not None
    assert not env.store.recordings.confirm(known, NOW + HOUR)


def test_a_deferred_recording_that_vonage_returns_is_back_on_its_worklist(
    env: Env,
) -> None:
    recording_id = a_started_meeting(env, NOW - 7 * HOUR)
    env.vonage.fault("*", status=400, times=1)
    reconcile(env)
    assert deferred(env, "deferred_awaiting_upload", NOW + HOUR) == [recording_id]

    assert reconcile(env, NOW + HOUR)[1].outcomes == {"waiting": 1}

    [entry] = env.store.worklists.read("awaiting_upload", NOW)
    assert entry.since == NOW - 7 * HOUR
    assert not {"attempts", "queued_at"} & env.item(f"RECORDING#{recording_id}").keys()


def test_a_deferred_upload_that_vonage_returns_is_deferred_as_confirmed(
    env: Env,
) -> None:
    meeting = env.vonage.hold_meeting()
    [recording_id] = meeting["recording_ids"]
    env.receive_all(meeting["callbacks"], MONTH_AGO - DAY, "session:ended", "session:started")
    env.vonage.fault("delete_recording", status=400, times=1)
    clean(env)
    env.receive_all(meeting["callbacks"], NOW - 7 * HOUR)

    reconcile(env)

    assert deferred(env, "deferred_confirmed", NOW + HOUR) == [recording_id]


# --- waiting ends ---------------------------------------------------------------------------------


class WithEvent:
    """A client for which every recording has the given event as its latest."""

    def __init__(self, client: MeetingsClient, event: str) -> None:
        self._client, self._event = client, event
        self.all_since = client.all_since

    def in_session(self, session_id: str) -> Listed | None:
        listed = self._client.in_session(session_id)
        if listed is None:
            return None
        found = [msgspec.structs.replace(each, event=self._event) for each in listed.found]
        return Listed(found)


def a_started_meeting(env: Env, at: datetime) -> str:
    meeting = env.vonage.hold_meeting(upload=False)
    env.receive_all([b for b in meeting["callbacks"] if b["event"] == "recording:started"], at)
    recording_id: str = meeting["recording_ids"][0]
    return recording_id


@pytest.mark.parametrize(
    ("event", "waited", "outcome"),
    [
        ("recording:failed", 7 * HOUR, "never_uploaded"),
        ("recording:expired", 7 * HOUR, "expired"),
        ("recording:started", 7 * HOUR, "waiting"),
        ("recording:started", GRACE + UPLOAD_TIMEOUT - HOUR, "waiting"),
        ("recording:started", GRACE + UPLOAD_TIMEOUT, "never_uploaded"),
        ("recording:ended", GRACE + UPLOAD_TIMEOUT, "never_uploaded"),
    ],
)
def test_waiting_for_an_upload_ends_with_a_failure_or_a_timeout(
    env: Env, event: str, waited: timedelta, outcome: str
) -> None:
    recording_id = a_started_meeting(env, NOW - waited)

    assert reconcile(env, client=WithEvent(env.client, event))[1].outcomes == {outcome: 1}

    again = reconcile(env, client=WithEvent(env.client, event))[1]
    assert again.processed == (outcome == "waiting")
    item = env.item(f"RECORDING#{recording_id}")
    assert ("ttl" in item) == (outcome != "waiting")


def test_an_upload_received_after_giving_up_counts(env: Env) -> None:
    recording_id = a_started_meeting(env, NOW - GRACE - UPLOAD_TIMEOUT)
    reconcile(env)
    assert "N" in env.item(f"RECORDING#{recording_id}")["ttl"]

    env.receive(an_upload(recording_id), NOW)

    assert env.item(f"RECORDING#{recording_id}")["ttl"] == {"NULL": True}
    assert deferred(env, "retained", NOW) == [recording_id]


@pytest.mark.parametrize("kind", ["recording", "session"])
def test_items_that_vonage_refuses_for_a_month_are_given_up(env: Env, kind: str) -> None:
    env.vonage.settings(refused_ids="forged")
    env.receive(a_start("forged") if kind == "recording" else a_session("forged"), NOW - 7 * HOUR)
    reconcile(env)

    reconcile(env, NOW + UPLOAD_TIMEOUT)

    item = env.item(f"{kind.upper()}#forged")
    assert "worklist" not in item
    assert "ttl" in item
    assert reconcile(env, NOW + UPLOAD_TIMEOUT + 2 * DAY)[1].processed == 0


def test_lost_recordings_leave_the_table_unless_they_are_on_hold(env: Env) -> None:
    for recording_id in ("lost", "on_hold"):
        env.receive(a_start(recording_id), NOW - 7 * HOUR)
    env.store.recordings.hold("on_hold", "a court order", "legal", NOW)

    assert reconcile(env)[1].outcomes == {"lost": 2}

    assert env.item("RECORDING#lost")["ttl"] == {"N": str(int((NOW + 90 * DAY).timestamp()))}
    assert env.item("RECORDING#on_hold")["ttl"] == {"NULL": True}  # which TTL ignores


def test_a_hold_keeps_a_lost_recording_in_the_table(env: Env) -> None:
    env.receive(a_start("lost"), NOW - 7 * HOUR)
    reconcile(env)

    env.store.recordings.hold("lost", "a court order", "legal", NOW)

    assert "ttl" not in env.item("RECORDING#lost")


# --- one invalid element --------------------------------------------------------------------------


class WithInvalidRecording:
    """A client whose lists have an additional invalid recording."""

    def __init__(self, client: MeetingsClient) -> None:
        self._client = client
        self.all_since = client.all_since

    def in_session(self, session_id: str) -> Listed | None:
        listed = self._client.in_session(session_id)
        assert listed is not None
        return Listed(listed.found, ["recording bad: no status"])


def test_an_invalid_recording_counts_as_failed_and_the_others_are_stored(
    env: Env,
) -> None:
    meeting = env.vonage.hold_meeting(recordings=2)
    env.receive_all([b for b in meeting["callbacks"] if b["event"] == "session:ended"], NOW - GRACE)

    reconciliation, summary = reconcile(env, client=WithInvalidRecording(env.client))

    assert (summary.outcomes, reconciliation.discovered) == ({"failed": 1}, 2)
    assert "recording bad" in summary.sample_errors[0]
    assert reconcile(env, NOW + HOUR)[1].outcomes == {"session_checked": 1}


def known(env: Env, ids: Iterable[str]) -> dict[str, Recording]:
    return env.store.recordings.get_many(ids)


def test_items_of_earlier_versions_are_read_without_newer_attributes(env: Env) -> None:
    [recording_id] = env.uploaded(1, NOW)
    item = env.item(f"RECORDING#{recording_id}")
    del item["received_at"]
    env.dynamodb.put_item(TableName=TABLE, Item=item)
    [recording] = known(env, [recording_id]).values()
    assert msgspec.structs.asdict(recording)["received_at"] is None


def test_an_entry_that_left_its_worklist_is_not_deferred(env: Env) -> None:
    env.receive(a_start("forged"), NOW - 7 * HOUR)
    [entry] = env.store.worklists.read("awaiting_upload", NOW)
    env.receive(an_upload("forged"), NOW)

    assert not env.store.worklists.defer(entry, NOW, lambda _: HOUR, confirmed=False)
    assert deferred(env, "retained", NOW) == ["forged"]
