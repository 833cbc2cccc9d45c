"""Schedule, or HTTP API -> Vonage, then table: recovers recordings whose callbacks were lost."""

from roomkeeper.handlers.reconciliation import handler

__all__ = ["handler"]
