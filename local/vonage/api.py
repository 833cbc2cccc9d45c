"""The Meetings API over HTTP, under both of its published paths.

Source: Vonage's Meetings API reference.
"""

from typing import Any
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from flask import Blueprint, Response, request

from local.vonage import recordings, rooms
from local.vonage.access import is_authorized
from local.vonage.faults import Operation
from local.vonage.meetings import download_url
from local.vonage.paging import Page
from local.vonage.recordings import Recording
from local.vonage.refusal import invalid
from local.vonage.responses import gateway_error, json_object, json_response
from local.vonage.serving import View, with_faults
from local.vonage.state import State
from roomkeeper.types import Id

PREFIXES = ("/beta/meetings", "/v1/meetings")


class MeetingsApi:
    """The operations of the API on the emulator's state."""

    def __init__(self, state: State, public_key: RSAPublicKey | None) -> None:
        self._state = state
        self._public_key = public_key

    def blueprint(self, prefix: str) -> Blueprint:
        """Return the API's routes, to be served under `prefix`."""
        blueprint = Blueprint(prefix.strip("/").replace("/", "-"), __name__, url_prefix=prefix)
        routes: list[tuple[str, str, Operation, View]] = [
            ("POST", "/rooms", "create_room", self.create_room),
            ("GET", "/rooms", "list_rooms", self.list_rooms),
            ("GET", "/rooms/<id:room_id>", "get_room", self.get_room),
            ("PATCH", "/rooms/<id:room_id>", "update_room", self.update_room),
            ("DELETE", "/rooms/<id:room_id>", "delete_room", self.delete_room),
            (
                "GET",
                "/sessions/<id:session_id>/recordings",
                "list_recordings",
                self.list_recordings,
            ),
            ("GET", "/recordings/<id:recording_id>", "get_recording", self.get_recording),
            ("DELETE", "/recordings/<id:recording_id>", "delete_recording", self.delete_recording),
        ]
        for method, rule, operation, view in routes:
            served = with_faults(self._state, operation, self._authorized(view), _error_body)
            blueprint.add_url_rule(rule, operation, served, methods=[method])
        return blueprint

    def create_room(self) -> Response:
        """POST /rooms."""
        body = json_object(request)
        room = self._state.add_room(lambda serial, now: rooms.created(body, serial, now))
        return json_response(self._shown(room), 201)

    def list_rooms(self) -> Response:
        """GET /rooms."""
        page = Page.requested(request.args, self._state.room_count())
        shown = [self._shown(room) for room in self._state.rooms(page.first, page.stop)]
        settings = self._state.switches.settings
        base = self._state.base
        if settings.link_form == "bare":
            base = urlsplit(base).netloc
        return json_response(
            {
                "page_size": page.size,
                "_embedded": {"rooms": shown} if settings.page_form == "embedded" else shown,
                "_links": page.links(f"{base}{request.path.rstrip('/')}", settings.list_end),
                "total_items": page.total,
            }
        )

    def get_room(self, room_id: str) -> Response:
        """GET /rooms/{id}."""
        return json_response(self._shown(self._state.room(room_id)))

    def update_room(self, room_id: str) -> Response:
        """PATCH /rooms/{id}."""
        body = json_object(request)
        change = self._state.change_room(room_id, lambda room, now: rooms.updated(room, body, now))
        return json_response(self._shown(change))

    def delete_room(self, room_id: str) -> Response:
        """DELETE /rooms/{id}."""
        self._state.change_room(room_id, rooms.deleted)
        return Response(status=204)

    def list_recordings(self, session_id: str) -> Response:
        """GET /sessions/{id}/recordings."""
        found = self._state.recordings_of(session_id)
        return json_response(
            {"_embedded": {"recordings": [self._recording(each) for each in found]}}
        )

    def get_recording(self, recording_id: str) -> Response:
        """GET /recordings/{id}."""
        return json_response(self._recording(self._state.recording(recording_id)))

    def delete_recording(self, recording_id: str) -> Response:
        """DELETE /recordings/{id}."""
        self._state.delete_recording(recording_id)
        return Response(status=204)

    def _shown(self, room: rooms.Room) -> dict[str, Any]:
        return rooms.as_json(room, self._state.clock.now(), self._state.switches.settings.room_form)

    def _recording(self, recording: Recording) -> dict[str, Any]:
        uploaded = recording.status == "uploaded"
        url = download_url(self._state, recording.id) if uploaded else None
        return recordings.as_json(recording, url)

    def _authorized(self, view: View) -> View:
        def serve(**ids: str) -> Response:
            if not is_authorized(request.headers.get("Authorization"), self._public_key):
                return gateway_error(401, "Unauthorized", "You did not provide correct credentials")
            self._require_valid(*ids.values())
            return view(**ids)

        return serve

    def _require_valid(self, *ids: str) -> None:
        """Raise Refusal for an id that Vonage never creates, or that the settings reject."""
        refused = self._state.switches.settings.refused_ids
        for id_ in ids:
            if (refused and id_.startswith(refused)) or not _is_id(id_):
                raise invalid("The id in the path is invalid")


def _is_id(text: str) -> bool:
    try:
        msgspec.convert(text, Id)
    except msgspec.ValidationError:
        return False
    return True


def _error_body(status: int, name: str) -> tuple[bytes, str]:
    """Return the error body of a fault, in the form of the service or of its gateway."""
    if status == 429:
        error: dict[str, object] = {"title": "Too Many Requests", "detail": "Slow down"}
    else:
        error = {"message": "A fault was switched on", "name": name, "status": status}
    return msgspec.json.encode(error), "application/json"
