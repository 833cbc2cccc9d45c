"""Lives of sessions and archives, played on the emulated Video API, and their callbacks."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from msgspec import Meta

from local.vonage.clock import moment
from local.vonage.files import MAX_SIZE
from local.vonage.recordings import new_session_id
from local.vonage.refusal import Refusal, invalid
from local.vonage.sending import Body, Count, Sending, arranged
from local.vonage.state import State
from local.vonage.video import archives, sessions
from local.vonage.video.archives import Archive, Outcome
from local.vonage.video.callbacks import name_of
from local.vonage.video.projects import Environment
from local.vonage.video.sessions import Connection, EndReason, VideoSession

MARGIN = timedelta(seconds=2)
"""The time from a session's creation to its archives' start, and from their end to its end."""
PAUSE = timedelta(seconds=30)
"""The length of each pause of an archive."""
GAP = timedelta(minutes=1)
"""The time between two lives of a session."""
WARNINGS = (4 * 3600, 3600)
"""Seconds before a server rotation at which a session is notified."""

Duration = Annotated[int, Meta(ge=0, le=604_800)]
Size = Annotated[int, Meta(ge=0, le=MAX_SIZE)]
Outcomes = Literal["stopped", "available", "uploaded", "failed"]


class Scenario(Sending, kw_only=True, forbid_unknown_fields=True):
    """The lives of one session."""

    session_id: str | None = None
    """An existing session, or the id of a new one; None for a new id."""
    environment: Environment = "unified"
    participants: tuple[str, ...] = ("Ada", "Grace")
    archives: Count = 1
    """How many archives are recorded in each life."""
    pauses: Annotated[int, Meta(ge=0, le=100)] = 0
    """How often each archive is paused and resumed."""
    lives: Annotated[int, Meta(ge=1, le=100)] = 1
    """How often the session is created and destroyed."""
    rotation: bool = False
    """Whether a server rotation ends every life but the last. Archives are not started again."""
    started_at: str | None = None
    """ISO 8601; when None, the scenario ends now."""
    duration: Duration = 38
    """The recorded seconds of each archive, without pauses."""
    ongoing: bool = False
    """Whether the last life continues until it is ended later."""
    manual: bool = False
    """Whether streams are added to and removed from the archives one by one."""
    outcome: Outcomes | None = None
    """The archives' last status; when None, that of the project's upload target. `stopped` ones
    stay so until they are processed through the control interface."""
    size: Size | None = None
    """The size of each archive's file in bytes; when None, that of a two-second video."""
    name: str = ""
    """The name of each archive."""


class Ending(Sending, kw_only=True, forbid_unknown_fields=True):
    """How to end the life of a session and its archives, now."""

    reason: EndReason = "clientDisconnected"
    outcome: Outcomes | None = None


class Rotation(Sending, kw_only=True, forbid_unknown_fields=True):
    """A server rotation of a live session, now. Its archives stop and are not started again."""

    reconnect: bool = True
    """Whether everybody connects again, which is a new life of the session."""


class Notice(Sending, kw_only=True, forbid_unknown_fields=True):
    """A notification that the session's server will be rotated."""

    remaining: Annotated[int, Meta(ge=0)] = 3600
    """Seconds until the rotation."""


@dataclass(frozen=True, slots=True)
class Played:
    """A session, the ids of its archives, and the callbacks in their natural order."""

    session: VideoSession
    archive_ids: list[str]
    bodies: list[Body]

    def as_json(self, sent: list[Body]) -> dict[str, Any]:
        """Return the played session for the control interface."""
        ids = {"session_id": self.session.id, "archive_ids": self.archive_ids}
        return ids | {"callbacks": sent}


def play(state: State, scenario: Scenario) -> Played:
    """Play a session's lives; return its callbacks. Later changes of its archives follow the clock.

    Raises:
        Refusal: `started_at` is not a date, or the session is live already.
    """
    with state.changed:  # so that the clock causes no step of the past meanwhile
        return _played(state, scenario)


def end(state: State, session_id: str, ending: Ending) -> Played:
    """End a session's life now; return its callbacks.

    Raises:
        Refusal: there is no such session, or it is not live.
    """
    with state.changed:
        return _ended(state, _live(state, session_id), ending)


def rotate(state: State, session_id: str, rotation: Rotation) -> Played:
    """Replace a live session's server now; return the callbacks.

    Raises:
        Refusal: there is no such session, or it is not live.
    """
    with state.changed:
        return _rotated(state, _live(state, session_id), rotation)


def notify(state: State, session_id: str, notice: Notice) -> Played:
    """Announce a server rotation to a live session; return the callback.

    Raises:
        Refusal: there is no such session, or it is not live.
    """
    session = _live(state, session_id)
    body = sessions.notified(session, state.clock.now(), notice.remaining)
    return Played(session, [], [body])


def to_send(played: Played, sending: Sending) -> list[Body]:
    """Return the callbacks to send, in order, with `sending` applied."""
    if not sending.deliver:
        return []
    bodies = arranged(played.bodies, sending, name_of)
    return [_renamed(body, sending) for body in bodies]


def _played(state: State, scenario: Scenario) -> Played:
    start = _start(state, scenario)
    session = _session(state, scenario, start)
    if session.is_live:
        raise invalid(f"The session with id: {session.id} is live")
    player = _Player(state, scenario)
    for life in range(scenario.lives):
        is_last = life == scenario.lives - 1
        session = player.live(session, start, has_archives=life == 0 or not scenario.rotation)
        if is_last and scenario.ongoing:
            break
        reason: EndReason = "clientDisconnected"
        if scenario.rotation and not is_last:
            reason = "serverRotation"
        session = player.die(session, start + _life(scenario), reason)
        start += _life(scenario) + GAP
    state.video.keep_session(session)
    return Played(session, player.archive_ids, player.bodies)


def _ended(state: State, session: VideoSession, ending: Ending) -> Played:
    now = state.clock.now()
    stopped = _stop_all(state, session, now, "session ended")
    bodies = [state.video.shown(each) for each in stopped]
    bodies += sessions.closed(session, now, ending.reason)
    bodies += _finish(state, stopped, now, ending.outcome)
    after = replace(session, created_at=None, connections=())
    state.video.keep_session(after)
    return Played(after, [each.id for each in stopped], bodies)


def _rotated(state: State, session: VideoSession, rotation: Rotation) -> Played:
    now = state.clock.now()
    stopped = _stop_all(state, session, now, "")
    bodies = [state.video.shown(each) for each in stopped]
    bodies += sessions.closed(session, now, "serverRotation")
    after = replace(session, created_at=None, connections=())
    if rotation.reconnect:
        names = [each.name for each in session.connections]
        after = replace(session, created_at=now, connections=sessions.joined(names, now))
        bodies += sessions.opened(after, now)
    state.video.keep_session(after)
    return Played(after, [each.id for each in stopped], bodies)


class _Player:
    """Plays the lives of a session, one after the other."""

    def __init__(self, state: State, scenario: Scenario) -> None:
        self._state = state
        self._scenario = scenario
        self._running: list[Archive] = []
        self.archive_ids: list[str] = []
        self.bodies: list[Body] = []

    def live(self, session: VideoSession, at: datetime, *, has_archives: bool) -> VideoSession:
        """Begin a life of the session and its archives; return the session."""
        people = sessions.joined(self._scenario.participants, at)
        session = replace(session, created_at=at, connections=people)
        self.bodies += sessions.opened(session, at)
        self._running = [
            self._begin(session, at + MARGIN, index)
            for index in range(self._scenario.archives if has_archives else 0)
        ]
        for archive in self._running:
            self._add_streams(archive, people, "streamAdded", at + MARGIN)
        return session

    def die(self, session: VideoSession, at: datetime, reason: EndReason) -> VideoSession:
        """End the life and its archives; return the session."""
        rotated = reason == "serverRotation"
        if rotated:
            self.bodies += _warnings(session, at)
        ended = [
            self._stop(each, session, "" if rotated else "user initiated") for each in self._running
        ]
        self.bodies += sessions.closed(session, at, reason)
        self.bodies += _finish(self._state, ended, at, self._scenario.outcome)
        return replace(session, created_at=None, connections=())

    def _begin(self, session: VideoSession, at: datetime, index: int) -> Archive:
        archive = archives.started(
            session.id,
            at,
            environment=self._scenario.environment,
            name=self._scenario.name,
            stream_mode="manual" if self._scenario.manual else "auto",
            streams=tuple(each.stream_id for each in session.connections),
            tag=f"archive-{index}" if index else "",
        )
        if self._scenario.size is not None:
            self._state.files.set_size(archive.id, self._scenario.size)
        self.archive_ids.append(archive.id)
        return self._now(archive)

    def _stop(self, archive: Archive, session: VideoSession, reason: str) -> Archive:
        """Pause and resume the archive as often as the scenario says, then stop it."""
        pauses = self._scenario.pauses
        part = timedelta(seconds=self._scenario.duration) / (pauses + 1)
        for _ in range(pauses):
            archive = self._now(archives.changed(archive, "paused", archive.since + part))
            archive = self._now(archives.changed(archive, "started", archive.since + PAUSE))
        end_at = archive.since + part
        self._add_streams(archive, session.connections, "streamRemoved", end_at)
        return self._now(archives.changed(archive, "stopped", end_at, reason))

    def _now(self, archive: Archive) -> Archive:
        """Store the archive and add its callback."""
        self._state.video.keep([archive])
        self.bodies.append(self._state.video.shown(archive))
        return archive

    def _add_streams(
        self, archive: Archive, people: Iterable[Connection], status: str, at: datetime
    ) -> None:
        if not self._scenario.manual:
            return
        shown = self._state.video.shown(archive)
        for person in people:
            stream = sessions.archived_stream(person, at)
            self.bodies.append(shown | {"status": status} | stream)


def _warnings(session: VideoSession, at: datetime) -> list[Body]:
    """Return the notifications before a rotation `at` a time, each at a time of its own."""
    created_at = session.created_at or at
    earliest = [created_at + index * MARGIN / 4 for index in range(1, len(WARNINGS) + 1)]
    return [
        sessions.notified(session, max(first, at - timedelta(seconds=seconds)), seconds)
        for first, seconds in zip(earliest, WARNINGS, strict=True)
    ]


def _finish(
    state: State, stopped: Iterable[Archive], at: datetime, outcome: Outcomes | None
) -> list[Body]:
    """Process the stopped archives; return the callbacks. With `stopped` they stay as they are."""
    if outcome == "stopped":
        state.video.keep(replace(each, frozen=True) for each in stopped)
        return []
    return [
        _processed(state, each, at, outcome or state.video.outcome(each.environment))
        for each in stopped
    ]


def _processed(state: State, archive: Archive, at: datetime, outcome: Outcome) -> Body:
    processing = timedelta(seconds=state.switches.settings.processing)
    after = archives.processed(archive, max(at, archive.since) + processing, outcome)
    state.video.keep([after])
    return state.video.shown(after)


def _stop_all(state: State, session: VideoSession, at: datetime, reason: str) -> list[Archive]:
    """Stop the session's archives; return them."""
    running = state.video.recording(session.id)
    stopped = [archives.changed(each, "stopped", at, reason) for each in running]
    state.video.keep(stopped)
    return stopped


def _start(state: State, scenario: Scenario) -> datetime:
    """Return when the scenario starts, so that it ends now unless it says otherwise."""
    if scenario.started_at is not None:
        return moment(scenario.started_at, "started_at")
    over = scenario.lives - (1 if scenario.ongoing else 0)
    length = over * (_life(scenario) + GAP)
    processing = timedelta(seconds=state.switches.settings.processing)
    # The archives of an ongoing life start now.
    return state.clock.now() - length - (MARGIN if scenario.ongoing else processing)


def _life(scenario: Scenario) -> timedelta:
    """Return the length of one life."""
    return 2 * MARGIN + timedelta(seconds=scenario.duration) + scenario.pauses * PAUSE


def _session(state: State, scenario: Scenario, start: datetime) -> VideoSession:
    """Return the scenario's session, a new one if it does not exist."""
    if scenario.session_id is not None:
        try:
            return state.video.session(scenario.session_id)
        except Refusal:
            return VideoSession(scenario.session_id, scenario.environment)
    return VideoSession(new_session_id(start), scenario.environment)


def _live(state: State, session_id: str) -> VideoSession:
    session = state.video.session(session_id)
    if not session.is_live:
        raise invalid(f"The session with id: {session_id} is not live")
    return session


def _renamed(body: Body, sending: Sending) -> Body:
    """Return the callback with the new name of its event, or status if it is an archive's."""
    name = sending.rename.get(name_of(body))
    if name is None:
        return body
    return body | ({"status": name} if body.get("event") == "archive" else {"event": name})
