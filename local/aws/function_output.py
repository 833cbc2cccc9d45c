"""Writes the output of each function in MiniStack to a log file.

MiniStack 1.5 returns at most about fifty lines of a log stream, and loses the output of a process
that was killed.
"""

import shutil
from pathlib import Path
from typing import Any


def install(folder: Path) -> None:
    """Patch MiniStack in this process so that it writes to `folder`, which is emptied first."""
    from ministack.core import lambda_runtime  # noqa: PLC0415 - only there in MiniStack's process

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def read(worker: Any) -> None:
        lines, kept = worker._proc.stderr, worker._stderr_queue
        with (folder / f"{worker.func_name}.log").open("a", buffering=1) as output:
            for line in lines:
                output.write(line)
                kept.put(line.rstrip("\n"))

    lambda_runtime.Worker._read_stderr = read
