"""What runs of the local stack leave below build/: their logs are kept, all else is removed.

A run has a folder of its own below build/local/. Its servers hold a lock on it for as long as they
live (flock(2): it is released with the last process that inherited it, however that ends).

It imports nothing but Python's own library: `make clean` runs without .tools.
"""

import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_LOCK = "running.lock"
_FUNCTION_LOGS = "functions"


@contextmanager
def lock(folder: Path) -> Iterator[int]:
    """Give a file descriptor that holds the run's lock, for its servers to inherit."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield file.fileno()


def is_running(folder: Path) -> bool:
    """Tell whether a server of the run in this folder lives."""
    try:
        with (folder / _LOCK).open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def runs(local: Path) -> list[Path]:
    """Return the folders of all runs below build/local/, the one that logged last at the end."""
    found = [each for each in local.glob("*/") if any(_logs(each))]
    return sorted(found, key=lambda folder: max(log.stat().st_mtime for log in _logs(folder)))


def tidy(folder: Path) -> None:
    """Remove everything but logs from the folder of a run that has ended."""
    if not folder.is_dir() or is_running(folder):
        return
    for each in folder.iterdir():
        if each.name != _FUNCTION_LOGS and each.suffix != ".log":
            remove(each)


def remove_earlier_runs(folder: Path) -> None:
    """Remove the folders of all other runs that have ended, and what this one's last time left."""
    for each in folder.parent.glob("*/"):
        if each != folder and not is_running(each):
            remove(each)
    tidy(folder)


def remove(path: Path) -> None:
    """Remove a file or a folder with all in it; do nothing when it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _logs(folder: Path) -> list[Path]:
    return list(folder.glob("*.log"))
