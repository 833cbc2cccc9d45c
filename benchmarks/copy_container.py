"""Copies one file in a new process: `python copy_container.py PATHS HOW URL`.

HOW is `copier`, or `upload_fileobj`: boto3's managed upload of a streamed `requests` body.
"""

import json
import os
import resource
import sys
import time

sys.path[:0] = sys.argv[1].split(os.pathsep)

import boto3  # noqa: E402
import requests  # noqa: E402

from roomkeeper.aws.bucket import Bucket  # noqa: E402
from roomkeeper.jobs.copier import Copied, Copier  # noqa: E402
from roomkeeper.vonage.downloads import Downloader  # noqa: E402
from roomkeeper.vonage.recordings_api import Download  # noqa: E402
from roomkeeper.vonage.retry import Deadline  # noqa: E402


def copier(url: str) -> None:
    """Copy with the project's copier."""
    made = Copier(Bucket("copies"), Downloader(allows_loopback=True)).copy(
        "recordings/a.mp4", "mp4", None, lambda: Download(url=url), lambda _: None, Deadline(1800)
    )
    assert isinstance(made, Copied)  # noqa: S101 - a failed copy is no measurement


def upload_fileobj(url: str) -> None:
    """Copy with boto3's managed upload of a streamed body, as most programs do."""
    with requests.get(url, stream=True, timeout=60) as response:
        boto3.client("s3").upload_fileobj(response.raw, "copies", "recordings/a.mp4")


began = time.perf_counter()
{"copier": copier, "upload_fileobj": upload_fileobj}[sys.argv[2]](sys.argv[3])
measured = {
    "seconds": time.perf_counter() - began,
    "cpu": time.process_time(),
    "rss": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}
print(json.dumps(measured), file=sys.stderr)
