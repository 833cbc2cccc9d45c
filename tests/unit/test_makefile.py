"""make installs its tools in any project folder, and changes nothing outside it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from operations.template import ROOT, template

INTERPRETER = """#!/bin/sh
# Stands in for Python: makes a virtual environment of itself, and installs nothing.
[ "$2" = venv ] || exit 0
rm -rf "$4" && mkdir -p "$4/bin" && cp "$0" "$4/bin/python" && touch "$4/pyvenv.cfg"
"""

NEWER = f"""#!/bin/sh
# Stands in for a Python that Lambda does not have: says 3.15, and is this one otherwise.
says="import sys; sys.version_info = (3, 15, 0); exec(sys.argv[1])"
[ "$1 $2" != "-I -c" ] || exec "{sys.executable}" -c "$says" "$3"
exec "{sys.executable}" "$@"
"""


def a_clone(folder: Path) -> Path:
    """Return a folder with the files that `make` needs to install its tools."""
    (folder / "requirements").mkdir(parents=True)
    shutil.copy(ROOT / "Makefile", folder)
    shutil.copy(ROOT / "requirements/uv.txt", folder / "requirements")
    return folder


def an_interpreter(folder: Path, text: str, name: str = "python") -> Path:
    script = folder / name
    folder.mkdir(exist_ok=True)
    script.write_text(text)
    script.chmod(0o755)
    return script


def make(clone: Path, *arguments: str, path: str = os.environ["PATH"]) -> tuple[int, str]:
    """Run make without the variables of the make that runs the tests."""
    kept = {"HOME": os.environ["HOME"], "PATH": path, "PYENV_ROOT": str(clone / "none")}
    done = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=clone,
        env=kept,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


def an_installed_clone(folder: Path) -> Path:
    """Return a clone whose Python prints its arguments, each on a line."""
    clone = a_clone(folder)
    shutil.copy(ROOT / "requirements/dev.txt", clone / "requirements")
    shutil.copy(ROOT / "requirements/sam.txt", clone / "requirements")
    for name in ("uv/bin", "dev/bin", "sam"):
        (clone / ".tools" / name).mkdir(parents=True)
    for name in ("uv/bin/uv", "dev/.installed", "sam/.installed"):
        (clone / ".tools" / name).touch()
    an_interpreter(clone / ".tools/dev/bin", '#!/bin/sh\nprintf "%s\\n" "$@"\n')
    return clone


@pytest.mark.parametrize("value", ["a b", "it's", 'say "hi"', "x;touch here", "`touch here`", "-x"])
@pytest.mark.parametrize(
    ("command", "variable", "option"),
    [
        ("status", "STACK", "--stack"),
        ("deploy", "ENV", "--environment"),
        ("deploy", "PARAMETERS", "--parameters"),
        ("deploy", "ARGS", "--arguments"),
        ("configure", "FILE", "--file"),
        ("items", "RECORDING", "--recording"),
        ("logs", "SINCE", "--since"),
        ("purge", "FROM", "--from"),
        ("bench-lambda", "DAYS", "--days"),
    ],
)
def test_the_value_of_a_variable_reaches_the_command_as_it_is(
    command: str, variable: str, option: str, value: str, tmp_path: Path
) -> None:
    clone = an_installed_clone(tmp_path / "rk")

    code, output = make(clone, command, f"{variable}={value}")

    assert code == 0, output
    assert f"{option}={value}" in output.splitlines()
    assert not (clone / "here").exists()


@pytest.mark.parametrize(
    ("value", "stack"), [("/somewhere/.shrc", "roomkeeper"), ("prod", "roomkeeper-prod")]
)
def test_the_start_file_of_a_posix_shell_is_no_environment(
    value: str, stack: str, tmp_path: Path
) -> None:
    """POSIX shells read the file that ENV names; some systems export it."""
    clone = an_installed_clone(tmp_path / "rk")
    ended = subprocess.run(
        ["make", "--no-print-directory", "status"],
        cwd=clone,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "ENV": value},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"--stack={stack}" in ended.stdout.splitlines()


@pytest.mark.parametrize(
    ("value", "is_on"), [("1", True), ("yes", True), ("0", False), ("no", False)]
)
@pytest.mark.parametrize(
    ("command", "variable", "flag"),
    [("clean", "ALL", "--all"), ("logs", "FOLLOW", "--follow"), ("events", "JSON", "--json")],
)
def test_a_switch_is_off_with_0_and_no(
    command: str, variable: str, flag: str, value: str, is_on: bool, tmp_path: Path
) -> None:
    clone = an_installed_clone(tmp_path / "rk")
    python = clone / ".tools/dev/bin/python"

    code, output = make(clone, command, f"{variable}={value}", f"PYTHON={python}")

    assert code == 0, output
    assert (flag in output.splitlines()) is is_on


@pytest.mark.parametrize("name", ["R&D/rk", "my projects/rk", "it's $HOME;#/(rk)", 'say "hi"/rk'])
def test_the_folder_can_have_any_name_and_its_siblings_are_not_touched(
    name: str, tmp_path: Path
) -> None:
    neighbour = tmp_path / "R/precious"
    neighbour.parent.mkdir()
    neighbour.write_text("mine")
    clone = a_clone(tmp_path / name)
    python = an_interpreter(tmp_path / "bin", INTERPRETER)

    code, output = make(clone, f"PYTHON={python}", ".tools/uv/bin/uv")

    assert code == 0, output
    assert (clone / ".tools/uv/bin/uv").exists()
    assert neighbour.read_text() == "mine"
    assert {*tmp_path.iterdir()} == {tmp_path / "R", tmp_path / "bin", clone.parent}


def test_tools_are_installed_again_once_their_python_is_gone(tmp_path: Path) -> None:
    """As after an upgrade of the system, or of pyenv's patch version."""
    clone = a_clone(tmp_path / "rk")
    shutil.copy(ROOT / "requirements/dev.txt", clone / "requirements")
    uv = '#!/bin/sh\n[ "$1" != venv ] || { mkdir -p .tools/dev && touch .tools/dev/pyvenv.cfg; }\n'
    with_uv = f"{INTERPRETER}\ncp '{an_interpreter(tmp_path / 'bin', uv, 'uv')}' \"$4/bin/uv\"\n"
    python = an_interpreter(tmp_path / "bin", with_uv)
    target = (f"PYTHON={python}", ".tools/dev/.installed")
    assert "Installing dev" in make(clone, *target)[1]
    assert make(clone, *target)[1] == f"make: '{target[1]}' is up to date.\n"
    installed = clone / ".tools/uv/bin/python"
    installed.unlink()
    installed.symlink_to(tmp_path / "gone/python")

    code, output = make(clone, *target)

    assert code == 0, output
    assert "Setting up in .tools/" in output
    assert "Installing dev" in output


def test_a_folder_that_make_did_not_make_is_not_cleared(tmp_path: Path) -> None:
    clone = a_clone(tmp_path / "rk")
    precious = clone / ".tools/uv/precious"
    precious.parent.mkdir(parents=True)
    precious.write_text("mine")
    python = an_interpreter(tmp_path / "bin", INTERPRETER)

    code, output = make(clone, f"PYTHON={python}", ".tools/uv/bin/uv")

    assert code
    assert "is not a virtual environment. Move it away" in output
    assert precious.read_text() == "mine"


@pytest.mark.parametrize("by_name", [True, False])
def test_a_python_that_lambda_lacks_is_rejected_in_one_sentence(
    by_name: bool, tmp_path: Path
) -> None:
    """Whether the operator names it, or it is the only one in the path."""
    clone = a_clone(tmp_path / "rk")
    python = an_interpreter(tmp_path / "bin", NEWER, "python3")
    tools = {name: shutil.which(name) for name in ("bash", "sh", "make", "grep", "awk", "touch")}
    for name, tool_path in tools.items():
        assert tool_path is not None
        (tmp_path / "bin" / name).symlink_to(tool_path)

    arguments = [f"PYTHON={python}"] if by_name else []
    code, output = make(clone, *arguments, ".tools/uv/bin/uv", path=str(tmp_path / "bin"))

    assert code
    assert "needs Python 3.11 to 3.14" in output
    assert "Traceback" not in output
    assert not (clone / ".tools").exists()


def test_a_python_that_is_not_cpython_is_rejected_in_one_sentence(tmp_path: Path) -> None:
    """The wheels in the lock files are for CPython."""
    other = NEWER.replace("sys.version_info = (3, 15, 0)", "sys.implementation.name = 'pypy'")
    python = an_interpreter(tmp_path / "bin", other)

    code, output = make(a_clone(tmp_path / "rk"), f"PYTHON={python}", ".tools/uv/bin/uv")

    assert code
    assert "needs Python 3.11 to 3.14" in output


def test_a_path_that_python_cannot_have_is_named_in_one_sentence(tmp_path: Path) -> None:
    clone = a_clone(tmp_path / "a:b")

    code, output = make(clone, f"PYTHON={sys.executable}", ".tools/uv/bin/uv")

    assert code
    assert output.splitlines()[0] == (
        f"Python cannot work in a folder whose path contains a colon. Move the project: {clone}"
    )


def test_make_accepts_the_pythons_that_the_template_offers() -> None:
    offered = template()["Parameters"]["Runtime"]["AllowedValues"]
    versions = [tuple(map(int, each.removeprefix("python").split("."))) for each in offered]
    makefile = (ROOT / "Makefile").read_text()

    assert f"{min(versions)} <= sys.version_info[:2] <= {max(versions)}" in makefile


def test_the_operators_settings_do_not_move_what_is_installed(tmp_path: Path) -> None:
    clone = a_clone(tmp_path / "rk")
    python = an_interpreter(
        tmp_path / "bin",
        INTERPRETER.replace('[ "$2" = venv ]', 'env | grep "^PIP_" >>settings; [ "$2" = venv ]'),
    )
    moved = ["PIP_USER=1", "PIP_TARGET=/elsewhere", "PIP_PREFIX=/elsewhere", "PIP_ROOT=/elsewhere"]
    moved += ["PIP_NO_BINARY=elsewhere", "PIP_INDEX_URL=https://index.example"]
    done = subprocess.run(
        ["env", *moved, "make", f"PYTHON={python}", ".tools/uv/bin/uv"],
        cwd=clone,
        env={"PATH": os.environ["PATH"], "HOME": os.environ["HOME"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    settings = (clone / "settings").read_text()
    assert "PIP_USER=0" in settings
    assert "PIP_INDEX_URL=https://index.example" in settings  # says where packages come from
    assert "elsewhere" not in settings
