"""The local AWS refuses deployments that the deployer's policies do not allow."""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import boto3
import pytest
import yaml
from botocore.exceptions import ClientError

from local.deployer import NAME
from local.servers import BUILD
from local.waiting import wait_until
from operations.build import exclusive
from operations.stack import Stack
from operations.template import job_stacks
from tests.support.deployed import WITHIN, Deployed

pytestmark = pytest.mark.local_stack

TRUST = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Service": "lambda.amazonaws.com"},
        "Action": "sts:AssumeRole",
    },
}
RESOURCES: Mapping[str, Any] = {
    "Queue": {"Type": "AWS::SQS::Queue"},
    "Role": {"Type": "AWS::IAM::Role", "Properties": {"AssumeRolePolicyDocument": TRUST}},
    "Function": {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Role": {"Fn::GetAtt": ["Role", "Arn"]},
            "Code": {"ZipFile": "def handler(*_): pass"},
        },
    },
}

Deploy = Callable[..., str]


@pytest.fixture
def deploy(deployed: Deployed) -> Iterator[Deploy]:
    """Deploy a small stack as a user with the deployer's policies, except for one statement.

    Returns the reasons why resources could not be created; "" if all were created.
    """
    iam = deployed.stack.client("iam")
    formation = deployed.stack.client("cloudformation")
    iam.create_user(UserName="restricted")

    def run(without: str, name: str = "roomkeeper-small") -> str:
        for policy, document in policies(iam, without):
            iam.put_user_policy(
                UserName="restricted", PolicyName=policy, PolicyDocument=json.dumps(document)
            )
        user = Stack(name, session_of(iam), deployed.stack.base_url).client("cloudformation")
        user.create_stack(
            StackName=name,
            TemplateBody=json.dumps({"Resources": RESOURCES}),
            Capabilities=["CAPABILITY_IAM"],
            OnFailure="DO_NOTHING",
        )
        return outcome(formation, name)

    yield run
    for key in iam.list_access_keys(UserName="restricted")["AccessKeyMetadata"]:
        iam.delete_access_key(UserName="restricted", AccessKeyId=key["AccessKeyId"])
    for policy in iam.list_user_policies(UserName="restricted")["PolicyNames"]:
        iam.delete_user_policy(UserName="restricted", PolicyName=policy)
    iam.delete_user(UserName="restricted")
    formation.delete_stack(StackName="roomkeeper-small")
    formation.get_waiter("stack_delete_complete").wait(
        StackName="roomkeeper-small", WaiterConfig={"Delay": 1}
    )


def policies(iam: Any, without: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the names and documents of the deployer's policies without one statement."""
    for each in iam.list_attached_user_policies(UserName=NAME)["AttachedPolicies"]:
        version = iam.get_policy(PolicyArn=each["PolicyArn"])["Policy"]["DefaultVersionId"]
        document = iam.get_policy_version(PolicyArn=each["PolicyArn"], VersionId=version)[
            "PolicyVersion"
        ]["Document"]
        left = [one for one in document["Statement"] if one["Sid"] != without]
        yield each["PolicyName"], {**document, "Statement": left}


def session_of(iam: Any) -> boto3.Session:
    key = iam.create_access_key(UserName="restricted")["AccessKey"]
    return boto3.Session(
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        region_name="eu-west-1",
    )


def outcome(formation: Any, name: str) -> str:
    def is_settled() -> bool:
        [stack] = formation.describe_stacks(StackName=name)["Stacks"]
        return not stack["StackStatus"].endswith("IN_PROGRESS")

    assert wait_until(is_settled, WITHIN)
    events = formation.describe_stack_events(StackName=name)["StackEvents"]
    failed = [each for each in events if each["ResourceStatus"] == "CREATE_FAILED"]
    return "\n".join(each.get("ResourceStatusReason", "") for each in failed)


def test_the_unchanged_policies_allow_the_deployment(deploy: Deploy) -> None:
    assert deploy(without="") == ""


@pytest.mark.parametrize(
    ("statement", "action"),
    [
        ("Queue", "sqs:CreateQueue"),
        ("Roles", "iam:CreateRole"),
        ("RolesForFunctionsAndSchedules", "iam:PassRole"),
        ("Functions", "lambda:CreateFunction"),
    ],
)
def test_without_a_statement_its_actions_are_denied(
    statement: str, action: str, deploy: Deploy
) -> None:
    assert f"is not authorized to perform: {action}" in deploy(without=statement)


def test_without_the_statement_on_stacks_no_stack_is_created(deploy: Deploy) -> None:
    with pytest.raises(ClientError, match="cloudformation:CreateStack"):
        deploy(without="Stacks")


def test_a_stack_of_another_name_is_refused(deploy: Deploy) -> None:
    with pytest.raises(ClientError, match="cloudformation:CreateStack"):
        deploy(without="", name="payroll")


def test_the_deployed_templates_have_no_yaml_aliases(deployed: Deployed) -> None:
    # "CloudFormation template format" in its guide: it has no aliases. sam build expands them.
    assert deployed.id_of("Monitoring")
    with exclusive():
        built = {
            path.parent.name: path.read_text() for path in (BUILD / "sam").rglob("template.yaml")
        }
    assert built.keys() >= {"sam", "Monitoring", *job_stacks()}
    for text in built.values():
        assert not [each for each in yaml.scan(text) if isinstance(each, yaml.AliasToken)]
