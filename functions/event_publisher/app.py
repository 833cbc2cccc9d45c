"""Table's stream -> event bus: publishes the events of changed items. Nothing else publishes."""

from roomkeeper.handlers.event_publisher import handler

__all__ = ["handler"]
