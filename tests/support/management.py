"""Requests to the management API's function, and an in-memory Vonage for its tests."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, Self

import msgspec

from local.testing.builders import NOON, RECORDING_ID, SESSION_ID, URL, AContext, sample
from roomkeeper.domain.observations import Listed, Product, RecordingObservation
from roomkeeper.domain.rooms import Room
from roomkeeper.handlers import management_api as app
from roomkeeper.vonage import (
    DeletionOutcome,
    Download,
    InvalidResponse,
    NotFound,
    NotUpdatable,
    VonageError,
)
from roomkeeper.vonage.connect import Clients
from roomkeeper.vonage.errors import RequestContext
from roomkeeper.vonage.meetings import RoomPage
from roomkeeper.vonage.retry import Deadline

CALLER = "arn:aws:iam::123456789012:user/ada"
MONTH = timedelta(days=30)


def a_room(**changes: Any) -> Room:
    """Return a long-term room."""
    return replace(Room(id="room", type="long_term", expires_at=NOON + MONTH), **changes)


def a_recording_at_vonage(**changes: Any) -> RecordingObservation:
    """Return a recording that can be downloaded."""
    made = RecordingObservation(
        event="recording:uploaded",
        product="meetings",
        recording_id=RECORDING_ID,
        session_id=SESSION_ID,
        started_at=NOON,
        url=URL,
    )
    return msgspec.structs.replace(made, **changes)


def no_such_thing(name: str | None = "NotFoundError") -> VonageError:
    """Return the error that the client raises for a 404 with this `name` in its body."""
    error = InvalidResponse if name is None else NotFound
    return error("Vonage returned 404", RequestContext("GET", "/it", 404, name))


@dataclass
class AVonage:
    """An in-memory Meetings API with the methods of the client.

    If `failure` is set, every method raises it.
    """

    product: ClassVar[Product] = "meetings"

    rooms: dict[str, Room] = field(default_factory=dict)
    recordings: dict[str, RecordingObservation] = field(default_factory=dict)
    failure: Exception | None = None
    calls: list[tuple[str, ...]] = field(default_factory=list)

    @contextmanager
    def _recorded(self, *call: str) -> Iterator[None]:
        self.calls.append(call)
        if self.failure:
            raise self.failure
        try:
            yield
        except KeyError:
            raise no_such_thing() from None

    def get_room(self, room_id: str) -> Room:
        with self._recorded("get_room", room_id):
            return self.rooms[room_id]

    def list_rooms(self, start_id: str | None = None, page_size: int = 20) -> RoomPage:
        with self._recorded("list_rooms", str(start_id), str(page_size)):
            start = int(start_id or 0)
            found = list(self.rooms.values())
            after = start + page_size
            return RoomPage(
                found[start:after], str(after) if after < len(found) else None, len(found)
            )

    def update_room_expiry(self, room_id: str, expires_at: datetime) -> Room:
        with self._recorded("update_room_expiry", room_id):
            if not self.rooms[room_id].is_long_term:
                raise NotUpdatable("Vonage returned 400", RequestContext("PATCH", "/rooms", 400))
            self.rooms[room_id] = replace(self.rooms[room_id], expires_at=expires_at)
            return self.rooms[room_id]

    def delete_room(self, room_id: str) -> None:
        with self._recorded("delete_room", room_id):
            del self.rooms[room_id]

    def within(self, _deadline: Deadline) -> Self:
        """Return this fake, which takes no time."""
        return self

    @property
    def clients(self) -> Clients:
        """This Vonage as the only product of a stack."""
        meetings: Any = self
        return Clients(meetings=meetings)

    def in_session(self, session_id: str) -> Listed | None:
        with self._recorded("list_recordings", session_id):
            found = [each for each in self.recordings.values() if each.session_id == session_id]
            return Listed(found) if found else None

    def get(self, recording_id: str) -> RecordingObservation | None:
        with self._recorded("get_recording", recording_id):
            return self.recordings.get(recording_id)

    def download(self, recording_id: str) -> Download | None:
        found = self.get(recording_id)
        return Download(url=found.url) if found and found.url else None

    def delete(self, recording_id: str) -> DeletionOutcome:
        with self._recorded("delete_recording", recording_id):
            found = self.recordings.get(recording_id)
            if found is None:
                return "already_deleted"
            if found.event not in ("recording:uploaded", "recording:stored"):
                return "not_yet"
            del self.recordings[recording_id]
            return "deleted"

    @property
    def changes(self) -> list[tuple[str, ...]]:
        """The calls that change a room or a recording."""
        return [call for call in self.calls if not call[0].startswith(("get", "list"))]


@dataclass(frozen=True)
class ParsedResponse:
    """The response of the function, with its body decoded."""

    status: int
    body: Any
    headers: Mapping[str, str]

    @property
    def code(self) -> str:
        """The error's code."""
        [(name, error)] = self.body.items()
        assert name == "error"
        assert set(error) == {"code", "message"}
        return str(error["code"])

    @property
    def message(self) -> str:
        """The error's message."""
        return str(self.body["error"]["message"])


def a_request_for(route: str, *ids: str, body: Any = None, **query: str) -> dict[str, Any]:
    """Return API Gateway's event for a signed request to `route`."""
    request = sample("functions/management_api.json")
    method, _, path = route.partition(" ")
    names = [part[1:-1] for part in path.split("/") if part.startswith("{")]
    parameters = dict(zip(names, ids, strict=True))
    request |= {"routeKey": route, "rawPath": path.format(**parameters), "body": body}
    request["pathParameters"] = parameters or None
    request["requestContext"]["http"]["method"] = method
    if body is not None and not isinstance(body, str):
        request["body"] = json.dumps(body)
    if query:
        request["queryStringParameters"] = query
    return request


def response_to(request: dict[str, Any]) -> ParsedResponse:
    """Return the function's response to `request`."""
    response = app.handler(request, AContext())
    body = json.loads(response["body"]) if response["body"] else None
    return ParsedResponse(response["statusCode"], body, response["headers"])


def call(route: str, *ids: str, body: Any = None, **query: str) -> ParsedResponse:
    """Return the function's response to a signed request to `route`."""
    return response_to(a_request_for(route, *ids, body=body, **query))
