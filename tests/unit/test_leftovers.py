"""Local runs keep their last logs, and `make clean` removes everything else."""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from local import clean, leftovers
from local.clean import InUse


def a_run(local: Path, name: str, at: float) -> Path:
    """Create the folder of a run in progress, with its last log at `at`."""
    folder = local / name
    for file in ("aws/copy/code.py", "aws/state/db", "functions/a.log", "local.aws.log", "s.json"):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x" * 100)
    os.utime(folder / "local.aws.log", (at, at))
    return folder


def files(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


LOGS = {"functions/a.log", "local.aws.log"}


@contextmanager
def running(folder: Path) -> Iterator[None]:
    """Hold the run's lock in a process that outlives its parent."""
    with leftovers.lock(folder) as lock:
        holder = subprocess.Popen(["sleep", "60"], pass_fds=[lock])
    try:
        yield
    finally:
        holder.kill()
        holder.wait()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for file in ("build/sam/code.py", "build/mypy/cache", "build/template-local.yaml", "keep.py"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("x" * 1000)
    for file in (".tools/dev/python", ".aws-sam/deps/x", "build/local/sam-build.log"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("x" * 1000)
    a_run(tmp_path / "build/local", "demo", 1000)
    a_run(tmp_path / "build/local", "up-4566", 2000)
    return tmp_path


def test_a_run_that_has_ended_keeps_its_logs_alone(tmp_path: Path) -> None:
    folder = a_run(tmp_path, "demo", 1000)
    with running(folder):
        leftovers.tidy(folder)
        assert "aws/copy/code.py" in files(folder)
    leftovers.tidy(folder)
    assert files(folder) == LOGS


def test_a_new_run_removes_earlier_ones_that_have_ended(tmp_path: Path) -> None:
    new, old, alive = (a_run(tmp_path, name, 1000) for name in ("new", "old", "alive"))
    with running(alive):
        leftovers.remove_earlier_runs(new)
    assert not old.exists()
    assert "aws/state/db" in files(alive)
    assert files(new) == LOGS


def test_clean_keeps_the_last_runs_logs_and_the_tools(project: Path) -> None:
    freed = clean.clean(project)
    assert files(project) == {
        "keep.py",
        ".tools/dev/python",
        *(f"build/local/up-4566/{log}" for log in LOGS),
    }
    assert freed == 3000 + 2000 + 5 * 100 + 3 * 100


def test_clean_can_be_repeated(project: Path) -> None:
    clean.clean(project)
    assert clean.clean(project) == 0


def test_a_file_with_two_names_counts_once(project: Path) -> None:
    """uv links the files of its cache into .tools."""
    cached = project / ".tools/cache/a"
    cached.parent.mkdir(parents=True, exist_ok=True)
    cached.write_bytes(bytes(1000))
    before = clean._size(project)
    (project / ".tools/b").hardlink_to(cached)
    assert clean._size(project / ".tools", project) == before


def test_clean_all_removes_the_tools_too(project: Path) -> None:
    clean.clean(project, everything=True)
    assert files(project) == {"keep.py"}


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize(
    ("run", "how"), [("demo", r"Ctrl-C in its terminal\."), ("up-4766", r"make down PORT=4766\.")]
)
def test_clean_fails_while_a_local_stack_is_running(
    run: str, how: str, project: Path, everything: bool
) -> None:
    before = files(project)
    with (
        running(project / "build/local" / run),
        pytest.raises(InUse, match=rf"build/local/{run}.*: {how}"),
    ):
        clean.clean(project, everything=everything)
    assert files(project) == before | {f"build/local/{run}/running.lock"}


@pytest.mark.parametrize("everything", [False, True])
def test_clean_fails_during_a_build_or_a_deployment(project: Path, everything: bool) -> None:
    """The SAM CLI would upload what is left of the build."""
    lock = project / "build/building.lock"
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        before = files(project)
        with pytest.raises(InUse, match="A build or a deployment"):
            clean.clean(project, everything=everything)
        assert files(project) == before


def test_a_run_that_starts_keeps_others_from_removing_its_folder(tmp_path: Path) -> None:
    with (
        leftovers.starting(tmp_path / "local"),
        (tmp_path / "local/starting.lock").open() as other,
        pytest.raises(BlockingIOError),
    ):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with leftovers.starting(tmp_path / "local"):
        pass


def test_clean_needs_only_the_standard_library() -> None:
    code = "import sys; import local.clean; print(*{n.partition('.')[0] for n in sys.modules})"
    command = [sys.executable, "-S", "-c", code]
    loaded = subprocess.check_output(command, cwd=clean.PROJECT, text=True).split()
    assert set(loaded) - sys.stdlib_module_names <= {"__main__", "local", "operations"}
