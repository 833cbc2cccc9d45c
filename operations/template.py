"""template.yaml as Python data, and validation of its parameters."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from msgspec import Struct
from yaml import CSafeLoader as SafeLoader  # ten times as fast as yaml.SafeLoader

ROOT = Path(__file__).parent.parent

MAX_STACK_NAME = 64
"""Characters. CloudFormation allows 128, but the schema registry of the same name allows 64."""


class Parameter(Struct, frozen=True, kw_only=True):
    """A parameter of the template: its description, default and constraints."""

    name: str
    description: str
    default: str
    allowed: tuple[str, ...] = ()
    pattern: str = ""
    constraint: str = ""
    limits: tuple[float | None, float | None] = (None, None)
    max_length: int | None = None
    is_number: bool = False

    def error_in(self, value: str) -> str | None:
        """Return why `value` is invalid for the parameter; None if it is valid."""
        if self.allowed and value not in self.allowed:
            return f"{self.name} must be one of {', '.join(self.allowed)}"
        if self.max_length is not None and len(value) > self.max_length:
            return f"{self.name} must have at most {self.max_length} characters"
        if not re.search(self.pattern, value):
            return f"{self.name} {self.constraint}"
        if "\\" in value:
            return f"{self.name} must not contain a backslash, which the SAM CLI reads as an escape"
        return self._error_in_number(value) if self.is_number else None

    def _error_in_number(self, value: str) -> str | None:
        least, most = self.limits
        limits = f" from {least} to {most}" if None not in self.limits else ""
        # Conditions compare text: "00" is not "0".
        fraction, kind = (r"(\.[0-9]+)?", "") if "." in self.default else ("", "whole ")
        if not re.fullmatch(rf"(0|[1-9][0-9]*){fraction}", value) or not _is_within(
            float(value), least, most
        ):
            return f"{self.name} must be a {kind}number{limits}"
        return None


def _is_within(value: float, least: float | None, most: float | None) -> bool:
    return (least is None or value >= least) and (most is None or value <= most)


class _Loader(SafeLoader):
    """Reads CloudFormation's short forms: `!Ref Table` becomes `{"Ref": "Table"}`."""


def _short_form(loader: SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    assert isinstance(node, yaml.SequenceNode)  # noqa: S101 - the template has no other
    return {name: loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


def stack_name_error(name: str) -> str | None:
    """Return why a stack cannot be called `name`; None if it can.

    The event bus and the schema registry have the same name. Sources: "CreateStack" in the
    CloudFormation API reference, "CreateEventBus" in EventBridge's.
    """
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9-]*", name) is None:
        return f"The stack's name {name!r} must be letters, digits and hyphens, a letter first"
    if len(name) > MAX_STACK_NAME:
        return f"The stack's name {name!r} must have at most {MAX_STACK_NAME} characters"
    if name == "default":
        return "The stack cannot be called default, because AWS's own event bus has that name"
    return None


def load(path: Path) -> dict[str, Any]:
    """Return the template in a file, with CloudFormation's short forms expanded."""
    loaded: dict[str, Any] = yaml.load(path.read_text(), _Loader)  # noqa: S506 - a SafeLoader
    return loaded


@cache
def template() -> dict[str, Any]:
    """Return the whole template."""
    return load(ROOT / "template.yaml")


def job_stacks() -> dict[str, dict[str, Any]]:
    """Return the nested stacks that start and watch a job each, by logical id."""
    return {
        name: resource
        for name, resource in template()["Resources"].items()
        if resource.get("Properties", {}).get("TemplateURL") == "operations/job.yaml"
    }


@cache
def parameters() -> Mapping[str, Parameter]:
    """Return the template's parameters by name, in the template's order."""
    declared = template()["Parameters"].items()
    return {name: _parameter(name, properties) for name, properties in declared}


def included(values: Mapping[str, str]) -> dict[str, Any]:
    """Return the resources, by logical id, whose condition is true for these parameters."""
    return {
        name: resource
        for name, resource in template()["Resources"].items()
        if "Condition" not in resource
        or condition_holds({"Condition": resource["Condition"]}, values)
    }


def condition_holds(condition: Mapping[str, Any], values: Mapping[str, str]) -> bool:
    """Return True if a condition of the template is true for these parameters."""
    [(kind, operands)] = condition.items()
    if kind == "Condition":
        return condition_holds(template()["Conditions"][operands], values)
    if kind == "Equals":
        left, right = (
            values.get(each["Ref"]) if isinstance(each, dict) else each for each in operands
        )
        return bool(left == right)
    holding = [condition_holds(each, values) for each in operands]
    return {"Not": not holding[0], "And": all(holding), "Or": any(holding)}[kind]


def _parameter(name: str, declared: Mapping[str, Any]) -> Parameter:
    return Parameter(
        name=name,
        description=declared["Description"],
        default=str(declared["Default"]),
        allowed=tuple(map(str, declared.get("AllowedValues", ()))),
        pattern=declared.get("AllowedPattern", ""),
        constraint=declared.get("ConstraintDescription", ""),
        limits=(declared.get("MinValue"), declared.get("MaxValue")),
        max_length=declared.get("MaxLength"),
        is_number=declared["Type"] == "Number",
    )
