"""Checks that a region has all resource types that the template would deploy there.

cfn-lint, one of the locked development tools, knows the resource types of each region. A deployment
that cannot succeed is therefore rejected before it starts.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cfnlint.api import ManualArgs, lint_by_config
from cfnlint.helpers import REGIONS
from msgspec import Struct

from operations.template import ROOT, included, template

_UNKNOWN_TYPE = "E3006"
"""cfn-lint's rule "resource type does not exist in a region"."""

_LEFT_OUT_BY = {
    "AWS::Events::Archive": "EventArchiveRetentionDays=0",
    "AWS::EventSchemas::": "SchemaRegistry=false",
}
"""The parameter that omits a resource type which some regions lack."""


class Finding(Struct, frozen=True):
    """An error found by cfn-lint: rule, message, file and path within the template."""

    rule: str
    message: str
    file: str
    path: tuple[str, ...]


def why_not(region: str, values: Mapping[str, str]) -> str | None:
    """Return why the template cannot be deployed into `region` and what to do; None if it can.

    `values` are all parameters; resources that they leave out are not checked. A region that
    cfn-lint does not know passes, with a message.
    """
    if region not in REGIONS:
        print(f"cfn-lint does not know the region {region}, so its resource types are not checked.")
        return None
    resources = included(values)
    nested = [
        each["Properties"]["TemplateURL"]
        for each in resources.values()
        if each["Type"] == "AWS::CloudFormation::Stack"
    ]
    findings = _lint(region, ["template.yaml", *nested])
    return explain(region, relevant(findings, resources))


def relevant(findings: Iterable[Finding], resources: Mapping[str, Any]) -> list[Finding]:
    """Return the findings without those about resources that are not deployed."""
    left_out = template()["Resources"].keys() - resources.keys()
    return [
        each
        for each in findings
        if each.file != "template.yaml" or not left_out & set(each.path[1:2])
    ]


def explain(region: str, findings: Iterable[Finding]) -> str | None:
    """Return the sentence of `why_not` for these findings."""
    findings = list(findings)
    if not findings:
        return None
    missing = sorted({_type_in(each) for each in findings if each.rule == _UNKNOWN_TYPE})
    others = [each.message for each in findings if each.rule != _UNKNOWN_TYPE]
    reasons = [f"it has no {each}" for each in missing] + others
    ways_out = sorted({way for each in missing for way in _ways_out(each)})
    advice = (
        f"leave it out with PARAMETERS='{' '.join(ways_out)}', or choose another region"
        if not others and all(map(_can_be_left_out, missing))
        else "choose another region"
    )
    return (
        f"Roomkeeper cannot be deployed into {region}: {'; '.join(reasons)}. "
        f"To deploy it, {advice} (AWS_REGION)."
    )


def _lint(region: str, files: Iterable[str]) -> Iterator[Finding]:
    for file in files:
        for match in lint_by_config(ManualArgs(templates=[str(ROOT / file)], regions=[region])):
            if match.rule.severity == "error":
                path = tuple(map(str, match.path))
                yield Finding(match.rule.id, match.message, file, path)


def _type_in(finding: Finding) -> str:
    return finding.message.split("'")[1]


def _ways_out(resource_type: str) -> list[str]:
    return [way for prefix, way in _LEFT_OUT_BY.items() if resource_type.startswith(prefix)]


def _can_be_left_out(resource_type: str) -> bool:
    return bool(_ways_out(resource_type))
