"""The data of the occurrences that the callbacks of the Video API report."""

from datetime import datetime
from typing import Literal

from msgspec import Struct


class _Data(Struct, frozen=True, kw_only=True, omit_defaults=True):
    product: Literal["video"]
    session_id: str


class RecordingPaused(_Data, frozen=True, kw_only=True, omit_defaults=True):
    """A recording was paused, or resumed after a pause, at `occurred_at`."""

    recording_id: str
    occurred_at: datetime | None = None


class SessionStarted(_Data, frozen=True, kw_only=True, omit_defaults=True):
    """A life of a session has started: its first client connected."""

    started_at: datetime


class SessionEnded(_Data, frozen=True, kw_only=True, omit_defaults=True):
    """A life of a session has ended."""

    started_at: datetime | None = None
    ended_at: datetime
    reason: str | None = None


class SessionNotification(_Data, frozen=True, kw_only=True, omit_defaults=True):
    """Vonage announces that a session will end, for the given reason."""

    reason: str | None = None
    remaining_time: int | float | None = None


class Participant(_Data, frozen=True, kw_only=True, omit_defaults=True):
    """A participant joined or left a session."""

    participant_id: str
    joined_at: datetime | None = None
    left_at: datetime | None = None
    reason: str | None = None


class Stream(_Data, frozen=True, kw_only=True, omit_defaults=True):
    """A participant began or ceased to publish a stream."""

    stream_id: str
    participant_id: str | None = None
    video_type: str | None = None
    created_at: datetime | None = None
    destroyed_at: datetime | None = None
    reason: str | None = None
