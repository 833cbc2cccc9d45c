"""Callbacks and the attempts to deliver them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Attempt:
    """One POST of a callback: its response's `status`, or an `error`."""

    at: str
    status: int | None = None
    error: str | None = None
    answer: str = ""

    @property
    def is_final(self) -> bool:
        """Whether the sender does not retry: false after 429, 5xx or no response."""
        return self.status is not None and self.status != 429 and self.status < 500

    @property
    def is_acknowledgement(self) -> bool:
        """Whether the receiver accepted the callback."""
        return self.status is not None and 200 <= self.status < 300


@dataclass(slots=True)
class Delivery:
    """A callback and all attempts to deliver it so far."""

    body: Mapping[str, Any]
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted it."""
        return any(attempt.is_acknowledgement for attempt in self.attempts)

    def as_json(self) -> dict[str, Any]:
        """Return the delivery as JSON for the control interface."""
        attempts = list(self.attempts)
        return {
            "event": self.body.get("event"),
            "body": self.body,
            "status": attempts[-1].status if attempts else None,
            "delivered": self.delivered,
            "attempts": [asdict(attempt) for attempt in attempts],
        }
