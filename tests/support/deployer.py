"""The deployer's policies as IAM evaluates them, and the actions that AWS's schemas need."""

import fnmatch
import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from cfnlint.schema import PROVIDER_SCHEMA_MANAGER

from operations.template import ROOT, load, template

FILE = ROOT / "operations/deployer-policy.yaml"
STACK = "roomkeeper-prod"
VALUES = {
    "${AWS::Partition}": "aws",
    "${AWS::Region}": "eu-west-1",
    "${AWS::AccountId}": "123456789012",
    "${StackPrefix}": "roomkeeper",
}

TRANSLATED = {
    "AWS::Serverless::Function": (
        "AWS::Lambda::Function",
        "AWS::Lambda::EventInvokeConfig",
        "AWS::Lambda::EventSourceMapping",
    ),
    "AWS::Serverless::LayerVersion": ("AWS::Lambda::LayerVersion",),
}
"""The resource types that SAM makes of its own types, as the template uses them."""


@cache
def statements(name: str) -> list[dict[str, Any]]:
    """Return a policy's statements, with the values of VALUES substituted."""
    read = load(FILE)
    text = json.dumps(read["Resources"][name]["Properties"]["PolicyDocument"]["Statement"])
    for placeholder, value in VALUES.items():
        text = text.replace(placeholder, value)
    found: list[dict[str, Any]] = _resolved(json.loads(text))
    return found


def _resolved(value: Any) -> Any:
    """Return `value` with each Fn::Sub and Ref replaced by its content."""
    if isinstance(value, dict):
        if {*value} in ({"Sub"}, {"Ref"}):
            return next(iter(value.values()))
        return {key: _resolved(each) for key, each in value.items()}
    return [_resolved(each) for each in value] if isinstance(value, list) else value


def is_allowed(action: str, resource: str, *names: str) -> bool:
    """Return whether one of the named policies allows an action; conditions count as met."""
    return any(
        _matches(action.lower(), each["Action"], lower=True)
        and _matches(resource, each["Resource"])
        for name in names
        for each in statements(name)
    )


def _matches(value: str, patterns: str | list[str], *, lower: bool = False) -> bool:
    wanted = [patterns] if isinstance(patterns, str) else patterns
    return any(fnmatch.fnmatchcase(value, each.lower() if lower else each) for each in wanted)


def resource_types() -> set[str]:
    """Return the resource types of template.yaml and its nested stacks, SAM's types translated."""
    names = ("schemas/template.yaml", "operations/monitoring.yaml", "operations/job.yaml")
    nested = (load(ROOT / name) for name in names)
    named = {each["Type"] for part in (template(), *nested) for each in part["Resources"].values()}
    return {made for name in named for made in TRANSLATED.get(name, (name,))}


def asked_for(resource_type: str) -> Iterator[tuple[str, str]]:
    """Yield the handler's name and the IAM action for each permission in a type's schema."""
    schema = PROVIDER_SCHEMA_MANAGER.get_resource_schema("us-east-1", resource_type).schema
    handlers: Mapping[str, Mapping[str, Any]] = schema["handlers"]
    for name in ("create", "read", "update", "delete"):
        for action in handlers.get(name, {}).get("permissions", ()):
            yield name, action
