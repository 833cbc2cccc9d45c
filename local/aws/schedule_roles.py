"""Makes MiniStack check the role of a schedule before it starts the target.

MiniStack 1.5 starts the target without that check. With this patch, as on AWS, EventBridge
Scheduler must be allowed to assume the role, and the role must allow it to invoke the function.

Source: "Setting up the execution role" in the EventBridge Scheduler guide.
"""

import logging
from collections.abc import Mapping
from typing import Any

from local.aws.roles import role_allows

logger = logging.getLogger(__name__)

SCHEDULER = "scheduler.amazonaws.com"


def install() -> None:
    """Patch MiniStack in this process so that a schedule has only its role's permissions."""
    from ministack.services import eventbridge  # noqa: PLC0415 - only in MiniStack's process

    start = eventbridge._invoke_target

    def start_if_allowed(
        target: Mapping[str, Any], event: Mapping[str, Any], *rest: Any, **options: Any
    ) -> Any:
        if event.get("Source") == "aws.scheduler" and not role_allows(
            target["RoleArn"], SCHEDULER, "lambda:InvokeFunction", target["Arn"]
        ):
            logger.error("The schedule's role does not allow it to start %s", target["Arn"])
            return None
        return start(target, event, *rest, **options)

    eventbridge._invoke_target = start_if_allowed
