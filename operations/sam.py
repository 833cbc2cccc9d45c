"""Command lines of the SAM CLI, and the environments in samconfig.toml."""

import os
import shlex
import tomllib
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from operations.template import ROOT

TOOLS = ROOT / ".tools"


class InvalidEnvironment(Exception):
    """samconfig.toml has no such environment, or it is invalid; the message says what is wrong."""


class Environment(Struct, frozen=True):
    """An environment: its stack's name, and the parameters that differ from the defaults."""

    name: str
    stack_name: str
    parameters: Mapping[str, str]


def environment(name: str) -> Environment:
    """Return the environment that samconfig.toml describes under `name`.

    Raises:
        InvalidEnvironment: there is no such environment, or the commands could not use it.
    """
    deploy = _section(name)
    stack_name = "roomkeeper" if name == "default" else f"roomkeeper-{name}"
    if deploy.get("stack_name", stack_name) != stack_name:
        raise InvalidEnvironment(
            f"samconfig.toml, environment {name}: stack_name must be {stack_name}, as ENV={name} "
            "means that stack in all commands. For another stack, set STACK=."
        )
    return Environment(name, stack_name, _parameters(deploy.get("parameter_overrides", [])))


def _section(name: str) -> Mapping[str, Any]:
    """Return the settings for `sam deploy` of the environment `name`."""
    try:
        described = tomllib.loads((ROOT / "samconfig.toml").read_text())
    except tomllib.TOMLDecodeError as exc:
        raise InvalidEnvironment(f"samconfig.toml is not valid TOML: {exc}.") from exc
    match described.get(name):
        case {"deploy": {"parameters": dict() as settings}}:
            return settings
    known = ", ".join(each for each in described if each != "version")
    raise InvalidEnvironment(
        f"samconfig.toml has no section [{name}.deploy.parameters]. Choose ENV= from {known}."
    )


def _parameters(overrides: str | list[str]) -> dict[str, str]:
    """Return the parameters in samconfig.toml: a list, or a text as `--guided` writes it."""
    pairs = shlex.split(overrides) if isinstance(overrides, str) else overrides
    parts = (each.partition("=") for each in pairs)
    return {name: _without_quotes(value) for name, _, value in parts}


def _without_quotes(value: str) -> str:
    is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
    return value[1:-1] if is_quoted else value


def command(verb: str, parameters: Mapping[str, str], *arguments: str) -> list[str]:
    """Return the command line of `sam build` or `sam deploy` with these parameters.

    The SAM CLI would take only the part of a value before a quotation mark that is not escaped.
    """
    escaped = {name: value.replace('"', r"\"") for name, value in parameters.items()}
    quoted = [f'{name}="{value}"' for name, value in escaped.items()]
    config = ["--config-file", str(ROOT / "samconfig.toml")]
    overrides = ["--parameter-overrides", *quoted] if quoted else []
    return [str(TOOLS / "sam/bin/sam"), verb, *config, *arguments, *overrides]


def environ() -> dict[str, str]:
    """Return the environment of the SAM CLI: this process's, with a Python that has pip first."""
    path = os.environ.get("PATH", os.defpath)  # `env -i` leaves none
    return {**os.environ, "PATH": f"{TOOLS / 'uv/bin'}{os.pathsep}{path}"}
