from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest

from roomkeeper import store
from roomkeeper.domain.recordings import Recording, Worklist, WorklistEntry
from roomkeeper.jobs.batch import Limits, Summary, deadline_in
from roomkeeper.jobs.cleanup import Cleanup, CleanupOptions
from roomkeeper.jobs.runner import Run
from roomkeeper.store.worklists import Worklists
from tests.support.env import NOW, TABLE, Env, an_upload

DAY = timedelta(days=1)
MONTH_AGO = NOW - 30 * DAY


def clean(
    env: Env, *, dry_run: bool = False, now: datetime = NOW, **limits: Any
) -> tuple[Cleanup, Summary]:
    """Delete what was uploaded a month before `now` or earlier."""
    cleanup = a_cleanup(env, dry_run=dry_run, now=now, **limits)
    return cleanup, cleanup.run().summary


def a_cleanup(env: Env, *, dry_run: bool = False, now: datetime = NOW, **limits: Any) -> Cleanup:
    deadline = deadline_in(limits.pop("seconds", 600.0))
    known = {"concurrency": 4, "per_second": 1000.0, "deadline": deadline} | limits
    run = Run(
        options=CleanupOptions(),
        dry_run=dry_run,
        limits=Limits(**known),
        call_seconds=1.0,
        now=now,
    )
    return Cleanup(run, env.store, {"meetings": env.client}, retention=30 * DAY)


def test_due_recordings_are_deleted_at_vonage_and_kept_in_the_table_until_their_ttl(
    env: Env,
) -> None:
    due = env.uploaded(3, MONTH_AGO - DAY)

    _, summary = clean(env)

    assert summary.outcomes == {"deleted": 3}
    assert env.left_at_vonage() == set()
    recording = env.store.recordings.get(due[0])
    assert recording is not None
    assert (recording.status, recording.deleted_by) == ("deleted", "cleanup")
    item = env.item(f"RECORDING#{due[0]}")
    assert item["ttl"] == {"N": str(int((NOW + 90 * DAY).timestamp()))}
    assert "worklist" not in item


def test_a_worklist_that_was_counted_as_empty_is_not_read(
    env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.uploaded(1, MONTH_AGO - DAY)
    read: list[str] = []
    read_worklist = Worklists.read

    def noting(self: Worklists, worklist: Worklist, *times: datetime) -> Iterator[WorklistEntry]:
        read.append(worklist)
        return read_worklist(self, worklist, *times)

    monkeypatch.setattr(Worklists, "read", noting)

    _, summary = clean(env)

    assert (read, summary.outcomes) == (["retained"], {"deleted": 1})


def test_a_recording_exactly_as_old_as_the_retention_is_deleted_and_a_younger_one_is_not(
    env: Env,
) -> None:
    exactly, _younger = env.uploaded(2, MONTH_AGO)

    clean(env)

    assert env.left_at_vonage() == {_younger}
    assert exactly not in env.left_at_vonage()


def test_recordings_on_hold_or_unknown_or_not_uploaded_are_not_deleted(env: Env) -> None:
    on_hold, released = env.uploaded(2, MONTH_AGO - DAY)
    env.store.recordings.hold(on_hold, "a court order", "legal", NOW)
    env.store.recordings.hold(released, "a court order", "legal", NOW)
    [held_before] = env.store.recordings.get_many([released]).values()
    env.store.recordings.release(held_before, ttl=None)
    [unknown] = env.vonage.add_recordings(1)["recording_ids"]
    [awaited] = env.vonage.add_recordings(1)["recording_ids"]
    started = {"event": "recording:started", "recording_id": awaited, "session_id": "s"}
    env.receive(started, MONTH_AGO - DAY)

    cleanup, summary = clean(env)

    assert env.left_at_vonage() == {on_hold, unknown, awaited}
    assert (cleanup.on_hold, summary.outcomes) == (1, {"deleted": 1})


def test_a_hold_set_after_the_worklist_was_read_still_counts(env: Env) -> None:
    [recording_id] = env.uploaded(1, MONTH_AGO - DAY)
    cleanup = a_cleanup(env)
    [due] = cleanup.items()
    env.store.recordings.hold(recording_id, "a court order", "legal", NOW)

    assert cleanup.act(due) == "on_hold"
    assert env.left_at_vonage() == {recording_id}


def test_many_holds_do_not_delay_other_recordings(env: Env) -> None:
    on_hold = env.uploaded(20, MONTH_AGO - 2 * DAY)
    for recording_id in on_hold:
        env.store.recordings.hold(recording_id, "a court order", "legal", NOW)
    env.uploaded(1, MONTH_AGO - DAY)

    cleanup, summary = clean(env, per_second=0.001, seconds=60.0)  # one start

    assert (cleanup.on_hold, summary.outcomes) == (20, {"deleted": 1})
    assert env.left_at_vonage() == set(on_hold)


def test_a_recording_already_gone_at_vonage_is_marked_as_deleted_by_vonage(env: Env) -> None:
    env.receive(an_upload("gone"), MONTH_AGO - DAY)

    _, summary = clean(env)

    assert summary.outcomes == {"already_deleted": 1}
    recording = env.store.recordings.get("gone")
    assert recording is not None
    assert recording.deleted_by == "vonage"


def test_a_404_that_is_not_vonages_own_marks_no_recording_as_deleted(env: Env) -> None:
    ids = env.uploaded(30, MONTH_AGO - DAY)
    env.vonage.fault("*", status=404, body="<h1>Not Found</h1>")

    _, summary = clean(env, concurrency=1)

    assert (summary.outcomes, summary.stopped_by) == ({"failed": 20}, "failures")
    assert all(
        recording.deleted_at is None
        for recording_id in ids
        if (recording := env.store.recordings.get(recording_id))
    )


def test_a_deletion_with_a_404_that_is_not_vonages_own_is_a_failure(env: Env) -> None:
    env.receive(an_upload("gone"), MONTH_AGO - DAY)
    env.vonage.fault("delete_recording", status=404, body="<h1>Not Found</h1>")

    assert clean(env)[1].outcomes == {"failed": 1}


@pytest.mark.parametrize("status", [403, 404, 409])
def test_a_recording_that_is_not_deletable_yet_is_deferred_for_every_such_response(
    env: Env, status: int
) -> None:
    [recording_id] = env.vonage.add_recordings(1, status="stopped")["recording_ids"]
    env.receive(an_upload(recording_id), MONTH_AGO - DAY)
    if status == 404:
        name = '{"name": "NotFoundError", "message": "Not found", "status": 404}'
        env.vonage.fault("delete_recording", status=404, body=name)
    elif status == 409:
        env.vonage.fault("delete_recording", status=409)

    _, summary = clean(env)

    assert summary.outcomes == {"not_deletable_yet": 1}
    recording = env.store.recordings.get(recording_id)
    assert recording is not None
    assert recording.deleted_at is None
    assert recording.confirmed_at == NOW
    later = NOW + timedelta(hours=1)
    assert [each.id for each in env.store.worklists.read("deferred_confirmed", later)] == [
        recording_id
    ]


def test_rejected_credentials_stop_the_run_at_once(env: Env) -> None:
    ids = env.uploaded(10, MONTH_AGO - DAY)
    env.vonage.fault("*", status=401)

    _, summary = clean(env, concurrency=1)

    assert (summary.outcomes, summary.stopped_by) == ({"failed": 1}, "unauthorized")
    assert "credentials" in summary.sample_errors[0]
    assert env.left_at_vonage() == set(ids)


def test_the_worklist_is_read_no_further_once_no_product_is_left(
    env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.uploaded(350, MONTH_AGO - DAY)
    env.vonage.fault("*", status=401)
    lookups: list[int] = []
    get_many = env.store.recordings.get_many

    def noting(ids: Iterable[str]) -> dict[str, Recording]:
        found = get_many(ids)
        lookups.append(len(found))
        return found

    monkeypatch.setattr(env.store.recordings, "get_many", noting)

    _, summary = clean(env)

    assert summary.stopped_by == "unauthorized"
    assert lookups == [100]


def test_a_dry_run_lists_deletions_oldest_first_and_changes_nothing(env: Env) -> None:
    ids = env.uploaded(5, MONTH_AGO - DAY)
    env.store.recordings.hold(ids[2], "a court order", "legal", NOW)
    before = env.item(f"RECORDING#{ids[0]}")

    cleanup, summary = clean(env, dry_run=True)

    assert summary.outcomes == {"would_delete": 4}
    assert [each["recording_id"] for each in cleanup.planned] == [
        *ids[:2],
        *ids[3:],
    ]
    assert cleanup.planned[0]["uploaded_at"] == "2026-05-31T12:00:00.000Z"
    assert set(env.requested("DELETE")) == set()
    assert env.left_at_vonage() == set(ids)
    assert env.item(f"RECORDING#{ids[0]}") == before


def test_a_second_run_finds_nothing_to_do(env: Env) -> None:
    env.uploaded(3, MONTH_AGO - DAY)
    clean(env)

    _, summary = clean(env)

    assert summary.processed == 0
    assert len(env.requested("DELETE")) == 3


def test_a_deletion_that_was_not_marked_is_marked_by_the_next_run(
    env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    [recording_id] = env.uploaded(1, MONTH_AGO - DAY)

    def crash(*_: object, **__: object) -> bool:
        raise store.StoreUnavailable("a crash between the deletion and its note")

    with monkeypatch.context() as crashing:
        crashing.setattr(env.store.recordings, "mark_deleted", crash)
        _, summary = clean(env)
    assert summary.outcomes == {"failed": 1}
    assert env.left_at_vonage() == set()

    _, summary = clean(env)

    assert summary.outcomes == {"already_deleted": 1}
    recording = env.store.recordings.get(recording_id)
    assert recording is not None
    assert recording.status == "deleted"


def test_overlapping_runs_delete_each_recording_once(env: Env) -> None:
    env.uploaded(20, MONTH_AGO - DAY)
    one, other = a_cleanup(env), a_cleanup(env)
    both = [list(one.items()), list(other.items())]

    outcomes = [[one.act(a), other.act(b)] for a, b in zip(*both, strict=True)]

    assert outcomes == [["deleted", "already_deleted"]] * 20
    assert len(env.requested("DELETE")) == 20
    stored = env.dynamodb.scan(TableName=TABLE)["Items"]
    assert all(item["deleted_by"] == {"S": "cleanup"} for item in stored)
