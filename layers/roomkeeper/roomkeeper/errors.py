"""The root of every error that Roomkeeper raises on purpose."""


class RoomkeeperError(Exception):
    """Something went wrong that can be named; the message says what, where, and what to do."""

    @property
    def is_item_specific(self) -> bool:
        """Whether it says nothing about other items: they may well fare better."""
        return False
