"""The emulator's time: the machine's, plus whatever it was advanced by."""

from datetime import UTC, datetime, timedelta

from local.vonage.refusal import invalid


class Clock:
    """Tells the time in UTC, and can be put forward so that nobody must wait for an expiry."""

    def __init__(self) -> None:
        self._ahead = timedelta()

    def now(self) -> datetime:
        """Return the emulated time."""
        return datetime.now(UTC) + self._ahead

    def advance(self, seconds: float) -> None:
        """Put the clock forward; back, when `seconds` is negative.

        Raises:
            Refusal: it would leave the years 1970 to 8999.
        """
        ahead = self._ahead + timedelta(seconds=seconds)
        _require_sensible(datetime.now(UTC) + ahead, "seconds")
        self._ahead = ahead


def moment(text: object, field: str) -> datetime:
    """Return the time, in UTC, that `text` states in ISO 8601; without a zone it is UTC.

    Raises:
        Refusal: it states none; the message names `field`.
    """
    try:
        stated = datetime.fromisoformat(text if isinstance(text, str) else "")
        aware = stated if stated.tzinfo else stated.replace(tzinfo=UTC)
        return _require_sensible(aware.astimezone(UTC), field)
    except (ValueError, OverflowError) as problem:
        raise invalid(f'"{field}" must be a valid ISO 8601 date') from problem


def _require_sensible(time: datetime, field: str) -> datetime:
    """Return `time` unless it is so far off that reckoning with it would overflow."""
    if not 1970 <= time.year < 9000:
        raise invalid(f'"{field}" leads to the year {time.year}')
    return time
