"""Rooms, and the policy that decides which rooms are extended. No I/O."""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from roomkeeper.domain.observations import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """A meeting room as Vonage describes it. Missing values are None or the field's default."""

    id: str
    product: Product = "meetings"
    """Always `meetings`: the Video API has no rooms."""
    display_name: str = ""
    type: str = "instant"
    """`instant` or `long_term`."""
    is_available: bool = True
    """True if a session can start in it; False for expired and deleted rooms."""
    created_at: datetime | None = None
    expires_at: datetime | None = None
    expire_after_use: bool = False
    auto_record: bool = False
    metadata: str | None = None
    meeting_code: str | None = None
    guest_url: str | None = None
    host_url: str | None = field(default=None, repr=False)
    """A secret: anyone who opens it becomes the host."""

    @property
    def is_long_term(self) -> bool:
        """True for a long-term room. Only such a room's `expires_at` can be changed."""
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
"""The most years between a long-term room's creation and expiry. Source: Vonage's rooms guide."""


class ExtensionPolicy(Struct, frozen=True, kw_only=True):
    """The operator's policy: which rooms are extended, when, and for how long.

    A room is due if it expires `within` that time. Its new expiry is `extend_to` from now.
    `selection` is `opt-in` for rooms with `keep_marker` in their metadata, `opt-out` for rooms
    without `let_expire_marker`, or `all`. With `used_within`, only rooms are extended in which a
    session started within that time. Rooms that expire after use are extended only if
    `expire_after_use` is true or they have the `keep_marker`.

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
    """A verdict on a room, its reason, and the new expiry if the room is extended."""

    verdict: Verdict
    reason: str
    expires_at: datetime | None = None


class Extension(Struct, frozen=True, kw_only=True):
    """A change of a room's expiry to a later time, planned or made."""

    room_id: str
    previous_expires_at: datetime
    expires_at: datetime
    reason: str


def decide(
    room: Room, last_used: datetime | None, policy: ExtensionPolicy, now: datetime
) -> Decision:
    """Return the decision of `policy` about a room at `now`.

    `last_used` is when the room's last session started, or None if none is known. It matters only
    if the decision for `last_used=now` is to extend, so callers can skip the lookup otherwise.
    """
    return (
        _if_not_extendable(room, now)
        or _if_not_selected(room, policy)
        or _if_not_due(room, policy, now)
        or _if_unused(last_used, policy, now)
        or _extend(room, policy, now)
    )


def _if_not_extendable(room: Room, now: datetime) -> Decision | None:
    if not room.is_long_term:
        return Decision(verdict="not_updatable", reason="an instant room cannot be extended")
    if room.expires_at is None:
        return Decision(verdict="not_updatable", reason="Vonage reports no expiry")
    if room.expires_at <= now:
        return Decision(verdict="expired", reason="already expired, which cannot be undone")
    if not room.is_available:
        return Decision(verdict="not_updatable", reason="no longer available")
    return None


def _if_not_selected(room: Room, policy: ExtensionPolicy) -> Decision | None:
    kept = _has_marker(room, policy.keep_marker)
    if policy.selection == "opt-in" and not kept:
        return Decision(verdict="opted_out", reason=f"lacks the marker {policy.keep_marker}")
    if policy.selection == "opt-out" and _has_marker(room, policy.let_expire_marker):
        return Decision(verdict="opted_out", reason=f"has the marker {policy.let_expire_marker}")
    if room.expire_after_use and not (kept or policy.expire_after_use):
        return Decision(verdict="expire_after_use", reason="expires after use")
    return None


def _if_not_due(room: Room, policy: ExtensionPolicy, now: datetime) -> Decision | None:
    expires_at = room.expires_at or now
    if expires_at > now + policy.within:
        reason = f"does not expire within {policy.within.days} days"
        return Decision(verdict="not_due", reason=reason)
    if _new_expiry(room, policy, now) <= expires_at:
        reason = f"cannot live longer than {MAX_LIFETIME_YEARS} years from its creation"
        return Decision(verdict="max_lifetime_reached", reason=reason)
    return None


def _if_unused(
    last_used: datetime | None, policy: ExtensionPolicy, now: datetime
) -> Decision | None:
    if policy.used_within is None or (last_used and last_used >= now - policy.used_within):
        return None
    reason = f"no known session started in it within {policy.used_within.days} days"
    return Decision(verdict="unused", reason=reason)


def _extend(room: Room, policy: ExtensionPolicy, now: datetime) -> Decision:
    expires_at = _new_expiry(room, policy, now)
    reason = f"expires within {policy.within.days} days"
    if policy.used_within is not None:
        reason += f", and was used within {policy.used_within.days}"
    if expires_at == _limit(room, now):
        reason += f"; limited to {MAX_LIFETIME_YEARS} years from its creation"
        return Decision(verdict="extend_to_limit", reason=reason, expires_at=expires_at)
    return Decision(verdict="extend", reason=reason, expires_at=expires_at)


def _new_expiry(room: Room, policy: ExtensionPolicy, now: datetime) -> datetime:
    # Whole seconds: a server that drops milliseconds then returns the same value.
    return min((now + policy.extend_to).replace(microsecond=0), _limit(room, now))


def _limit(room: Room, now: datetime) -> datetime:
    """Return the latest possible expiry: five years after creation, or from now if unknown."""
    created = min(room.created_at or now, now).replace(microsecond=0)
    leap_day = (created.month, created.day) == (2, 29)
    return created.replace(
        year=created.year + MAX_LIFETIME_YEARS, day=28 if leap_day else created.day
    )


def _has_marker(room: Room, marker: str) -> bool:
    """Return True if the metadata has the marker as a separate word, in any surrounding text."""
    word = rf"(?<![\w:-]){re.escape(marker)}(?![\w:-])"
    return re.search(word, room.metadata or "") is not None
