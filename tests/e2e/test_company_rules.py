"""A stack with the parameters for the rules of a company, as a later deployment sets them.

The local AWS enforces the permissions boundary and serves the domain. It only shows a VPC, keys and
tags (local/aws/company_rules.py), and leaves out the encryption of a bucket.
"""

import json
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests
from msgspec import Struct, structs

from local.clients import jobs
from local.clients.management import ManagementApi
from local.deployment import local_session
from local.testing.builders import a_body
from local.waiting import wait_until
from operations.stack import Stack, resource_ids
from operations.template import included, template
from tests.support.commands import make
from tests.support.company import encrypt_bucket, made
from tests.support.deployed import WITHIN, Deployed

pytestmark = pytest.mark.local_stack

DOMAIN = "rooms.example.com"
TAGS = {"Owner": "rooms-team", "CostCenter": "1234"}


class Given(Struct, frozen=True):
    """The parameters with the resources that an administrator made before the deployment."""

    parameters: Mapping[str, str]

    @property
    def key(self) -> str:
        """The ARN of the key."""
        return self.parameters["EncryptionKeyArn"]

    @property
    def boundary(self) -> str:
        """The ARN of the permissions boundary."""
        return self.parameters["PermissionsBoundaryArn"]


class Ruled(Struct, frozen=True):
    """A stack whose deployment set the parameters in `given`."""

    stack: Deployed
    given: Given


def a_network(stack: Stack) -> dict[str, str]:
    ec2 = stack.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = [
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.0.{number}.0/24")["Subnet"]["SubnetId"]
        for number in (1, 2)
    ]
    group = ec2.create_security_group(VpcId=vpc, GroupName="vonage", Description="HTTPS out")
    return {"VonageSubnetIds": ",".join(subnets), "VonageSecurityGroupIds": group["GroupId"]}


def a_domain(stack: Stack) -> dict[str, str]:
    certificate = stack.client("acm").request_certificate(DomainName=DOMAIN)["CertificateArn"]
    return {"CallbackDomainName": DOMAIN, "CallbackCertificateArn": certificate}


@pytest.fixture(scope="module")
def ruled(company: Deployed) -> Ruled:
    """The company's stack, after a deployment with all of these parameters and another key."""
    stack = company.stack
    boundary = ("allow-roles", "permissions-boundary.yaml", "BoundaryArn")
    key = made(stack.base_url, "another-key", "encryption-key.yaml", "KeyArn")
    encrypt_bucket(stack, key)
    parameters = {
        **a_network(stack),
        **a_domain(stack),
        "PermissionsBoundaryArn": made(stack.base_url, *boundary),
        "EncryptionKeyArn": key,
    }
    pairs = {**parameters, "VonageBaseUrl": company.vonage.api_url}
    given = " ".join(f"{name}={value}" for name, value in pairs.items())
    tags = " ".join(f"{name}={value}" for name, value in TAGS.items())
    result = make(
        company.operated,
        *("deploy", "ENV=local", f"PARAMETERS={given}", f"ARGS=--tags {tags}"),
    )
    assert result.code == 0, result.text
    after = Stack(stack.name, local_session(), stack.base_url)
    return Ruled(structs.replace(company, stack=after), Given(parameters))


def test_the_stack_keeps_the_given_parameters(ruled: Ruled) -> None:
    stack = ruled.stack.stack
    assert stack.status == "UPDATE_COMPLETE"
    assert {name: stack.parameters[name] for name in ruled.given.parameters} == dict(
        ruled.given.parameters
    )


def test_a_callback_to_the_domain_is_stored_and_published(ruled: Ruled) -> None:
    room_id = str(uuid.uuid4())
    response = requests.post(
        ruled.stack.stack.base_url + ruled.stack.stack.callback_path(),
        data=a_body("room:expired", room_id=room_id),
        headers={"Content-Type": "application/json", "Host": DOMAIN},
        timeout=WITHIN,
    )
    assert response.status_code == 204
    [event] = ruled.stack.events_about(room_id, count=1)
    assert event["detail-type"] == "room:expired"
    [item] = scanned(ruled.stack, room_id)
    assert item["pk"]["S"].startswith("EVENT#")


def scanned(deployed: Deployed, text: str) -> list[dict[str, Any]]:
    table = deployed.stack.outputs["TableName"]
    found = deployed.stack.client("dynamodb").get_paginator("scan").paginate(TableName=table)
    return [item for page in found for item in page["Items"] if text in json.dumps(item)]


@pytest.mark.parametrize("job", ["cleanup", "reconciliation", "copying", "room-extension"])
def test_every_job_runs_within_the_boundary(job: str, ruled: Ruled) -> None:
    response = jobs.post(ruled.stack.stack, job, {})
    assert response.status_code == 200, response.text
    assert (response.json()["failed"], response.json()["stopped_by"]) == (0, None)


def test_a_recording_is_copied_and_its_file_served_within_the_boundary(ruled: Ruled) -> None:
    [recording_id] = ruled.stack.vonage.add_recordings(1, status="stopped")["recording_ids"]
    ruled.stack.vonage.upload(recording_id)
    recordings = ruled.stack.store().recordings
    assert wait_until(
        lambda: bool((each := recordings.get(recording_id)) and each.copied_at), WITHIN
    )
    response = ManagementApi(ruled.stack.stack).call("GET", f"/recordings/{recording_id}/file")
    assert response.status_code == 200, response.text


@pytest.fixture
def narrower(ruled: Ruled) -> Iterator[None]:
    """The boundary allows nothing on the table while a test runs."""
    iam = ruled.stack.stack.client("iam")
    policy = {"PolicyArn": ruled.given.boundary}
    whole = iam.get_policy_version(**policy, VersionId="v1")["PolicyVersion"]["Document"]
    left = [each for each in whole["Statement"] if each["Sid"] != "Table"]
    narrow = {**whole, "Statement": left}
    iam.create_policy_version(**policy, PolicyDocument=json.dumps(narrow), SetAsDefault=True)
    yield
    # The local AWS has no SetDefaultPolicyVersion.
    iam.create_policy_version(**policy, PolicyDocument=json.dumps(whole), SetAsDefault=True)


def test_the_local_aws_enforces_the_boundary(narrower: None, ruled: Ruled) -> None:
    assert ruled.stack.post(a_body("room:expired", room_id=str(uuid.uuid4()))).status_code == 503


def test_every_role_has_the_boundary(ruled: Ruled) -> None:
    iam = ruled.stack.stack.client("iam")
    roles = resource_ids(ruled.stack.stack, "AWS::IAM::Role")
    assert roles.keys() >= expected("AWS::IAM::Role", ruled)
    for name in roles.values():
        boundary = iam.get_role(RoleName=name)["Role"]["PermissionsBoundary"]
        assert boundary["PermissionsBoundaryArn"] == ruled.given.boundary


def expected(resource_type: str, ruled: Ruled) -> set[str]:
    """Return the logical ids of the template's resources of a type, with these parameters."""
    found = included(ruled.stack.stack.parameters).items()
    return {name for name, each in found if each["Type"] == resource_type}


def test_the_functions_that_call_vonage_are_in_the_subnets(ruled: Ruled) -> None:
    client = ruled.stack.stack.client("lambda")
    functions = resource_ids(ruled.stack.stack, "AWS::Lambda::Function")
    assert functions.keys() == expected("AWS::Serverless::Function", ruled)
    for logical_id, name in functions.items():
        properties = template()["Resources"][logical_id]["Properties"]
        vpc = client.get_function_configuration(FunctionName=name)["VpcConfig"]
        given = ruled.given.parameters if "VpcConfig" in properties else {}
        assert ",".join(vpc["SubnetIds"]) == given.get("VonageSubnetIds", "")
        assert ",".join(vpc["SecurityGroupIds"]) == given.get("VonageSecurityGroupIds", "")


def test_everything_that_keeps_data_has_the_key(ruled: Ruled) -> None:
    stack, key = ruled.stack.stack, ruled.given.key
    table = stack.client("dynamodb").describe_table(TableName=stack.outputs["TableName"])["Table"]
    assert table["SSEDescription"]["KMSMasterKeyArn"] == key
    bus = stack.client("events").describe_event_bus(Name=stack.outputs["EventBusName"])
    assert bus["KmsKeyIdentifier"] == key
    for queue in resource_ids(stack, "AWS::SQS::Queue").values():
        attributes = stack.client("sqs").get_queue_attributes(
            QueueUrl=queue, AttributeNames=["KmsMasterKeyId", "SqsManagedSseEnabled"]
        )["Attributes"]
        assert attributes["KmsMasterKeyId"] == key
    for secret in resource_ids(stack, "AWS::SecretsManager::Secret").values():
        assert stack.client("secretsmanager").describe_secret(SecretId=secret)["KmsKeyId"] == key
    groups = {
        each["logGroupName"]: each.get("kmsKeyId")
        for page in stack.client("logs").get_paginator("describe_log_groups").paginate()
        for each in page["logGroups"]
    }
    for group in resource_ids(stack, "AWS::Logs::LogGroup").values():
        assert groups[group] == key


def test_the_callback_url_is_on_the_domain_and_its_target_is_an_output(ruled: Ruled) -> None:
    stack = ruled.stack.stack
    assert stack.outputs["VideoCallbackUrl"] == f"https://{DOMAIN}/callbacks/video"
    found = stack.client("apigatewayv2").get_domain_name(DomainName=DOMAIN)
    [configuration] = found["DomainNameConfigurations"]
    assert stack.outputs["CallbackDomainTarget"] == configuration["ApiGatewayDomainName"]
    assert configuration["CertificateArn"] == ruled.given.parameters["CallbackCertificateArn"]


def test_the_commands_work_with_the_domain(ruled: Ruled) -> None:
    result = make(ruled.stack.stack, "smoke")
    assert result.code == 0, result.text


def test_the_functions_have_the_tags(ruled: Ruled) -> None:
    client = ruled.stack.stack.client("lambda")
    for name in resource_ids(ruled.stack.stack, "AWS::Lambda::Function").values():
        arn = client.get_function_configuration(FunctionName=name)["FunctionArn"]
        assert client.list_tags(Resource=arn)["Tags"].items() >= TAGS.items()
