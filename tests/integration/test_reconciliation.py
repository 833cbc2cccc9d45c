from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from roomkeeper import store
from roomkeeper.callbacks.meetings import RecordingEnded, RecordingStarted, RecordingUploaded
from roomkeeper.jobs.batch import Limits, Summary, deadline_in
from roomkeeper.jobs.reconciliation import InvalidRecordingData, Reconciliation, to_observation
from roomkeeper.jobs.runner import Options, Run, work
from roomkeeper.vonage import Recording, SessionRecordings, VonageClient
from tests.support.env import NOW, Books

HOUR = timedelta(hours=1)
LONG_AGO = NOW - 7 * HOUR
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def reconcile(
    books: Books, *, dry_run: bool = False, client: Any = None, now: datetime = NOW
) -> tuple[Reconciliation, Summary]:
    """Ask about what has waited for six hours."""
    reconciliation = Reconciliation(
        books.store, client or books.client, grace=6 * HOUR, now=now, dry_run=dry_run
    )
    limits = Limits(concurrency=1, per_second=1000.0, deadline=deadline_in(60.0))
    run = Run(options=Options(), dry_run=dry_run, limits=limits, call_seconds=1.0, now=NOW)
    return reconciliation, work(run, reconciliation.due(), reconciliation.act)


def a_meeting(books: Books, **meeting: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Have Vonage hold a meeting; return it and its callbacks, none of which was heard yet."""
    held = books.vonage.hold_meeting(**meeting)
    return held, held["callbacks"]


def events_due(books: Books, key: str) -> list[str]:
    """Return the events that the item's making would have made due, with their origin."""
    image = books.item(key)
    record = {
        "eventName": "INSERT",
        "dynamodb": {
            "ApproximateCreationDateTime": 0,
            "Keys": {"pk": image["pk"]},
            "NewImage": image,
        },
    }
    return [f"{event.name} by {event.metadata.origin}" for event in store.events_due(record)]


def test_a_missed_upload_is_healed_and_told_as_found_out(books: Books) -> None:
    held, callbacks = a_meeting(books)
    [recording_id] = held["recording_ids"]
    books.hear_all(callbacks, LONG_AGO, "recording:uploaded")

    _, summary = reconcile(books)

    assert summary.outcomes == {"recovered": 1, "session_checked": 1}
    recording = books.store.recording(recording_id)
    assert recording is not None
    assert (recording.status, recording.duration) == ("uploaded", 38)
    assert recording.url is not None
    assert recording.uploaded_at == NOW
    assert events_due(books, f"RECORDING#{recording_id}") == [
        "recording:ended by callback",
        "recording:started by callback",
        "recording:uploaded by reconciliation",
    ]
    assert [entry.id for entry in books.store.worklist("confirmed", NOW)] == [recording_id]


def test_a_callback_that_comes_after_the_healing_changes_nothing(books: Books) -> None:
    held, callbacks = a_meeting(books)
    [recording_id] = held["recording_ids"]
    books.hear_all(callbacks, LONG_AGO, "recording:uploaded")
    reconcile(books)
    healed = books.item(f"RECORDING#{recording_id}")

    books.hear_all(callbacks, NOW + HOUR)

    assert books.item(f"RECORDING#{recording_id}") == healed


def test_an_upload_that_is_told_after_the_list_was_read_is_not_asked_about(books: Books) -> None:
    _, callbacks = a_meeting(books)
    books.hear_all(callbacks, LONG_AGO, "recording:uploaded", "session:started", "session:ended")
    reconciliation = Reconciliation(
        books.store, books.client, grace=6 * HOUR, now=NOW, dry_run=False
    )
    [due] = reconciliation.due()
    books.hear_all(callbacks, NOW)

    assert reconciliation.act(due) == "already_resolved"
    assert books.vonage.requests() == []


def test_what_waits_for_less_than_the_grace_time_is_not_asked_about(books: Books) -> None:
    _, callbacks = a_meeting(books)
    books.hear_all(callbacks, NOW - 5 * HOUR, "recording:uploaded")

    _, summary = reconcile(books)

    assert summary.processed == 0
    assert books.vonage.requests() == []


def test_what_vonage_no_longer_has_is_lost_once(books: Books) -> None:
    started = {"event": "recording:started", "recording_id": "lost", "session_id": "s"}
    books.hear(started, LONG_AGO)

    _, summary = reconcile(books)

    assert summary.outcomes == {"lost": 1}
    recording = books.store.recording("lost")
    assert recording is not None
    assert (recording.status, recording.missing_at) == ("lost", NOW)
    assert "recording:lost by reconciliation" in events_due(books, "RECORDING#lost")
    assert reconcile(books)[1].processed == 0


def test_a_recording_that_is_uploaded_while_vonage_is_asked_is_not_told_as_lost(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    books.hear({"event": "recording:started", "recording_id": "r", "session_id": "s"}, LONG_AGO)
    monkeypatch.setattr(books.store, "mark_lost", lambda *_: False)

    assert reconcile(books)[1].outcomes == {"already_resolved": 1}


def test_a_lost_recording_whose_upload_is_told_after_all_is_uploaded(books: Books) -> None:
    held, callbacks = a_meeting(books)
    [recording_id] = held["recording_ids"]
    books.hear_all(callbacks, LONG_AGO, "recording:uploaded", "session:ended", "session:started")
    lost = books.store.recording(recording_id)
    assert lost is not None
    assert books.store.mark_missing(lost, NOW)
    assert "ttl" in books.item(f"RECORDING#{recording_id}")

    books.hear_all(callbacks, NOW)

    recording = books.store.recording(recording_id)
    assert recording is not None
    assert recording.status == "uploaded"
    assert "ttl" not in books.item(f"RECORDING#{recording_id}")
    assert not books.store.mark_missing(recording, NOW)
    assert [entry.id for entry in books.store.worklist("retained", NOW)] == [recording_id]


def test_a_start_told_late_for_a_lost_recording_does_not_have_it_asked_for_ever(
    books: Books,
) -> None:
    ended = {"event": "recording:ended", "recording_id": "r", "session_id": "s", "duration": 1}
    books.hear(
        ended | {"started_at": "2026-07-01T10:00:00Z", "ended_at": "2026-07-01T10:00:01Z"}, LONG_AGO
    )
    reconcile(books)
    books.hear({"event": "recording:started", "recording_id": "r", "session_id": "s"}, LONG_AGO)

    assert reconcile(books)[1].outcomes == {"lost": 1}
    assert reconcile(books)[1].processed == 0


@pytest.mark.parametrize("ongoing", [True, False], ids=["still running", "being processed"])
def test_a_recording_that_is_not_uploaded_yet_waits_on(books: Books, ongoing: bool) -> None:
    held, callbacks = a_meeting(books, ongoing=ongoing, upload=False)
    [recording_id] = held["recording_ids"]
    books.hear_all(callbacks, LONG_AGO)

    _, summary = reconcile(books)

    assert summary.outcomes["waiting"] == 1
    assert [entry.id for entry in books.store.worklist("awaiting_upload", LONG_AGO)] == [
        recording_id
    ]


def test_recordings_of_a_known_session_that_never_announced_themselves_are_adopted(
    books: Books,
) -> None:
    held, callbacks = a_meeting(books, recordings=3)
    _first, *silent = held["recording_ids"]
    heard = [body for body in callbacks if body.get("recording_id") not in silent]
    books.hear_all(heard, LONG_AGO, "recording:uploaded", "session:started", "session:ended")

    reconciliation, summary = reconcile(books)

    assert (summary.outcomes, reconciliation.adopted) == ({"recovered": 1}, 2)
    for recording_id in silent:
        assert events_due(books, f"RECORDING#{recording_id}") == [
            "recording:uploaded by reconciliation"
        ]


@pytest.mark.parametrize(
    ("heard", "waited"), [("session:ended", 7 * HOUR), ("session:started", 31 * HOUR)]
)
def test_a_session_is_asked_for_its_recordings_once(
    books: Books, heard: str, waited: timedelta
) -> None:
    held, callbacks = a_meeting(books, recordings=2)
    books.hear_all([body for body in callbacks if body["event"] == heard], NOW - waited)

    reconciliation, summary = reconcile(books)

    assert (summary.outcomes, reconciliation.adopted) == ({"session_checked": 1}, 2)
    assert {entry.id for entry in books.store.worklist("confirmed", NOW)} == set(
        held["recording_ids"]
    )
    assert reconcile(books)[1].processed == 0


def test_a_session_whose_end_was_not_told_is_given_a_day(books: Books) -> None:
    _, callbacks = a_meeting(books)
    books.hear_all([b for b in callbacks if b["event"] == "session:started"], NOW - 29 * HOUR)

    assert reconcile(books)[1].processed == 0


def test_a_session_that_vonage_does_not_know_is_done_with(books: Books) -> None:
    session = {"event": "session:ended", "session_id": "unknown", "room_id": "room"}
    times = {"started_at": "2026-07-01T04:00:00Z", "ended_at": "2026-07-01T05:00:00Z"}
    books.hear(session | times, LONG_AGO)

    assert reconcile(books)[1].outcomes == {"session_checked": 1}
    assert reconcile(books)[1].processed == 0


@pytest.mark.parametrize("fault", [{"status": 404, "body": "<h1>no</h1>"}, {"status": 500}])
def test_a_failure_loses_nothing_and_leaves_all_for_the_next_run(
    books: Books, fault: dict[str, Any]
) -> None:
    held, callbacks = a_meeting(books)
    books.hear_all(callbacks, LONG_AGO, "recording:uploaded")
    books.vonage.fault("*", **fault)

    assert reconcile(books)[1].outcomes == {"failed": 2}
    books.vonage.clear_faults()

    assert reconcile(books)[1].outcomes == {"recovered": 1, "session_checked": 1}
    assert books.store.recording(held["recording_ids"][0])


def test_a_recording_that_is_told_of_implausibly_holds_up_no_other(books: Books) -> None:
    held, callbacks = a_meeting(books, recordings=4)
    due, odd, *silent = held["recording_ids"]
    heard = [body for body in callbacks if body.get("recording_id") not in (odd, *silent)]
    books.hear_all(heard, LONG_AGO, "recording:uploaded")

    summary = reconcile(books, client=Telling(books.client, without_an_end=odd))[1]

    assert summary.outcomes == {"failed": 2}  # the recording's turn, and its session's
    assert all(f"recording {odd}" in example for example in summary.sample_errors)
    assert {entry.id for entry in books.store.worklist("confirmed", NOW)} == {due, *silent}
    later = NOW + HOUR
    again = reconcile(books, client=Telling(books.client, without_an_end=odd), now=later)[1]
    assert again.outcomes == {"failed": 1}  # the session waits for what it still lacks
    assert reconcile(books, now=later + 2 * HOUR)[1].outcomes == {"session_checked": 1}
    assert books.store.recording(odd)


def test_a_lost_recording_is_lost_whatever_is_told_of_its_sessions_others(books: Books) -> None:
    held, _ = a_meeting(books)
    [odd] = held["recording_ids"]
    started = {"event": "recording:started", "recording_id": "lost"}
    books.hear(started | {"session_id": held["session_id"]}, LONG_AGO)

    reconcile(books, client=Telling(books.client, without_an_end=odd))

    recording = books.store.recording("lost")
    assert recording is not None
    assert recording.status == "lost"


def test_a_due_recording_that_is_told_of_implausibly_holds_up_none_of_its_sessions_others(
    books: Books,
) -> None:
    held, callbacks = a_meeting(books, recordings=2)
    odd, silent = held["recording_ids"]
    books.hear_all([b for b in callbacks if b.get("recording_id") == odd][:1], LONG_AGO)

    summary = reconcile(books, client=Telling(books.client, without_an_end=odd))[1]

    assert summary.outcomes == {"failed": 1}
    assert books.store.recording(silent)


class Telling:
    """A client to whom Vonage tells of one recording that it is uploaded, but not when it ended."""

    def __init__(self, client: VonageClient, *, without_an_end: str) -> None:
        self._client, self._odd = client, without_an_end

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def list_recordings(self, session_id: str) -> SessionRecordings:
        return SessionRecordings(
            [
                replace(each, ended_at=None) if each.id == self._odd else each
                for each in self._client.list_recordings(session_id).found
            ]
        )


def test_a_rehearsal_tells_what_would_be_made_up_for_and_changes_nothing(books: Books) -> None:
    held, callbacks = a_meeting(books, recordings=2)
    known, silent = held["recording_ids"]
    heard = [body for body in callbacks if body.get("recording_id") != silent]
    books.hear_all(heard, LONG_AGO, "recording:uploaded")
    started = {"event": "recording:started", "recording_id": "lost", "session_id": "s"}
    books.hear(started, LONG_AGO)
    before = [books.item(f"RECORDING#{each}") for each in (known, "lost")]

    reconciliation, summary = reconcile(books, dry_run=True)

    assert summary.outcomes == {"recovered": 1, "lost": 1, "session_checked": 1}
    assert reconciliation.adopted == 1
    assert {(plan["event"], plan["recording_id"]) for plan in reconciliation.planned} == {
        ("recording:uploaded", known),
        ("recording:uploaded", silent),
        ("recording:lost", "lost"),
    }
    assert [books.item(f"RECORDING#{each}") for each in (known, "lost")] == before
    assert books.store.recording(silent) is None
    assert books.store.worklist_length("ended_session", NOW) == 1


def found(status: str, **facts: Any) -> Recording:
    told: dict[str, Any] = {"started_at": NOON - HOUR, "ended_at": NOON}
    told["url"] = "https://recordings.example/r?Expires=1"
    return Recording(id="r", session_id="s", status=status, **(told | facts))


@pytest.mark.parametrize(
    ("recording", "kind"),
    [
        (found("started", ended_at=None, url=None), RecordingStarted),
        (found("paused", ended_at=None, url=None), RecordingStarted),
        (found("stopped", url=None), RecordingEnded),
        (found("uploaded"), RecordingUploaded),
    ],
)
def test_what_vonage_says_is_what_a_callback_would_have_told(
    recording: Recording, kind: type[RecordingStarted]
) -> None:
    told = to_observation(recording)

    assert type(told) is kind
    assert (told.recording_id, told.session_id) == ("r", "s")
    if isinstance(told, RecordingEnded):
        assert told.duration == 3600


@pytest.mark.parametrize(
    "recording",
    [
        found("uploaded", url=None),
        found("uploaded", started_at=None),
        found("stopped", ended_at=None),
        found("uploaded", started_at=NOON.replace(year=1066)),
    ],
    ids=["no URL", "no start", "no end", "1066"],
)
def test_what_lacks_something_or_cannot_be_is_not_taken_in(recording: Recording) -> None:
    with pytest.raises(InvalidRecordingData, match="recording r"):
        to_observation(recording)
