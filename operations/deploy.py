"""`make deploy`: a guided first deployment, and quick later ones.

The stack itself remembers what it was given: a later deployment changes only what samconfig.toml's
environment or PARAMETERS name.
"""

import argparse
import difflib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from msgspec import structs

from operations import sam
from operations.build import BuildFailed, Target, build, target
from operations.stack import Stack, StackError
from operations.template import ROOT, Parameter, parameters

ASKED = ("VonageBaseUrl", "RecordingRetentionDays", "AlarmEmail")
"""What a first deployment asks for: nobody else can know it, and a wrong guess does harm."""

Ask = Callable[[str], str]


class Unusable(Exception):
    """A parameter that was given cannot be used; the message says which and why."""


def main() -> int:
    """Build and deploy; return the exit code, which is the SAM CLI's when that was run."""
    options = _options()
    try:
        environment = sam.environment(options.environment)
        _require_right_place(environment)
        stack = Stack(options.stack or environment.stack_name)
        chosen = {**environment.parameters, **given(options.parameters)}
        if options.only_build:
            return _build(target({}, chosen))
        where, is_first = stack.whereabouts(), not stack.exists()
        if is_first:
            print(f"The first deployment of stack {stack.name} into {where}.")
            chosen |= answers(chosen, input) if sys.stdin.isatty() else {}
        wanted = target({} if is_first else stack.parameters, chosen)
    except (StackError, Unusable, sam.UnknownEnvironment) as problem:
        print(problem, file=sys.stderr)
        return 2
    chosen |= wanted.parameters
    code = _build(wanted) or _deploy(environment, stack, chosen, options.arguments)
    if is_first and code == 0:
        print(_next_steps(stack.name))
    return code


def given(pairs: Iterable[str]) -> dict[str, str]:
    """Return the parameters that `Name=value` pairs set.

    Raises:
        Unusable: one is no pair, names no parameter of the template, or has a value it cannot be.
    """
    chosen: dict[str, str] = {}
    for pair in pairs:
        name, is_pair, value = pair.partition("=")
        if not is_pair or name not in parameters():
            [*alike] = difflib.get_close_matches(name, parameters(), n=1)
            hint = f" Is {alike[0]} meant?" if alike else ""
            raise Unusable(f"{name} is not a parameter of template.yaml, set as Name=value.{hint}")
        if problem := parameters()[name].problem_with(value):
            raise Unusable(f"{problem}; it was given {value!r}.")
        chosen[name] = value
    return chosen


def answers(chosen: Mapping[str, str], ask: Ask) -> dict[str, str]:
    """Ask for what a first deployment has to know and `chosen` does not have; return that."""
    return {name: _answer(parameters()[name], ask) for name in ASKED if name not in chosen}


def _answer(parameter: Parameter, ask: Ask) -> str:
    print(f"\n{parameter.name}: {parameter.description}")
    while True:
        value = ask(f"  [{parameter.default or 'none'}] ").strip() or parameter.default
        problem = parameter.problem_with(value)
        if problem is None:
            return value
        print(f"  {problem}.")


def _require_right_place(environment: sam.Environment) -> None:
    if environment.name == "local" and "AWS_ENDPOINT_URL" not in os.environ:
        raise Unusable(
            "The environment local is for the local AWS, whose Vonage is an emulated one: run make "
            "up, and set the variables that it prints. In an account choose ENV=default or prod."
        )


def _build(wanted: Target) -> int:
    try:
        build(_placed(wanted), _run)
    except BuildFailed as problem:
        print(problem, file=sys.stderr)
        return 1
    return 0


def _placed(wanted: Target) -> Target:
    """Return the target, marked as this machine where AWS is a local one."""
    host = urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname
    return structs.replace(wanted, is_local=host in ("127.0.0.1", "localhost"))


def _deploy(
    environment: sam.Environment, stack: Stack, chosen: Mapping[str, str], arguments: list[str]
) -> int:
    deploy = ["--config-env", environment.name, "--stack-name", stack.name, *arguments]
    return _run(sam.command("deploy", chosen, *deploy))


def _run(command: list[str]) -> int:
    return subprocess.call(command, cwd=ROOT, env=sam.environ())  # noqa: S603 - our own command


def _next_steps(stack: str) -> str:
    which = "" if stack == "roomkeeper" else f" STACK={stack}"
    return f"""
Next:
  make configure{which}     stores Vonage's credentials, and says whether Vonage takes them
  make callback-url{which}  prints the URL to enter at Vonage for rooms, sessions and recordings"""


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m operations.deploy")
    parser.add_argument("--environment", default="default", help="one of samconfig.toml's")
    parser.add_argument("--stack", default="", help="the stack's name, if not the environment's")
    parser.add_argument("--only-build", action="store_true", help="deploy nothing")
    parser.add_argument("--parameters", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--arguments", nargs=argparse.REMAINDER, default=[], help="for sam deploy")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
