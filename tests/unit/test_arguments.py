"""Impossible values on command lines are refused with the range that holds."""

import os
import subprocess
import sys

import pytest

from local.testing.template import ROOT


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        (
            "operations.trace",
            ["--days", "0", "--", "id"],
            "'0' is not a whole number from 1 to 3653",
        ),
        ("operations.trace", ["--days=-3", "--", "id"], "from 1 to 3653"),
        ("operations.trace", ["--days", "99999999999", "--", "id"], "from 1 to 3653"),
        ("operations.events", ["--count", "0"], "not a whole number greater than 0"),
        ("operations.logs", ["--since", "0m"], "make logs: SINCE= '0m' is not a duration such as"),
        ("operations.items", ["--product", "x"], "make items: PRODUCT= 'x' is neither meetings"),
        ("operations.purge", ["--from", "x"], "make purge: FROM= 'x' is not a time with a UTC"),
        ("tools.cost", ["--callbacks=-1"], "'-1' is not a whole number from 0 to"),
        ("tools.cost", ["--rate=0"], "must be a number from 1 to 10000"),
        ("tools.cost", ["--burst=9999"], "from 1 to 5000"),
    ],
)
def test_an_impossible_value_is_refused_in_one_line(
    command: str, arguments: list[str], expected: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", command, *arguments],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert expected in done.stderr
    assert done.stderr.count("\n") == 1
