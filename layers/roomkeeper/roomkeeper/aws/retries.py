"""The number of attempts and the timeout of a call to AWS, and those of the common calls."""

from msgspec import Struct

MAX_DELAY = 20.0
"""The maximum delay between two attempts, in seconds."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """At most `max_attempts` attempts of a call, each with a timeout of `timeout` seconds.

    The delays between attempts are random: up to 1 s before the second attempt, doubled each time.
    These are the upper bounds of botocore's standard retry mode; the delays of the Common Runtime
    client are shorter.

    Source: "Retry behavior" in the AWS SDKs and Tools reference guide.
    """

    max_attempts: int
    timeout: float

    @property
    def worst_case(self) -> float:
        """Return the maximum duration of a call in seconds, delays included."""
        delays = (min(2.0**retry, MAX_DELAY) for retry in range(self.max_attempts - 1))
        return self.max_attempts * self.timeout + sum(delays)


TABLE_RETRY = RetryPolicy(max_attempts=3, timeout=2)
"""The retry policy for one operation on the table in the callback intake and the publisher."""

SHORT_TABLE_RETRY = RetryPolicy(max_attempts=2, timeout=2)
"""The same where several operations must end within one HTTP request."""

SECRET_RETRY = RetryPolicy(max_attempts=2, timeout=1.5)
"""The retry policy for one call to Secrets Manager."""
