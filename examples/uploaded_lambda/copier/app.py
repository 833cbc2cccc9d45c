"""Event bus -> bucket: copies a recording before its download link dies.

A repeat of an event copies the same file to the same place once more: nothing has to be remembered.
"""

import os
from collections.abc import Mapping
from typing import Any

import boto3
import urllib3

http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=60))
s3 = boto3.client("s3")


class NotCopied(Exception):
    """A recording could not be downloaded; the message names it, and never its URL."""


def handler(event: Mapping[str, Any], _context: object) -> None:
    """Copy the recording that a `recording:uploaded` tells of.

    Raises:
        NotCopied: Lambda tries twice again, then puts the event into the dead-letter queue.
    """
    data = event["detail"]["data"]
    recording_id = data["recording_id"]
    try:
        with http.request("GET", data["url"], preload_content=False) as answer:
            if answer.status != 200:
                raise NotCopied(f"{recording_id}: the download was answered {answer.status}")
            key = f"{data['session_id']}/{recording_id}.mp4"
            s3.upload_fileobj(answer, os.environ["BUCKET_NAME"], key)
    except urllib3.exceptions.HTTPError as problem:
        # Without the cause: its text has the URL, which lets anyone who reads it download.
        raise NotCopied(f"{recording_id}: {type(problem).__name__}") from None
