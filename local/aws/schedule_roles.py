"""What a schedule may do, for MiniStack: no more than the role that it names.

MiniStack 1.5 starts a schedule's target whatever the role allows. Here, as on AWS, EventBridge
Scheduler must be let assume the role, and the role must be let invoke the function.

Source: "Setting up the execution role" in the EventBridge Scheduler guide.
"""

import logging
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger(__name__)

SCHEDULER = "scheduler.amazonaws.com"


def install() -> None:
    """Make MiniStack in this process start schedules' functions by their roles alone."""
    from ministack.services import eventbridge  # noqa: PLC0415 - only in MiniStack's process

    start = eventbridge._invoke_target

    def start_if_allowed(
        target: Mapping[str, Any], event: Mapping[str, Any], *rest: Any, **options: Any
    ) -> Any:
        if event.get("Source") == "aws.scheduler" and not _allowed(target, event["Account"]):
            logger.error("The schedule's role does not let it start %s", target["Arn"])
            return None
        return start(target, event, *rest, **options)

    eventbridge._invoke_target = start_if_allowed


def _allowed(target: Mapping[str, Any], account: str) -> bool:
    from ministack.core import iam_evaluator  # noqa: PLC0415
    from ministack.services import iam  # noqa: PLC0415

    name = target["RoleArn"].rpartition("/")[2]
    role = iam._roles.get_scoped(account, None, name)
    if role is None:
        return False

    def context(action: str, resource: str, **more: Any) -> Any:
        root = f"arn:aws:iam::{account}:root"  # as which MiniStack's own services act
        return iam_evaluator.EvalContext(root, "Root", account, action, resource, "", **more)

    trust = role["AssumeRolePolicyDocument"]
    assuming = context(
        "sts:AssumeRole", target["RoleArn"], service_context={"aws:sourceaccount": account}
    )
    trusted = SCHEDULER in str(trust) and iam_evaluator.evaluate_trust_policy(
        trust, assuming.principal_arn, assuming
    )
    policies = iam_evaluator._gather_role_policies(name, account)
    invoking = context("lambda:InvokeFunction", target["Arn"])
    return bool(trusted) and iam_evaluator.evaluate(invoking, policies).decision == "Allow"
