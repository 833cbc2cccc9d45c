"""Impossible values on command lines are refused with the range that holds."""

from collections.abc import Callable

import pytest

from local import up
from operations import deploy, events, items, logs, purge, redrive, status, trace
from tools import cost


@pytest.mark.parametrize(
    ("command", "arguments", "expected"),
    [
        (
            trace.main,
            ["--days", "0", "--", "id"],
            "'0' is not a whole number from 1 to 3653",
        ),
        (trace.main, ["--days=-3", "--", "id"], "from 1 to 3653"),
        (trace.main, ["--days", "99999999999", "--", "id"], "from 1 to 3653"),
        (events.main, ["--count", "0"], "not a whole number greater than 0"),
        (logs.main, ["--since", "0m"], "make logs: SINCE= '0m' is not a duration such as"),
        (items.main, ["--product", "x"], "make items: PRODUCT= 'x' is neither meetings"),
        (purge.main, ["--from", "x"], "make purge: FROM= 'x' is not a time with a UTC"),
        (purge.main, ["--from=0001-01-01T00:00:00+14:00"], "is before the year 1 or after 9999"),
        (status.main, ["--stack="], "make status: STACK= '' is not a stack's name"),
        (redrive.main, ["--stack=a b"], "STACK= 'a b' is not a stack's name: letters,"),
        (logs.main, ["--since=-5m"], "SINCE= '-5m' is not a duration such as"),
        (deploy.main, ["--parameters=A='b"], 'PARAMETERS= "A=\'b" cannot be split into words'),
        (deploy.main, ["--only-build", "--parameters='"], "make build: PARAMETERS="),
        (up.main, ["down", "--port=x"], "make down: PORT= 'x' is not a port number"),
        (cost.main, ["--callbacks=-1"], "'-1' is not a whole number from 0 to"),
        (cost.main, ["--rate=0"], "must be a number from 1 to 10000"),
        (cost.main, ["--burst=9999"], "from 1 to 5000"),
    ],
)
def test_an_impossible_value_is_refused_in_one_line(
    command: Callable[[], object],
    arguments: list[str],
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.argv", ["command", *arguments])
    with pytest.raises(SystemExit) as ended:
        command()
    assert ended.value.code == 2
    printed = capsys.readouterr().err
    assert expected in printed
    assert printed.count("\n") == 1
