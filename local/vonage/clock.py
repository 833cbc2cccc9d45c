"""The emulator's clock: the machine's time plus an offset."""

from datetime import UTC, datetime, timedelta

from local.vonage.refusal import invalid


class Clock:
    """A clock in UTC that can be advanced, so that tests need not wait for an expiry."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Show the machine's time again."""
        self._offset = timedelta()

    def now(self) -> datetime:
        """Return the emulated time."""
        return datetime.now(UTC) + self._offset

    def advance(self, seconds: float) -> None:
        """Advance the clock; a negative number of `seconds` sets it back.

        Raises:
            Refusal: the time would be outside the years 1970 to 8999.
        """
        offset = self._offset + timedelta(seconds=seconds)
        _require_valid(datetime.now(UTC) + offset, "seconds")
        self._offset = offset


def moment(text: object, field: str) -> datetime:
    """Return the time, in UTC, of an ISO 8601 `text`. A time without a zone is UTC.

    Raises:
        Refusal: `text` is not such a time; the message names `field`.
    """
    try:
        parsed = datetime.fromisoformat(text if isinstance(text, str) else "")
        aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)
        return _require_valid(aware.astimezone(UTC), field)
    except (ValueError, OverflowError) as exc:
        raise invalid(f'"{field}" must be a valid ISO 8601 date') from exc


def _require_valid(time: datetime, field: str) -> datetime:
    """Return `time`, or raise Refusal if date arithmetic with it could overflow."""
    if not 1970 <= time.year < 9000:
        raise invalid(f'"{field}" leads to the year {time.year}')
    return time
