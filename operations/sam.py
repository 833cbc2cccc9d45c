"""Command lines of the SAM CLI, and the environments in samconfig.toml."""

import os
import tomllib
from collections.abc import Mapping

from msgspec import Struct

from operations.template import ROOT

TOOLS = ROOT / ".tools"


class UnknownEnvironment(Exception):
    """samconfig.toml has no such environment; the message lists its environments."""


class Environment(Struct, frozen=True):
    """An environment: its stack's name, and the parameters that differ from the defaults."""

    name: str
    stack_name: str
    parameters: Mapping[str, str]


def environment(name: str) -> Environment:
    """Return the environment that samconfig.toml describes under `name`.

    Raises:
        UnknownEnvironment: there is no such environment.
    """
    described = tomllib.loads((ROOT / "samconfig.toml").read_text())
    if "deploy" not in described.get(name, {}):
        known = ", ".join(each for each in described if each != "version")
        raise UnknownEnvironment(
            f"samconfig.toml has no environment {name!r}. Choose ENV= from {known}."
        )
    deploy = described[name]["deploy"]["parameters"]
    pairs = (each.partition("=") for each in deploy.get("parameter_overrides", []))
    return Environment(name, deploy["stack_name"], {key: value for key, _, value in pairs})


def command(verb: str, parameters: Mapping[str, str], *arguments: str) -> list[str]:
    """Return the command line of `sam build` or `sam deploy` with these parameters."""
    quoted = [f'{name}="{value}"' for name, value in parameters.items()]
    config = ["--config-file", str(ROOT / "samconfig.toml")]
    overrides = ["--parameter-overrides", *quoted] if quoted else []
    return [str(TOOLS / "sam/bin/sam"), verb, *config, *arguments, *overrides]


def environ() -> dict[str, str]:
    """Return the environment of the SAM CLI: this process's, with a Python that has pip first."""
    path = os.environ.get("PATH", os.defpath)  # `env -i` leaves none
    return {**os.environ, "PATH": f"{TOOLS / 'uv/bin'}{os.pathsep}{path}"}
