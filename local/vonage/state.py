"""The emulator's whole state, guarded by one lock."""

import heapq
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from local.vonage import rooms
from local.vonage.clock import Clock
from local.vonage.files import Files
from local.vonage.journal import Journal
from local.vonage.recordings import Recording, Session
from local.vonage.refusal import Refusal, not_found
from local.vonage.rooms import Room
from local.vonage.settings import Kind
from local.vonage.switches import Switches
from local.vonage.video.state import VideoState


class State:
    """Rooms, sessions, recordings, switches and the journal. Safe to use from many threads.

    `base` is the emulator's base URL; `stopping` is set when it shuts down.
    """

    def __init__(self, base: str) -> None:
        self.base = base
        self.stopping = threading.Event()
        self._lock = threading.RLock()
        self.changed = threading.Condition(self._lock)
        """Guards everything; notified when something may be due."""
        self.clock = Clock()
        self.switches = Switches(self._lock)
        self.journal = Journal(self._lock)
        self.files = Files(self._lock)
        self.video = VideoState(base, self.changed, self.clock.now, self.switches, self.files)
        self.reset()

    def reset(self) -> None:
        """Remove everything, and reset the clock and the switches."""
        with self._lock:
            self.clock.reset()
            self.switches.reset()
            self.journal.reset()
            self.files.reset()
            self.video.reset()
            self._rooms: dict[str, Room] = {}
            self._room_ids: list[str] = []
            self._expiries: list[tuple[datetime, str]] = []
            self._sessions: dict[str, Session] = {}
            self._recordings: dict[str, Recording] = {}
            self._recordings_of: dict[str, list[str]] = {}

    # --- rooms ------------------------------------------------------------------------------------

    def add_room(self, make: Callable[[int, datetime], Room]) -> Room:
        """Add the room that `make` returns for a serial number and the time; return the room.

        Raises:
            Refusal: a room with this id exists.
        """
        with self._lock:
            room = make(len(self._room_ids) + 1, self.clock.now())
            if room.id in self._rooms:
                raise Refusal(409, "ConflictError", f"There is a room with id: {room.id} already")
            self._room_ids.append(room.id)
            self._keep(room)
            return room

    def room(self, room_id: str) -> Room:
        """Return the room, even if it is deleted.

        Raises:
            Refusal: there never was such a room.
        """
        with self._lock:
            if room_id not in self._rooms:
                raise not_found(f"Failed to find room with id: {room_id}")
            return self._rooms[room_id]

    def change_room(self, room_id: str, change: Callable[[Room, datetime], Room]) -> Room:
        """Replace a room by the result of `change` for the room and the time; return the result.

        Raises:
            Refusal: there is no such room, or it is deleted.
        """
        with self._lock:
            room = self.room(room_id)
            if room.deleted:
                raise not_found(f"Failed to find room with id: {room_id}")
            self._keep(changed := change(room, self.clock.now()))
            return changed

    def room_count(self) -> int:
        """Return the number of rooms, including expired and deleted ones."""
        return len(self._room_ids)

    def rooms(self, first: int = 1, stop: int | None = None) -> list[Room]:
        """Return the rooms with serial numbers from `first` to before `stop`."""
        with self._lock:
            ids = self._room_ids[first - 1 : None if stop is None else stop - 1]
            return [self._rooms[room_id] for room_id in ids]

    def _keep(self, room: Room) -> None:
        self._rooms[room.id] = room
        heapq.heappush(self._expiries, (room.expires_at, room.id))
        self.changed.notify_all()

    # --- expiry -----------------------------------------------------------------------------------

    def take_expired(self) -> list[Room]:
        """Mark due rooms as expired and return them; each room is returned only once."""
        with self._lock:
            now = self.clock.now()
            taken = []
            while self._expiries and self._expiries[0][0] <= now:
                room = self._rooms[heapq.heappop(self._expiries)[1]]
                if room.alive and room.is_due(now):
                    taken.append(replace(room, expired=True))
                    self._rooms[room.id] = taken[-1]
            return taken

    def next_expiry(self) -> datetime | None:
        """Return when the next room may expire, if there is one."""
        with self._lock:
            return self._expiries[0][0] if self._expiries else None

    def await_due(self, timeout: float, sources: Iterable[Callable[[], datetime | None]]) -> None:
        """Wait until the earliest time of `sources`, or until something has changed.

        It never waits longer than `timeout` seconds.
        """
        with self.changed:
            now = self.clock.now()
            waits = [(at - now).total_seconds() for source in sources if (at := source())]
            wait = min([timeout, *waits])
            if wait > 0 and not self.stopping.is_set():
                self.changed.wait(wait)

    def advance_clock(self, seconds: float) -> None:
        """Advance the clock."""
        with self._lock:
            self.clock.advance(seconds)
            self.changed.notify_all()

    def stop(self) -> None:
        """Set `stopping` and wake all waiting threads."""
        self.stopping.set()
        with self._lock:
            self.changed.notify_all()

    # --- sessions and recordings ------------------------------------------------------------------

    def start_session(self, session: Session) -> None:
        """Start a session in its room.

        Raises:
            Refusal: the room does not exist or is not available.
        """
        with self._lock:
            room = self.room(session.room_id)
            if not room.is_available(self.clock.now()):
                raise Refusal(409, "ConflictError", f"The room with id: {room.id} is not available")
            self.add_session(session)
            self._keep(rooms.entered(room))

    def end_session(self, session: Session, ended_at: datetime) -> None:
        """End the session and update its room."""
        with self._lock:
            self._sessions[session.id] = replace(session, ended_at=ended_at)
            self._keep(rooms.left(self.room(session.room_id), ended_at))

    def add_session(self, session: Session) -> None:
        """Add a session, unless it exists, without changing its room."""
        with self._lock:
            self._sessions.setdefault(session.id, session)
            self._recordings_of.setdefault(session.id, [])

    def session(self, session_id: str) -> Session:
        """Return the session.

        Raises:
            Refusal: there is no such session.
        """
        with self._lock:
            if session_id not in self._sessions:
                raise not_found(f"Failed to find session recordings by id: {session_id}")
            return self._sessions[session_id]

    def keep_recordings(self, recordings: Iterable[Recording]) -> None:
        """Add or replace the recordings."""
        with self._lock:
            for recording in recordings:
                if recording.id not in self._recordings:
                    self._recordings_of[recording.session_id].append(recording.id)
                self._recordings[recording.id] = recording

    def recordings(self) -> list[Recording]:
        """Return all recordings, including deleted ones."""
        with self._lock:
            return list(self._recordings.values())

    def recordings_of(self, session_id: str) -> list[Recording]:
        """Return the session's recordings that are not deleted.

        Raises:
            Refusal: there is no such session.
        """
        with self._lock:
            self.session(session_id)
            every = [self._recordings[i] for i in self._recordings_of[session_id]]
            return [recording for recording in every if not recording.deleted]

    def recording(self, recording_id: str) -> Recording:
        """Return the recording.

        Raises:
            Refusal: there is no such recording, or it is deleted.
        """
        with self._lock:
            found = self._recordings.get(recording_id)
            if found is None or found.deleted:
                raise not_found(f"Failed to find recording with id: {recording_id}")
            return found

    def delete_recording(self, recording_id: str) -> None:
        """Delete the recording.

        Raises:
            Refusal: there is no such recording, or it is not uploaded yet.
        """
        with self._lock:
            recording = self.recording(recording_id)
            if recording.status != "uploaded":
                raise Refusal(
                    403,
                    "ForbiddenError",
                    f"The recording with id: {recording_id} is not in status uploaded",
                )
            self.keep_recordings([replace(recording, deleted=True)])

    def callback_url_of(self, body: Mapping[str, Any], kind: Kind) -> str | None:
        """Return the callback URL for `kind` of the room in `body`, if the room has its own."""
        with self._lock:
            session = self._sessions.get(str(body.get("session_id")))
            room_id = session.room_id if session else str(body.get("room_id"))
            room = self._rooms.get(room_id)
            return room.callback_url(kind) if room else None
