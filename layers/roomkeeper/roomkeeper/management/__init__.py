"""The management API: rooms and recordings, at Vonage and in our table, seen as one."""

from roomkeeper.management.operations import Management

__all__ = ["Management"]
