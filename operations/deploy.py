"""`make deploy`: a guided first deployment, and quick later ones.

A later deployment changes only the parameters in samconfig.toml's environment or in PARAMETERS. The
stack keeps the values of all others.
"""

import argparse
import difflib
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping
from urllib.parse import urlsplit

from msgspec import Struct, structs

from operations import (
    account,
    combinations,
    layout,
    overrides,
    products,
    regions,
    sam,
    stack_states,
)
from operations.arguments import Parser, words
from operations.build import BuildFailed, Target, build, exclusive, target
from operations.command import command, fail, on_interrupt
from operations.destroy import delete, require_deletable, what_is_kept
from operations.environment import without_account
from operations.stack import Stack, StackError, resources
from operations.template import ROOT, Parameter, parameters, stack_name_error
from roomkeeper.domain.observations import Product

ASKED = ("Products", "VonageBaseUrl", "CopyRecordings", "CleanupRetentionDays", "AlarmEmail")
"""Parameters that a first deployment asks for, because their defaults suit few operators."""


class Recommendation(Struct, frozen=True):
    """The value that a first deployment suggests instead of the parameter's default, and why."""

    value: str
    reason: str


RECOMMENDED = {
    "Products": Recommendation(
        "video",
        "Vonage ended the Meetings API on 30 June 2025. Choose meetings or both only if you have a "
        "service that still implements it.",
    )
}

_INSTEAD_OF = {
    "--stack-name": "set STACK instead",
    "--region": "set AWS_REGION instead",
    "--profile": "set AWS_PROFILE instead",
    "--config-env": "set ENV instead",
    "--parameter-overrides": "set PARAMETERS instead",  # the SAM CLI would take ours and drop these
    "--guided": "the first make deploy of a stack asks for its parameters by itself",
    "-g": "the first make deploy of a stack asks for its parameters by itself",
}
"""The alternatives to arguments that would deploy another stack, or other parameters."""

_FIRST_FAILED = """
The first deployment failed: the events above say why. Fix the cause and run make deploy again,
which deletes the remains and starts over. See docs/deploying.md, "When a deployment fails"."""

Ask = Callable[[str], str]


class Unusable(Exception):
    """An argument is invalid; the message says which one and why."""


@command
def main() -> int:
    """Build and deploy; return the exit code, the SAM CLI's once it has run."""
    options = _options()
    try:
        environment = sam.environment(options.environment)
        _require_account_environment(environment)
        _require_usable(options.arguments)
        chosen = {**_given_in(environment), **given(options.parameters)}
        if options.only_build:
            _require_possible(chosen)
            with exclusive():
                return _build(target({}, chosen))
        stack = Stack(usable_stack_name(options.stack or environment.stack_name))
        return _guide(environment, stack, chosen, options)
    except (Unusable, sam.InvalidEnvironment) as exc:
        return fail(str(exc), 2)


def _guide(
    environment: sam.Environment,
    stack: Stack,
    chosen: dict[str, str],
    options: argparse.Namespace,
) -> int:
    """Deploy the stack or print why its state does not allow that; return the exit code."""
    where = stack.account_and_region()
    _require_deployable(stack, options.arguments)
    failed = stack.status in stack_states.FAILED_CREATION
    if failed and not _may_start_over(stack, where):
        return fail("Nothing was deleted or deployed.")
    is_first = failed or not stack.exists()
    if is_first:
        print(f"The first deployment of stack {stack.name} into {where}.")
        chosen |= answers(chosen, input) if sys.stdin.isatty() else {}
    # A failed first deployment is deleted, so its parameters do not count.
    remembered = {} if is_first else stack.parameters
    _require_possible({**remembered, **chosen})
    if not _may_override(environment, stack, remembered, options):
        return fail("Nothing was deployed.")
    wanted = target(remembered, chosen)
    chosen |= wanted.parameters
    _require_region(stack.region, {**remembered, **chosen})
    with exclusive():
        if code := _build(wanted):
            return code
        if failed:
            _delete_remains(stack)
        code = _deploy(environment, stack, chosen, options.arguments)
    if is_first and code:
        print(_FIRST_FAILED)
    elif is_first and Stack(stack.name).exists():  # false if the operator declined the change set
        print(_next_steps(stack.name, products.served(_complete(chosen))))
    return code


def _require_deployable(stack: Stack, arguments: Iterable[str]) -> None:
    """Raise a StackError if the stack's state allows no deployment, or it is not Roomkeeper's."""
    continues = stack.status == "UPDATE_FAILED" and "--disable-rollback" in arguments
    reason = stack_states.why_not_deployable(stack.name, stack.status)
    if reason and not continues:
        raise StackError(reason)
    if not _has_only_a_table(stack):
        stack.require_roomkeepers()


def _has_only_a_table(stack: Stack) -> bool:
    """Return whether the stack is an import of a kept table (docs/upgrading.md) and nothing else.

    It has no parameters yet, by which Roomkeeper's stacks are recognized.
    """
    if not stack.exists() or stack.parameters:
        return False
    found = [(each.type, each.logical_id) for each in resources(stack)]
    return found == [("AWS::DynamoDB::Table", "Table")]


def _may_start_over(stack: Stack, where: str) -> bool:
    """Announce that the failed stack is deleted first; return whether to continue.

    Without a terminal nobody can be asked, so the answer is yes.
    """
    require_deletable(stack)
    print(
        f"An earlier first deployment of stack {stack.name} ({where}) failed: its state is "
        f"{stack.status}.\nThis deletes the remains, then deploys the stack again."
    )
    if not sys.stdin.isatty():
        return True
    return input("Delete it and start over? [y/N] ").strip().lower() in ("y", "yes")


def _delete_remains(stack: Stack) -> None:
    """Delete a stack whose creation failed; print what AWS keeps of it.

    A rollback deletes the table. If the creation was not rolled back, its `DeletionPolicy`
    RetainExceptOnCreate keeps it: the deletion is another operation than the creation.
    """
    delete(stack)
    for message in what_is_kept(stack):
        print(message)


def _require_possible(values: Mapping[str, str]) -> None:
    """Raise Unusable if these parameters are invalid together."""
    if reason := combinations.error_in(values):
        raise Unusable(reason)


def _may_override(
    environment: sam.Environment,
    stack: Stack,
    remembered: Mapping[str, str],
    options: argparse.Namespace,
) -> bool:
    """Return whether the environment's values may replace different ones of the stack, if any."""
    by_hand = given(options.parameters)
    left = {name: value for name, value in environment.parameters.items() if name not in by_hand}
    changes = overrides.overrides(remembered, left)
    other = "" if stack.name == environment.stack_name else f" STACK={stack.name}"
    command = f"make deploy ENV={environment.name}{other}"
    return not changes or overrides.may_override(
        changes, command, by_hand, stack.name, options.confirm
    )


def _require_region(region: str, chosen: Mapping[str, str]) -> None:
    """Raise a StackError if the region lacks a resource type that would be deployed."""
    if reason := regions.why_not(region, _complete(chosen)):
        raise StackError(reason)


def _complete(chosen: Mapping[str, str]) -> dict[str, str]:
    """Return these parameters, and the template's defaults of all others."""
    return {name: each.default for name, each in parameters().items()} | dict(chosen)


def given(pairs: Iterable[str]) -> dict[str, str]:
    """Return the parameters that `Name=value` pairs set.

    Raises:
        Unusable: one is not such a pair, names no parameter of the template, or its value is
            invalid.
    """
    chosen: dict[str, str] = {}
    for pair in pairs:
        name, is_pair, value = pair.partition("=")
        if not is_pair or name not in parameters():
            [*alike] = difflib.get_close_matches(name, parameters(), n=1)
            hint = f" Did you mean {alike[0]}?" if alike else ""
            raise Unusable(
                f"{pair!r} does not set a parameter of template.yaml: write Name=value.{hint}"
            )
        if error := parameters()[name].error_in(value):
            raise Unusable(f"{error}, not {value!r}.")
        chosen[name] = value
    return chosen


def _given_in(environment: sam.Environment) -> dict[str, str]:
    """Return the parameters of an environment.

    The SAM CLI ignores those that the template does not have: CleanupDryRun with a typing error
    would let the cleanup delete.

    Raises:
        Unusable: one is invalid or not the template's.
    """
    try:
        return given(f"{name}={value}" for name, value in environment.parameters.items())
    except Unusable as exc:
        raise Unusable(f"samconfig.toml, environment {environment.name}: {exc}") from exc


def usable_stack_name(name: str) -> str:
    """Return `name` if AWS accepts it and all resource names made from it.

    Raises:
        Unusable: AWS would reject it.
    """
    if error := stack_name_error(name):
        raise Unusable(f"{error}. Choose another name with STACK=.")
    return name


def answers(chosen: Mapping[str, str], ask: Ask) -> dict[str, str]:
    """Ask for each parameter in ASKED that is not `chosen`; return the values.

    Parameters of a product that is not served are left out.
    """
    asked: dict[str, str] = {}
    for name in ASKED:
        if name not in chosen and _applies(name, {**chosen, **asked}):
            asked[name] = _answer(parameters()[name], ask)
    return asked


def _applies(name: str, values: Mapping[str, str]) -> bool:
    """Return whether the template has the parameter, and the stack's products need it."""
    if name == products.NAMES["meetings"].base_url:
        return "meetings" in products.served(values)
    return name in parameters()


def _answer(parameter: Parameter, ask: Ask) -> str:
    print()
    layout.line(f"{parameter.name}: {parameter.description}", 0)
    suggested = parameter.default
    if recommended := RECOMMENDED.get(parameter.name):
        suggested = recommended.value
        layout.line(f"Recommended: {suggested}. {recommended.reason}")
    while True:
        value = ask(f"  [{suggested or 'none'}] ").strip() or suggested
        error = parameter.error_in(value)
        if error is None:
            return value
        layout.line(f"{error}.")


def _require_account_environment(environment: sam.Environment) -> None:
    if environment.name == "local" and "AWS_ENDPOINT_URL" not in os.environ:
        raise Unusable(
            "ENV=local is for the local AWS with the Vonage emulator: run make up, and set the "
            "variables that it prints. For an AWS account choose ENV=default or ENV=prod."
        )


def _require_usable(arguments: Iterable[str]) -> None:
    """Raise Unusable for an argument that the SAM CLI must not be given."""
    names = {each.partition("=")[0] for each in arguments}
    for name in _INSTEAD_OF.keys() & names:
        raise Unusable(f"{name} is not allowed in ARGS=: {_INSTEAD_OF[name]}.")


def _build(wanted: Target) -> int:
    try:
        build(_with_location(wanted), lambda command: _run(command, needs_account=False))
    except BuildFailed as error:
        return fail(str(error))
    return 0


def _with_location(wanted: Target) -> Target:
    """Return the target with `is_local` set if the AWS endpoint is on this machine."""
    host = urlsplit(os.environ.get("AWS_ENDPOINT_URL", "")).hostname
    return structs.replace(wanted, is_local=host in ("127.0.0.1", "localhost"))


def _deploy(
    environment: sam.Environment, stack: Stack, chosen: Mapping[str, str], arguments: list[str]
) -> int:
    target_stack = ["--stack-name", stack.name, "--region", stack.region]
    deploy = ["--config-env", environment.name, *target_stack, *arguments]
    with on_interrupt("A deployment that has started continues on AWS."):
        return _run(sam.command("deploy", chosen, *deploy))


def _run(arguments: list[str], *, needs_account: bool = True) -> int:
    """Run the SAM CLI. Without an account it ignores AWS settings, even an invalid profile."""
    variables = {**sam.environ(), **account.region_variables()}
    if not needs_account:
        variables = without_account(variables)
    return subprocess.call(arguments, cwd=ROOT, env=variables)  # noqa: S603 - our own command


def _next_steps(stack: str, served: tuple[Product, ...]) -> str:
    which = "" if stack == "roomkeeper" else f" STACK={stack}"
    of_each = [f" PRODUCT={each}" for each in served] if len(served) > 1 else [""]
    configure = "".join(
        f"""
  make configure{product}{which}
      checks Vonage's credentials and stores them"""
        for product in of_each
    )
    return f"""
Next:{configure}
  make callback-url{which}
      prints the URL of each product, and where to enter it at Vonage
  make smoke{which}
      sends a test callback through the stack. See docs/operations.md, "First day"."""


def _options() -> argparse.Namespace:
    parser = Parser("build" if "--only-build" in sys.argv else "deploy")
    parser.add_argument("--environment", default="default", help="a section of samconfig.toml")
    parser.add_argument(
        "--stack", default="", help="the stack's name; the environment's by default"
    )
    parser.add_argument("--only-build", action="store_true", help="build, but do not deploy")
    parser.add_argument("--parameters", type=words, default=[], help="NAME=VALUE ...")
    parser.add_argument("--confirm", default="", help="the stack's name, to skip a question")
    parser.add_argument("--arguments", type=words, default=[], help="for sam deploy")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
