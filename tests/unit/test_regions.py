"""Missing resource types of a region are found before a deployment starts."""

from functools import cache

import pytest

from operations import regions
from operations.template import included, parameters, template

DEFAULTS = {name: each.default for name, each in parameters().items()}


def test_the_defaults_can_be_deployed_into_govcloud(capsys: pytest.CaptureFixture[str]) -> None:
    """`make check` lints for a region that has everything."""
    assert regions.why_not("us-gov-west-1", DEFAULTS) is None
    assert capsys.readouterr().out == ""


def test_a_region_without_schema_registries_rejects_only_a_registry(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lint = regions._lint
    findings = cache(lambda region, file: [*lint(region, [file])])  # a file takes seconds
    monkeypatch.setattr(
        regions,
        "_lint",
        lambda region, files: [f for file in files for f in findings(region, file)],
    )

    assert regions.why_not("mx-central-1", DEFAULTS) is None
    reason = regions.why_not("mx-central-1", DEFAULTS | {"SchemaRegistry": "true"})
    assert reason is not None
    assert "into mx-central-1" in reason
    assert "it has no AWS::EventSchemas::Registry" in reason
    assert "PARAMETERS='SchemaRegistry=false'" in reason
    assert "\n" not in reason


def test_an_unknown_region_passes_with_a_message(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert regions.why_not("eu-nowhere-1", DEFAULTS) is None
    assert "cfn-lint does not know the region eu-nowhere-1" in capsys.readouterr().out


def a_finding(resource: str, resource_type: str) -> regions.Finding:
    message = f"Resource type '{resource_type}' does not exist in 'a-region'"
    return regions.Finding("E3006", message, "template.yaml", ("Resources", resource, "Type"))


def test_an_archive_can_be_left_out_by_a_parameter() -> None:
    reason = regions.explain("a-region", [a_finding("EventArchive", "AWS::Events::Archive")])
    assert "leave it out with PARAMETERS='EventArchiveRetentionDays=0'" in str(reason)


def test_other_findings_of_cfn_lint_are_quoted() -> None:
    finding = regions.Finding("E3002", "'Description' is unexpected", "template.yaml", ())
    reason = str(regions.explain("a-region", [finding]))
    assert ": 'Description' is unexpected. To deploy it, choose another region" in reason


def test_without_http_apis_only_another_region_helps() -> None:
    findings = [
        a_finding("EventArchive", "AWS::Events::Archive"),
        a_finding("HttpApi", "AWS::ApiGatewayV2::Api"),
    ]
    reason = str(regions.explain("a-region", findings))
    assert "no AWS::ApiGatewayV2::Api; it has no AWS::Events::Archive" in reason
    assert "To deploy it, choose another region (AWS_REGION)." in reason


@pytest.mark.parametrize(("days", "is_reported"), [("0", False), ("7", True)])
def test_resource_types_that_the_parameters_leave_out_are_not_required(
    days: str, is_reported: bool
) -> None:
    findings = [a_finding("EventArchive", "AWS::Events::Archive")]
    deployed = included(DEFAULTS | {"EventArchiveRetentionDays": days})
    assert bool(regions.relevant(findings, deployed)) is is_reported


def test_resources_without_a_condition_are_always_included() -> None:
    resources = template()["Resources"]
    always = {name for name, each in resources.items() if "Condition" not in each}
    assert included(DEFAULTS).keys() >= always
    assert included(DEFAULTS | {"SchemaRegistry": "true"}).keys() >= {"EventSchemas"}
    assert "EventSchemas" not in included(DEFAULTS)
