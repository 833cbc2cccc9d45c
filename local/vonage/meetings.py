"""Meetings: sessions and recordings in a room, and their callbacks."""

import uuid
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any

from msgspec import Meta

from local.vonage import sending as sending_rules
from local.vonage.clock import moment
from local.vonage.downloads import signed_url
from local.vonage.recordings import Participant, Recording, Session, Status, new_session_id, people
from local.vonage.rooms import added
from local.vonage.sending import Body, Count, Sending
from local.vonage.state import State
from roomkeeper.times import iso

Duration = Annotated[int, Meta(ge=0, le=604_800)]

MARGIN = timedelta(seconds=2)
"""The time from a session's start to its recordings' start, and from their end to its end."""


class MeetingSending(Sending, kw_only=True, forbid_unknown_fields=True):
    """How a meeting's callbacks are sent."""

    room_id_in_recordings: bool = False
    """Whether callbacks of recordings contain `room_id`, as they sometimes do."""


class Meeting(MeetingSending, kw_only=True, forbid_unknown_fields=True):
    """A meeting to hold."""

    room_id: str | None = None
    """A new long-term room when None."""
    participants: tuple[str, ...] = ("Ada", "Grace")
    recordings: Count = 1
    started_at: str | None = None
    """ISO 8601; when None, the meeting ends now."""
    duration: Duration = 38
    """The duration of each recording in seconds."""
    ongoing: bool = False
    """Whether to only start the meeting, and end it later."""
    upload: bool = True
    """Whether the recordings are uploaded; else they stay `stopped` and cannot be deleted."""


def begin(state: State, meeting: Meeting) -> tuple[Session, list[Body]]:
    """Start the meeting; return its session and the callbacks so far.

    Raises:
        Refusal: the room does not exist or is not available, or `started_at` is not a date.
    """
    length = timedelta(0) if meeting.ongoing else timedelta(seconds=meeting.duration) + 2 * MARGIN
    now = state.clock.now()
    start = moment(meeting.started_at, "started_at") if meeting.started_at else now - length
    room_id = meeting.room_id or state.add_room(_room_since(min(start, now) - MARGIN)).id
    session = Session(
        new_session_id(start), room_id, start, participants=people(meeting.participants)
    )
    state.start_session(session)
    at = start if meeting.ongoing else start + MARGIN
    recordings = [Recording(str(uuid.uuid4()), session.id, at) for _ in range(meeting.recordings)]
    state.keep_recordings(recordings)
    return session, [
        _session_body("started", session),
        *(_participant_body("joined", session, person) for person in session.participants),
        *(_recording_body("started", recording) for recording in recordings),
    ]


def finish(
    state: State, session: Session, *, duration: int | None = None, upload: bool = True
) -> list[Body]:
    """End the session and its recordings; return the callbacks.

    The recordings are `duration` seconds long; without a duration they end now.
    """
    running = [each for each in state.recordings_of(session.id) if each.ended_at is None]
    status: Status = "uploaded" if upload else "stopped"
    ended = [
        replace(each, ended_at=_end(each.started_at, duration, state.clock.now()), status=status)
        for each in running
    ]
    ended_at = max((each.ended_at for each in ended if each.ended_at), default=session.started_at)
    state.keep_recordings(ended)
    state.end_session(session, ended_at + MARGIN)
    return [
        *(_recording_body("ended", each) for each in ended),
        *(_participant_body("left", session, person) for person in session.participants),
        _session_body("ended", replace(session, ended_at=ended_at + MARGIN)),
        *(uploaded_body(state, each) for each in ended if upload),
    ]


def upload(state: State, recording_id: str) -> Body:
    """Mark a recording as uploaded, and as ended if necessary; return the callback.

    Raises:
        Refusal: there is no such recording.
    """
    recording = state.recording(recording_id)
    ended_at = recording.ended_at or state.clock.now()
    uploaded = replace(recording, ended_at=ended_at, status="uploaded")
    state.keep_recordings([uploaded])
    return uploaded_body(state, uploaded)


def arranged(state: State, bodies: Iterable[Body], sending: MeetingSending) -> list[Body]:
    """Return the callbacks to send, in order, with `sending` applied."""
    sent = sending_rules.arranged(bodies, sending, event_of)
    return [_with_changes(state, body, sending) for body in sent]


def event_of(body: Body) -> str:
    """Return the name of a callback's event."""
    return str(body["event"])


def uploaded_body(state: State, recording: Recording) -> Body:
    """Return the callback of an upload, with a fresh download URL."""
    return _recording_body("uploaded", recording) | {"url": download_url(state, recording.id)}


def download_url(state: State, recording_id: str) -> str:
    """Return a fresh download URL."""
    settings = state.switches.settings
    now = state.clock.now()
    return signed_url(state.base, recording_id, now, settings.url_lifetime, settings.url_form)


def _room_since(created_at: datetime) -> Callable[..., Any]:
    fields = {"display_name": "Meeting", "created_at": iso(created_at), "type": "long_term"}
    return lambda serial, now: added(
        fields | {"expires_at": iso(now + timedelta(days=30))}, serial, now
    )


def _end(started_at: datetime, duration: int | None, now: datetime) -> datetime:
    if duration is None:
        return max(started_at, now)
    return started_at + timedelta(seconds=duration)


def _with_changes(state: State, body: Body, sending: MeetingSending) -> Body:
    body = body | {"event": sending.rename.get(body["event"], body["event"])}
    if sending.room_id_in_recordings and "room_id" not in body:
        body["room_id"] = state.session(body["session_id"]).room_id
    return body


def _session_body(what: str, session: Session) -> Body:
    ended = {"ended_at": iso(session.ended_at)} if session.ended_at else {}
    return {
        "event": f"session:{what}",
        "session_id": session.id,
        "room_id": session.room_id,
        "started_at": iso(session.started_at),
        **ended,
    }


def _participant_body(what: str, session: Session, person: Participant) -> Body:
    return {
        "event": f"session:participant:{what}",
        "participant_id": person.id,
        "session_id": session.id,
        "room_id": session.room_id,
        "name": person.name,
        "type": "Guest",
        "is_host": person.is_host,
    }


def _recording_body(what: str, recording: Recording) -> Body:
    body: Body = {
        "event": f"recording:{what}",
        "recording_id": recording.id,
        "session_id": recording.session_id,
    }
    if recording.ended_at is not None:
        body["started_at"] = iso(recording.started_at)
        body["ended_at"] = iso(recording.ended_at)
        body["duration"] = round((recording.ended_at - recording.started_at).total_seconds())
    return body
