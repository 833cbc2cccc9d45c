"""Every command that needs an AWS account prints one sentence if the settings are invalid."""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from operations import (
    callback_url,
    configure,
    deploy,
    destroy,
    events,
    items,
    logs,
    purge,
    redrive,
    smoke,
    status,
    trace,
)

COMMANDS: Mapping[str, tuple[Callable[[], int], Sequence[str]]] = {
    "deploy": (deploy.main, []),
    "configure": (configure.main, []),
    "callback-url": (callback_url.main, []),
    "smoke": (smoke.main, []),
    "status": (status.main, []),
    "events": (events.main, []),
    "logs": (logs.main, []),
    "trace": (trace.main, ["--", "a-recording"]),
    "items": (items.main, []),
    "redrive": (redrive.main, []),
    "purge": (purge.main, ["--from", "2026-07-01T12:00:00Z", "--to", "2026-07-01T13:00:00Z"]),
    "destroy": (destroy.main, []),
}

INVALID: Mapping[str, tuple[Mapping[str, str], str]] = {
    "profile": ({"AWS_PROFILE": "typo"}, "set AWS_PROFILE to an existing profile"),
    "endpoint": ({"AWS_ENDPOINT_URL": "localhost:4566"}, "An AWS setting is invalid"),
    "attempts": ({"AWS_MAX_ATTEMPTS": "many"}, "An AWS setting is invalid"),
    "retries": ({"AWS_RETRY_MODE": "never"}, 'Invalid value provided to "mode"'),
    "file": ({"AWS_CONFIG_FILE": "{invalid}"}, "Unable to parse config file"),
    "region": ({"AWS_REGION": "eu west 1"}, "doesn't match a supported format"),
}


@pytest.mark.parametrize("invalid", INVALID)
@pytest.mark.parametrize("name", COMMANDS)
def test_an_invalid_setting_is_one_sentence(
    name: str,
    invalid: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    variables, expected = INVALID[invalid]
    (tmp_path / "config").write_text("not a configuration\n[")
    for variable in ("AWS_PROFILE", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value.format(invalid=tmp_path / "config"))
    main, arguments = COMMANDS[name]
    monkeypatch.setattr(sys, "argv", [name, "--stack", "a-stack", *arguments])
    with open(os.devnull) as nothing:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", nothing)
        code = main()

    [message] = capsys.readouterr().err.splitlines()
    assert expected in message
    assert code == 1
