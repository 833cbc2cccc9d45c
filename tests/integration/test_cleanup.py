from datetime import datetime, timedelta
from typing import Any

import pytest

from roomkeeper import store
from roomkeeper.jobs.batch import Limits, Summary, deadline_in
from roomkeeper.jobs.cleanup import Cleanup, CleanupOptions
from roomkeeper.jobs.runner import Run
from tests.support.env import NOW, TABLE, Books, an_upload

DAY = timedelta(days=1)
MONTH_AGO = NOW - 30 * DAY


def clean(
    books: Books, *, dry_run: bool = False, now: datetime = NOW, **limits: Any
) -> tuple[Cleanup, Summary]:
    """Delete what was uploaded a month before `now` or earlier."""
    cleanup = a_cleanup(books, dry_run=dry_run, now=now, **limits)
    return cleanup, cleanup.run().summary


def a_cleanup(
    books: Books, *, dry_run: bool = False, now: datetime = NOW, **limits: Any
) -> Cleanup:
    deadline = deadline_in(limits.pop("seconds", 60.0))
    known = {"concurrency": 4, "per_second": 1000.0, "deadline": deadline} | limits
    run = Run(
        options=CleanupOptions(),
        dry_run=dry_run,
        limits=Limits(**known),
        call_seconds=1.0,
        now=now,
    )
    return Cleanup(run, books.store, {"meetings": books.client}, retention=30 * DAY)


def test_due_recordings_are_deleted_at_vonage_and_kept_in_the_table_until_their_ttl(
    books: Books,
) -> None:
    due = books.uploaded(3, MONTH_AGO - DAY)

    _, summary = clean(books)

    assert summary.outcomes == {"deleted": 3}
    assert books.left_at_vonage() == set()
    recording = books.store.recordings.get(due[0])
    assert recording is not None
    assert (recording.status, recording.deleted_by) == ("deleted", "cleanup")
    item = books.item(f"RECORDING#{due[0]}")
    assert item["ttl"] == {"N": str(int((NOW + 90 * DAY).timestamp()))}
    assert "worklist" not in item


def test_a_recording_exactly_as_old_as_the_retention_is_deleted_and_a_younger_one_is_not(
    books: Books,
) -> None:
    exactly, _younger = books.uploaded(2, MONTH_AGO)

    clean(books)

    assert books.left_at_vonage() == {_younger}
    assert exactly not in books.left_at_vonage()


def test_recordings_on_hold_or_unknown_or_not_uploaded_are_not_deleted(books: Books) -> None:
    held, released = books.uploaded(2, MONTH_AGO - DAY)
    books.store.recordings.hold(held, "a court order", "legal", NOW)
    books.store.recordings.hold(released, "a court order", "legal", NOW)
    books.store.recordings.release(released)
    [unknown] = books.vonage.add_recordings(1)["recording_ids"]
    [awaited] = books.vonage.add_recordings(1)["recording_ids"]
    started = {"event": "recording:started", "recording_id": awaited, "session_id": "s"}
    books.hear(started, MONTH_AGO - DAY)

    cleanup, summary = clean(books)

    assert books.left_at_vonage() == {held, unknown, awaited}
    assert (cleanup.on_hold, summary.outcomes) == (1, {"deleted": 1})


def test_a_hold_set_after_the_worklist_was_read_still_counts(books: Books) -> None:
    [recording_id] = books.uploaded(1, MONTH_AGO - DAY)
    cleanup = a_cleanup(books)
    [due] = cleanup.items()
    books.store.recordings.hold(recording_id, "a court order", "legal", NOW)

    assert cleanup.act(due) == "on_hold"
    assert books.left_at_vonage() == {recording_id}


def test_many_holds_do_not_delay_other_recordings(books: Books) -> None:
    held = books.uploaded(250, MONTH_AGO - 2 * DAY)
    for recording_id in held:
        books.store.recordings.hold(recording_id, "a court order", "legal", NOW)
    books.uploaded(1, MONTH_AGO - DAY)

    cleanup, summary = clean(books, per_second=2.0, seconds=5.0)

    assert (cleanup.on_hold, summary.outcomes) == (250, {"deleted": 1})
    assert books.left_at_vonage() == set(held)


def test_a_recording_already_gone_at_vonage_is_marked_as_deleted_by_vonage(books: Books) -> None:
    books.hear(an_upload("gone"), MONTH_AGO - DAY)

    _, summary = clean(books)

    assert summary.outcomes == {"already_deleted": 1}
    recording = books.store.recordings.get("gone")
    assert recording is not None
    assert recording.deleted_by == "vonage"


def test_a_404_that_is_not_vonages_own_marks_no_recording_as_deleted(books: Books) -> None:
    ids = books.uploaded(30, MONTH_AGO - DAY)
    books.vonage.fault("*", status=404, body="<h1>Not Found</h1>")

    _, summary = clean(books, concurrency=1)

    assert (summary.outcomes, summary.stopped_by) == ({"failed": 20}, "failures")
    assert all(
        recording.deleted_at is None
        for recording_id in ids
        if (recording := books.store.recordings.get(recording_id))
    )


def test_a_deletion_with_a_404_that_is_not_vonages_own_is_a_failure(books: Books) -> None:
    books.hear(an_upload("gone"), MONTH_AGO - DAY)
    books.vonage.fault("delete_recording", status=404, body="<h1>Not Found</h1>")

    assert clean(books)[1].outcomes == {"failed": 1}


@pytest.mark.parametrize("status", [403, 404, 409])
def test_a_recording_that_is_not_deletable_yet_is_deferred_for_every_such_response(
    books: Books, status: int
) -> None:
    [recording_id] = books.vonage.add_recordings(1, status="stopped")["recording_ids"]
    books.hear(an_upload(recording_id), MONTH_AGO - DAY)
    if status == 404:
        name = '{"name": "NotFoundError", "message": "Not found", "status": 404}'
        books.vonage.fault("delete_recording", status=404, body=name)
    elif status == 409:
        books.vonage.fault("delete_recording", status=409)

    _, summary = clean(books)

    assert summary.outcomes == {"not_deletable_yet": 1}
    recording = books.store.recordings.get(recording_id)
    assert recording is not None
    assert recording.deleted_at is None
    assert recording.confirmed_at == NOW
    later = NOW + timedelta(hours=1)
    assert [each.id for each in books.store.worklists.read("deferred_confirmed", later)] == [
        recording_id
    ]


def test_rejected_credentials_stop_the_run_at_once(books: Books) -> None:
    ids = books.uploaded(10, MONTH_AGO - DAY)
    books.vonage.fault("*", status=401)

    _, summary = clean(books, concurrency=1)

    assert (summary.outcomes, summary.stopped_by) == ({"failed": 1}, "unauthorized")
    assert "credentials" in summary.sample_errors[0]
    assert books.left_at_vonage() == set(ids)


def test_a_dry_run_lists_deletions_oldest_first_and_changes_nothing(books: Books) -> None:
    ids = books.uploaded(5, MONTH_AGO - DAY)
    books.store.recordings.hold(ids[2], "a court order", "legal", NOW)
    before = books.item(f"RECORDING#{ids[0]}")

    cleanup, summary = clean(books, dry_run=True)

    assert summary.outcomes == {"would_delete": 4}
    assert [each["recording_id"] for each in cleanup.planned] == [
        *ids[:2],
        *ids[3:],
    ]
    assert cleanup.planned[0]["uploaded_at"] == "2026-05-31T12:00:00.000Z"
    assert set(books.asked("DELETE")) == set()
    assert books.left_at_vonage() == set(ids)
    assert books.item(f"RECORDING#{ids[0]}") == before


def test_a_second_run_finds_nothing_to_do(books: Books) -> None:
    books.uploaded(3, MONTH_AGO - DAY)
    clean(books)

    _, summary = clean(books)

    assert summary.processed == 0
    assert len(books.asked("DELETE")) == 3


def test_a_deletion_that_was_not_marked_is_marked_by_the_next_run(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    [recording_id] = books.uploaded(1, MONTH_AGO - DAY)

    def crash(*_: object) -> bool:
        raise store.StoreUnavailable("a crash between the deletion and its note")

    with monkeypatch.context() as crashing:
        crashing.setattr(books.store, "mark_deleted", crash)
        _, summary = clean(books)
    assert summary.outcomes == {"failed": 1}
    assert books.left_at_vonage() == set()

    _, summary = clean(books)

    assert summary.outcomes == {"already_deleted": 1}
    recording = books.store.recordings.get(recording_id)
    assert recording is not None
    assert recording.status == "deleted"


def test_overlapping_runs_delete_each_recording_once(books: Books) -> None:
    books.uploaded(20, MONTH_AGO - DAY)
    one, other = a_cleanup(books), a_cleanup(books)
    both = [list(one.items()), list(other.items())]

    outcomes = [[one.act(a), other.act(b)] for a, b in zip(*both, strict=True)]

    assert outcomes == [["deleted", "already_deleted"]] * 20
    assert len(books.asked("DELETE")) == 20
    stored = books.dynamodb.scan(TableName=TABLE)["Items"]
    assert all(item["deleted_by"] == {"S": "cleanup"} for item in stored)
