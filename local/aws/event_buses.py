"""Makes MiniStack deliver events to event buses in other accounts, instead of dropping them.

As on AWS, the rule's role needs permission to put events there, and the policy of the target bus
must allow the sender's account.

Source: "Sending and receiving events between AWS accounts" in the EventBridge guide.
"""

import logging
from collections.abc import Mapping
from typing import Any

from local.aws.roles import role_allows

logger = logging.getLogger(__name__)

EVENTS = "events.amazonaws.com"
PUT = "events:PutEvents"


def install() -> None:
    """Patch MiniStack in this process so that it sends permitted events to other accounts."""
    from ministack.services import eventbridge  # noqa: PLC0415 - only in MiniStack's process
    from ministack.services.cloudformation import provisioners  # noqa: PLC0415

    buses = provisioners._RESOURCE_HANDLERS["AWS::Events::EventBus"]
    create, invoke = buses["create"], eventbridge._invoke_target

    def create_with_policy(logical_id: str, properties: Any, stack_name: str) -> Any:
        name, attributes = create(logical_id, properties, stack_name)
        if policy := properties.get("Policy"):
            eventbridge._event_bus_policies[name] = policy
        return name, attributes

    def invoke_anywhere(
        target: Mapping[str, Any], event: Mapping[str, Any], *rest: Any, **options: Any
    ) -> Any:
        if not _is_in_other_account(target["Arn"], event):
            return invoke(target, event, *rest, **options)
        if _is_allowed(eventbridge, target, event):
            _send(eventbridge, target["Arn"], event)
        else:
            logger.error("No permission to send an event to the bus %s", target["Arn"])
        return None

    buses["create"] = create_with_policy
    eventbridge._invoke_target = invoke_anywhere


def _is_in_other_account(arn: str, event: Mapping[str, Any]) -> bool:
    """Return whether a target is a bus in another account than the event's."""
    *_, service, _region, account, resource = arn.split(":", 5)
    return service == "events" and resource.startswith("event-bus/") and account != event["Account"]


def _is_allowed(eventbridge: Any, target: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
    from ministack.core import iam_evaluator  # noqa: PLC0415

    arn = target["Arn"]
    sender = f"arn:aws:iam::{event['Account']}:root"
    sending = iam_evaluator.EvalContext(sender, "Root", event["Account"], PUT, arn, "")
    policy = eventbridge._event_bus_policies.get_scoped(*_account_region_and_name(arn))
    allowed = iam_evaluator.evaluate_resource_policy(policy, sending).decision == "Allow"
    return allowed and role_allows(target.get("RoleArn", ""), EVENTS, PUT, arn)


def _send(eventbridge: Any, arn: str, event: Mapping[str, Any]) -> None:
    """Dispatch an event in the account and region of a bus; `Account` stays the sender's."""
    account, region, name = _account_region_and_name(arn)
    here = eventbridge.get_account_id(), eventbridge.get_region()
    eventbridge.set_request_account_id(account)
    eventbridge.set_request_region(region)
    try:
        eventbridge._dispatch_event({**event, "EventBusName": name, "Region": region})
    finally:
        eventbridge.set_request_account_id(here[0])
        eventbridge.set_request_region(here[1])


def _account_region_and_name(arn: str) -> tuple[str, str, str]:
    """Return a bus's account, region and name."""
    _, _, _, region, account, resource = arn.split(":", 5)
    return account, region, resource.removeprefix("event-bus/")
