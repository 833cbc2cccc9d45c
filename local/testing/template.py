"""template.yaml and its nested template of alarms as Python data, for comparison with the code."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from operations.template import ROOT, load, template

__all__ = [
    "NAMESPACE",
    "ROOT",
    "dashboard",
    "environment",
    "monitoring",
    "properties",
    "resources",
    "table_definition",
    "template",
]


NAMESPACE: str = template()["Globals"]["Function"]["Environment"]["Variables"][
    "POWERTOOLS_METRICS_NAMESPACE"
]["Sub"]
"""The namespace of the functions' own metrics, as the template writes it."""


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """Return the resources of a type, by their logical ids."""
    return {name: resource for name, resource in _all().items() if resource["Type"] == kind}


def properties(name: str) -> dict[str, Any]:
    """Return the properties of the resource with this logical id."""
    found: dict[str, Any] = _all()[name]["Properties"]
    return found


@cache
def _all() -> Mapping[str, dict[str, Any]]:
    """Return the resources of both templates; alarms refer to what template.yaml passes to them."""
    return {**template()["Resources"], **monitoring()["Resources"]}


@cache
def monitoring() -> Mapping[str, Any]:
    """Return the nested template of the alarms, with the values that template.yaml passes to it."""
    nested = template()["Resources"]["Monitoring"]["Properties"]
    passed = {
        name: value["If"][1] if "If" in value else value  # as if the condition were true
        for name, value in nested["Parameters"].items()
    }
    found: dict[str, Any] = _with(passed, load(ROOT / nested["TemplateURL"]))
    return found


def _with(passed: Mapping[str, dict[str, str]], part: Any) -> Any:
    """Return a part of a nested template with its parameters replaced by their values."""
    if isinstance(part, dict):
        if part.keys() == {"Ref"} and part["Ref"] in passed:
            return passed[part["Ref"]]
        return {name: _with(passed, each) for name, each in part.items()}
    if isinstance(part, list):
        return [_with(passed, each) for each in part]
    return (
        re.sub(r"\$\{(\w+)\}", lambda found: _inserted(passed, found), part)
        if isinstance(part, str)
        else part
    )


def _inserted(passed: Mapping[str, dict[str, str]], found: re.Match[str]) -> str:
    """Return the text of Fn::Sub for a parameter's value."""
    value = passed.get(found[1], {"Ref": found[1]})
    [(function, target)] = value.items()
    return target if function == "Sub" else f"${{{target}}}"


def dashboard() -> str:
    """Return the body of the dashboard with all its widgets, and its references as `${Name}`."""
    text, variables = properties("Dashboard")["DashboardBody"]["Sub"]
    for name, value in variables.items():
        text = text.replace(f"${{{name}}}", value["If"][1]["Sub"])
    return str(text)


def environment(function: str) -> dict[str, str]:
    """Return a function's environment, with parameters' defaults and referenced logical ids."""
    both = template()["Globals"]["Function"], properties(function)
    variables = {k: v for part in both for k, v in part["Environment"]["Variables"].items()}
    return {name: _as_text(value) for name, value in variables.items()}


def _as_text(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    [target] = value.values()
    if "If" in value:  # as if the condition were true
        return _as_text(target[1])
    if target == "AWS::URLSuffix":
        return "amazonaws.com"
    return str(template()["Parameters"].get(target, {}).get("Default", target))


def table_definition() -> dict[str, Any]:
    """Return the arguments of CreateTable for the template's table."""
    names = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    table = properties("Table")
    return {name: table[name] for name in names} | {
        "StreamSpecification": {"StreamEnabled": True, **table["StreamSpecification"]}
    }
