"""What a schedule may do, for MiniStack: no more than the role that it names.

MiniStack 1.5 starts a schedule's target whatever the role allows. Here, as on AWS, EventBridge
Scheduler must be let assume the role, and the role must be let invoke the function.

Source: "Setting up the execution role" in the EventBridge Scheduler guide.
"""

import logging
from collections.abc import Mapping
from typing import Any

from local.aws.roles import lets

logger = logging.getLogger(__name__)

SCHEDULER = "scheduler.amazonaws.com"


def install() -> None:
    """Make MiniStack in this process start schedules' functions by their roles alone."""
    from ministack.services import eventbridge  # noqa: PLC0415 - only in MiniStack's process

    start = eventbridge._invoke_target

    def start_if_allowed(
        target: Mapping[str, Any], event: Mapping[str, Any], *rest: Any, **options: Any
    ) -> Any:
        if event.get("Source") == "aws.scheduler" and not lets(
            target["RoleArn"], SCHEDULER, "lambda:InvokeFunction", target["Arn"]
        ):
            logger.error("The schedule's role does not let it start %s", target["Arn"])
            return None
        return start(target, event, *rest, **options)

    eventbridge._invoke_target = start_if_allowed
