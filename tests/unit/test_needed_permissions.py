"""The local AWS says which action and resource of a role's policies a call needs."""

from collections.abc import Callable
from dataclasses import dataclass, field

from local.aws.needed_permissions import allowing

TABLE, BUS = "arn:aws:dynamodb:::table/a", "arn:aws:events:::event-bus/a"


@dataclass
class Statement:
    """The part of MiniStack's statement that matters here."""

    actions: list[str]
    resources: list[str] = field(default_factory=lambda: [TABLE, BUS])


def on(action: str, resource: str) -> Callable[[None, Statement], bool]:
    """Return what tells whether a statement allows this call."""
    return lambda _, each: action in each.actions and resource in each.resources


def test_a_call_needs_one_action_on_one_resource_of_a_statement_with_several() -> None:
    policies = [[Statement(["GetItem", "PutEvents"])], [Statement(["Query"])]]
    assert [*allowing(None, policies, on("PutEvents", BUS))] == [("PutEvents", BUS)]


def test_a_permission_that_two_statements_give_is_yielded_twice() -> None:
    policies = [[Statement(["GetItem"]), Statement(["GetItem"], [TABLE])]]
    assert [*allowing(None, policies, on("GetItem", TABLE))] == [("GetItem", TABLE)] * 2
