"""Schedule, or HTTP API -> Vonage, then table: deletes recordings that are past their retention."""

from roomkeeper.handlers.cleanup import handler

__all__ = ["handler"]
