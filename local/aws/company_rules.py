"""Sets the properties for the rules of a company, which MiniStack's CloudFormation leaves out.

MiniStack 1.5 creates a role without its permissions boundary, a function without its VPC, and a
table or an event bus without its key. With this patch, CloudFormation sets these properties. As on
AWS, a role then has only permissions that its boundary allows as well. The API returns VPCs and
keys, but they have no effect.
"""

from collections.abc import Callable, Mapping
from typing import Any


def install() -> None:
    """Patch MiniStack in this process so that CloudFormation sets these properties.

    Nested stacks use the same handlers.
    """
    from ministack.services.cloudformation import provisioners  # noqa: PLC0415 - in its process

    for kind, set_properties in _SETTERS.items():
        handler = provisioners._RESOURCE_HANDLERS[kind]
        handler["create"] = _creating(handler["create"], set_properties)
        handler["update"] = _updating(handler["update"], set_properties)


Setter = Callable[[str, Mapping[str, Any]], None]


def _creating(create: Callable[..., Any], set_properties: Setter) -> Callable[..., Any]:
    def create_complete(logical_id: str, properties: Any, stack: str) -> Any:
        created = create(logical_id, properties, stack)
        set_properties(created[0], properties)
        return created

    return create_complete


def _updating(update: Callable[..., Any], set_properties: Setter) -> Callable[..., Any]:
    def update_complete(physical_id: str, old: Any, new: Any, *rest: Any) -> Any:
        updated = update(physical_id, old, new, *rest)
        set_properties(updated[0], new)
        return updated

    return update_complete


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


def _set_key_of_bus(bus: str, properties: Mapping[str, Any]) -> None:
    from ministack.services import eventbridge  # noqa: PLC0415 - only in MiniStack's process

    eventbridge._event_buses[bus]["KmsKeyIdentifier"] = properties.get("KmsKeyIdentifier", "")


_SETTERS = {
    "AWS::DynamoDB::Table": _set_tables_key,
    "AWS::Events::EventBus": _set_key_of_bus,
    "AWS::IAM::Role": _set_boundary,
    "AWS::Lambda::Function": _set_vpc,
}
