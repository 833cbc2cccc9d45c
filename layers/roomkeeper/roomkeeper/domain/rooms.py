"""What a room is, and which rooms are to live on. Pure."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct


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


Selection = Literal["all", "opt-in", "opt-out"]
Verdict = Literal[
    "extend",
    "extend_to_limit",
    "max_lifetime_reached",
    "not_due",
    "opted_out",
    "expire_after_use",
    "unused",
    "expired",
    "not_updatable",
]

MAX_LIFETIME_YEARS = 5
"""Years from its creation that a long-term room can live, says Vonage's guide on rooms."""


class ExtensionPolicy(Struct, frozen=True, kw_only=True):
    """Which rooms the operator wants to be kept alive, from when on, and for how long.

    A room is due once it expires `within` that time, and then lives on for `extend_to` from now.
    `opt-in` selects rooms with `keep_marker` in their metadata, `opt-out` those without
    `let_expire_marker`, `all` every one. With `used_within`, a session must have started in it
    within that time. Rooms that expire after use are left alone unless `expire_after_use`, or
    unless they carry `keep_marker`.

    Raises:
        ValueError: rooms would be due again as soon as they are extended.
    """

    within: timedelta
    extend_to: timedelta
    selection: Selection
    keep_marker: str
    let_expire_marker: str
    used_within: timedelta | None
    expire_after_use: bool

    def __post_init__(self) -> None:
        if self.extend_to <= self.within:
            raise ValueError(
                f"Rooms are extended to {self.extend_to.days} days and due within "
                f"{self.within.days}: the first must be more than the second."
            )


class Decision(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is to become of a room's expiry, and why; `expires_at` is the new one, if any."""

    verdict: Verdict
    reason: str
    expires_at: datetime | None = None


class Extension(Struct, frozen=True, kw_only=True):
    """A room's move to a later expiry: wanted, begun, or done."""

    room_id: str
    previous_expires_at: datetime
    expires_at: datetime
    reason: str


def decide(
    room: Room, last_used: datetime | None, policy: ExtensionPolicy, now: datetime
) -> Decision:
    """Return what `policy` wants of the room at `now`.

    `last_used` is when the last session in it started, None when none is known. It matters only to
    a room that would be extended if it were `now`, so that nobody need look it up for another.
    """
    return (
        _beyond_reach(room, now)
        or _left_alone(room, policy)
        or _not_due(room, policy, now)
        or _idle(last_used, policy, now)
        or _extension(room, policy, now)
    )


def _beyond_reach(room: Room, now: datetime) -> Decision | None:
    if not room.is_long_term:
        return Decision(verdict="not_updatable", reason="an instant room cannot be extended")
    if room.expires_at is None:
        return Decision(verdict="not_updatable", reason="its expiry is not told")
    if room.expires_at <= now:
        return Decision(verdict="expired", reason="expired already, and cannot be revived")
    if not room.is_available:
        return Decision(verdict="not_updatable", reason="not available any more")
    return None


def _left_alone(room: Room, policy: ExtensionPolicy) -> Decision | None:
    kept = _has_marker(room, policy.keep_marker)
    if policy.selection == "opt-in" and not kept:
        return Decision(verdict="opted_out", reason=f"lacks the marker {policy.keep_marker}")
    if policy.selection == "opt-out" and _has_marker(room, policy.let_expire_marker):
        return Decision(verdict="opted_out", reason=f"has the marker {policy.let_expire_marker}")
    if room.expire_after_use and not (kept or policy.expire_after_use):
        return Decision(verdict="expire_after_use", reason="is meant to expire after use")
    return None


def _not_due(room: Room, policy: ExtensionPolicy, now: datetime) -> Decision | None:
    expires_at = room.expires_at or now
    if expires_at > now + policy.within:
        reason = f"does not expire within {policy.within.days} days"
        return Decision(verdict="not_due", reason=reason)
    if _new_expiry(room, policy, now) <= expires_at:
        reason = f"cannot live longer than {MAX_LIFETIME_YEARS} years from its creation"
        return Decision(verdict="max_lifetime_reached", reason=reason)
    return None


def _idle(last_used: datetime | None, policy: ExtensionPolicy, now: datetime) -> Decision | None:
    if policy.used_within is None or (last_used and last_used >= now - policy.used_within):
        return None
    reason = f"no session is known to have started in it within {policy.used_within.days} days"
    return Decision(verdict="unused", reason=reason)


def _extension(room: Room, policy: ExtensionPolicy, now: datetime) -> Decision:
    expires_at = _new_expiry(room, policy, now)
    reason = f"expires within {policy.within.days} days"
    if policy.used_within is not None:
        reason += f", and was used within {policy.used_within.days}"
    if expires_at == _limit(room, now):
        reason += f"; {MAX_LIFETIME_YEARS} years from its creation are the limit"
        return Decision(verdict="extend_to_limit", reason=reason, expires_at=expires_at)
    return Decision(verdict="extend", reason=reason, expires_at=expires_at)


def _new_expiry(room: Room, policy: ExtensionPolicy, now: datetime) -> datetime:
    # Whole seconds, so that a server which keeps no milliseconds still answers the same.
    return min((now + policy.extend_to).replace(microsecond=0), _limit(room, now))


def _limit(room: Room, now: datetime) -> datetime:
    """Return when the room must end; five years from now where its creation is not told."""
    born = min(room.created_at or now, now).replace(microsecond=0)
    leap_day = (born.month, born.day) == (2, 29)
    return born.replace(year=born.year + MAX_LIFETIME_YEARS, day=28 if leap_day else born.day)


def _has_marker(room: Room, marker: str) -> bool:
    """Whether the marker is in the metadata as a word of its own, whatever surrounds it."""
    word = rf"(?<![\w:-]){re.escape(marker)}(?![\w:-])"
    return re.search(word, room.metadata or "") is not None
