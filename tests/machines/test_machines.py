"""make works on machines with odd folders, shells and settings, or prints one sentence.

`make test` tries all oddities at once, then an empty environment in the same clone; `make machines`
each by itself, in a clone of its own.
"""

from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.machines.machine import ALL, DEAD, ODDITIES, Machine, plain_shell, snapshot
from tests.support.commands import Result, run

AT_ONCE = "all at once"
BARE = "an empty environment"
CHECKERS = ("lint", "scan")
UNIT = ("tests/unit/test_environment.py", "tests/unit/test_docs.py", "tests/unit/test_schemas.py")

PRINTED = {
    "Post a callback yourself": "HTTP/1.1 204",
    "See the items in the table": "RECORDING#",
}
"""Commands that `make up` prints, by the start of their explanation, and a part of their output."""


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "oddity" in metafunc.fixturenames:
        chosen = [*ODDITIES, AT_ONCE] if metafunc.config.getoption("full") else [AT_ONCE]
        metafunc.parametrize("oddity", chosen)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return snapshot(tmp_path_factory.mktemp("project") / "roomkeeper")


def succeeded(result: Result) -> str:
    assert result.code == 0, result.text
    return result.text


def test_a_fresh_clone_works(
    oddity: str, project: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    machine = Machine(project, tmp_path, {**ODDITIES, AT_ONCE: ALL}[oddity])
    is_full = request.config.getoption("full")

    tools_work(machine, UNIT, *(CHECKERS if is_full else ()))
    if is_full:
        succeeded(machine.make("check"))
    local_stack_works(machine)
    if not is_full:
        tools_work(machine.with_oddity(ODDITIES[BARE]), UNIT[:1])
    assert "removed" in succeeded(machine.make("clean"))
    assert machine.run("git", "status", "--porcelain").text == ""


def tools_work(machine: Machine, tests: Sequence[str], *more: str) -> None:
    """Print the help, install the tools, and `more`, build, and run these tests."""
    assert "make demo" in succeeded(machine.make("help"))
    succeeded(machine.install(*more))
    succeeded(machine.make("test", f"ARGS=-q {' '.join(tests)}"))


def local_stack_works(machine: Machine) -> None:
    """Start it, run commands that its output names, and stop it."""
    guide = succeeded(machine.make("up", *machine.ports))
    try:
        lines = [line.strip() for line in guide.splitlines()]
        shell = [line for line in lines if line.startswith(("export ", "unset "))]
        for start, expected in PRINTED.items():
            [index] = [n for n, line in enumerate(lines) if line.startswith(start)]
            script = "\n".join([*shell, lines[index + 1]])
            assert expected in succeeded(machine.run("sh", "-c", script))
    finally:
        down = machine.make("down", *machine.ports)
    assert "The local stack is stopped." in succeeded(down)


NAMES = ("deploy", "configure", "callback-url", "status", "logs", "items", "redrive", "destroy")


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"AWS_PROFILE": "typo"}, "set AWS_PROFILE to an existing profile"),
        ({"AWS_ENDPOINT_URL": DEAD}, "check the network and AWS_REGION"),
    ],
)
def test_a_command_prints_one_sentence_about_an_unusable_setting(
    variables: dict[str, str], expected: str, request: pytest.FixtureRequest
) -> None:
    """`make test` tries one command; tests/unit/test_operators_shell.py has all, without make."""
    account = {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_MAX_ATTEMPTS": "1"}
    shell = {**plain_shell(), **account, "AWS_DEFAULT_REGION": "eu-west-1", **variables}
    for name in NAMES if request.config.getoption("full") else NAMES[:1]:
        result = run(["make", "--no-print-directory", name, "STACK=a-stack"], shell)
        [line] = [each for each in result.text.splitlines() if not each.startswith("make")]
        assert expected in line, name
        assert result.code, name
