"""Sessions of the Video API: their lives, connections and streams. Pure.

A session never expires. It is created when the first client connects, destroyed after the last one
left, and created again under the same id when somebody reconnects.
Source: Vonage's guides "Session monitoring" and "Session migration".
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from local.vonage.video.archives import milliseconds
from local.vonage.video.projects import PROJECT_IDS, Environment

EndReason = Literal["clientDisconnected", "forceDisconnected", "mediaIdle", "serverRotation"]
"""Why a session was destroyed."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A client and the stream that it publishes."""

    name: str
    created_at: datetime
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    stream_id: str = field(default_factory=lambda: str(uuid.uuid4()))


@dataclass(frozen=True, slots=True)
class VideoSession:
    """A session; `created_at` is None between its lives."""

    id: str
    environment: Environment = "unified"
    created_at: datetime | None = None
    connections: tuple[Connection, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether clients are connected."""
        return self.created_at is not None


def joined(names: Iterable[str], at: datetime) -> tuple[Connection, ...]:
    """Return connections for people with these names."""
    return tuple(Connection(name, at) for name in names)


def monitoring(session: VideoSession, event: str, at: datetime, **fields: Any) -> dict[str, Any]:
    """Return a session monitoring callback."""
    return {
        "sessionId": session.id,
        "projectId": PROJECT_IDS[session.environment],
        "event": event,
        "timestamp": milliseconds(at),
        **fields,
    }


def opened(session: VideoSession, at: datetime) -> list[dict[str, Any]]:
    """Return the callbacks of a life's beginning: the session, then its people."""
    return [
        monitoring(session, "sessionCreated", at, createdAt=milliseconds(at)),
        *(
            monitoring(session, "connectionCreated", at, connection=_connection(each))
            for each in session.connections
        ),
        *(
            monitoring(session, "streamCreated", at, stream=_stream(each))
            for each in session.connections
        ),
    ]


def closed(session: VideoSession, at: datetime, reason: EndReason) -> list[dict[str, Any]]:
    """Return the callbacks of a life's end: its people, then the session."""
    left = "clientDisconnected" if reason == "clientDisconnected" else "forceDisconnected"
    created = {"createdAt": milliseconds(session.created_at)} if session.created_at else {}
    return [
        *(
            monitoring(session, "streamDestroyed", at, stream=_stream(each), reason=left)
            for each in session.connections
        ),
        *(
            monitoring(
                session, "connectionDestroyed", at, connection=_connection(each), reason=left
            )
            for each in session.connections
        ),
        monitoring(session, "sessionDestroyed", at, **created, reason=reason),
    ]


def notified(session: VideoSession, at: datetime, remaining: int) -> dict[str, Any]:
    """Return the warning of a server rotation in `remaining` seconds."""
    return monitoring(
        session, "sessionNotification", at, reason="serverRotation", remainingTime=remaining
    )


def archived_stream(connection: Connection, at: datetime) -> dict[str, Any]:
    """Return the fields that the callbacks `streamAdded` and `streamRemoved` add to an archive."""
    return {
        "stream": {
            "id": connection.stream_id,
            "createdAt": milliseconds(connection.created_at),
            "connection": {"id": connection.id},
        },
        "timestamp": milliseconds(at),
    }


def _connection(connection: Connection) -> dict[str, Any]:
    """Return the connection with its token's metadata, which is personal data."""
    return {
        "id": connection.id,
        "createdAt": milliseconds(connection.created_at),
        "data": f"name={connection.name}",
    }


def _stream(connection: Connection) -> dict[str, Any]:
    return {
        "id": connection.stream_id,
        "connection": _connection(connection),
        "createdAt": milliseconds(connection.created_at),
        "name": f"{connection.name}'s camera",
        "videoType": "camera",
    }
