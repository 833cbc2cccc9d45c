"""A client of the Meetings API: rooms and recordings, with retries and a total timeout.

    with VonageClient(base_url, ApplicationKey(application_id, private_key)) as vonage:
        room = vonage.get_room(room_id)

Source: Vonage's Meetings API reference and guides.
"""

from roomkeeper.vonage.client import DeletionOutcome, VonageClient
from roomkeeper.vonage.credentials import ApiKey, ApplicationKey, Credentials, credentials_from
from roomkeeper.vonage.errors import (
    BadRequest,
    Forbidden,
    InvalidId,
    InvalidRecording,
    InvalidResponse,
    NotDeletable,
    NotFound,
    NotUpdatable,
    RateLimited,
    Refusal,
    Unauthorized,
    Unavailable,
    UntrustedCertificate,
    VonageError,
)
from roomkeeper.vonage.models import InvalidRoom, Recording, RoomPage, SessionRecordings
from roomkeeper.vonage.retry import RetryPolicy

__all__ = [
    "ApiKey",
    "ApplicationKey",
    "BadRequest",
    "Credentials",
    "DeletionOutcome",
    "Forbidden",
    "InvalidId",
    "InvalidRecording",
    "InvalidResponse",
    "InvalidRoom",
    "NotDeletable",
    "NotFound",
    "NotUpdatable",
    "RateLimited",
    "Recording",
    "Refusal",
    "RetryPolicy",
    "RoomPage",
    "SessionRecordings",
    "Unauthorized",
    "Unavailable",
    "UntrustedCertificate",
    "VonageClient",
    "VonageError",
    "credentials_from",
]
