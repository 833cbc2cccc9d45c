"""Points in time as they are written everywhere here: ISO 8601, UTC, milliseconds, `Z`."""

from datetime import UTC, datetime


def iso(moment: datetime) -> str:
    """Return an aware `moment` as Vonage writes it: `2021-11-02T15:55:35.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(text: str) -> datetime:
    """Return the moment, in UTC, that `iso` wrote."""
    return datetime.fromisoformat(text).astimezone(UTC)
