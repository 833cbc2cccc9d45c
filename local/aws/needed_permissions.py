"""Logs which permission of a role a call needs, to find permissions that no call needs.

AWS reports this for some services after hours, and only by action.
Source: "Refine permissions in AWS using last accessed information" in the IAM guide.
"""

import dataclasses
import json
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

Allows = Callable[[Any, Any], bool]
"""Whether a statement alone allows a call."""


def install(log: Path) -> None:
    """Patch MiniStack in this process so that it logs a line for each call that a role may make.

    The line is a JSON object with the role and with the action and resource of its policy that
    allow the call. A call that more than one such pair allows needs none of them, and has no line.
    """
    from ministack.core import iam_evaluator  # noqa: PLC0415 - only in MiniStack's process

    log.parent.mkdir(parents=True, exist_ok=True)
    output = log.open("w", buffering=1)
    evaluate = iam_evaluator.evaluate

    def allows(call: Any, statement: Any) -> bool:
        return bool(evaluate(call, [[statement]]).decision == "Allow")

    def evaluate_and_log(call: Any, policies: Any, *limits: Any) -> Any:
        result = evaluate(call, policies, *limits)
        if result.decision == "Allow" and call.principal_type == "AssumedRole":
            pairs = [*allowing(call, policies, allows)]
            if len(pairs) == 1:
                [(action, resource)] = pairs
                role = call.principal_arn.split("/")[1]
                line = json.dumps({"role": role, "action": action, "resource": resource})
                output.write(f"{line}\n")
        return result

    iam_evaluator.evaluate = evaluate_and_log


def allowing(call: Any, policies: Any, allows: Allows) -> Iterator[tuple[str, str]]:
    """Yield each action and resource of the policies that alone allow the call."""
    for statement in (each for policy in policies for each in policy if allows(call, each)):
        for action, resource in product(statement.actions, statement.resources):
            part = dataclasses.replace(statement, actions=[action], resources=[resource])
            if allows(call, part):
                yield action, resource
