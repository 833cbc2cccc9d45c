"""HTTP API -> Vonage and table: manages rooms and recordings for operators and services."""

from roomkeeper.handlers.management_api import handler

__all__ = ["handler"]
