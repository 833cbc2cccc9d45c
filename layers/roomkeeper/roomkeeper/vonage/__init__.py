"""The Meetings API as Python: every room and recording operation, with retries within a budget.

    with VonageClient(base_url, ApplicationKey(application_id, private_key)) as vonage:
        room = vonage.get_room(room_id)

Source: Vonage's Meetings API reference and guides.
"""

from roomkeeper.vonage.client import VonageClient
from roomkeeper.vonage.credentials import ApiKey, ApplicationKey, Credentials, credentials_from
from roomkeeper.vonage.errors import (
    DeletionRefused,
    NotDeletableYet,
    NotFound,
    NotSent,
    NotUpdatable,
    RateLimited,
    Refused,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    UnreadableRecording,
    UnusableId,
    VonageError,
)
from roomkeeper.vonage.models import Recording, RoomPage, SessionRecordings
from roomkeeper.vonage.retries import Pace

__all__ = [
    "ApiKey",
    "ApplicationKey",
    "Credentials",
    "DeletionRefused",
    "NotDeletableYet",
    "NotFound",
    "NotSent",
    "NotUpdatable",
    "Pace",
    "RateLimited",
    "Recording",
    "Refused",
    "RoomPage",
    "SessionRecordings",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "UnreadableRecording",
    "UnusableId",
    "VonageClient",
    "VonageError",
    "credentials_from",
]
