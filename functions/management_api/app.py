"""HTTP API -> Vonage and table: lets operators and services look after rooms and recordings."""

from roomkeeper.handlers.management_api import handler

__all__ = ["handler"]
