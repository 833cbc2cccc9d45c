"""HTTP API -> table: receives Vonage's callbacks."""

from roomkeeper.handlers.callback_intake import handler

__all__ = ["handler"]
