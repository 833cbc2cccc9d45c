"""Calls to Vonage's APIs, with retries and a total timeout.

Each product has a package with its client. All clients offer the operations of RecordingsApi.

    with MeetingsClient(base_url, ApplicationKey(application_id, private_key)) as meetings:
        recording = meetings.get(recording_id)
"""

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
    UnrecognizedStatus,
    UntrustedCertificate,
    VonageError,
)
from roomkeeper.vonage.recordings_api import (
    DeletionOutcome,
    Download,
    NotServed,
    RecordingsApi,
)
from roomkeeper.vonage.retry import RetryPolicy

__all__ = [
    "ApiKey",
    "ApplicationKey",
    "BadRequest",
    "Credentials",
    "DeletionOutcome",
    "Download",
    "Forbidden",
    "InvalidId",
    "InvalidRecording",
    "InvalidResponse",
    "NotDeletable",
    "NotFound",
    "NotServed",
    "NotUpdatable",
    "RateLimited",
    "RecordingsApi",
    "Refusal",
    "RetryPolicy",
    "Unauthorized",
    "Unavailable",
    "UnrecognizedStatus",
    "UntrustedCertificate",
    "VonageError",
    "credentials_from",
]
