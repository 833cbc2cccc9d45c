"""A Python client that controls the Video API of a running emulator."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from local.vonage.control_client import ControlClient, json_compatible


class VideoControl(ControlClient):
    """The part of the control interface that concerns the Video API and files.

    Every method raises ControlError if the emulator rejects the call, and a requests error if it
    cannot be reached.
    """

    @property
    def api_url(self) -> str:
        """The base URL for clients of the API."""
        return self.base

    def credentials(self) -> dict[str, str]:
        """Return `application_id`, `private_key` (PEM), `api_key` and `api_secret`."""
        return self._get("/video/credentials")

    def callbacks_to(
        self,
        url: str,
        *,
        kinds: Sequence[str] = ("video_archives", "video_sessions", "video_others"),
        signature_secret: str | None = None,
        headers: Mapping[str, str] = {},
    ) -> None:
        """Send callbacks of these `kinds` to `url` from now on, signed if there is a secret."""
        target = {"url": url, "signature_secret": signature_secret, "headers": dict(headers)}
        self._post("/callbacks", target | {"kinds": list(kinds)})

    # --- sessions ---------------------------------------------------------------------------------

    def play_session(self, **scenario: Any) -> dict[str, Any]:
        """Play a session's lives, as the class `Scenario` describes them; send its callbacks.

        Returns:
            `session_id`, `archive_ids`, and `callbacks`, the bodies that were sent.
        """
        return self._post("/video/sessions", json_compatible(scenario))

    def play_sessions(self, count: int, **options: Any) -> dict[str, Any]:
        """Play many sessions and send their callbacks concurrently.

        `options` are `senders`, `duplicates`, `drop`, `shuffle`, `seed`, and `scenario`.

        Returns:
            `sessions`, `callbacks`, `dropped` (by name), `duplicated`, `sent`, `attempts`,
            `delivered`, `given_up`, `seconds`, `session_ids`, `archive_ids`.
        """
        return self._post("/video/sessions/bulk", {"count": count} | options)

    def end_session(self, session_id: str, **ending: Any) -> dict[str, Any]:
        """End a live session and its archives, as the class `Ending` describes it."""
        return self._on_session(session_id, "end", ending)

    def rotate_session(self, session_id: str, **rotation: Any) -> dict[str, Any]:
        """Replace a live session's server, as the class `Rotation` describes it."""
        return self._on_session(session_id, "rotate", rotation)

    def notify_session(self, session_id: str, **notice: Any) -> dict[str, Any]:
        """Announce a server rotation to a live session."""
        return self._on_session(session_id, "notify", notice)

    def _on_session(self, session_id: str, what: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._post(
            f"/video/sessions/{quote(session_id, safe='')}/{what}", json_compatible(body)
        )

    # --- archives ---------------------------------------------------------------------------------

    def add_archives(self, count: int = 1, **archives: Any) -> dict[str, Any]:
        """Add archives in any status without callbacks, as the class `Archives` describes them.

        Returns:
            `archive_ids`, `session_ids`.
        """
        return self._post("/archives", {"count": count} | json_compatible(archives))

    def step(self, archive_id: str, step: str, **options: Any) -> dict[str, Any]:
        """Give an archive its next status and send its callback; return the archive.

        Steps: `pause`, `resume`, `stop`, `process`, `fail`, `expire`. Options: `reason`, `deliver`,
        and for `pause` whether the archive is `deserted`.
        """
        return self._post(f"/archives/{quote(archive_id, safe='')}", {"step": step} | options)

    def archives(self) -> list[dict[str, Any]]:
        """Return all archives, including deleted ones, with `deleted` and `key` (if uploaded)."""
        return self._list("/archives")

    def upload_to(self, environment: str = "unified", **target: Any) -> None:
        """Upload a project's archives from now on, as the class `UploadTarget` describes it."""
        self._post("/video/upload-target", {"environment": environment, "target": target})

    def keep_in_cloud(self, environment: str = "unified") -> None:
        """Upload a project's archives nowhere from now on."""
        self._post("/video/upload-target", {"environment": environment, "target": None})

    # --- samples and files ------------------------------------------------------------------------

    def samples(self) -> list[str]:
        """Return the names of the callbacks that `send_sample` can send."""
        names: list[str] = self._get("/video/samples")["names"]
        return names

    def send_sample(self, name: str) -> dict[str, Any]:
        """Send the sample of a callback; return its delivery."""
        return self._post(f"/video/samples/{quote(name, safe='')}", {})

    def file(self, recording_id: str) -> dict[str, Any]:
        """Return a file's `size`, `etag`, `sha256` (hex) and `sha256sum` (base64).

        The emulator reads the whole file for that: about 1 GB per second.
        """
        return self._get(f"/files/{quote(recording_id, safe='')}")

    def change_file(self, recording_id: str, **changes: Any) -> None:
        """Change a file of either product: its `size`, or with `replace_content` its bytes."""
        self._post(f"/files/{quote(recording_id, safe='')}", changes)
