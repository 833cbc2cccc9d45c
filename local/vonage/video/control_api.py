"""The control interface of the emulated Video API and of all files. See `local/README.md`."""

import base64
from collections.abc import Callable
from typing import Any, Literal

from flask import Response
from msgspec import Struct

from local.vonage import bulk
from local.vonage.control_io import body, done
from local.vonage.responses import json_response
from local.vonage.sender import Sender
from local.vonage.sending import Sending
from local.vonage.state import State
from local.vonage.video import added_archives, callbacks, scenarios, uploads
from local.vonage.video.archives import Archive, Status
from local.vonage.video.projects import Environment
from local.vonage.video.scenarios import Played, Size

Route = tuple[str, str, Callable[..., Response]]
Step = Literal["pause", "resume", "stop", "process", "fail", "expire"]

_STATUSES: dict[Step, Status] = {
    "pause": "paused",
    "resume": "started",
    "stop": "stopped",
    "fail": "failed",
    "expire": "expired",
}


class _Step(Struct, forbid_unknown_fields=True):
    """The next status of an archive, now."""

    step: Step
    reason: str | None = None
    deserted: bool = False
    """Whether a pause begins because everybody left: it then ends after 60 seconds."""
    deliver: bool = True
    """Whether to send its callback."""


class _Upload(Struct, forbid_unknown_fields=True):
    """Where the archives of a project are uploaded to; None: they stay in Vonage's cloud."""

    target: uploads.UploadTarget | None
    environment: Environment = "unified"


class _File(Struct, forbid_unknown_fields=True):
    """Changes to a file."""

    size: Size | None = None
    replace_content: bool = False
    """Whether the file gets other bytes and another ETag."""


class VideoControlApi:
    """The HTTP routes that control the Video API."""

    def __init__(self, state: State, sender: Sender) -> None:
        self._state = state
        self._video = state.video
        self._sender = sender

    def routes(self) -> list[Route]:
        """Return method, rule and view of each route."""
        session = "/video/sessions/<id:session_id>"
        return [
            ("GET", "/video/credentials", self.video_credentials),
            ("POST", "/video/sessions", self.play_session),
            ("POST", "/video/sessions/bulk", self.play_sessions),
            ("POST", f"{session}/end", self.end_session),
            ("POST", f"{session}/rotate", self.rotate_session),
            ("POST", f"{session}/notify", self.notify_session),
            ("POST", "/video/upload-target", self.set_upload_target),
            ("GET", "/video/samples", self.list_samples),
            ("POST", "/video/samples/<id:name>", self.send_sample),
            ("GET", "/archives", self.list_all_archives),
            ("POST", "/archives", self.add_archives),
            ("POST", "/archives/<id:archive_id>", self.step_archive),
            ("GET", "/files/<id:recording_id>", self.get_file),
            ("POST", "/files/<id:recording_id>", self.change_file),
        ]

    def video_credentials(self) -> Response:
        """Return the credentials of both projects."""
        return json_response(self._video.credentials.as_json())

    def play_session(self) -> Response:
        """Play a session's lives; respond once each callback was posted."""
        scenario = body(scenarios.Scenario)
        return self._sent(scenarios.play(self._state, scenario), scenario)

    def play_sessions(self) -> Response:
        """Play many sessions; respond once each callback was posted."""
        return json_response(bulk.play(self._state, self._sender, body(bulk.VideoSessions)))

    def end_session(self, session_id: str) -> Response:
        """End a live session."""
        ending = body(scenarios.Ending)
        return self._sent(scenarios.end(self._state, session_id, ending), ending)

    def rotate_session(self, session_id: str) -> Response:
        """Replace a live session's server."""
        rotation = body(scenarios.Rotation)
        return self._sent(scenarios.rotate(self._state, session_id, rotation), rotation)

    def notify_session(self, session_id: str) -> Response:
        """Announce a server rotation to a live session."""
        notice = body(scenarios.Notice)
        return self._sent(scenarios.notify(self._state, session_id, notice), notice)

    def set_upload_target(self) -> Response:
        """Set where a project's archives are uploaded to."""
        wanted = body(_Upload)
        self._video.set_target(wanted.environment, wanted.target)
        return done()

    def list_samples(self) -> Response:
        """Return the names of the samples."""
        return json_response({"names": callbacks.sample_names()})

    def send_sample(self, name: str) -> Response:
        """Send a sample as a callback; respond with its delivery."""
        return json_response(self._sender.send(callbacks.sample(name)).as_json())

    def list_all_archives(self) -> Response:
        """Return all archives, including deleted ones."""
        return json_response([self._shown(each) for each in self._video.archives()])

    def add_archives(self) -> Response:
        """Add archives in any status."""
        return json_response(added_archives.add(self._state, body(added_archives.Archives)), 201)

    def step_archive(self, archive_id: str) -> Response:
        """Give an archive its next status; respond with it."""
        wanted = body(_Step)
        archive = self._video.archive(archive_id)
        status = _STATUSES.get(wanted.step) or self._video.outcome(archive.environment)
        shown = self._video.change(archive_id, status, wanted.reason, deserted=wanted.deserted)
        if wanted.deliver:
            self._sender.send(shown)
        return json_response(shown)

    def get_file(self, recording_id: str) -> Response:
        """Return a file's size, ETag and hash. It reads the whole file: about 1 GB per second."""
        digest = self._state.files.sha256(recording_id)
        file = self._state.files.of(recording_id)
        return json_response(
            {
                "size": file.size,
                "etag": f'"{file.etag}"',
                "sha256": digest.hex(),
                "sha256sum": base64.b64encode(digest).decode(),
            }
        )

    def change_file(self, recording_id: str) -> Response:
        """Change a file's size or bytes."""
        wanted = body(_File)
        if wanted.size is not None:
            self._state.files.set_size(recording_id, wanted.size)
        if wanted.replace_content:
            self._state.files.replace_content(recording_id)
        return done()

    def _sent(self, played: Played, sending: Sending) -> Response:
        """Send the callbacks of a played session; return the response that lists them."""
        sent = scenarios.to_send(played, sending)
        for callback in sent:
            self._sender.send(callback, sending.delay.get(callbacks.name_of(callback), 0.0))
        return json_response(played.as_json(sent))

    def _shown(self, archive: Archive) -> dict[str, Any]:
        uploaded = archive.status == "uploaded"
        more = {"deleted": archive.deleted, "key": uploads.key(archive) if uploaded else None}
        return self._video.shown(archive) | more
