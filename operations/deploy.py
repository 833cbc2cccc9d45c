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

from operations import account, regions, sam, stack_states
from operations.build import BuildFailed, Target, build, target
from operations.command import command, fail
from operations.destroy import delete, require_deletable
from operations.stack import Stack, StackError
from operations.template import ROOT, Parameter, parameters, stack_name_problem

ASKED = ("VonageBaseUrl", "RecordingRetentionDays", "AlarmEmail")
"""What a first deployment asks for: nobody else can know it, and a wrong guess does harm."""

_PLACES = {"--stack-name": "STACK", "--region": "AWS_REGION", "--profile": "AWS_PROFILE"}

_FIRST_FAILED = """
The first deployment failed: the events above say why. make deploy again deletes
what is left and starts over. See docs/deploying.md, "When a deployment fails"."""

Ask = Callable[[str], str]


class Unusable(Exception):
    """A parameter that was given cannot be used; the message says which and why."""


@command
def main() -> int:
    """Build and deploy; return the exit code, which is the SAM CLI's when that was run."""
    options = _options()
    try:
        environment = sam.environment(options.environment)
        _require_right_place(environment)
        _require_no_other_place(options.arguments)
        chosen = {**environment.parameters, **given(options.parameters)}
        if options.only_build:
            return _build(target({}, chosen))
        stack = Stack(usable_stack_name(options.stack or environment.stack_name))
        return _guide(environment, stack, chosen, options.arguments)
    except (Unusable, sam.UnknownEnvironment) as problem:
        return fail(str(problem), 2)


def _guide(
    environment: sam.Environment, stack: Stack, chosen: dict[str, str], arguments: list[str]
) -> int:
    """Deploy the stack, whatever state it is in, or say why not; return the exit code."""
    where = stack.whereabouts()
    _require_deployable(stack, arguments)
    failed = stack.status in stack_states.FAILED_CREATION
    if failed and not _may_start_over(stack, where):
        return fail("Nothing was deleted or deployed.")
    is_first = failed or not stack.exists()
    if is_first:
        print(f"The first deployment of stack {stack.name} into {where}.")
        chosen |= answers(chosen, input) if sys.stdin.isatty() else {}
    # What a failed creation was given must not count: it is deleted.
    remembered = {} if is_first else stack.parameters
    wanted = target(remembered, chosen)
    chosen |= wanted.parameters
    _require_region(stack.region, {**remembered, **chosen})
    if code := _build(wanted):
        return code
    if failed:
        delete(stack)
    code = _deploy(environment, stack, chosen, arguments)
    if is_first and code:
        print(_FIRST_FAILED)
    elif is_first and Stack(stack.name).exists():  # not so after a no to the change set
        print(_next_steps(stack.name))
    return code


def _require_deployable(stack: Stack, arguments: Iterable[str]) -> None:
    """Raise a StackError if the stack takes no deployment, or is another application's."""
    goes_on = stack.status == "UPDATE_FAILED" and "--disable-rollback" in arguments
    reason = stack_states.why_not_deployable(stack.name, stack.status)
    if reason and not goes_on:
        raise StackError(reason)
    stack.require_roomkeepers()


def _may_start_over(stack: Stack, where: str) -> bool:
    """Say that a failed creation is deleted first; return whether somebody at hand agrees."""
    require_deletable(stack)
    print(
        f"An earlier first deployment of stack {stack.name} ({where}) failed: its state is "
        f"{stack.status}.\nWhat is left of it is deleted, then it is deployed anew."
    )
    if not sys.stdin.isatty():
        return True
    return input("Delete it and start over? [y/N] ").strip().lower() in ("y", "yes")


def _require_region(region: str, chosen: Mapping[str, str]) -> None:
    """Raise a StackError if the region lacks something that would be deployed."""
    values = {name: each.default for name, each in parameters().items()} | dict(chosen)
    if reason := regions.why_not(region, values):
        raise StackError(reason)


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


def usable_stack_name(name: str) -> str:
    """Return `name` once it is known that AWS takes it, and all names that are made of it.

    Raises:
        Unusable: it does not.
    """
    if problem := stack_name_problem(name):
        raise Unusable(f"{problem}. Give another one with STACK=.")
    return name


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


def _require_no_other_place(arguments: Iterable[str]) -> None:
    """Refuse what would have the SAM CLI deploy elsewhere than the stack is looked for."""
    for name, instead in _PLACES.items():
        if any(each.partition("=")[0] == name for each in arguments):
            raise Unusable(f"{name} cannot be given in ARGS=: set {instead} instead.")


def _build(wanted: Target) -> int:
    try:
        build(_placed(wanted), _run)
    except BuildFailed as error:
        return fail(str(error))
    return 0


def _placed(wanted: Target) -> Target:
    """Return the target, marked as this machine where AWS is a local one."""
    host = urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname
    return structs.replace(wanted, is_local=host in ("127.0.0.1", "localhost"))


def _deploy(
    environment: sam.Environment, stack: Stack, chosen: Mapping[str, str], arguments: list[str]
) -> int:
    place = ["--stack-name", stack.name, "--region", stack.region]
    deploy = ["--config-env", environment.name, *place, *arguments]
    return _run(sam.command("deploy", chosen, *deploy))


def _run(arguments: list[str]) -> int:
    variables = {**sam.environ(), **account.region_variables()}
    return subprocess.call(arguments, cwd=ROOT, env=variables)  # noqa: S603 - our own command


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
