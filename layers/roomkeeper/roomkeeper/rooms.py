"""What a room is. Pure."""

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A meeting room as Vonage describes it; what it left out is None or the field's default."""

    id: str
    display_name: str = ""
    type: str = "instant"
    """`instant` or `long_term`."""
    is_available: bool = True
    """Whether a session can start in it: not in one that is expired or deleted."""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    expire_after_use: bool = False
    auto_record: bool = False
    metadata: str | None = None
    meeting_code: str | None = None
    guest_url: str | None = None
    host_url: str | None = field(default=None, repr=False)
    """A secret: whoever opens it is the host."""

    @property
    def is_long_term(self) -> bool:
        """Whether it lives until `expires_at`, which only then can be moved."""
        return self.type == "long_term"
