"""template.yaml as Python data, for the tests that hold it and the code to each other."""

from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parent.parent


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms: `!Ref Table` becomes `{"Ref": "Table"}`."""


def _short_form(loader: yaml.SafeLoader, name: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {name: loader.construct_scalar(node)}
    assert isinstance(node, yaml.SequenceNode)
    return {name: loader.construct_sequence(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


@cache
def template() -> dict[str, Any]:
    """Return the whole template."""
    loaded: dict[str, Any] = yaml.load((ROOT / "template.yaml").read_text(), _Loader)
    return loaded


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
    """Return a function's variables: parameters by their defaults, references by their names."""
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
    """Return what CreateTable has to be told to make the template's table."""
    asked = ("BillingMode", "AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    table = properties("Table")
    return {name: table[name] for name in asked} | {
        "StreamSpecification": {"StreamEnabled": True, **table["StreamSpecification"]}
    }
