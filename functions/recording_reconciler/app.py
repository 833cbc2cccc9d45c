"""Schedule, or HTTP API -> Vonage, then table: finds out what callbacks failed to tell."""

from roomkeeper.handlers.reconciliation import handler

__all__ = ["handler"]
