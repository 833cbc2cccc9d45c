"""Table's stream -> event bus: publishes what has become due. Nothing else does."""

from roomkeeper.handlers.event_publisher import handler

__all__ = ["handler"]
