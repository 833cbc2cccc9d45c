"""The one error that calls to AWS raise, whichever client made them."""

from roomkeeper.errors import RoomkeeperError

CONNECTION_FAILED = "ConnectionFailed"
"""The code of a call without a response: no connection, a timeout, or a lost connection."""

INVALID_RESPONSE = "InvalidResponse"
"""The code of a call whose response is damaged, or not from AWS."""

RETRYABLE_CODES = frozenset(
    {
        CONNECTION_FAILED,
        INVALID_RESPONSE,
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
"""Error codes that another attempt may not meet. AWS's are those of botocore's standard mode."""


class AwsError(RoomkeeperError):
    """A call to AWS failed, after all its attempts.

    Args:
        code: the service's error code, or one of this module's.
        message: the operation, and the service's own words.
        request_id: AWS's id of the last attempt, to quote to AWS Support; empty without a response.
        is_retryable: whether the same call may succeed later. By default the code decides.
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
    """Return whether an HTTP status alone says that another attempt may succeed."""
    return status == 429 or status >= 500
