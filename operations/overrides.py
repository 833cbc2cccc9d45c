"""Names the parameters of a stack that samconfig.toml's environment would change.

A value that was set by hand, such as CleanupDryRun=true in an emergency, must not be undone by the
next deployment without a question.
"""

import sys
from collections.abc import Mapping

from msgspec import Struct


class Override(Struct, frozen=True):
    """A parameter with its value in the stack and the one in the environment."""

    name: str
    before: str
    after: str


def overrides(stack: Mapping[str, str], environment: Mapping[str, str]) -> list[Override]:
    """Return the parameters for which the stack and the environment have different values."""
    return [
        Override(name, stack[name], value)
        for name, value in environment.items()
        if name in stack and stack[name] != value
    ]


def may_override(
    changes: list[Override],
    command: str,
    by_hand: Mapping[str, str],
    stack: str,
    confirmed_name: str,
) -> bool:
    """Print the changes and how to avoid them; return whether to make them.

    `command` is the deployment's command line without PARAMETERS, and `by_hand` are the values of
    those, for the printed suggestions. `confirmed_name` is the stack's name to skip the question;
    without it and without a terminal the answer is no.
    """
    print(f"samconfig.toml sets parameters that the stack {stack} has other values for:")
    for each in changes:
        print(f"  {each.name}: {each.before or '(empty)'} -> {each.after or '(empty)'}")
    kept = {**by_hand, **{each.name: each.before for each in changes}}
    print(f"To keep the stack's values: {command}{_parameters(kept)}")
    if confirmed_name == stack:
        return True
    if not sys.stdin.isatty():
        print(f"To change them: {command}{_parameters(by_hand)} CONFIRM={stack}")
        return False
    return input("Change them? [y/N] ").strip().lower() in ("y", "yes")


def _parameters(values: Mapping[str, str]) -> str:
    pairs = " ".join(f'{name}="{value}"' for name, value in values.items())
    return f" PARAMETERS='{pairs}'" if pairs else ""
