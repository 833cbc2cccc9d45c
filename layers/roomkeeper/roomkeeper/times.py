"""Times as text, in one format: ISO 8601, UTC, milliseconds, `Z`."""

from datetime import UTC, datetime


def iso(moment: datetime) -> str:
    """Return an aware `moment` as text in Vonage's format: `2021-11-02T15:55:35.000Z`."""
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="milliseconds") + "Z"


def from_iso(text: str) -> datetime:
    """Return the time, in UTC, of a text in the format of `iso`."""
    return datetime.fromisoformat(text).astimezone(UTC)
