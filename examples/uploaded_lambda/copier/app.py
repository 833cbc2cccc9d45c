"""Event bus -> bucket: copies a recording before its download link expires.

A repeated event copies the same file to the same key again, so the function stores no event ids.
"""

import os
from collections.abc import Mapping
from typing import Any

import boto3
import urllib3

http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=60))
s3 = boto3.client("s3")


class NotCopied(Exception):
    """A recording could not be downloaded. The message has its id, never its URL."""


def handler(event: Mapping[str, Any], _context: object) -> None:
    """Copy the recording of a `recording:uploaded` event.

    Raises:
        NotCopied: Lambda retries twice, then sends the event to the dead-letter queue.
    """
    data = event["detail"]["data"]
    recording_id = data["recording_id"]
    try:
        with http.request("GET", data["url"], preload_content=False) as response:
            if response.status != 200:
                raise NotCopied(f"{recording_id}: the download returned HTTP {response.status}")
            key = f"{data['session_id']}/{recording_id}.mp4"
            s3.upload_fileobj(response, os.environ["BUCKET_NAME"], key)
    except urllib3.exceptions.HTTPError as error:
        # Without the cause: its text contains the URL, with which anyone can download the file.
        raise NotCopied(f"{recording_id}: {type(error).__name__}") from None
