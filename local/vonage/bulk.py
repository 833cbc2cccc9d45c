"""Bulk operations: many meetings or sessions with their callbacks, many recordings, many rooms."""

import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from local.vonage import meetings, rooms
from local.vonage.clock import moment
from local.vonage.deliveries import Delivery
from local.vonage.meetings import Duration, Meeting
from local.vonage.recordings import Recording, Session, Status, new_session_id
from local.vonage.refusal import Refusal
from local.vonage.sender import Sender
from local.vonage.sending import Body, NameOf
from local.vonage.state import State
from local.vonage.video import scenarios
from local.vonage.video.callbacks import name_of
from local.vonage.video.scenarios import Scenario, Size
from roomkeeper.times import iso

Many = Annotated[int, Meta(ge=1, le=1_000_000)]
Chance = Annotated[float, Meta(ge=0, le=1)]


class BulkSending(Struct, kw_only=True, forbid_unknown_fields=True):
    """How to send many callbacks concurrently."""

    count: Many
    senders: Annotated[int, Meta(ge=1, le=256)] = 16
    """The number of sending threads."""
    duplicates: Chance = 0.1
    """The probability that a callback is sent twice."""
    drop: Chance = 0.2
    """The probability that a callback is lost."""
    shuffle: bool = True
    """Whether to send callbacks in random order; else meeting by meeting, in order."""
    seed: int = 0


class Meetings(BulkSending, kw_only=True, forbid_unknown_fields=True):
    """Many meetings, each in its own room, with all callbacks sent concurrently."""

    participants: tuple[str, ...] = ("Ada", "Grace")
    recordings: Annotated[int, Meta(ge=0, le=1000)] = 1
    started_at: str | None = None
    duration: Duration = 38


class VideoSessions(BulkSending, kw_only=True, forbid_unknown_fields=True):
    """Many sessions of the Video API with the same scenario."""

    scenario: Scenario = msgspec.field(default_factory=Scenario)


class Recordings(Struct, kw_only=True, forbid_unknown_fields=True):
    """Many recordings that exist without any callback."""

    count: Many = 1
    per_session: Many = 1
    """The number of recordings per session."""
    room_id: str | None = None
    """The room of new sessions; a new long-term one when None."""
    session_id: str | None = None
    """The session of all recordings, created if it does not exist; new sessions when None."""
    ids: tuple[str, ...] = ()
    """Ids for the first recordings; more than `count` ids add more recordings."""
    status: Status = "uploaded"
    started_at: str | None = None
    """ISO 8601; when None, the recordings end now."""
    duration: Duration = 38
    size: Size | None = None
    """The size of each recording's file in bytes; when None, that of a two-second video."""


class Rooms(Struct, kw_only=True):
    """Many rooms with the same fields."""

    count: Many
    fields: dict[str, Any] = {}


def hold(state: State, sender: Sender, wanted: Meetings) -> dict[str, Any]:
    """Hold the meetings and send their callbacks; return counts and ids.

    Raises:
        Refusal: `started_at` is not a date.
    """
    sessions, bodies = _hold_all(state, wanted)
    return {
        "meetings": wanted.count,
        **_send(sender, bodies, wanted, meetings.event_of),
        "room_ids": [session.room_id for session in sessions],
        "session_ids": [session.id for session in sessions],
        "recording_ids": [
            recording.id for each in sessions for recording in state.recordings_of(each.id)
        ],
    }


def play(state: State, sender: Sender, wanted: VideoSessions) -> dict[str, Any]:
    """Play the sessions and send their callbacks; return counts and ids.

    Raises:
        Refusal: `started_at` is not a date, or the scenario's session is live.
    """
    played = [scenarios.play(state, wanted.scenario) for _ in range(wanted.count)]
    bodies = [body for each in played for body in each.bodies]
    return {
        "sessions": wanted.count,
        **_send(sender, bodies, wanted, name_of),
        "session_ids": [each.session.id for each in played],
        "archive_ids": [archive_id for each in played for archive_id in each.archive_ids],
    }


def add_recordings(state: State, wanted: Recordings) -> dict[str, Any]:
    """Add the recordings and their sessions; return the ids of both.

    Raises:
        Refusal: the room does not exist, or `started_at` is not a date.
    """
    length = timedelta(seconds=wanted.duration)
    start = state.clock.now() - length
    if wanted.started_at is not None:
        start = moment(wanted.started_at, "started_at")
    ended_at = None if wanted.status in {"started", "paused"} else start + length
    ids = [*wanted.ids, *(str(uuid.uuid4()) for _ in range(wanted.count - len(wanted.ids)))]
    room_id = _room_of(state, wanted)
    sessions = list(_sessions(wanted, len(ids), Session("", room_id, start, start + length)))
    for session in sessions:
        state.add_session(session)
    if wanted.size is not None:
        for id_ in ids:
            state.files.set_size(id_, wanted.size)
    state.keep_recordings(
        Recording(id_, sessions[index // wanted.per_session].id, start, ended_at, wanted.status)
        for index, id_ in enumerate(ids)
    )
    session_ids = list(dict.fromkeys(session.id for session in sessions))
    return {"room_id": room_id, "session_ids": session_ids, "recording_ids": ids}


def add_rooms(state: State, wanted: Rooms) -> dict[str, Any]:
    """Add the rooms; return their ids.

    Raises:
        Refusal: a field is invalid.
    """
    added = [_added(state, wanted.fields) for _ in range(wanted.count)]
    return {"room_ids": [room.id for room in added]}


def _hold_all(state: State, wanted: Meetings) -> tuple[list[Session], list[Body]]:
    plan = Meeting(
        participants=wanted.participants,
        recordings=wanted.recordings,
        started_at=wanted.started_at,
        duration=wanted.duration,
    )
    sessions, bodies = [], []
    for _ in range(wanted.count):
        session, opening = meetings.begin(state, plan)
        sessions.append(session)
        bodies += opening + meetings.finish(state, session, duration=wanted.duration)
    return sessions, bodies


def _send(sender: Sender, bodies: list[Body], wanted: BulkSending, name: NameOf) -> dict[str, Any]:
    """Send the callbacks with loss, repetition and disorder; return the counts."""
    generator = random.Random(wanted.seed)  # noqa: S311 - repeatable, not secret
    kept = [body for body in bodies if generator.random() >= wanted.drop]
    sent = [body for body in kept for _ in range(1 + (generator.random() < wanted.duplicates))]
    if wanted.shuffle:
        generator.shuffle(sent)
    start = time.monotonic()
    deliveries = sender.send_all(sent, wanted.senders)
    lost = Counter(map(name, bodies)) - Counter(map(name, kept))
    return {
        "callbacks": len(bodies),
        "dropped": dict(lost),
        "duplicated": len(sent) - len(kept),
        "seconds": time.monotonic() - start,
        **_outcome(deliveries),
    }


def _outcome(deliveries: list[Delivery]) -> dict[str, int]:
    delivered = sum(each.delivered for each in deliveries)
    return {
        "sent": len(deliveries),
        "attempts": sum(len(each.attempts) for each in deliveries),
        "delivered": delivered,
        "given_up": len(deliveries) - delivered,
    }


def _room_of(state: State, wanted: Recordings) -> str:
    """Return the room of an existing session, else the requested room, else a new room."""
    if wanted.session_id is not None:
        with suppress(Refusal):
            return state.session(wanted.session_id).room_id
    if wanted.room_id is not None:
        return state.room(wanted.room_id).id
    return _added(state, {"expires_at": iso(state.clock.now() + timedelta(days=30))}).id


def _sessions(wanted: Recordings, recordings: int, like: Session) -> Iterator[Session]:
    """Yield a session for every `per_session` recordings: always the given one, if any."""
    for _ in range(0, recordings, wanted.per_session):
        yield replace(like, id=wanted.session_id or new_session_id(like.started_at))


def _added(state: State, fields: dict[str, Any]) -> rooms.Room:
    return state.add_room(lambda serial, now: rooms.added(fields, serial, now))
