"""Parameters for the rules of a company: network, permissions boundary, key and domain."""

from collections.abc import Iterable
from typing import Any

import pytest

from local.testing.template import ROOT, properties, resources, template
from operations import combinations
from operations.template import included, load, parameters

NONE = {"Ref": "AWS::NoValue"}
CALLS_VONAGE = {
    *("ManagementApi", "RecordingCleanup", "RecordingReconciler"),
    *("RecordingCopier", "RoomExpiryExtender"),
}
DEFAULTS = {name: each.default for name, each in parameters().items()}
DOMAIN = {
    "CallbackDomainName": "rooms.example.com",
    "CallbackCertificateArn": "arn:aws:acm:eu-west-1:123456789012:certificate/1-2",
}
NETWORK = {
    "VonageSubnetIds": "subnet-0123456789abcdef0,subnet-0123456789abcdef1",
    "VonageSecurityGroupIds": "sg-0123456789abcdef0",
}


def chosen(value: Any, condition: str) -> Any:
    """Return what a property is if the condition holds; without it there is no such property."""
    name, given, otherwise = value["If"]
    assert (name, otherwise) == (condition, NONE)
    return given


def test_the_functions_that_call_vonage_are_in_the_vpc_and_no_others() -> None:
    functions = resources("AWS::Serverless::Function")
    inside = {name for name in functions if "VpcConfig" in properties(name)}
    with_credentials = {
        name for name in functions if "VONAGE_SECRET_ARN" in str(properties(name)["Environment"])
    }
    assert inside == with_credentials == CALLS_VONAGE
    for name in inside:
        assert chosen(properties(name)["VpcConfig"], "CallsVonageFromVpc") == {
            "SubnetIds": {"Split": [",", {"Ref": "VonageSubnetIds"}]},
            "SecurityGroupIds": {"Split": [",", {"Ref": "VonageSecurityGroupIds"}]},
        }


def sids(role: str) -> dict[str, Any]:
    """Return a role's statements by their ids, with those that depend on a condition."""
    policies = properties(role)["Policies"]
    listed = [each for policy in policies for each in policy["PolicyDocument"]["Statement"]]
    plain = [each["If"][1] if "If" in each else each for each in listed]
    return {each["Sid"]: each for each in plain}


@pytest.mark.parametrize("function", sorted(resources("AWS::Serverless::Function")))
def test_lambda_may_use_network_interfaces_by_a_functions_role_and_its_code_may_not(
    function: str,
) -> None:
    allowed = sids(properties(function)["Role"]["GetAtt"].removesuffix(".Arn"))
    assert ("UseNetworkInterfaces" in allowed) == (function in CALLS_VONAGE)
    if function in CALLS_VONAGE:
        use, code = allowed["UseNetworkInterfaces"], allowed["NoNetworkInterfacesForCode"]
        assert (use["Effect"], code["Effect"]) == ("Allow", "Deny")
        assert use["Action"] == code["Action"]
        assert "ArnLike" in code["Condition"]


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
def test_every_role_has_the_permissions_boundary(role: str) -> None:
    boundary = chosen(properties(role)["PermissionsBoundary"], "HasPermissionsBoundary")
    assert boundary == {"Ref": "PermissionsBoundaryArn"}


def actions(statements: Iterable[dict[str, Any]]) -> set[str]:
    """Return the actions that these statements allow."""
    listed = [each["Action"] for each in statements if each["Effect"] == "Allow"]
    return {name for each in listed for name in ([each] if isinstance(each, str) else each)}


def test_the_boundary_allows_what_the_roles_use_and_no_more() -> None:
    boundary = load(ROOT / "operations/permissions-boundary.yaml")["Resources"]["Boundary"]
    allowed = actions(boundary["Properties"]["PolicyDocument"]["Statement"])
    used = {name for role in resources("AWS::IAM::Role") for name in actions(sids(role).values())}
    assert allowed == used | {"kms:Decrypt", "kms:GenerateDataKey*"}


KEYS = {
    "AWS::Logs::LogGroup": "KmsKeyId",
    "AWS::SecretsManager::Secret": "KmsKeyId",
    "AWS::SQS::Queue": "KmsMasterKeyId",
    "AWS::Events::EventBus": "KmsKeyIdentifier",
    "AWS::Events::Archive": "KmsKeyIdentifier",
}


@pytest.mark.parametrize("kind", KEYS)
def test_everything_that_keeps_data_is_encrypted_with_the_given_key(kind: str) -> None:
    assert resources(kind)
    for name in resources(kind):
        key = chosen(properties(name)[KEYS[kind]], "HasEncryptionKey")
        assert key == {"Ref": "EncryptionKeyArn"}


def test_the_table_and_the_queue_have_one_kind_of_encryption_each() -> None:
    table = chosen(properties("Table")["SSESpecification"], "HasEncryptionKey")
    assert table == {
        "SSEEnabled": True,
        "SSEType": "KMS",
        "KMSMasterKeyId": {"Ref": "EncryptionKeyArn"},
    }
    assert properties("DeadLetterQueue")["SqsManagedSseEnabled"] == {
        "If": ["HasEncryptionKey", NONE, True]
    }


def test_the_keys_policy_names_each_service_that_uses_it() -> None:
    """DynamoDB, Secrets Manager and SQS act for their caller, the others for themselves."""
    key = load(ROOT / "operations/encryption-key.yaml")["Resources"]["Key"]["Properties"]
    text = str(key["KeyPolicy"]["Statement"])
    for service in ("dynamodb.", "secretsmanager.", "sqs.", "logs.", "events.amazonaws.com"):
        assert service in text


def test_a_rule_can_send_to_an_encrypted_queue() -> None:
    """The statement in "Event bus targets in Amazon EventBridge" has no condition."""
    key = load(ROOT / "operations/encryption-key.yaml")["Resources"]["Key"]["Properties"]
    allowed = [
        each
        for each in key["KeyPolicy"]["Statement"]
        if each["Principal"] == {"Service": "events.amazonaws.com"} and "Condition" not in each
    ]
    assert [each["Action"] for each in allowed] == [["kms:Decrypt", "kms:GenerateDataKey"]]


def test_the_callback_url_is_on_the_given_domain() -> None:
    outputs = template()["Outputs"]
    condition, own, gateways = outputs["CallbackUrl"]["Value"]["If"]
    assert condition == outputs["CallbackDomainTarget"]["Condition"] == "HasCallbackDomain"
    assert own == {"Sub": "https://${CallbackDomainName}/callbacks"}
    assert "${HttpApi}" in gateways["Sub"]
    made = {"CallbackDomain", "CallbackDomainMapping"}
    assert made <= included(DEFAULTS | DOMAIN).keys()
    assert not made & included(DEFAULTS).keys()


@pytest.mark.parametrize("pair", [NETWORK, DOMAIN], ids=["network", "domain"])
def test_half_of_a_pair_is_refused(pair: dict[str, str]) -> None:
    assert combinations.error_in(pair) is None
    for name, value in pair.items():
        [other] = pair.keys() - {name}
        message = combinations.error_in({name: value})
        assert message == f"{name} is set and {other} is not. Set both or neither."


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("VonageSubnetIds", "subnet-0123456789abcdef0, subnet-0123456789abcdef1"),
        ("VonageSubnetIds", "subnet-0123456789abcdef0,"),
        ("VonageSecurityGroupIds", "default"),
        ("PermissionsBoundaryArn", "arn:aws:iam::123456789012:role/boundary"),
        ("EncryptionKeyArn", "arn:aws:kms:eu-west-1:123456789012:alias/rooms"),
        ("CallbackDomainName", "https://rooms.example.com"),
        ("CallbackDomainName", "rooms"),
        ("CallbackCertificateArn", "arn:aws:iam::123456789012:server-certificate/rooms"),
    ],
)
def test_a_value_that_aws_would_reject_is_refused_before_the_deployment(
    name: str, value: str
) -> None:
    assert parameters()[name].error_in(value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *NETWORK.items(),
        *DOMAIN.items(),
        ("PermissionsBoundaryArn", "arn:aws-us-gov:iam::123456789012:policy/team/boundary"),
        ("PermissionsBoundaryArn", "arn:aws:iam::aws:policy/PowerUserAccess"),
        ("EncryptionKeyArn", "arn:aws:kms:eu-west-1:123456789012:key/mrk-0123456789abcdef"),
    ],
)
def test_a_value_that_aws_accepts_is_accepted(name: str, value: str) -> None:
    assert parameters()[name].error_in(value) is None
