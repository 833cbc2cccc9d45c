"""The Video API's archive operations over HTTP, for the unified and the classic project.

Source: Vonage's OpenAPI description of the Video API, and the released SDKs.
"""

from typing import Annotated, Any, Literal, TypeVar

import msgspec
from flask import Blueprint, Response, request
from msgspec import Meta, Struct

from local.vonage.faults import Operation
from local.vonage.refusal import Refusal
from local.vonage.responses import json_response
from local.vonage.serving import View, with_faults
from local.vonage.state import State
from local.vonage.video import archives, refusal
from local.vonage.video.access import is_authorized
from local.vonage.video.archives import Archive
from local.vonage.video.projects import PROJECT_IDS, Environment
from local.vonage.video.uploads import Storage

PREFIX = "/v2/project/<id:project_id>"
DEFAULT_COUNT = 50
MAX_COUNT = 1000

BodyT = TypeVar("BodyT")
Number = Annotated[int, Meta(ge=0, le=2**53)]


class _Listing(Struct, rename="camel"):
    """The query of a list. SDKs send the session under either name."""

    offset: Number = 0
    count: Annotated[int, Meta(ge=0, le=MAX_COUNT)] = DEFAULT_COUNT
    session_id: str | None = None


class _Start(Struct, rename="camel"):
    """The body that starts an archive."""

    session_id: Annotated[str, Meta(min_length=1)]
    name: str = ""
    has_audio: bool = True
    has_video: bool = True
    has_transcription: bool = False
    output_mode: Literal["composed", "individual"] = "composed"
    stream_mode: Literal["auto", "manual"] = "auto"
    resolution: str = "640x480"
    multi_archive_tag: str = ""


class VideoApi:
    """The operations of the API on the emulator's state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._video = state.video

    def blueprint(self) -> Blueprint:
        """Return the API's routes."""
        blueprint = Blueprint("video", __name__, url_prefix=PREFIX)
        routes: list[tuple[str, str, Operation, View]] = [
            ("GET", "/archive", "list_archives", self.list_archives),
            ("POST", "/archive", "start_archive", self.start_archive),
            ("GET", "/archive/<id:archive_id>", "get_archive", self.get_archive),
            ("DELETE", "/archive/<id:archive_id>", "delete_archive", self.delete_archive),
            ("POST", "/archive/<id:archive_id>/stop", "stop_archive", self.stop_archive),
            ("PUT", "/archive/storage", "set_storage", self.set_storage),
        ]
        for method, rule, operation, view in routes:
            served = with_faults(self._state, operation, self._authorized(view), _error_body)
            blueprint.add_url_rule(rule, operation, served, methods=[method])
        return blueprint

    def list_archives(self, environment: Environment) -> Response:
        """GET .../archive."""
        query = request.args.to_dict()
        query.setdefault("sessionId", query.get("session_id", ""))
        listing = _converted(query, _Listing, strict=False)
        found = self._video.listed(environment, listing.session_id or None)
        page = found[listing.offset : listing.offset + listing.count]
        counts_all = self._state.switches.settings.archive_count == "total"
        items = [self._video.shown(each) for each in page]
        return json_response({"count": len(found if counts_all else page), "items": items})

    def start_archive(self, environment: Environment) -> Response:
        """POST .../archive."""
        # SDKs send null for fields that their caller did not set.
        given = {name: value for name, value in _body().items() if value is not None}
        body = _converted(given, _Start)
        archive = archives.started(
            body.session_id,
            self._state.clock.now(),
            environment=environment,
            name=body.name,
            has_audio=body.has_audio,
            has_video=body.has_video,
            has_transcription=body.has_transcription,
            output_mode=body.output_mode,
            stream_mode=body.stream_mode,
            resolution=body.resolution,
            tag=body.multi_archive_tag,
        )
        return json_response(self._video.shown(self._video.start(archive)))

    def get_archive(self, environment: Environment, archive_id: str) -> Response:
        """GET .../archive/{id}."""
        archive = self._archive(environment, archive_id)
        shown = self._video.shown(archive)
        if archive.deleted:
            shown |= {"status": "deleted", "url": None}
        return json_response(shown)

    def delete_archive(self, environment: Environment, archive_id: str) -> Response:
        """DELETE .../archive/{id}."""
        settings = self._state.switches.settings
        try:
            archive = self._video.archive(archive_id, environment)
        except Refusal as exc:
            raise refusal.unknown(settings.unknown_on_delete) from exc
        if not archive.deleted:
            self._video.delete(archive_id, environment)
        elif settings.repeated_delete == 404:
            raise refusal.unknown(404)
        return Response(status=204)

    def stop_archive(self, environment: Environment, archive_id: str) -> Response:
        """POST .../archive/{id}/stop."""
        self._archive(environment, archive_id)
        return json_response(self._video.shown(self._video.stop(archive_id, environment)))

    def set_storage(self, environment: Environment) -> Response:
        """PUT .../archive/storage."""
        self._video.set_target(environment, _converted(_body(), Storage).target())
        return json_response(_body())

    def _archive(self, environment: Environment, archive_id: str) -> Archive:
        """Return the archive.

        Raises:
            Refusal: it does not exist, or it is deleted and such archives are unknown.
        """
        settings = self._state.switches.settings
        try:
            archive = self._video.archive(archive_id, environment)
        except Refusal as exc:
            raise refusal.unknown(settings.unknown_archive) from exc
        if archive.deleted and settings.deleted_archive == "unknown":
            raise refusal.unknown(settings.unknown_archive)
        return archive

    def _authorized(self, view: View) -> View:
        def serve(project_id: str, **ids: str) -> Response:
            if not is_authorized(project_id, request.headers, self._video.credentials):
                raise refusal.forbidden()
            return view(_environment(project_id), **ids)

        return serve


def _environment(project_id: str) -> Environment:
    return "unified" if project_id == PROJECT_IDS["unified"] else "classic"


def _body() -> dict[str, Any]:
    try:
        return msgspec.json.decode(request.get_data(), type=dict[str, Any])
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as exc:
        raise refusal.invalid(f"Invalid JSON: {exc}") from exc


def _converted(value: object, kind: type[BodyT], *, strict: bool = True) -> BodyT:
    try:
        return msgspec.convert(value, kind, strict=strict)
    except msgspec.ValidationError as exc:
        raise refusal.invalid(str(exc)) from exc


def _error_body(status: int, name: str) -> tuple[bytes, str]:
    """Return the error body of a fault; a number as the fault's `name` is the error's code."""
    code = int(name) if name.lstrip("-").isdecimal() else status
    body = refusal.error_body(code, "A fault was switched on")
    return msgspec.json.encode(body), "application/json"
