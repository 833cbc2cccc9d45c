"""Schedule, or HTTP API -> Vonage, then table: extends rooms by the operator's policy."""

from roomkeeper.handlers.room_extension import handler

__all__ = ["handler"]
