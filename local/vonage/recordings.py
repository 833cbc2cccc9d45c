"""Sessions and recordings of the Meetings API, and their JSON. Pure.

Source: Vonage's Meetings API reference, "Recordings".
"""

import base64
import secrets
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from roomkeeper.times import iso

ACCOUNT = "46339892"
"""The account number in the emulator's session ids and download URLs."""

Status = Literal["started", "paused", "stopped", "uploaded"]


@dataclass(frozen=True, slots=True)
class Participant:
    """A participant of a session; the first one is its host."""

    id: str
    name: str
    is_host: bool


@dataclass(frozen=True, slots=True)
class Session:
    """A session in a room; `ended_at` is None while it is ongoing."""

    id: str
    room_id: str
    started_at: datetime
    ended_at: datetime | None = None
    participants: tuple[Participant, ...] = ()


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording of a session; `ended_at` is None while it is ongoing."""

    id: str
    session_id: str
    started_at: datetime
    ended_at: datetime | None = None
    status: Status = "started"
    deleted: bool = False


def new_session_id(now: datetime) -> str:
    """Return an id in the published form: base64 of version, account, time and random text."""
    parts = f"1~{ACCOUNT}~~{now.timestamp() * 1000:.0f}~{secrets.token_urlsafe(18)}~~"
    return "2_" + base64.urlsafe_b64encode(parts.encode()).decode().rstrip("=")


def people(names: tuple[str, ...]) -> tuple[Participant, ...]:
    """Return participants with these names; the first one is the host."""
    return tuple(
        Participant(str(uuid.uuid4()), name, is_host=index == 0) for index, name in enumerate(names)
    )


def as_json(recording: Recording, url: str | None) -> dict[str, Any]:
    """Return the recording as the API returns it, with `url` once it is uploaded."""
    return {
        "id": recording.id,
        "session_id": recording.session_id,
        "started_at": iso(recording.started_at),
        "ended_at": iso(recording.ended_at) if recording.ended_at else None,
        "status": recording.status,
        "_links": {"url": {"href": url}} if url else {},
    }
