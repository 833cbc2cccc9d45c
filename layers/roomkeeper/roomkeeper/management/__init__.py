"""The management API: rooms and recordings, merged from Vonage and the table."""

from roomkeeper.management.operations import Management

__all__ = ["Management"]
