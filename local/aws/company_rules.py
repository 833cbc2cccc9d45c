"""Sets the properties for the rules of a company, which MiniStack's CloudFormation leaves out.

MiniStack 1.5 creates a role without its permissions boundary, a function without its VPC, and a
table or an event bus without its key. With this patch they have them. As on AWS, a role then has
only the permissions that its boundary allows, too. A VPC and keys are shown, and have no effect.
"""

from collections.abc import Mapping
from typing import Any


def install() -> None:
    """Patch MiniStack in this process so that CloudFormation sets these properties."""
    from ministack.services.cloudformation import stacks  # noqa: PLC0415 - only in its process

    create, update = stacks._provision_resource, stacks._update_resource

    def create_complete(kind: str, logical_id: str, properties: Any, stack: str) -> Any:
        made = create(kind, logical_id, properties, stack)
        _set(kind, made[0], properties)
        return made

    def update_complete(kind: str, physical_id: str, old: Any, new: Any, *rest: Any) -> Any:
        made = update(kind, physical_id, old, new, *rest)
        _set(kind, made[0], new)
        return made

    stacks._provision_resource = create_complete
    stacks._update_resource = update_complete


def _set(kind: str, name: str, properties: Mapping[str, Any]) -> None:
    if kind in _SETTERS:
        _SETTERS[kind](name, properties)


def _set_boundary(role: str, properties: Mapping[str, Any]) -> None:
    from ministack.services import iam  # noqa: PLC0415 - only in MiniStack's process

    iam._roles[role]["PermissionsBoundary"] = properties.get("PermissionsBoundary", "")


def _set_vpc(function: str, properties: Mapping[str, Any]) -> None:
    from ministack.services import lambda_svc  # noqa: PLC0415 - only in MiniStack's process

    vpc = lambda_svc._vpc_config_with_id(properties.get("VpcConfig"))
    lambda_svc._functions[function]["config"]["VpcConfig"] = vpc


def _set_tables_key(table: str, properties: Mapping[str, Any]) -> None:
    from ministack.services import dynamodb  # noqa: PLC0415 - only in MiniStack's process

    given = properties.get("SSESpecification")
    # CloudFormation's name of the switch differs from the API's.
    wanted = given and {**given, "Enabled": given["SSEEnabled"]}
    dynamodb._tables[table]["SSEDescription"] = dynamodb._sse_description_from_spec(wanted)


def _set_buss_key(bus: str, properties: Mapping[str, Any]) -> None:
    from ministack.services import eventbridge  # noqa: PLC0415 - only in MiniStack's process

    eventbridge._event_buses[bus]["KmsKeyIdentifier"] = properties.get("KmsKeyIdentifier", "")


_SETTERS = {
    "AWS::DynamoDB::Table": _set_tables_key,
    "AWS::Events::EventBus": _set_buss_key,
    "AWS::IAM::Role": _set_boundary,
    "AWS::Lambda::Function": _set_vpc,
}
