"""HTTP API -> table: takes Vonage's callbacks."""

from roomkeeper.handlers.callback_intake import handler

__all__ = ["handler"]
