"""Everything that functions write, in a file for each, for MiniStack.

MiniStack 1.5 hands out no more than about fifty lines of a log stream, and loses what a function
wrote before its process was killed.
"""

import shutil
from pathlib import Path
from typing import Any


def install(folder: Path) -> None:
    """Make MiniStack in this process keep it in `folder`, which is emptied."""
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
