"""The Meetings API's room and recording operations.

Source: Vonage's Meetings API reference, "Rooms" and "Recordings".
"""

import copy
import logging
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Self, TypeVar

from roomkeeper.rooms import Room
from roomkeeper.times import iso
from roomkeeper.vonage import models
from roomkeeper.vonage.calls import Call, path
from roomkeeper.vonage.credentials import Credentials
from roomkeeper.vonage.errors import (
    Exchange,
    NotDeletableYet,
    NotUpdatable,
    Unauthorized,
    UnexpectedAnswer,
    UnreadableRecording,
)
from roomkeeper.vonage.models import Recording, RoomPage, SessionRecordings
from roomkeeper.vonage.retries import Pace
from roomkeeper.vonage.transport import Transport

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

PAGE_SIZE = 20
"""Rooms in a page: the API's own default; how many it allows is not published."""

_NOT_DELETABLE = {(403, None): NotDeletableYet, (409, None): NotDeletableYet}
_NOT_UPDATABLE = {(400, "BadRequestError"): NotUpdatable}


class VonageClient:
    """A client of the Meetings API at `base_url`. Safe to use from many threads.

    Every operation may take `budget` seconds, retries included (`within` gives another budget);
    `timeout` is the seconds that one try waits for a connection and for each part of the answer;
    `pace` is how retries are spread; `on_refusal` is called at each 401, in the asking thread.

    429 (Retry-After is respected), 5xx and connection errors are retried, everything else never.
    Every operation raises a VonageError when it fails; redirects are never followed.

    Raises:
        ValueError: `base_url` is no http(s) URL, or holds credentials or a query.
    """

    def __init__(
        self,
        base_url: str,
        credentials: Credentials,
        *,
        budget: float = 30.0,
        timeout: float = 10.0,
        pace: Pace | None = None,
        on_refusal: Callable[[], None] = lambda: None,
    ) -> None:
        self._budget = budget
        self._on_refusal = on_refusal
        self._transport = Transport(base_url, credentials, timeout=timeout, pace=pace or Pace())

    def __repr__(self) -> str:
        return f"VonageClient({self._transport.base_url!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are kept open, this client's and all its `within`s'."""
        self._transport.close()

    def within(self, budget: float) -> Self:
        """Return this client with another time budget, in seconds, on the same connections."""
        other = copy.copy(self)
        other._budget = budget
        return other

    # --- rooms ------------------------------------------------------------------------------------

    def get_room(self, room_id: str) -> Room:
        """Return the room, available or not.

        Raises:
            NotFound: there is none.
        """
        return self._ask(models.room, "GET", "rooms", room_id)

    def list_rooms(self, page_size: int = PAGE_SIZE) -> Iterator[Room]:
        """Yield every room, fetching pages as they are needed and keeping one at a time.

        The budget holds for each page. Rooms that are created meanwhile may or may not appear.

        Raises:
            UnexpectedAnswer: a page leads back to one that was there already.
        """
        start_id: str | None = None
        seen: set[str] = set()
        while True:
            page = self.get_rooms_page(start_id, page_size)
            yield from page.rooms
            start_id = page.next_start_id
            if start_id is None:
                return
            if start_id in seen:
                told = "The pages of rooms go round in a circle"
                raise UnexpectedAnswer(told, Exchange("GET", "/rooms"))
            seen.add(start_id)

    def get_rooms_page(self, start_id: str | None = None, page_size: int = PAGE_SIZE) -> RoomPage:
        """Return the rooms from `start_id` on, the first ones without it; `page_size` at most."""
        query: dict[str, str | int] = {"page_size": page_size}
        if start_id is not None:
            query["start_id"] = start_id
        return self._ask(models.room_page, "GET", "rooms", query=query)

    def create_room(
        self,
        display_name: str,
        *,
        expires_at: datetime | None = None,
        metadata: str | None = None,
        auto_record: bool = False,
        expire_after_use: bool = False,
    ) -> Room:
        """Create a room: a long-term one when `expires_at` is given, else an instant one.

        It is retried only when it had no effect for sure: after 429, and when no connection was
        made. After any other failure the room may exist; `Unavailable.may_have_acted` tells.

        Raises:
            Refused: a field breaks a rule, such as 200 characters at most for `display_name`.
            ValueError: `expires_at` has no zone.
        """
        fields: dict[str, Any] = {
            "display_name": display_name,
            "type": "long_term" if expires_at else "instant",
            "recording_options": {"auto_record": auto_record},
        }
        if expires_at is not None:
            fields["expires_at"] = _instant(expires_at)
            fields["expire_after_use"] = expire_after_use
        if metadata is not None:
            fields["metadata"] = metadata
        return self._ask(models.room, "POST", "rooms", body=fields, repeatable=False)

    def update_room_expiry(self, room_id: str, expires_at: datetime) -> Room:
        """Have a long-term room expire at another time; return it as it is now.

        Raises:
            NotUpdatable: it is an instant room, or is not available any more.
            NotFound: there is no such room.
            Refused: the time is past, or more than five years away.
            ValueError: `expires_at` has no zone.
        """
        details = {"update_details": {"expires_at": _instant(expires_at)}}
        return self._ask(
            models.room, "PATCH", "rooms", room_id, body=details, refusals=_NOT_UPDATABLE
        )

    def delete_room(self, room_id: str) -> None:
        """Delete the room.

        Raises:
            NotFound: there is none; also when an earlier try deleted it and its answer was lost.
        """
        self._ask(_nothing, "DELETE", "rooms", room_id)

    # --- recordings -------------------------------------------------------------------------------

    def list_recordings(self, session_id: str) -> SessionRecordings:
        """Return the session's recordings, whatever their status.

        Raises:
            NotFound: there is no such session.
        """
        listed = self._ask(models.recordings, "GET", "sessions", session_id, "recordings")
        for problem in listed.unreadable:
            logger.warning("Vonage's list of a session has an invalid recording: %s", problem)
        return listed

    def get_recording(self, recording_id: str) -> Recording:
        """Return the recording, with a fresh download URL once it is uploaded.

        Raises:
            NotFound: there is none.
            UnreadableRecording: Vonage's data of it is invalid.
        """

        def read(body: bytes) -> Recording:
            try:
                return models.recording(body)
            except models.UNREADABLE as problem:
                if models.recording_id(body) != recording_id:
                    raise
                told = f"The recording is not as the Meetings API describes it: {problem}"
                where = Exchange("GET", path("GET", "recordings", recording_id))
                raise UnreadableRecording(told, where) from problem

        return self._ask(read, "GET", "recordings", recording_id)

    def delete_recording(self, recording_id: str) -> None:
        """Delete the recording.

        Raises:
            NotFound: there is none; also when an earlier try deleted it and its answer was lost.
            NotDeletableYet: it is not in status `uploaded`.
        """
        self._ask(_nothing, "DELETE", "recordings", recording_id, refusals=_NOT_DELETABLE)

    def _ask(self, read: Callable[[bytes], Item], method: str, *segments: str, **call: Any) -> Item:
        wanted = Call(method, path(method, *segments), **call)
        try:
            body = self._transport.perform(wanted, self._budget)
        except Unauthorized as problem:
            if problem.refuses_credentials:
                self._on_refusal()
            raise
        try:
            return read(body)
        except models.UNREADABLE as problem:
            told = f"The answer is not as the Meetings API describes it: {problem}"
            raise UnexpectedAnswer(told, wanted.exchange) from problem


def _instant(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError("expires_at has no zone: pass an aware datetime.")
    return iso(moment)


def _nothing(_body: bytes) -> None:
    """Read the body of an answer that has none."""
