"""Files that runs of the local stack leave below build/: logs are kept, all others removed.

Each run has its own folder below build/local/. Its servers hold a lock on the folder while they run
(flock(2): the lock is released with the last process that inherited it, even after a crash).

This module imports only the standard library, because `make clean` runs without .tools.
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
    """Yield a file descriptor that holds the run's lock, for its servers to inherit."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        yield file.fileno()


@contextmanager
def starting(local: Path) -> Iterator[None]:
    """Let one run below build/local/ at a time remove earlier ones and start its servers.

    Other runs wait: they would remove the folder of a run whose servers do not hold its lock yet.
    """
    local.mkdir(parents=True, exist_ok=True)
    with (local / "starting.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def is_running(folder: Path) -> bool:
    """Return whether a server of the run in this folder is running."""
    return is_locked(folder / _LOCK)


def is_locked(lock: Path) -> bool:
    """Return whether a process holds the lock that this file is."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def runs(local: Path) -> list[Path]:
    """Return the folders of all runs below build/local/, ordered by the time of their last log."""
    found = [each for each in local.glob("*/") if any(_logs(each))]
    return sorted(found, key=lambda folder: max(log.stat().st_mtime for log in _logs(folder)))


def tidy(folder: Path) -> None:
    """Remove everything except logs from the folder of a run that has ended."""
    if not folder.is_dir() or is_running(folder):
        return
    for each in folder.iterdir():
        if each.name != _FUNCTION_LOGS and each.suffix != ".log":
            remove(each)


def remove_earlier_runs(folder: Path) -> None:
    """Remove the folders of all other runs that have ended, and leftovers in this folder."""
    for each in folder.parent.glob("*/"):
        if each != folder and not is_running(each):
            remove(each)
    tidy(folder)


def remove(path: Path) -> None:
    """Remove a file or a folder with its content; do nothing if it does not exist."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _logs(folder: Path) -> list[Path]:
    return list(folder.glob("*.log"))
