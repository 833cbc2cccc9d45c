"""Serves the files of recordings of both products, as Amazon S3 does behind a presigned URL."""

from collections.abc import Callable
from typing import IO, cast

from flask import Blueprint, Response, request
from werkzeug.exceptions import RequestedRangeNotSatisfiable
from werkzeug.wsgi import FileWrapper

from local.vonage import downloads
from local.vonage.files import FileReader, GeneratedFile
from local.vonage.recordings import ACCOUNT
from local.vonage.refusal import Refusal
from local.vonage.responses import s3_error
from local.vonage.serving import with_faults
from local.vonage.state import State
from local.vonage.video.projects import APPLICATION_ID

_BUFFER = 256 * 1024
_RULE = (
    f'/<any("{ACCOUNT}","{APPLICATION_ID}"):account>/<id:recording_id>'
    '/<any("archive.mp4","archive.zip"):name>'
)


class DownloadApi:
    """The route of the files."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._has_file: dict[str, Callable[[str], bool]] = {
            ACCOUNT: self._is_recording,
            APPLICATION_ID: state.video.has_file,
        }

    def blueprint(self) -> Blueprint:
        """Return the route that serves files."""
        blueprint = Blueprint("downloads", __name__)
        view = with_faults(self._state, "download", self.download, _fault_body)
        blueprint.add_url_rule(_RULE, "download", view)
        return blueprint

    def download(self, account: str, recording_id: str, name: str) -> Response:  # noqa: ARG002
        """GET a file: ranges, If-Match, If-Range and If-None-Match are supported."""
        now = self._state.clock.now()
        error = downloads.refusal(recording_id, request.args.to_dict(), now)
        if error is not None:
            return s3_error(403, *error)
        if not self._has_file[account](recording_id):
            return s3_error(404, "NoSuchKey", "The specified key does not exist.")
        return _served(self._state.files.of(recording_id))

    def _is_recording(self, recording_id: str) -> bool:
        if self._state.video.has_file(recording_id):
            return True
        try:
            self._state.recording(recording_id)
        except Refusal:
            return False
        return True


def _served(file: GeneratedFile) -> Response:
    # werkzeug looks at a Range before it looks at If-Match.
    if request.if_match and not request.if_match.contains(file.etag):
        return s3_error(412, "PreconditionFailed", "At least one precondition did not hold")
    reader = FileWrapper(cast(IO[bytes], FileReader(file)), _BUFFER)
    response = Response(reader, content_type=_media_type(), direct_passthrough=True)
    response.content_length = file.size
    response.set_etag(file.etag)
    try:
        response.make_conditional(request, accept_ranges=True, complete_length=file.size)
    except RequestedRangeNotSatisfiable:
        unsatisfiable = s3_error(416, "InvalidRange", "The requested range is not satisfiable")
        unsatisfiable.headers["Content-Range"] = f"bytes */{file.size}"
        return unsatisfiable
    del response.headers["Date"]  # the server adds a Date itself
    return response


def _media_type() -> str:
    return "application/zip" if request.path.endswith(".zip") else "video/mp4"


def _fault_body(status: int, _name: str) -> tuple[bytes, str]:
    """Return S3's error body for a fault: a 403 looks like that of an expired URL."""
    errors = {
        403: ("AccessDenied", "Request has expired"),
        404: ("NoSuchKey", "The specified key does not exist."),
        503: ("SlowDown", "Please reduce your request rate."),
    }
    code, message = errors.get(status, ("InternalError", "A fault was switched on"))
    return s3_error(status, code, message).get_data(), "application/xml"
