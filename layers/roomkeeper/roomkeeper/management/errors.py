"""The exceptions of the management API's operations."""

from roomkeeper.errors import RoomkeeperError


class NotKnown(RoomkeeperError):
    """Neither Vonage nor the table has the item; or the operation needs an item in the table."""


class OnHold(RoomkeeperError):
    """The recording is protected from deletion."""


class AlreadyDeleted(RoomkeeperError):
    """The recording is deleted; only its item in the table remains."""


class NotDeletableYet(RoomkeeperError):
    """The recording is not uploaded yet, and Vonage deletes only uploaded ones."""


class NotUploaded(RoomkeeperError):
    """There is no file: the recording was not uploaded, or Vonage has deleted the file."""


class CopyingIsOff(RoomkeeperError):
    """The stack does not copy recordings, and has no access to earlier copies."""


class CopyOutOfReach(RoomkeeperError):
    """The copy is in a bucket that the stack has no access to."""


class NotCopied(RoomkeeperError):
    """There is no verified copy of the recording."""


class CopyInProgress(RoomkeeperError):
    """The recording is being copied just now."""
