"""The Meetings API's room and recording operations.

Source: Vonage's Meetings API reference, "Rooms" and "Recordings".
"""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TypeVar

from roomkeeper.domain.observations import Listed, Product, RecordingObservation
from roomkeeper.domain.rooms import Room
from roomkeeper.times import iso
from roomkeeper.vonage.api_client import ApiClient
from roomkeeper.vonage.calls import Call, path
from roomkeeper.vonage.credentials import Credentials
from roomkeeper.vonage.errors import (
    InvalidRecording,
    InvalidResponse,
    NotDeletable,
    NotFound,
    NotUpdatable,
    VonageError,
)
from roomkeeper.vonage.meetings import models
from roomkeeper.vonage.meetings.models import RoomPage
from roomkeeper.vonage.recordings_api import DeletionOutcome, Download
from roomkeeper.vonage.retry import RetryPolicy
from roomkeeper.vonage.transport import Transport

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

PAGE_SIZE = 20
"""Rooms on a page: the API's default. Its maximum is not published."""

_NOT_UPDATABLE: Mapping[tuple[int, str | None], type[VonageError]] = {
    (400, "BadRequestError"): NotUpdatable
}
_NOT_DELETABLE: Mapping[tuple[int, str | None], type[VonageError]] = {
    (403, None): NotDeletable,
    (409, None): NotDeletable,
}


class MeetingsClient(ApiClient):
    """A client of the Meetings API at `base_url`. Safe to use from many threads.

    Every operation takes at most `total_timeout` seconds, retries included. `timeout` is the limit
    in seconds of one attempt, for a connection and for each read. `retry` spaces the attempts.
    `on_unauthorized` is called at each 401, in the calling thread.

    429 (with Retry-After), 5xx and connection errors are retried, nothing else. Every operation
    raises a VonageError when it fails, NotFound only when Vonage itself says so. Redirects are not
    followed.

    It implements RecordingsApi, and also has the operations on rooms.

    Raises:
        ValueError: `base_url` is not an http(s) URL, or has credentials or a query.
    """

    product: Product = "meetings"

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        *,
        total_timeout: float = 30.0,
        timeout: float = 10.0,
        retry: RetryPolicy | None = None,
        on_unauthorized: Callable[[], None] = lambda: None,
    ) -> None:
        transport = Transport(base_url, credentials, timeout=timeout, retry=retry or RetryPolicy())
        super().__init__(transport, total_timeout, on_unauthorized)

    # --- rooms ------------------------------------------------------------------------------------

    def get_room(self, room_id: str) -> Room:
        """Return the room, available or not.

        Raises:
            NotFound: it does not exist.
        """
        return self._read(models.room, Call("GET", path("GET", "rooms", room_id)), room_id)

    def list_rooms(self, start_id: str | None = None, page_size: int = PAGE_SIZE) -> RoomPage:
        """Return a page of at most `page_size` rooms, from `start_id` or the first room on."""
        query: dict[str, str | int] = {"page_size": page_size}
        if start_id is not None:
            query["start_id"] = start_id
        page = self._read(models.room_page, Call("GET", "/rooms", query))
        # Some servers end a list with an empty page that links to itself.
        is_end = not (page.rooms or page.invalid) and page.next_start_id == start_id
        return dataclasses.replace(page, next_start_id=None) if is_end else page

    def update_room_expiry(self, room_id: str, expires_at: datetime) -> Room:
        """Set the expiry of a long-term room; return the updated room.

        Raises:
            NotUpdatable: it is an instant room, or is no longer available.
            NotFound: it does not exist.
            BadRequest: the time is in the past, or more than five years ahead.
            ValueError: `expires_at` has no time zone.
        """
        if expires_at.tzinfo is None:
            raise ValueError("expires_at has no time zone: pass an aware datetime.")
        call = Call(
            "PATCH",
            path("PATCH", "rooms", room_id),
            body={"update_details": {"expires_at": iso(expires_at)}},
            refusals=_NOT_UPDATABLE,
        )
        return self._read(models.room, call, room_id)

    def delete_room(self, room_id: str) -> None:
        """Delete the room.

        Raises:
            NotFound: it does not exist; also when an earlier attempt deleted it and the response
                was lost.
        """
        self._delete(Call("DELETE", path("DELETE", "rooms", room_id)))

    # --- recordings -------------------------------------------------------------------------------

    def get(self, recording_id: str) -> RecordingObservation | None:
        """Return the recording, with a fresh URL if it is uploaded; None if it does not exist.

        Raises:
            InvalidRecording: Vonage's data of the recording is missing or invalid.
        """
        try:
            found = self._recording(recording_id)
        except NotFound:
            return None
        try:
            return models.observation(found)
        except models.UNREADABLE as exc:
            raise _invalid(recording_id, exc) from exc

    def in_session(self, session_id: str) -> Listed | None:
        """Return the session's recordings with any status; None if the session does not exist.

        Invalid recordings are logged.
        """
        try:
            call = Call("GET", path("GET", "sessions", session_id, "recordings"))
            listed = self._read(models.recordings, call)
        except NotFound:
            return None
        for message in listed.invalid:
            logger.warning("Vonage's list of a session has an invalid recording: %s", message)
        return listed

    def all_since(self, moment: datetime, position: int = 0) -> Iterator[Listed]:  # noqa: ARG002
        """Yield nothing: the Meetings API has no list of all recordings."""
        return iter(())

    def delete(self, recording_id: str) -> DeletionOutcome:
        """Delete the recording; return "already_deleted" if it does not exist.

        "not_yet" means that its status is not `uploaded`. Deployments of the API refuse such a
        deletion with 403, 404 or 409, so a GET determines the reason.

        Raises:
            NotDeletable: Vonage refuses the deletion although the recording is uploaded.
        """
        call = Call("DELETE", path("DELETE", "recordings", recording_id), refusals=_NOT_DELETABLE)
        try:
            self._delete(call)
        except (NotFound, NotDeletable) as exc:
            return self._after_refused_deletion(recording_id, exc)
        return "deleted"

    def download(self, recording_id: str) -> Download | None:
        """Return a fresh download of the recording's file; None if there is no file."""
        found = self.get(recording_id)
        return Download(url=found.url) if found and found.url else None

    def _after_refused_deletion(self, recording_id: str, refusal: VonageError) -> DeletionOutcome:
        try:
            status = self._recording(recording_id).status
        except NotFound:
            return "already_deleted"
        if status == "uploaded":
            description = f"Vonage refuses to delete the uploaded recording ({refusal.status})"
            context = Call(refusal.method, refusal.path).context
            raise NotDeletable(description, context) from refusal
        return "not_yet"

    def _recording(self, recording_id: str) -> models.Recording:
        def read(body: bytes) -> models.Recording:
            try:
                return models.recording(body)
            except models.UNREADABLE as exc:
                if models.id_of(body) != recording_id:
                    raise
                raise _invalid(recording_id, exc) from exc

        return self._read(read, _recording_call(recording_id), recording_id)

    # --- requests ---------------------------------------------------------------------------------

    def _read(self, read: Callable[[bytes], Item], call: Call, expected_id: str = "") -> Item:
        """Return the parsed response; with `expected_id`, the item must have that id."""
        body = self._perform(call)
        try:
            item = read(body)
        except models.UNREADABLE as exc:
            description = f"The response does not match the Meetings API reference: {exc}"
            raise InvalidResponse(description, call.context) from exc
        found_id = getattr(item, "id", expected_id)
        if expected_id and found_id != expected_id:
            raise InvalidResponse(f"The response has another id: {found_id!r}", call.context)
        return item


def _recording_call(recording_id: str) -> Call:
    return Call("GET", path("GET", "recordings", recording_id))


def _invalid(recording_id: str, error: Exception) -> InvalidRecording:
    description = f"The recording does not match the Meetings API reference: {error}"
    return InvalidRecording(description, _recording_call(recording_id).context)
