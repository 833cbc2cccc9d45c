"""The base class of all errors that Roomkeeper raises."""


class RoomkeeperError(Exception):
    """A known error; the message says what failed, where, and what to do."""

    @property
    def is_item_specific(self) -> bool:
        """True if only this item is affected, so the batch should go on."""
        return False
