"""template.yaml and its nested stacks as Python data, for comparison with the code."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from operations.template import ROOT, condition_holds, job_stacks, load, template

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
    """Return the resources of template.yaml, of monitoring.yaml, and of each job's stack.

    The last have the stack's logical id before their own, as in `RecordingCleanupJob/Schedule`.
    """
    return {**template()["Resources"], **monitoring()["Resources"], **_of_jobs()}


@cache
def monitoring() -> Mapping[str, Any]:
    """Return the nested template of the alarms, with the values that template.yaml passes to it."""
    return _nested(template()["Resources"]["Monitoring"])


def _of_jobs() -> dict[str, dict[str, Any]]:
    """Return the resources of the jobs' stacks, each with the condition of its stack."""
    found = {}
    for stack_id, stack in job_stacks().items():
        nested = _nested(stack)
        own = {"Condition": stack["Condition"]} if "Condition" in stack else {}
        for name, resource in nested["Resources"].items():
            condition = resource.pop("Condition", None)
            if condition is None or condition_holds(nested["Conditions"][condition], {}):
                found[f"{stack_id}/{name}"] = resource | own
    return found


def _nested(stack: Mapping[str, Any]) -> dict[str, Any]:
    """Return the template of a nested stack, with the values of its parameters."""
    nested = load(ROOT / stack["Properties"]["TemplateURL"])
    defaults = {
        name: each["Default"] for name, each in nested["Parameters"].items() if "Default" in each
    }
    passed = {name: _passed(each) for name, each in stack["Properties"]["Parameters"].items()}
    found: dict[str, Any] = _with({**defaults, **passed}, nested)
    return found


def _passed(value: Any) -> Any:
    """Return a parameter's value as if conditions held; an output as the resource it names."""
    if "If" in value:
        return value["If"][1]
    output = value.get("GetAtt", "") if isinstance(value, dict) else ""
    return {"Ref": output.rpartition(".")[2]} if ".Outputs." in output else value


def _with(passed: Mapping[str, Any], part: Any) -> Any:
    """Return a part of a nested template with its parameters replaced by their values."""
    if isinstance(part, dict):
        if part.keys() == {"Ref"} and part["Ref"] in passed:
            return passed[part["Ref"]]
        found = {name: _with(passed, each) for name, each in part.items()}
        text = found.get("Sub")
        return text if isinstance(text, str) and "${" not in text else found
    if isinstance(part, list):
        return [_with(passed, each) for each in part]
    return (
        re.sub(r"\$\{(\w+)\}", lambda found: _inserted(passed, found), part)
        if isinstance(part, str)
        else part
    )


def _inserted(passed: Mapping[str, Any], found: re.Match[str]) -> str:
    """Return the text of Fn::Sub for a parameter's value."""
    value = passed.get(found[1], {"Ref": found[1]})
    if isinstance(value, str):
        return value
    [(function, target)] = value.items()
    return str(target) if function == "Sub" else f"${{{target}}}"


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
