"""How long a call to AWS may take, and how often it is attempted."""

from msgspec import Struct

MAX_DELAY = 20.0
"""Seconds that a pause between two attempts lasts at most."""


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """At most `max_attempts` attempts of a call, each with a timeout of `timeout` seconds.

    A random pause precedes each further attempt: up to 1 s before the second, doubling from there.
    Those are the upper bounds of botocore's standard retry mode; the Common Runtime's client
    pauses for less.

    Source: "Retry behavior" in the AWS SDKs and Tools reference guide.
    """

    max_attempts: int
    timeout: float

    @property
    def worst_case(self) -> float:
        """Return the seconds that a call takes at most, its pauses included."""
        pauses = (min(2.0**retry, MAX_DELAY) for retry in range(self.max_attempts - 1))
        return self.max_attempts * self.timeout + sum(pauses)
