"""What the management API answers when something is wrong: one place, by type."""

import math
from collections.abc import Mapping

from msgspec import Struct

from roomkeeper import vonage
from roomkeeper.management.operations import (
    AlreadyDeleted,
    NotDeletableYet,
    NotKnown,
    NotUploaded,
    OnHold,
)
from roomkeeper.management.requests import InvalidRequest
from roomkeeper.settings import SecretUnavailable
from roomkeeper.store import StoreUnavailable
from roomkeeper.vonage.connect import NotConfigured

RETRY_AFTER = 5  # seconds

_ANSWERS: Mapping[type[Exception], tuple[int, str]] = {
    InvalidRequest: (400, "invalid_request"),
    NotKnown: (404, "not_found"),
    OnHold: (409, "on_hold"),
    AlreadyDeleted: (409, "already_deleted"),
    NotUploaded: (409, "not_uploaded"),
    vonage.NotUpdatable: (409, "not_updatable"),
    NotDeletableYet: (409, "not_deletable_yet"),
    vonage.NotFound: (404, "not_found"),
    vonage.NotDeletable: (502, "vonage_refused_the_deletion"),
    vonage.Forbidden: (502, "vonage_refused_our_credentials"),
    vonage.BadRequest: (400, "refused_by_vonage"),
    vonage.Unauthorized: (502, "vonage_refused_our_credentials"),
    vonage.RateLimited: (503, "vonage_limits_our_rate"),
    vonage.VonageError: (502, "vonage_answered_unexpectedly"),
    StoreUnavailable: (503, "unavailable"),
    NotConfigured: (503, "not_configured"),
    SecretUnavailable: (503, "unavailable"),
    Exception: (500, "internal_error"),
}

_OURS_TO_KNOW = (500, 503)
"""Statuses behind which there may be names and policies of our account."""


class Problem(Struct, frozen=True, kw_only=True):
    """An answer that is an error; `retry_after` is in seconds."""

    status: int
    code: str
    message: str
    retry_after: int | None = None


def to_problem(error: Exception) -> Problem:
    """Return how `error` is told to a caller of the management API."""
    status, code = _answer(error)
    message = str(error)
    if status in _OURS_TO_KNOW and not isinstance(error, vonage.VonageError | NotConfigured):
        message = "Roomkeeper cannot do that just now; its log has the cause. Try again later."
    wait = error.retry_after if isinstance(error, vonage.VonageError) else None
    retry_after = math.ceil(wait or RETRY_AFTER) if status == 503 else None
    return Problem(status=status, code=code, message=message, retry_after=retry_after)


def _answer(error: Exception) -> tuple[int, str]:
    if isinstance(error, vonage.Unavailable):
        return (504, "vonage_did_not_answer") if error.status is None else (502, "vonage_failed")
    return next(_ANSWERS[kind] for kind in type(error).__mro__ if kind in _ANSWERS)
