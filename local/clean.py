"""`make clean`: removes build products and leftovers of local runs from this machine."""

import argparse
import sys
from pathlib import Path

from local import leftovers
from operations.layout import progress

PROJECT = Path(__file__).parent.parent


class InUse(Exception):
    """A local stack or a deployment is still running; the message says which, and what to do."""


def main() -> int:
    """Remove the files and print their size; return the exit code."""
    parser = argparse.ArgumentParser(prog="make clean", usage="make clean [ALL=1]")
    parser.add_argument("--all", action="store_true", help="also the last run's logs and .tools")
    options = parser.parse_args()
    try:
        with progress("Removing files"):
            freed = clean(PROJECT, everything=options.all)
    except InUse as error:
        print(error, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"Some files could not be removed: {error}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Run make clean again to remove the rest.", file=sys.stderr)
        return 130
    print(f"{freed / 1e6:.0f} MB removed.")
    return 0


def clean(project: Path, *, everything: bool = False) -> int:
    """Remove build products and leftovers below `project`; return the number of freed bytes.

    The last run's logs and .tools are kept unless `everything` is True.

    Raises:
        InUse: a local stack, a build or a deployment of this folder is running.
    """
    build, tools = project / "build", project / ".tools"
    local = build / "local"
    if running := [each for each in local.glob("*/") if leftovers.is_running(each)]:
        raise InUse(_running(running[0].name))
    if leftovers.is_locked(build / "building.lock"):
        raise InUse("A build or a deployment from this folder is running. Wait for its end.")
    before = _size(build, tools, project / ".aws-sam")
    leftovers.remove(project / ".aws-sam")
    if everything:
        leftovers.remove(build)
        leftovers.remove(tools)
    elif build.is_dir():
        _clean_build(build)
    return before - _size(build, tools)


def _running(run: str) -> str:
    """Return that a local stack is running, and how to stop it; `run` is its folder's name."""
    port = run.removeprefix("up-")
    how = "Ctrl-C in its terminal" if port == run else f"make down PORT={port}"
    return f"A local stack is running (build/local/{run}). Stop it first: {how}."


def _clean_build(build: Path) -> None:
    """Remove everything from build/ except the last run's logs."""
    last = leftovers.runs(build / "local")[-1:]
    for folder in (build, build / "local") if last else (build,):
        for each in folder.iterdir():
            if not last or each not in (build / "local", last[0]):
                leftovers.remove(each)
    for run in last:
        leftovers.tidy(run)


def _size(*folders: Path) -> int:
    """Return the total bytes of all files below the folders; a file with two names counts once."""
    files = (each.lstat() for folder in folders for each in folder.rglob("*") if not each.is_dir())
    return sum({(each.st_dev, each.st_ino): each.st_size for each in files}.values())


if __name__ == "__main__":
    sys.exit(main())
