"""Callbacks on their way, and what became of each."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Attempt:
    """One post of a callback: answered with `status`, or failed with `error`."""

    at: str
    status: int | None = None
    error: str | None = None
    answer: str = ""

    @property
    def is_final(self) -> bool:
        """Whether a webhook sender leaves it at that: not after 429, 5xx or no answer at all."""
        return self.status is not None and self.status != 429 and self.status < 500

    @property
    def is_acknowledgement(self) -> bool:
        """Whether the receiver took the callback."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(slots=True)
class Delivery:
    """A callback and every attempt to deliver it; it grows while it is being sent."""

    body: Mapping[str, Any]
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        """Whether the receiver has taken it."""
        return any(attempt.is_acknowledgement for attempt in self.attempts)

    def as_json(self) -> dict[str, Any]:
        """Return the delivery as the control interface shows it."""
        attempts = list(self.attempts)
        return {
            "event": self.body.get("event"),
            "body": self.body,
            "status": attempts[-1].status if attempts else None,
            "delivered": self.delivered,
            "attempts": [asdict(attempt) for attempt in attempts],
        }
