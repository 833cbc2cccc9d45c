"""Schedule, HTTP API -> Vonage, table: keeps rooms alive as the operator's policy wants."""

from roomkeeper.handlers.room_extension import handler

__all__ = ["handler"]
