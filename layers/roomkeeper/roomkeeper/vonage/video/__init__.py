"""A client of the Video API: its archives, which are the recordings, with retries.

    with VideoClient(credentials.base_url, credentials) as video:
        recording = video.get(recording_id)

Source: Vonage's Video API reference, and that of OpenTok, its older name.
"""

from roomkeeper.vonage.video.client import VideoClient
from roomkeeper.vonage.video.credentials import (
    ClassicKey,
    UnifiedKey,
    VideoCredentials,
    video_credentials_from,
)

__all__ = [
    "ClassicKey",
    "UnifiedKey",
    "VideoClient",
    "VideoCredentials",
    "video_credentials_from",
]
