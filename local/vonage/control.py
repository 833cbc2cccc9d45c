"""Steers and watches a running emulator from Python."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import requests

CONNECT_TIMEOUT = 5.0
"""Seconds; how long an answer takes is up to the callbacks' receiver, so that it is not limited."""


class ControlError(Exception):
    """The emulator refused what it was told; the message is its answer."""


class VonageControl:
    """The emulator's control interface. `base` is the URL that it printed, without a path.

    Every method raises ControlError when the emulator refuses, and requests' own errors when it
    cannot be reached.
    """

    def __init__(self, base: str) -> None:
        self.base = base.rstrip("/")
        self.api_url = f"{self.base}/beta/meetings"
        """What the client of the API takes as its base URL."""

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
        """Send callbacks of these `kinds` to `url`, which may hold a token, from now on.

        With a `signature_secret` each is signed; `headers` go with every one; `identity` is the
        `api_key` and `application_id` that signatures claim.
        """
        target = {"url": url, "signature_secret": signature_secret, "headers": dict(headers)}
        self._post("/callbacks", target | {"kinds": list(kinds)} | identity)

    def send_callback(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Send one callback more; return its delivery, in the form that `deliveries` has."""
        return self._post("/callbacks/send", body)

    def deliveries(self) -> list[dict[str, Any]]:
        """Return every callback in the order in which their sending began.

        Each has `event`, `body`, `status` (the last answer's, or None), `delivered`, and `attempts`
        with `at`, `status`, `error`, `answer`.
        """
        return self._get("/deliveries")

    # --- rooms, meetings, recordings --------------------------------------------------------------

    def create_room(self, **fields: Any) -> dict[str, Any]:
        """Place a room in any state; fields as in the API, and `id`, `created_at`, `deleted`."""
        return self._post("/rooms", fields)

    def add_rooms(self, count: int, **fields: Any) -> list[str]:
        """Place `count` rooms with the same fields; return their ids."""
        ids: list[str] = self._post("/rooms/bulk", {"count": count, "fields": fields})["room_ids"]
        return ids

    def rooms(self) -> list[dict[str, Any]]:
        """Return every room as the API shows it, with `deleted` and `expired`."""
        return self._get("/rooms")

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
        """Hold a meeting and send its callbacks; return once each was delivered or given up.

        Without a room it is held in a new long-term one; without `started_at` (ISO 8601) it ends
        now. `duration` is each recording's, in seconds. `ongoing` leaves it at the beginning, for
        `end_meeting`; without `upload` the recordings stay `stopped`. `sending` is what becomes of
        the callbacks: `deliver`, `repeat`, `drop`, `order`, `shuffle_seed`, `rename`, `delay`,
        `room_id_in_recordings`, as the class `Sending` describes them.

        Returns:
            `room_id`, `session_id`, `recording_ids`, and `callbacks`: the bodies as they were sent.
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
        return self._post("/meetings", meeting | _plain(sending))

    def end_meeting(
        self, session_id: str, *, duration: int | None = None, upload: bool = True, **sending: Any
    ) -> dict[str, Any]:
        """End a meeting that was left going on; like `hold_meeting` in all else.

        Its recordings took `duration` seconds; until now, when that is None.
        """
        ending = {"duration": duration, "upload": upload} | _plain(sending)
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

        Each callback is lost and doubled with these probabilities. `meeting` is `participants`,
        `recordings`, `started_at`, `duration`, the same for all.

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
        return self._post("/meetings/bulk", wanted | _plain(meeting))

    def add_recordings(  # noqa: PLR0913 - a name for each thing that can be said of it
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
    ) -> dict[str, Any]:
        """Add recordings that are simply there, with no callback; return the ids of everything.

        `ids` are for the first of them; the others', like sessions and room, are made up.

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
        }
        return self._post("/recordings", wanted)

    def upload(self, recording_id: str) -> dict[str, Any]:
        """Finish a recording's upload; return the delivery of the callback that tells of it."""
        return self._post(f"/recordings/{quote(recording_id, safe='')}/upload", {})

    def recordings(self) -> list[dict[str, Any]]:
        """Return every recording there ever was, with `deleted`; without download URLs."""
        return self._get("/recordings")

    # --- the emulator itself ----------------------------------------------------------------------

    def requests(self) -> list[dict[str, Any]]:
        """Return the requests that the API had, in the order in which they were answered.

        Each has `method`, `path` (as it came), `query`, `operation`, `authorization` (its scheme)
        and `status` (None when the connection was reset).
        """
        return self._get("/requests")

    def fault(self, operation: str, **fault: Any) -> None:
        """Change the responses for `operation`, as the class `Fault` describes; `*` is every one.

        `elements` are changes as the class `ElementChange` describes them.
        """
        self._post("/faults", {"operation": operation} | fault)

    def clear_faults(self) -> None:
        """Switch every fault off."""
        self._call("DELETE", "/faults")

    def settings(self, **changes: str | float) -> dict[str, Any]:
        """Change settings, which the class `Settings` describes; return all of them."""
        return self._post("/settings", changes)

    def https_api_url(self) -> str:
        """Return `api_url` over https, with a self-signed certificate; served from now on."""
        base: str = self._post("/https", {})["base"]
        return f"{base}/beta/meetings"

    def advance_clock(self, seconds: float) -> None:
        """Put the clock forward; return once the rooms that this expired were told of."""
        self._post("/clock", {"seconds": seconds})

    def reset(self) -> None:
        """Have the emulator forget everything, settings and callback URLs included."""
        self._post("/reset", {})

    def _get(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", path)
        return found

    def _post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        outcome: dict[str, Any] = self._call("POST", path, dict(body))
        return outcome

    def _call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        url = f"{self.base}/control{path}"
        with requests.Session() as session:
            session.trust_env = False  # the emulator is on this machine: never through a proxy
            answer = session.request(method, url, json=body, timeout=(CONNECT_TIMEOUT, None))
        if not answer.ok:
            raise ControlError(f"{method} {path}: {answer.status_code} {answer.text}")
        return answer.json() if answer.content else {}


def _plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with sets, which JSON does not have, as lists."""
    return {
        name: list(value)
        if isinstance(value, Collection) and not isinstance(value, str | Mapping)
        else value
        for name, value in options.items()
    }
