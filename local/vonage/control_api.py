"""The emulator's control interface over HTTP, under /control. `local/README.md` describes it."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any

import msgspec
from flask import Blueprint, Response, request
from msgspec import Meta, Struct

from local.vonage import bulk, meetings, rooms
from local.vonage.control_io import body, done, fields
from local.vonage.faults import Fault
from local.vonage.meetings import Duration, Meeting, MeetingSending
from local.vonage.recordings import Recording, Session
from local.vonage.refusal import invalid
from local.vonage.responses import json_object, json_response
from local.vonage.sender import Sender, Watch
from local.vonage.sending import Body
from local.vonage.settings import KINDS, Kind, Target
from local.vonage.state import State
from local.vonage.video.control_api import VideoControlApi
from roomkeeper.times import iso

PREFIX = "/control"


class _Callbacks(Target, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A target, and the application's callback URLs that it replaces."""

    kinds: tuple[Kind, ...] = KINDS


class _Ending(MeetingSending, kw_only=True, forbid_unknown_fields=True):
    """How to end an ongoing meeting; its recordings end now if `duration` is None."""

    duration: Duration | None = None
    upload: bool = True


class _Advance(Struct, forbid_unknown_fields=True):
    seconds: Annotated[float, Meta(ge=-3e8, le=3e8)]


class ControlApi:
    """The HTTP routes of the control interface."""

    def __init__(
        self, state: State, sender: Sender, watch: Watch, https_base: Callable[[], str]
    ) -> None:
        self._state = state
        self._sender = sender
        self._watch = watch
        self._https_base = https_base

    def blueprint(self) -> Blueprint:
        """Return the control interface's routes."""
        blueprint = Blueprint("control", __name__, url_prefix=PREFIX)
        routes: list[tuple[str, str, Callable[..., Response]]] = [
            ("POST", "/callbacks", self.set_callbacks),
            ("POST", "/callbacks/send", self.send_callback),
            ("GET", "/deliveries", self.list_deliveries),
            ("GET", "/requests", self.list_requests),
            ("POST", "/rooms", self.create_room),
            ("POST", "/rooms/bulk", self.add_rooms),
            ("GET", "/rooms", self.list_rooms),
            ("POST", "/meetings", self.hold_meeting),
            ("POST", "/meetings/bulk", self.hold_meetings),
            ("POST", "/meetings/<id:session_id>/end", self.end_meeting),
            ("GET", "/recordings", self.list_recordings),
            ("POST", "/recordings", self.add_recordings),
            ("POST", "/recordings/<id:recording_id>/upload", self.upload),
            ("POST", "/faults", self.add_fault),
            ("DELETE", "/faults", self.clear_faults),
            ("POST", "/settings", self.change_settings),
            ("POST", "/https", self.open_https),
            ("POST", "/clock", self.advance_clock),
            ("POST", "/reset", self.reset),
            *VideoControlApi(self._state, self._sender).routes(),
        ]
        for method, rule, view in routes:
            blueprint.add_url_rule(rule, view.__name__, view, methods=[method])
        return blueprint

    def set_callbacks(self) -> Response:
        """Set where callbacks go."""
        wanted = body(_Callbacks)
        self._state.switches.set_target(wanted.kinds, wanted)
        return done()

    def send_callback(self) -> Response:
        """Send one callback; respond with its delivery."""
        return json_response(self._sender.send(json_object(request)).as_json())

    def list_deliveries(self) -> Response:
        """Return all callbacks and their attempts."""
        return json_response([delivery.as_json() for delivery in self._state.journal.deliveries()])

    def list_requests(self) -> Response:
        """Return the requests to the API."""
        return json_response(self._state.journal.requests())

    def create_room(self) -> Response:
        """Add a room in any state."""
        wanted = fields()
        room = self._state.add_room(lambda serial, now: rooms.added(wanted, serial, now))
        return json_response(self._room(room), 201)

    def add_rooms(self) -> Response:
        """Add many rooms."""
        return json_response(bulk.add_rooms(self._state, body(bulk.Rooms)), 201)

    def list_rooms(self) -> Response:
        """Return all rooms, including deleted ones."""
        return json_response([self._room(room) for room in self._state.rooms()])

    def hold_meeting(self) -> Response:
        """Hold a meeting; respond once its callbacks are delivered or given up."""
        wanted = body(Meeting)
        session, bodies = meetings.begin(self._state, wanted)
        if not wanted.ongoing:
            bodies += meetings.finish(
                self._state, session, duration=wanted.duration, upload=wanted.upload
            )
        return self._sent(session, bodies, wanted)

    def end_meeting(self, session_id: str) -> Response:
        """End an ongoing meeting; respond once its callbacks are delivered or given up."""
        wanted = body(_Ending)
        session = self._state.session(session_id)
        if session.ended_at is not None:
            raise invalid(f"The session with id: {session_id} has ended")
        bodies = meetings.finish(
            self._state, session, duration=wanted.duration, upload=wanted.upload
        )
        return self._sent(session, bodies, wanted)

    def hold_meetings(self) -> Response:
        """Hold many meetings; respond once all callbacks are delivered or given up."""
        return json_response(bulk.hold(self._state, self._sender, body(bulk.Meetings)))

    def list_recordings(self) -> Response:
        """Return all recordings, including deleted ones."""
        return json_response([_recording(each) for each in self._state.recordings()])

    def add_recordings(self) -> Response:
        """Add recordings without sending callbacks."""
        return json_response(bulk.add_recordings(self._state, body(bulk.Recordings)), 201)

    def upload(self, recording_id: str) -> Response:
        """Finish a recording's upload and send its callback."""
        uploaded = meetings.upload(self._state, recording_id)
        return json_response(self._sender.send(uploaded).as_json())

    def add_fault(self) -> Response:
        """Switch a fault on."""
        self._state.switches.add_fault(body(Fault))
        return done()

    def clear_faults(self) -> Response:
        """Switch every fault off."""
        self._state.switches.clear_faults()
        return done()

    def change_settings(self) -> Response:
        """Change settings; respond with all settings."""
        try:
            return json_response(self._state.switches.change_settings(fields()))
        except msgspec.ValidationError as exc:
            raise invalid(str(exc)) from exc

    def open_https(self) -> Response:
        """Serve the emulator over https too, with a self-signed certificate; return its URL."""
        return json_response({"base": self._https_base()})

    def advance_clock(self) -> Response:
        """Advance the clock; respond once the callbacks that are due are posted."""
        self._state.advance_clock(body(_Advance).seconds)
        self._watch.send_due()
        return json_response({"now": iso(self._state.clock.now())})

    def reset(self) -> Response:
        """Reset the emulator."""
        self._state.reset()
        self._sender.drop_retries()
        return done()

    def _sent(self, session: Session, bodies: list[Body], sending: MeetingSending) -> Response:
        """Send a meeting's callbacks; return the response that lists them."""
        sent = meetings.arranged(self._state, bodies, sending) if sending.deliver else []
        for callback in sent:
            self._sender.send(callback, sending.delay.get(callback["event"], 0.0))
        recordings = self._state.recordings_of(session.id)
        return json_response(
            {
                "room_id": session.room_id,
                "session_id": session.id,
                "recording_ids": [recording.id for recording in recordings],
                "callbacks": sent,
            }
        )

    def _room(self, room: rooms.Room) -> dict[str, Any]:
        shown = rooms.as_json(room, self._state.clock.now(), "is_available")
        return shown | {"deleted": room.deleted, "expired": room.expired}


def _recording(recording: Recording) -> dict[str, Any]:
    ended_at = iso(recording.ended_at) if recording.ended_at else None
    return asdict(recording) | {"started_at": iso(recording.started_at), "ended_at": ended_at}
