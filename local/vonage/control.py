"""A Python client that controls a running emulator."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from local.vonage.control_client import ControlClient, ControlError, json_compatible
from local.vonage.video.control import VideoControl

__all__ = ["ControlError", "VonageControl"]


class VonageControl(ControlClient):
    """The emulator's control interface. `base` is the URL that it printed, without a path.

    Every method raises ControlError if the emulator rejects the call, and a requests error if it
    cannot be reached.
    """

    def __init__(self, base: str) -> None:
        super().__init__(base)
        self.video = VideoControl(base)
        """Controls the Video API and the sizes of all files."""
        self.api_url = f"{self.base}/beta/meetings"
        """The base URL for clients of the API."""

    # --- callbacks --------------------------------------------------------------------------------

    def callbacks_to(
        self,
        url: str,
        *,
        signature_secret: str | None = None,
        headers: Mapping[str, str] = {},
        kinds: Sequence[str] = ("rooms", "sessions", "recordings"),
        **identity: str,
    ) -> None:
        """Send callbacks of these `kinds` to `url` from now on.

        With a `signature_secret` each callback is signed; `identity` is the `api_key` and
        `application_id` in the signatures' claims. `headers` are added to every callback.
        """
        target = {"url": url, "signature_secret": signature_secret, "headers": dict(headers)}
        self._post("/callbacks", target | {"kinds": list(kinds)} | identity)

    def send_callback(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one callback; return its delivery in the form of `deliveries`."""
        return self._post("/callbacks/send", body)

    def deliveries(self) -> list[dict[str, Any]]:
        """Return all callbacks in the order of their first attempts.

        Each has `event`, `body`, `status` (of the last response, or None), `delivered`, and
        `attempts` with `at`, `status`, `error`, `answer`.
        """
        return self._list("/deliveries")

    # --- rooms, meetings, recordings --------------------------------------------------------------

    def create_room(self, **fields: Any) -> dict[str, Any]:
        """Add a room in any state. Fields: those of the API, `id`, `created_at`, `deleted`."""
        return self._post("/rooms", fields)

    def add_rooms(self, count: int, **fields: Any) -> list[str]:
        """Add `count` rooms with the same fields; return their ids."""
        ids: list[str] = self._post("/rooms/bulk", {"count": count, "fields": fields})["room_ids"]
        return ids

    def rooms(self) -> list[dict[str, Any]]:
        """Return every room as the API shows it, with `deleted` and `expired`."""
        return self._list("/rooms")

    def hold_meeting(
        self,
        room_id: str | None = None,
        *,
        participants: Sequence[str] = ("Ada", "Grace"),
        recordings: int = 1,
        started_at: str | None = None,
        duration: int = 38,
        ongoing: bool = False,
        upload: bool = True,
        **sending: Any,
    ) -> dict[str, Any]:
        """Hold a meeting and send its callbacks; return once each is delivered or given up.

        Without a room it uses a new long-term room; without `started_at` (ISO 8601) it ends now.
        `duration` is in seconds and applies to each recording. `ongoing` only starts the meeting,
        for a later `end_meeting`. Without `upload` the recordings stay `stopped`. `sending` changes
        how the callbacks are sent: `deliver`, `repeat`, `drop`, `order`, `shuffle_seed`, `rename`,
        `delay`, `room_id_in_recordings`, as the class `Sending` describes them.

        Returns:
            `room_id`, `session_id`, `recording_ids`, and `callbacks`, the bodies that were sent.
        """
        meeting = {
            "room_id": room_id,
            "participants": list(participants),
            "recordings": recordings,
            "started_at": started_at,
            "duration": duration,
            "ongoing": ongoing,
            "upload": upload,
        }
        return self._post("/meetings", meeting | json_compatible(sending))

    def end_meeting(
        self, session_id: str, *, duration: int | None = None, upload: bool = True, **sending: Any
    ) -> dict[str, Any]:
        """End an ongoing meeting; everything else is as in `hold_meeting`.

        Its recordings are `duration` seconds long, or end now if it is None.
        """
        ending = {"duration": duration, "upload": upload} | json_compatible(sending)
        return self._post(f"/meetings/{quote(session_id, safe='')}/end", ending)

    def hold_meetings(
        self,
        count: int,
        *,
        senders: int = 16,
        duplicates: float = 0.1,
        drop: float = 0.2,
        shuffle: bool = True,
        seed: int = 0,
        **meeting: Any,
    ) -> dict[str, Any]:
        """Hold many meetings and send all their callbacks from `senders` threads.

        `drop` and `duplicates` are the probabilities that a callback is lost or sent twice.
        `meeting` can be `participants`, `recordings`, `started_at`, `duration`, the same for all.

        Returns:
            `meetings`, `callbacks`, `dropped` (by event), `duplicated`, `sent`, `attempts`,
            `delivered`, `given_up`, `seconds`, `room_ids`, `session_ids`, `recording_ids`.
        """
        wanted = {
            "count": count,
            "senders": senders,
            "duplicates": duplicates,
            "drop": drop,
            "shuffle": shuffle,
            "seed": seed,
        }
        return self._post("/meetings/bulk", wanted | json_compatible(meeting))

    def add_recordings(  # noqa: PLR0913 - one for each property of a recording
        self,
        count: int = 1,
        *,
        per_session: int = 1,
        status: str = "uploaded",
        started_at: str | None = None,
        duration: int = 38,
        room_id: str | None = None,
        session_id: str | None = None,
        ids: Sequence[str] = (),
        size: int | None = None,
    ) -> dict[str, Any]:
        """Add recordings without sending callbacks; return all ids.

        `ids` are the ids of the first recordings. `size` is that of each file in bytes. Other ids,
        sessions and the room are generated.

        Returns:
            `room_id`, `session_ids`, `recording_ids`.
        """
        wanted = {
            "count": count,
            "per_session": per_session,
            "status": status,
            "started_at": started_at,
            "duration": duration,
            "room_id": room_id,
            "session_id": session_id,
            "ids": list(ids),
            "size": size,
        }
        return self._post("/recordings", wanted)

    def upload(self, recording_id: str) -> dict[str, Any]:
        """Finish a recording's upload; return the delivery of its callback."""
        return self._post(f"/recordings/{quote(recording_id, safe='')}/upload", {})

    def recordings(self) -> list[dict[str, Any]]:
        """Return all recordings, including deleted ones, with `deleted`; without URLs."""
        return self._list("/recordings")

    # --- the emulator itself ----------------------------------------------------------------------

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests to the API, in the order of the responses.

        Each has `method`, `path` (unchanged), `query`, `operation`, `range` (the header),
        `authorization` (the scheme) and `status` (None if the connection was reset).
        """
        return self._list("/requests")

    def fault(self, operation: str, **fault: Any) -> None:
        """Change the responses for `operation`, as the class `Fault` describes; `*` means all.

        The class `ElementChange` describes `elements`.
        """
        self._post("/faults", {"operation": operation} | fault)

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self._call("DELETE", "/faults")

    def settings(self, **changes: str | float) -> dict[str, Any]:
        """Change settings, as the class `Settings` describes them; return all settings."""
        return self._post("/settings", changes)

    def https_api_url(self) -> str:
        """Serve the API over https with a self-signed certificate too; return its `api_url`."""
        base: str = self._post("/https", {})["base"]
        return f"{base}/beta/meetings"

    def advance_clock(self, seconds: float) -> None:
        """Advance the clock; return once the callbacks of expired rooms are sent."""
        self._post("/clock", {"seconds": seconds})

    def reset(self) -> None:
        """Reset the emulator, including settings and callback URLs."""
        self._post("/reset", {})
