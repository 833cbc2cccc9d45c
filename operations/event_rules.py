"""Rules on a stack's event buses that are not part of the stack, such as other teams' subscribers.

EventBridge: "You can't delete an event bus that has rules" (EventBridge API Reference,
DeleteEventBus). One such rule makes the deletion of the stack fail halfway.
"""

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from operations.stack import Stack, resource_ids


def foreign_rules(stack: Stack) -> list[str]:
    """Return a line for each rule on the stack's buses that is not part of the stack.

    The line names the rule, its targets and their accounts.
    """
    events = stack.client("events")
    own = _OwnRules(stack)
    return [
        _line(events, bus, rule)
        for bus in resource_ids(stack, "AWS::Events::EventBus").values()
        for rule in _rules(events, bus)
        if not own.has(rule)
    ]


class _OwnRules:
    """The rules that are deleted with the stack: its own, and those of its archives."""

    def __init__(self, stack: Stack) -> None:
        # The id of a rule on a custom bus is "bus|rule".
        ids = [*resource_ids(stack, "AWS::Events::Rule").values()]
        self._names = {each.rpartition("|")[2] for each in ids}
        # EventBridge creates a managed rule for each archive and deletes it with the archive.
        self._archives = [
            f"Events-Archive-{name}"
            for name in resource_ids(stack, "AWS::Events::Archive").values()
        ]

    def has(self, rule: Any) -> bool:
        if "ManagedBy" in rule:
            return rule["Name"] in self._archives
        return rule["Name"] in self._names


def _rules(events: Any, bus: str) -> Iterator[Any]:
    try:
        for page in events.get_paginator("list_rules").paginate(EventBusName=bus):
            yield from page["Rules"]
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise


def _line(events: Any, bus: str, rule: Any) -> str:
    pages = events.get_paginator("list_targets_by_rule").paginate(
        EventBusName=bus, Rule=rule["Name"]
    )
    targets = [_target(target["Arn"]) for page in pages for target in page["Targets"]]
    by = f", managed by {rule['ManagedBy']}" if "ManagedBy" in rule else ""
    return f"{rule['Name']} on the bus {bus}{by} -> {', '.join(targets) or 'no target'}"


def _target(arn: str) -> str:
    account = (arn.split(":") + [""] * 5)[4]
    return f"{arn} (account {account})" if account else arn
