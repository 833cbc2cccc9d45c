from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from roomkeeper import store
from roomkeeper.domain.observations import Listed, RecordingObservation
from roomkeeper.jobs.batch import Limits, Summary, deadline_in
from roomkeeper.jobs.reconciliation import Reconciliation, ReconciliationOptions
from roomkeeper.jobs.runner import Run
from roomkeeper.vonage import InvalidRecording
from roomkeeper.vonage.errors import RequestContext
from roomkeeper.vonage.meetings import MeetingsClient
from tests.support.env import NOW, Env

HOUR = timedelta(hours=1)
LONG_AGO = NOW - 7 * HOUR
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def reconcile(
    env: Env, *, dry_run: bool = False, client: Any = None, now: datetime = NOW
) -> tuple[Reconciliation, Summary]:
    """Reconcile everything that has waited for six hours."""
    reconciliation = a_reconciliation(env, dry_run=dry_run, client=client, now=now)
    return reconciliation, reconciliation.run().summary


def a_reconciliation(
    env: Env,
    *,
    dry_run: bool = False,
    client: Any = None,
    now: datetime = NOW,
    limit: int | None = None,
) -> Reconciliation:
    run = Run(
        options=ReconciliationOptions(limit=limit),
        dry_run=dry_run,
        limits=Limits(concurrency=1, per_second=1000.0, deadline=deadline_in(60.0)),
        call_seconds=1.0,
        now=now,
    )
    apis: Any = {"meetings": client or env.client}
    return Reconciliation(run, env.store, apis, grace=6 * HOUR)


def a_meeting(env: Env, **meeting: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Hold a meeting at Vonage; return it and its callbacks, which the stack has not received."""
    held_meeting = env.vonage.hold_meeting(**meeting)
    return held_meeting, held_meeting["callbacks"]


def events_due(env: Env, key: str) -> list[str]:
    """Return the events that are due if the item is new, with their origin."""
    image = env.item(key)
    record = {
        "eventName": "INSERT",
        "dynamodb": {
            "ApproximateCreationDateTime": 0,
            "Keys": {"pk": image["pk"]},
            "NewImage": image,
        },
    }
    return [f"{event.name} by {event.metadata.origin}" for event in store.events_due(record)]


def test_a_missed_upload_is_recovered_with_the_origin_reconciliation(env: Env) -> None:
    meeting, callbacks = a_meeting(env)
    [recording_id] = meeting["recording_ids"]
    env.receive_all(callbacks, LONG_AGO, "recording:uploaded")

    _, summary = reconcile(env)

    assert summary.outcomes == {"recovered": 1, "session_checked": 1}
    recording = env.store.recordings.get(recording_id)
    assert recording is not None
    assert (recording.status, recording.duration) == ("uploaded", 38)
    assert recording.url is not None
    assert recording.uploaded_at == NOW
    assert events_due(env, f"RECORDING#{recording_id}") == [
        "recording:ended by callback",
        "recording:started by callback",
        "recording:uploaded by reconciliation",
    ]
    assert [entry.id for entry in env.store.worklists.read("confirmed", NOW)] == [recording_id]


def test_a_callback_after_the_recovery_changes_nothing(env: Env) -> None:
    meeting, callbacks = a_meeting(env)
    [recording_id] = meeting["recording_ids"]
    env.receive_all(callbacks, LONG_AGO, "recording:uploaded")
    reconcile(env)
    recovered = env.item(f"RECORDING#{recording_id}")

    env.receive_all(callbacks, NOW + HOUR)

    assert env.item(f"RECORDING#{recording_id}") == recovered


def test_an_upload_received_after_the_worklist_was_read_needs_no_request(env: Env) -> None:
    _, callbacks = a_meeting(env)
    env.receive_all(callbacks, LONG_AGO, "recording:uploaded", "session:started", "session:ended")
    reconciliation = a_reconciliation(env)
    [due] = reconciliation.items()
    env.receive_all(callbacks, NOW)

    assert reconciliation.act(due) == "already_resolved"
    assert env.vonage.requests() == []


def test_recordings_within_the_grace_time_cause_no_request(env: Env) -> None:
    _, callbacks = a_meeting(env)
    env.receive_all(callbacks, NOW - 5 * HOUR, "recording:uploaded")

    _, summary = reconcile(env)

    assert summary.processed == 0
    assert env.vonage.requests() == []


def test_a_recording_that_vonage_no_longer_has_is_marked_as_lost_once(env: Env) -> None:
    started = {"event": "recording:started", "recording_id": "lost", "session_id": "s"}
    env.receive(started, LONG_AGO)

    _, summary = reconcile(env)

    assert summary.outcomes == {"lost": 1}
    recording = env.store.recordings.get("lost")
    assert recording is not None
    assert (recording.status, recording.missing_at) == ("lost", NOW)
    assert "recording:lost by reconciliation" in events_due(env, "RECORDING#lost")
    assert reconcile(env)[1].processed == 0


def test_a_recording_uploaded_during_the_request_is_not_marked_as_lost(
    env: Env, monkeypatch: pytest.MonkeyPatch
) -> None:
    env.receive({"event": "recording:started", "recording_id": "r", "session_id": "s"}, LONG_AGO)
    monkeypatch.setattr(env.store.recordings, "mark_missing", lambda *_: False)

    assert reconcile(env)[1].outcomes == {"already_resolved": 1}


def test_a_lost_recording_whose_upload_is_received_later_is_uploaded(env: Env) -> None:
    meeting, callbacks = a_meeting(env)
    [recording_id] = meeting["recording_ids"]
    env.receive_all(callbacks, LONG_AGO, "recording:uploaded", "session:ended", "session:started")
    lost = env.store.recordings.get(recording_id)
    assert lost is not None
    assert env.store.recordings.mark_missing(lost, NOW)
    assert "ttl" in env.item(f"RECORDING#{recording_id}")

    env.receive_all(callbacks, NOW)

    recording = env.store.recordings.get(recording_id)
    assert recording is not None
    assert recording.status == "uploaded"
    assert env.item(f"RECORDING#{recording_id}")["ttl"] == {"NULL": True}
    assert not env.store.recordings.mark_missing(recording, NOW)
    assert [entry.id for entry in env.store.worklists.read("retained", NOW)] == [recording_id]


@pytest.mark.parametrize("mark", ["mark_missing", "mark_never_uploaded"])
def test_the_upload_of_a_recording_that_was_given_up_is_found_with_those_of_its_session(
    env: Env, mark: str
) -> None:
    """No job has it on a worklist any more, so nothing else would find its file."""
    meeting, callbacks = a_meeting(env, recordings=2)
    given_up, due = meeting["recording_ids"]
    env.receive_all(callbacks, LONG_AGO, "recording:uploaded", "session:ended", "session:started")
    assert getattr(env.store.recordings, mark)(env.store.recordings.get(given_up), NOW)

    reconciliation, summary = reconcile(env)

    assert (summary.outcomes, reconciliation.discovered) == ({"recovered": 1}, 0)
    assert reconciliation.more_counts(summary)["recovered"] == 2
    assert {entry.id for entry in env.store.worklists.read("confirmed", NOW)} == {given_up, due}
    assert env.item(f"RECORDING#{given_up}")["ttl"] == {"NULL": True}
    assert "recording:uploaded by reconciliation" in events_due(env, f"RECORDING#{given_up}")


def test_a_late_start_of_a_lost_recording_does_not_keep_it_on_the_worklist(
    env: Env,
) -> None:
    ended = {"event": "recording:ended", "recording_id": "r", "session_id": "s", "duration": 1}
    env.receive(
        ended | {"started_at": "2026-07-01T10:00:00Z", "ended_at": "2026-07-01T10:00:01Z"}, LONG_AGO
    )
    reconcile(env)
    env.receive({"event": "recording:started", "recording_id": "r", "session_id": "s"}, LONG_AGO)

    assert reconcile(env)[1].outcomes == {"lost": 1}
    assert reconcile(env)[1].processed == 0


@pytest.mark.parametrize("ongoing", [True, False], ids=["still running", "being processed"])
def test_a_recording_that_is_not_uploaded_yet_stays_on_the_worklist(
    env: Env, ongoing: bool
) -> None:
    meeting, callbacks = a_meeting(env, ongoing=ongoing, upload=False)
    [recording_id] = meeting["recording_ids"]
    env.receive_all(callbacks, LONG_AGO)

    _, summary = reconcile(env)

    assert summary.outcomes["waiting"] == 1
    assert [entry.id for entry in env.store.worklists.read("awaiting_upload", LONG_AGO)] == [
        recording_id
    ]


def test_recordings_beyond_the_limit_are_reported_as_remaining(env: Env) -> None:
    for recording_id in ("r1", "r2", "r3"):
        started = {"event": "recording:started", "session_id": "s", "recording_id": recording_id}
        env.receive(started, LONG_AGO)

    report = a_reconciliation(env, limit=1).run()

    assert (report.counts["due"], report.counts["remaining"]) == (3, 2)


def test_recordings_of_a_known_session_without_any_callback_are_discovered(
    env: Env,
) -> None:
    meeting, callbacks = a_meeting(env, recordings=3)
    _first, *unannounced = meeting["recording_ids"]
    received = [body for body in callbacks if body.get("recording_id") not in unannounced]
    env.receive_all(received, LONG_AGO, "recording:uploaded", "session:started", "session:ended")

    reconciliation, summary = reconcile(env)

    assert (summary.outcomes, reconciliation.discovered) == ({"recovered": 1}, 2)
    for recording_id in unannounced:
        assert events_due(env, f"RECORDING#{recording_id}") == [
            "recording:uploaded by reconciliation"
        ]


@pytest.mark.parametrize(
    ("received", "waited"), [("session:ended", 7 * HOUR), ("session:started", 31 * HOUR)]
)
def test_the_recordings_of_a_session_are_requested_once(
    env: Env, received: str, waited: timedelta
) -> None:
    meeting, callbacks = a_meeting(env, recordings=2)
    env.receive_all([body for body in callbacks if body["event"] == received], NOW - waited)

    reconciliation, summary = reconcile(env)

    assert (summary.outcomes, reconciliation.discovered) == ({"session_checked": 1}, 2)
    assert {entry.id for entry in env.store.worklists.read("confirmed", NOW)} == set(
        meeting["recording_ids"]
    )
    assert reconcile(env)[1].processed == 0


def test_a_session_without_an_end_is_checked_a_day_later(env: Env) -> None:
    _, callbacks = a_meeting(env)
    env.receive_all([b for b in callbacks if b["event"] == "session:started"], NOW - 29 * HOUR)

    assert reconcile(env)[1].processed == 0


def test_a_session_that_vonage_does_not_know_is_checked_once(env: Env) -> None:
    session = {"event": "session:ended", "session_id": "unknown", "room_id": "room"}
    times = {"started_at": "2026-07-01T04:00:00Z", "ended_at": "2026-07-01T05:00:00Z"}
    env.receive(session | times, LONG_AGO)

    assert reconcile(env)[1].outcomes == {"session_checked": 1}
    assert reconcile(env)[1].processed == 0


@pytest.mark.parametrize("fault", [{"status": 404, "body": "<h1>no</h1>"}, {"status": 500}])
def test_after_a_failure_the_next_run_recovers_everything(env: Env, fault: dict[str, Any]) -> None:
    meeting, callbacks = a_meeting(env)
    env.receive_all(callbacks, LONG_AGO, "recording:uploaded")
    env.vonage.fault("*", **fault)

    assert reconcile(env)[1].outcomes == {"failed": 2}
    env.vonage.clear_faults()

    assert reconcile(env)[1].outcomes == {"recovered": 1, "session_checked": 1}
    assert env.store.recordings.get(meeting["recording_ids"][0])


def test_one_invalid_recording_does_not_block_the_rest_of_its_session(env: Env) -> None:
    meeting, callbacks = a_meeting(env, recordings=4)
    due, invalid, *unannounced = meeting["recording_ids"]
    received = [
        body for body in callbacks if body.get("recording_id") not in (invalid, *unannounced)
    ]
    env.receive_all(received, LONG_AGO, "recording:uploaded")

    summary = reconcile(env, client=WithoutAnEnd(env.client, recording_id=invalid))[1]

    assert summary.outcomes == {"failed": 2}  # once for the recording, once for its session
    assert all(invalid in example for example in summary.sample_errors)
    assert {entry.id for entry in env.store.worklists.read("confirmed", NOW)} == {
        due,
        *unannounced,
    }
    later = NOW + HOUR
    again = reconcile(env, client=WithoutAnEnd(env.client, recording_id=invalid), now=later)[1]
    assert again.outcomes == {"failed": 1}  # the session waits for its missing recording
    assert reconcile(env, now=later + 2 * HOUR)[1].outcomes == {"session_checked": 1}
    assert env.store.recordings.get(invalid)


def test_an_invalid_recording_in_the_session_does_not_keep_a_lost_one_from_being_marked(
    env: Env,
) -> None:
    meeting, _ = a_meeting(env)
    [invalid] = meeting["recording_ids"]
    started = {"event": "recording:started", "recording_id": "lost"}
    env.receive(started | {"session_id": meeting["session_id"]}, LONG_AGO)

    reconcile(env, client=WithoutAnEnd(env.client, recording_id=invalid))

    recording = env.store.recordings.get("lost")
    assert recording is not None
    assert recording.status == "lost"


def test_a_due_recording_that_is_invalid_does_not_block_the_rest_of_its_session(
    env: Env,
) -> None:
    meeting, callbacks = a_meeting(env, recordings=2)
    invalid, unannounced = meeting["recording_ids"]
    env.receive_all([b for b in callbacks if b.get("recording_id") == invalid][:1], LONG_AGO)

    summary = reconcile(env, client=WithoutAnEnd(env.client, recording_id=invalid))[1]

    assert summary.outcomes == {"failed": 1}
    assert env.store.recordings.get(unannounced)


class WithoutAnEnd:
    """A client for which one recording is uploaded but has no end time."""

    def __init__(self, client: MeetingsClient, *, recording_id: str) -> None:
        self._client, self._invalid = client, recording_id
        self.all_since = client.all_since

    def get(self, recording_id: str) -> RecordingObservation | None:
        if recording_id == self._invalid:
            raise InvalidRecording("a time is missing", RequestContext("GET", f"/{recording_id}"))
        return self._client.get(recording_id)

    def in_session(self, session_id: str) -> Listed | None:
        listed = self._client.in_session(session_id)
        if listed is None:
            return None
        valid = [each for each in listed.found if each.recording_id != self._invalid]
        return Listed(valid, [f"recording {self._invalid}: a time is missing"])


def test_a_dry_run_lists_the_missing_events_and_changes_nothing(env: Env) -> None:
    meeting, callbacks = a_meeting(env, recordings=2)
    known, unannounced = meeting["recording_ids"]
    received = [body for body in callbacks if body.get("recording_id") != unannounced]
    env.receive_all(received, LONG_AGO, "recording:uploaded")
    started = {"event": "recording:started", "recording_id": "lost", "session_id": "s"}
    env.receive(started, LONG_AGO)
    before = [env.item(f"RECORDING#{each}") for each in (known, "lost")]

    reconciliation, summary = reconcile(env, dry_run=True)

    assert summary.outcomes == {"recovered": 1, "lost": 1, "session_checked": 1}
    assert reconciliation.discovered == 1
    assert {(plan["event"], plan["recording_id"]) for plan in reconciliation.planned} == {
        ("recording:uploaded", known),
        ("recording:uploaded", unannounced),
        ("recording:lost", "lost"),
    }
    assert [env.item(f"RECORDING#{each}") for each in (known, "lost")] == before
    assert env.store.recordings.get(unannounced) is None
    assert env.store.worklists.count("ended_session", NOW) == 1
