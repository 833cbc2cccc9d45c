"""A client of the Meetings API: rooms and recordings.

Source: Vonage's Meetings API reference and guides.
"""

from roomkeeper.vonage.meetings.client import MeetingsClient
from roomkeeper.vonage.meetings.models import InvalidRoom, RoomPage

__all__ = ["InvalidRoom", "MeetingsClient", "RoomPage"]
