"""The exception that calls to AWS raise, with either client."""

from roomkeeper.errors import RoomkeeperError

CONNECTION_FAILED = "ConnectionFailed"
"""The code for a call without a response: no connection, a timeout, or a lost connection."""

INVALID_RESPONSE = "InvalidResponse"
"""The code for a response that is corrupt, or not from AWS."""

OUT_OF_TIME = "OutOfTime"
"""The code for a call that was not made, because it might not have ended in time."""

RETRYABLE_CODES = frozenset(
    {
        CONNECTION_FAILED,
        INVALID_RESPONSE,
        OUT_OF_TIME,
        "BandwidthLimitExceeded",
        "EC2ThrottledException",
        "LimitExceededException",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestThrottledException",
        "RequestTimeout",
        "RequestTimeoutException",
        "SlowDown",
        "ThrottledException",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
"""Codes of transient errors. The services' codes are those of botocore's standard mode."""


class AwsError(RoomkeeperError):
    """A call to AWS failed, after all its attempts.

    Args:
        code: the service's error code, or a code of this module.
        message: the operation, and the service's message.
        request_id: AWS's id of the last attempt, for AWS Support; empty without a response.
        is_retryable: whether the same call may succeed later. By default, the code decides.
    """

    def __init__(
        self, code: str, message: str, request_id: str = "", is_retryable: bool | None = None
    ) -> None:
        super().__init__(f"{code}: {message}" + (f" (request {request_id})" if request_id else ""))
        self.code = code
        self.message = message
        self.request_id = request_id
        self.is_retryable = code in RETRYABLE_CODES if is_retryable is None else is_retryable


def is_retryable_status(status: int) -> bool:
    """Return whether an HTTP status, without an error code, is retryable."""
    return status == 429 or status >= 500
