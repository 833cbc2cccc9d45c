"""The Meetings API over HTTP, under both of its published paths, and the downloads of files.

Source: Vonage's Meetings API reference.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from flask import Blueprint, Request, Response, request
from werkzeug.exceptions import HTTPException

from local.vonage import downloads, recordings, rooms
from local.vonage.access import is_authorized
from local.vonage.faults import RESET, Operation
from local.vonage.meetings import download_url
from local.vonage.paging import Page
from local.vonage.recordings import ACCOUNT, Recording
from local.vonage.refusal import Refusal, invalid
from local.vonage.state import State
from roomkeeper.types import Id

PREFIXES = ("/beta/meetings", "/v1/meetings")

View = Callable[..., Response]

_EXPIRED_XML = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    "<Error><Code>{code}</Code><Message>{message}</Message></Error>"
)


def json_answer(value: object, status: int = 200) -> Response:
    """Return `value` as a JSON response."""
    return Response(msgspec.json.encode(value), status, content_type="application/json")


def json_object(asked: Request) -> dict[str, Any]:
    """Return the JSON object in a request's body.

    Raises:
        Refusal: the body is not a JSON object.
    """
    try:
        return msgspec.json.decode(asked.get_data(), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise invalid(f"The body must be a JSON object: {exc}") from exc


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
            served = self._with_faults(operation, self._authorized(view))
            blueprint.add_url_rule(rule, operation, served, methods=[method])
        return blueprint

    def downloads(self) -> Blueprint:
        """Return the route that serves recordings' files."""
        blueprint = Blueprint("downloads", __name__)
        rule = f"/{ACCOUNT}/<id:recording_id>/archive.mp4"
        blueprint.add_url_rule(rule, "download", self._with_faults("download", self.download))
        return blueprint

    def create_room(self) -> Response:
        """POST /rooms."""
        body = json_object(request)
        room = self._state.add_room(lambda serial, now: rooms.created(body, serial, now))
        return json_answer(self._shown(room), 201)

    def list_rooms(self) -> Response:
        """GET /rooms."""
        page = Page.asked(request.args, self._state.room_count())
        shown = [self._shown(room) for room in self._state.rooms(page.first, page.stop)]
        settings = self._state.switches.settings
        base = self._state.base
        if settings.link_form == "bare":
            base = urlsplit(base).netloc
        return json_answer(
            {
                "page_size": page.size,
                "_embedded": {"rooms": shown} if settings.page_form == "embedded" else shown,
                "_links": page.links(f"{base}{request.path.rstrip('/')}", settings.list_end),
                "total_items": page.total,
            }
        )

    def get_room(self, room_id: str) -> Response:
        """GET /rooms/{id}."""
        return json_answer(self._shown(self._state.room(room_id)))

    def update_room(self, room_id: str) -> Response:
        """PATCH /rooms/{id}."""
        body = json_object(request)
        change = self._state.change_room(room_id, lambda room, now: rooms.updated(room, body, now))
        return json_answer(self._shown(change))

    def delete_room(self, room_id: str) -> Response:
        """DELETE /rooms/{id}."""
        self._state.change_room(room_id, rooms.deleted)
        return Response(status=204)

    def list_recordings(self, session_id: str) -> Response:
        """GET /sessions/{id}/recordings."""
        found = self._state.recordings_of(session_id)
        return json_answer({"_embedded": {"recordings": [self._recording(each) for each in found]}})

    def get_recording(self, recording_id: str) -> Response:
        """GET /recordings/{id}."""
        return json_answer(self._recording(self._state.recording(recording_id)))

    def delete_recording(self, recording_id: str) -> Response:
        """DELETE /recordings/{id}."""
        self._state.delete_recording(recording_id)
        return Response(status=204)

    def download(self, recording_id: str) -> Response:
        """GET a recording's file; ranges are supported."""
        now = self._state.clock.now()
        error = downloads.refusal(recording_id, request.args.to_dict(), now)
        if error is not None:
            return _s3_error(403, *error)
        try:
            self._state.recording(recording_id)
        except Refusal:
            return _s3_error(404, "NoSuchKey", "The specified key does not exist.")
        video = downloads.ARCHIVE.read_bytes()
        response = Response(video, content_type="video/mp4")
        response.add_etag()
        response.make_conditional(request, accept_ranges=True, complete_length=len(video))
        del response.headers["Date"]  # the server adds a Date itself
        return response

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

    def _with_faults(self, operation: Operation, view: View) -> View:
        def serve(**ids: str) -> Response:
            fault = self._state.switches.fault(operation)
            if fault is None:
                return view(**ids)
            self._state.stopping.wait(fault.latency)
            return fault.respond(request, lambda: _response(view, ids), self._state.stopping)

        return serve


def _is_id(text: str) -> bool:
    try:
        msgspec.convert(text, Id)
    except msgspec.ValidationError:
        return False
    return True


def _response(view: View, ids: Mapping[str, str]) -> Response:
    """Return the response to a request, also for a refusal."""
    try:
        return view(**ids)
    except Refusal as refusal:
        return answer_refusal(refusal)


def gateway_error(status: int, title: str, detail: str) -> Response:
    """Return an error in the form of the gateway in front of the service."""
    return json_answer({"title": title, "detail": detail}, status)


def answer_refusal(refusal: Refusal) -> Response:
    """Return the service's response to a rejected request."""
    return json_answer(refusal.as_json(), refusal.status)


def answer_http_error(error: HTTPException) -> Response:
    """Return the gateway's response to a request that matches no operation."""
    response = gateway_error(error.code or 500, error.name, error.description or error.name)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            response.headers[name] = value
    return response


def note(state: State, response: Response) -> Response:
    """Add the current request and its `response` to the journal, without credentials."""
    if request.blueprint == "control":
        return response
    path, _, query = request.environ.get("REQUEST_URI", request.path).partition("?")
    endpoint = (request.endpoint or "").rpartition(".")[2]
    scheme = request.headers.get("Authorization", "").partition(" ")[0]
    state.journal.add_request(
        {
            "method": request.method,
            "path": path,
            "query": query if endpoint != "download" else "",  # a download's query is its signature
            "operation": endpoint or None,
            "authorization": scheme or None,
            "status": None if RESET in request.environ else response.status_code,
        }
    )
    return response


def _s3_error(status: int, code: str, message: str) -> Response:
    xml = _EXPIRED_XML.format(code=code, message=message)
    return Response(xml, status, content_type="application/xml")
