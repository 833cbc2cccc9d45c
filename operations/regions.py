"""Whether a region has all that the template would deploy there.

cfn-lint, whose locked version is among the development tools, brings the resource types of each
region, so that a deployment that cannot succeed is refused before it begins.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from operations.template import ROOT, included, template

_UNKNOWN_TYPE = "E3006"
"""cfn-lint's rule: a resource type does not exist in a region."""

_LEFT_OUT_BY = {
    "AWS::Events::Archive": "EventArchiveDays=0",
    "AWS::EventSchemas::": "SchemaRegistry=false",
}
"""The parameter that leaves out a resource type that not every region has."""

Finding = Mapping[str, Any]


def why_not(region: str, values: Mapping[str, str]) -> str | None:
    """Return why the template cannot be deployed into `region` and what to do; None when it can.

    `values` are all parameters: what they leave out of the stack is not looked at.
    A region that cfn-lint does not know yet is said so, and passes.
    """
    resources = included(values)
    nested = [
        each["Properties"]["TemplateURL"]
        for each in resources.values()
        if each["Type"] == "AWS::CloudFormation::Stack"
    ]
    done = _lint(region, ["template.yaml", *nested])
    if not done.stdout.startswith("["):  # no list of findings: it does not know the region
        print(f"cfn-lint cannot tell whether {region} has all that Roomkeeper needs.")
        return None
    return explain(region, _relevant(json.loads(done.stdout), resources))


def explain(region: str, findings: Iterable[Finding]) -> str | None:
    """Return what cfn-lint's findings mean for a deployment into `region`, as why_not does."""
    findings = list(findings)
    if not findings:
        return None
    missing = sorted({_type_in(each) for each in findings if each["Rule"]["Id"] == _UNKNOWN_TYPE})
    problems = [f"it has no {each}" for each in missing] or [each["Message"] for each in findings]
    ways_out = sorted({way for each in missing for way in _ways_out(each)})
    advice = (
        f"leave it out with PARAMETERS='{' '.join(ways_out)}', or choose another region"
        if missing and all(map(_can_be_left_out, missing))
        else "choose another region"
    )
    return (
        f"Roomkeeper cannot be deployed into {region} like this: {'; '.join(problems)}. "
        f"To deploy it, {advice} (AWS_REGION)."
    )


def _lint(region: str, templates: Iterable[str]) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "cfnlint", "--regions", region, "--format", "json"]
    return subprocess.run(  # noqa: S603 - our own command
        [*command, "--template", *templates], cwd=ROOT, capture_output=True, text=True, check=False
    )


def _relevant(findings: Iterable[Finding], resources: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield the errors, but for those of resources that the parameters leave out."""
    for each in findings:
        if each["Level"] == "Error" and _is_deployed(each, resources):
            yield each


def _is_deployed(finding: Finding, resources: Mapping[str, Any]) -> bool:
    left_out = template()["Resources"].keys() - resources.keys()
    path = finding["Location"]["Path"]
    return finding["Filename"] != "template.yaml" or not left_out & set(path[1:2])


def _type_in(finding: Finding) -> str:
    message: str = finding["Message"]
    return message.split("'")[1]


def _ways_out(resource_type: str) -> list[str]:
    return [way for prefix, way in _LEFT_OUT_BY.items() if resource_type.startswith(prefix)]


def _can_be_left_out(resource_type: str) -> bool:
    return bool(_ways_out(resource_type))
