"""The root of every error that Roomkeeper raises on purpose."""


class RoomkeeperError(Exception):
    """Something that Roomkeeper can name went wrong; the message says what, where, and what to do."""
