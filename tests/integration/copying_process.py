"""A process that copies one file and keeps its progress in a file, to be killed by tests.

Arguments: the URL of the file, its SHA-256, and the file with the progress.
"""

import os
import sys
from pathlib import Path

import msgspec

from roomkeeper.aws.bucket import Bucket
from roomkeeper.domain.copies import Copy
from roomkeeper.jobs.copier import Copier
from roomkeeper.vonage.downloads import Downloader
from roomkeeper.vonage.recordings_api import Download
from roomkeeper.vonage.retry import Deadline


def main() -> None:
    url, sha256, progress = sys.argv[1], sys.argv[2], Path(sys.argv[3])

    def save(copy: Copy) -> None:
        written = progress.with_suffix(".new")
        written.write_bytes(msgspec.json.encode(copy))
        os.replace(written, progress)  # noqa: PTH105 - atomic, like a write to the table

    started = msgspec.json.decode(progress.read_bytes(), type=Copy) if progress.exists() else None
    copier = Copier(Bucket("copies"), Downloader(allows_loopback=True))
    download = Download(url=url, sha256=sha256)
    copier.copy("recordings/a.mp4", "mp4", started, lambda: download, save, Deadline(600))


if __name__ == "__main__":
    main()
