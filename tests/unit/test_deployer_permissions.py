"""The local CloudFormation requires the same permissions of its caller as AWS's."""

import json

import pytest

from local.aws.deployer_permissions import (
    HANDLERS,
    MORE_AT_CREATION,
    WITH_PROPERTY,
    checks,
    rule_arn,
)
from tests.support.deployer import asked_for, is_allowed, resource_types

LOCATION = {"stack": "roomkeeper-prod", "account": "123456789012", "region": "eu-west-1"}
BUS = LOCATION["stack"]
ROLE = "arn:aws:iam::123456789012:role/roomkeeper-prod-Role-X"


def test_every_type_that_is_deployed_is_checked() -> None:
    assert resource_types() == {*HANDLERS}


@pytest.mark.parametrize("kind", sorted(HANDLERS))
def test_the_checked_actions_are_those_of_awss_schemas(kind: str) -> None:
    handlers, named = HANDLERS[kind], {*asked_for(kind)}
    for verb in ("create", "update", "delete"):
        assert {(verb, action) for action in getattr(handlers, verb)} <= named


@pytest.mark.parametrize("kind", sorted(HANDLERS))
@pytest.mark.parametrize("verb", ["create", "update", "delete"])
def test_the_checked_actions_are_allowed_by_the_policies(kind: str, verb: str) -> None:
    properties = {"Role": ROLE, "Target": {"RoleArn": ROLE}}
    logical_id = "CallbackSecret" if "Secret" in kind else "Dashboard"
    if "Schedule" in kind:
        logical_id = "Schedule"
    policies = ["DeployPolicy", "DeployDataPolicy"]
    if "domainnames" in HANDLERS[kind].arn:  # only for a company's rules
        policies.append("DeployCompanyRulesPolicy")
    if kind in ("AWS::Events::Rule", "AWS::S3::Bucket", "AWS::S3::BucketPolicy"):
        policies.append("DeployCopiesPolicy")
    for action, arn, _ in checks(kind, logical_id, properties, LOCATION)[verb]:
        assert is_allowed(action, arn, *policies), (action, arn)


@pytest.mark.parametrize(("kind", "name"), sorted(WITH_PROPERTY))
def test_a_company_rules_property_needs_permissions_of_the_policy_for_it(
    kind: str, name: str
) -> None:
    properties = {"Role": ROLE}
    usual = ["DeployPolicy", "DeployDataPolicy"]
    named = {*asked_for(kind)}
    for verb in ("create", "update"):
        without = [*checks(kind, "X", properties, LOCATION)[verb]]
        extra = [*checks(kind, "X", {**properties, name: "given"}, LOCATION)[verb]]
        for action, arn, _ in extra[: len(extra) - len(without)]:
            assert (verb, action) in named
            assert not is_allowed(action, arn, *usual), (action, arn)
            assert is_allowed(action, arn, "DeployCompanyRulesPolicy"), (action, arn)


def test_access_logs_need_permissions_of_their_own() -> None:
    assert "logs:CreateLogDelivery" in MORE_AT_CREATION["AWS::ApiGatewayV2::Stage"]
    stage = checks("AWS::ApiGatewayV2::Stage", "HttpApiStage", {}, LOCATION)
    assert ("logs:CreateLogDelivery", "*", {}) in [*stage["create"]]


@pytest.mark.parametrize("bus", [BUS, f"arn:aws:events:eu-west-1:123456789012:event-bus/{BUS}"])
def test_the_targets_of_a_rule_are_checked_by_the_rules_arn(bus: str) -> None:
    body = json.dumps({"Rule": "an-audit", "EventBusName": bus}).encode()
    arn = rule_arn(body, "eu-west-1", "123456789012")
    assert arn == f"arn:aws:events:eu-west-1:123456789012:rule/{BUS}/an-audit"
    assert is_allowed("events:ListTargetsByRule", arn, "DeployDataPolicy")


@pytest.mark.parametrize("body", [b"", b"[]", b'{"Name": "an-audit"}'])
def test_other_requests_name_no_rule_in_that_field(body: bytes) -> None:
    assert rule_arn(body, "eu-west-1", "123456789012") is None
