"""Operator commands end with exit codes, and with sentences instead of tracebacks."""

import os
import subprocess
import sys

import pytest

from operations.command import command, on_interrupt
from operations.stack import StackError

PRINTS_UNTIL_A_LINE_FAILS = """
import sys
from operations.command import command, on_interrupt

@command
def main():
    while True:
        print("a line", flush=True)

sys.exit(main())
"""
PRINTS_ONE_LINE = PRINTS_UNTIL_A_LINE_FAILS.replace(
    'while True:\n        print("a line", flush=True)', 'print("a line")\n    return 0'
)


def run(program: str, stdout: int, stderr: int) -> "subprocess.CompletedProcess[str]":
    """Run a program as an operator does: its output is buffered unless it is a terminal."""
    path = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": ""},
        stdout=stdout,
        stderr=stderr,
        text=True,
        check=False,
    )


def run_unread(program: str) -> tuple[int, str]:
    """Run a program whose output nobody reads; return its exit code and its error output."""
    unread, written = os.pipe()
    os.close(unread)
    try:
        ended = run(program, stdout=written, stderr=subprocess.PIPE)
    finally:
        os.close(written)
    return ended.returncode, ended.stderr


def test_a_reader_that_has_gone_ends_the_command_without_a_traceback() -> None:
    """As with `make items | head -1`."""
    assert run_unread(PRINTS_UNTIL_A_LINE_FAILS) == (141, "")


def test_output_that_is_left_for_the_end_does_not_fail_a_command_that_has_succeeded() -> None:
    assert run_unread(PRINTS_ONE_LINE) == (0, "")


def test_a_closed_standard_input_is_an_empty_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with `make configure <&-`."""
    monkeypatch.setattr(sys, "stdin", None)
    read: list[str] = []

    @command
    def main() -> int:
        assert not sys.stdin.isatty()
        with sys.stdin as stdin:
            read.append(stdin.read())
        return 0

    assert main() == 0
    assert read == [""]


def test_ctrl_c_says_that_something_continues_only_where_something_does(
    capsys: pytest.CaptureFixture[str],
) -> None:
    @command
    def asks() -> int:
        raise KeyboardInterrupt

    @command
    def deletes() -> int:
        with on_interrupt("The deletion continues on AWS."):
            raise KeyboardInterrupt

    assert asks() == deletes() == 130
    assert capsys.readouterr().err.split("\n") == [
        "",
        "Interrupted.",
        "",
        "Interrupted. The deletion continues on AWS.",
        "",
    ]


def test_an_error_follows_what_was_printed_before_in_a_file_with_both() -> None:
    program = PRINTS_ONE_LINE.replace("return 0", "raise StackError('an error')").replace(
        "import sys", f"import sys\nfrom {StackError.__module__} import StackError"
    )
    ended = run(program, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert ended.stdout == "a line\nan error\n"
