"""Queue -> Vonage, then bucket and table: copies recordings. Schedule or HTTP API -> queue."""

from roomkeeper.handlers.copying import handler

__all__ = ["handler"]
