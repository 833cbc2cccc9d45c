"""Schedule, HTTP API -> Vonage, table: keeps rooms alive as the operator's policy wants."""

from roomkeeper.handlers.room_expiry_extender import handler

__all__ = ["handler"]
