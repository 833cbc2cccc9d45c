"""The samples in Vonage's descriptions of the Meetings API, with invented ids and people."""

from typing import Any

ROOM_ID = "9f6fe8ae-3458-4a72-b532-8276d5533e97"
RECORDING_ID = "17461b93-f793-48a0-9392-7d82de40432f"
SESSION_ID = "2_MX40NjMzOTg5Mn5-MTYzNTg2ODUxNzIzNH5mOUVub3hPNCt6czlwQzdvaTYvbm5lOTN-fg"
DOWNLOAD_URL = (
    f"https://prod-meetings-recordings.s3.amazonaws.com/46339892/{RECORDING_ID}/archive.mp4"
    "?Expires=1635940573&Signature=secret%3D"
)

ROOM: dict[str, Any] = {
    "id": ROOM_ID,
    "display_name": "My custom room",
    "metadata": "Welcome to my custom room",
    "type": "long_term",
    "recording_options": {"auto_record": True, "record_only_owner": False},
    "meeting_code": "280674154",
    "is_available": True,
    "theme_id": "ef2b46f3-8ebb-437e-a671-272e4990fbc8",
    "created_at": "2022-06-06T06:45:07.135Z",
    "expires_at": "2022-11-11T16:00:00.000Z",
    "expire_after_use": True,
    "ui_settings": {"language": "es"},
    "_links": {
        "host_url": {"href": "https://meetings.vonage.com/?participant_token=host-secret"},
        "guest_url": {"href": "https://meetings.vonage.com/280674154"},
    },
}
"""A room as in the guide."""

ROOM_2021: dict[str, Any] = {
    **{name: value for name, value in ROOM.items() if name != "is_available"},
    "status": "unavailable",
    "metadata": None,
    "theme_id": None,
}
"""A room as in the 2021 description and the SDKs' test data."""

NEXT_LINKS = {
    "absolute": "https://api-eu.vonage.com/beta/meetings/rooms?page_size=10&start_id=20",
    "without a scheme": "api-eu.vonage.com/meetings/rooms?page_size=10&start_id=20",
    "a path": "/beta/meetings/rooms?start_id=20&page_size=10#top",
}


def page(rooms: list[dict[str, Any]], *, form: str, next_link: str | None = None) -> dict[str, Any]:
    """Return a page in the `embedded` form of the guide or the `list` form of the SDKs."""
    base = "https://api-eu.vonage.com/beta/meetings/rooms?page_size=10"
    links = {"first": {"href": base}, "self": {"href": f"{base}&start_id=10"}}
    if next_link is not None:
        links["next"] = {"href": next_link}
    if form == "embedded":
        return {"page_size": 10, "_embedded": {"rooms": rooms}, "_links": links}
    return {"page_size": 10, "_embedded": rooms, "_links": links, "total_items": 5}


RECORDING: dict[str, Any] = {
    "id": RECORDING_ID,
    "session_id": SESSION_ID,
    "started_at": "2021-11-02T15:55:35.000Z",
    "ended_at": "2021-11-02T15:56:13.000Z",
    "status": "uploaded",
    "_links": {"url": {"href": DOWNLOAD_URL}},
}

SERVICE_ERROR = {"message": "Failed to find it", "name": "NotFoundError", "status": 404}
GATEWAY_ERROR = {"title": "Unauthorized", "detail": "You did not provide correct credentials"}

CALLBACK_FIELDS = {
    "recording:started": {"recording_id", "session_id"},
    "recording:ended": {"recording_id", "session_id", "started_at", "ended_at", "duration"},
    "recording:uploaded": {
        "recording_id",
        "session_id",
        "started_at",
        "ended_at",
        "duration",
        "url",
    },
    "session:started": {"session_id", "room_id", "started_at"},
    "session:ended": {"session_id", "room_id", "started_at", "ended_at"},
    "session:participant:joined": {
        "participant_id",
        "session_id",
        "room_id",
        "name",
        "type",
        "is_host",
    },
    "session:participant:left": {
        "participant_id",
        "session_id",
        "room_id",
        "name",
        "type",
        "is_host",
    },
    "room:expired": {"room_id", "room_type", "expires_at", "created_at"},
}
"""The fields of every callback, without `event`."""
