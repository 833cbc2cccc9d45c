"""template.yaml as Python data, for tests that compare it with the code."""

from typing import Any

from operations.template import ROOT, template

__all__ = [
    "NAMESPACE",
    "ROOT",
    "environment",
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
    return {
        name: resource
        for name, resource in template()["Resources"].items()
        if resource["Type"] == kind
    }


def properties(name: str) -> dict[str, Any]:
    """Return the properties of the resource with this logical id."""
    found: dict[str, Any] = template()["Resources"][name]["Properties"]
    return found


def environment(function: str) -> dict[str, str]:
    """Return a function's environment, with parameters' defaults and referenced logical ids."""
    both = template()["Globals"]["Function"], properties(function)
    variables = {k: v for part in both for k, v in part["Environment"]["Variables"].items()}
    return {name: _plain(value) for name, value in variables.items()}


def _plain(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    [target] = value.values()
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
