"""The HTTP error for each exception: the one map of the management API and the jobs."""

import math
from collections.abc import Mapping

from msgspec import Struct

from roomkeeper import vonage
from roomkeeper.aws import AwsError
from roomkeeper.aws.secrets import SecretUnavailable
from roomkeeper.http_api import InvalidRequest
from roomkeeper.management.errors import (
    AlreadyDeleted,
    CopyingIsOff,
    CopyInProgress,
    CopyOutOfReach,
    NotCopied,
    NotDeletableYet,
    NotKnown,
    NotUploaded,
    OnHold,
)
from roomkeeper.settings import Misconfigured
from roomkeeper.store import StoreUnavailable
from roomkeeper.vonage.connect import NoRooms, NotConfigured

RETRY_AFTER = 5
"""Seconds in the header Retry-After of a 503, unless Vonage asked for another time."""

_ERRORS: Mapping[type[Exception], tuple[int, str]] = {
    InvalidRequest: (400, "invalid_request"),
    NotKnown: (404, "not_found"),
    NoRooms: (404, "rooms_not_served"),
    CopyingIsOff: (404, "copying_is_off"),
    NotCopied: (404, "not_copied"),
    CopyInProgress: (409, "copy_in_progress"),
    CopyOutOfReach: (409, "copy_out_of_reach"),
    OnHold: (409, "on_hold"),
    AlreadyDeleted: (409, "already_deleted"),
    NotUploaded: (409, "not_uploaded"),
    vonage.NotServed: (409, "product_not_served"),
    vonage.NotUpdatable: (409, "not_updatable"),
    NotDeletableYet: (409, "not_deletable_yet"),
    vonage.NotFound: (404, "not_found"),
    vonage.NotDeletable: (502, "vonage_refused_the_deletion"),
    vonage.Forbidden: (502, "vonage_refused_our_credentials"),
    vonage.BadRequest: (400, "refused_by_vonage"),
    vonage.Unauthorized: (502, "vonage_refused_our_credentials"),
    vonage.RateLimited: (503, "vonage_rate_limited"),
    vonage.VonageError: (502, "vonage_invalid_response"),
    StoreUnavailable: (503, "unavailable"),
    AwsError: (503, "unavailable"),
    Misconfigured: (500, "misconfigured"),
    NotConfigured: (503, "not_configured"),
    SecretUnavailable: (503, "unavailable"),
    Exception: (500, "internal_error"),
}

_PRIVATE_STATUSES = (500, 503)
"""Statuses of errors whose message may name resources of this account.

The caller gets a generic message instead.
"""

_PUBLIC_ERRORS = (vonage.VonageError, NotConfigured, Misconfigured)
"""Exceptions whose message the caller gets with every status."""


class HttpError(Struct, frozen=True, kw_only=True):
    """The content of an error response; `retry_after` is in seconds."""

    status: int
    code: str
    message: str
    retry_after: int | None = None

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that go with this error."""
        return {"Retry-After": str(self.retry_after)} if self.retry_after else {}


def to_http_error(error: Exception) -> HttpError:
    """Return the HTTP error for an exception; its most specific type in the map decides."""
    status, code = _status_and_code(error)
    message = str(error)
    if status in _PRIVATE_STATUSES and not isinstance(error, _PUBLIC_ERRORS):
        message = "Roomkeeper cannot do that just now; its log has the cause. Try again later."
    wait = error.retry_after if isinstance(error, vonage.VonageError) else None
    retry_after = math.ceil(wait or RETRY_AFTER) if status == 503 else None
    return HttpError(status=status, code=code, message=message, retry_after=retry_after)


def _status_and_code(error: Exception) -> tuple[int, str]:
    if isinstance(error, vonage.Unavailable):
        return (504, "vonage_unavailable") if error.status is None else (502, "vonage_failed")
    return next(_ERRORS[error_type] for error_type in type(error).__mro__ if error_type in _ERRORS)
