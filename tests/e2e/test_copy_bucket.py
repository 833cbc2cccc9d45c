"""Copies into an existing bucket, encrypted with a key of the account, as companies have them."""

import hashlib
import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from local import deployer
from local import stack as local_stack
from local.clients.management import ManagementApi
from local.deployment import local_session
from local.waiting import wait_until
from operations.stack import Stack
from operations.subscriber import Subscriber
from operations.template import ROOT
from roomkeeper.domain.copies import MAX_SINGLE, MIB, Copy
from tests.support.deployed import WITHIN, Deployed
from tests.support.roles import Roles
from tests.support.suites import LOCAL

pytestmark = pytest.mark.local_stack

BUCKET, OTHER_BUCKET = "recordings-of-the-company", "something-else"
FOLDER = LOCAL.with_name(f"{LOCAL.name}-copy-bucket")
KEY_TEMPLATE = ROOT / "operations" / "encryption-key.yaml"


def prepare(url: str) -> Mapping[str, str]:
    """Make a key and two buckets as an administrator, one of which the key encrypts."""
    administrator = local_session()
    key = a_key(Stack("company-key", administrator, url))
    s3 = administrator.client("s3", endpoint_url=url)
    for bucket in (BUCKET, OTHER_BUCKET):
        where = {"LocationConstraint": administrator.region_name}
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    by_key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    s3.put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": by_key}]
        },
    )
    policies = Stack("allow-deployment", administrator, url)
    administrator.client("iam", endpoint_url=url).attach_user_policy(
        UserName=deployer.NAME, PolicyArn=policies.outputs["DeployCompanyRulesPolicyArn"]
    )
    return {"CopyBucket": BUCKET, "EncryptionKeyArn": key}


def a_key(made: Stack) -> str:
    """Deploy the template of the key; return its ARN."""
    formation = made.client("cloudformation")
    formation.create_stack(StackName=made.name, TemplateBody=KEY_TEMPLATE.read_text())
    complete = formation.get_waiter("stack_create_complete")
    complete.wait(StackName=made.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return made.outputs["KeyArn"]


@pytest.fixture(scope="module")
def company() -> Iterator[Deployed]:
    """A stack that copies into the company's bucket."""
    parameters = {"CopyRecordings": "true"}
    with local_stack.running(FOLDER, print, parameters=parameters, prepare=prepare) as local:
        subscriber = Subscriber(local.stack, f"test-{secrets.token_hex(4)}")
        try:
            yield Deployed(local.stack, local.operated, local.vonage, subscriber, FOLDER)
        finally:
            subscriber.close()


def copied(company: Deployed, size: int) -> tuple[str, Copy]:
    """Have a recording of this size copied; return its id and its copy."""
    [recording_id] = company.vonage.add_recordings(1, status="stopped", size=size)["recording_ids"]
    company.vonage.upload(recording_id)
    store = company.store().recordings
    assert wait_until(lambda: bool((each := store.get(recording_id)) and each.copied_at), WITHIN)
    known = store.get(recording_id)
    assert known is not None
    assert known.copy is not None
    return str(recording_id), known.copy


def test_no_bucket_is_made_beside_the_given_one(company: Deployed) -> None:
    buckets = company.stack.client("s3").list_buckets()["Buckets"]
    assert not [each["Name"] for each in buckets if "copiesbucket" in each["Name"].lower()]
    assert company.stack.outputs["CopyBucketName"] == BUCKET


@pytest.mark.parametrize("size", [1000, MAX_SINGLE + MIB])
def test_a_recording_is_copied_into_the_given_bucket_with_its_key(
    size: int, company: Deployed
) -> None:
    recording_id, copy = copied(company, size)
    assert copy.bucket == BUCKET
    found = company.stack.client("s3").head_object(Bucket=BUCKET, Key=copy.key)
    assert found["ContentLength"] == size
    assert found["ServerSideEncryption"] == "aws:kms"
    assert found["SSEKMSKeyId"] == company.stack.parameters["EncryptionKeyArn"]

    api = ManagementApi(company.stack)
    file = api.call("GET", f"/recordings/{recording_id}/file").json()
    content = requests.get(file["url"], timeout=30).content
    assert b64encode(hashlib.sha256(content).digest()).decode() == copy.sha256 == file["sha256"]

    deleted = api.call("DELETE", f"/recordings/{recording_id}?copy=delete").json()
    assert deleted == {"recording_id": recording_id, "copy": "deleted"}
    assert "Contents" not in company.stack.client("s3").list_objects_v2(Bucket=BUCKET)


@pytest.mark.parametrize("role", ["RecordingCopierRole", "ManagementApiRole"])
def test_the_roles_reach_one_prefix_of_that_bucket_alone(role: str, company: Deployed) -> None:
    session: Any = Roles(company).session(role)
    s3 = session.client("s3", endpoint_url=company.stack.base_url)
    is_copier = role == "RecordingCopierRole"
    assert allows(s3, "get_object", BUCKET, "recordings/a.mp4")
    assert allows(s3, "put_object", BUCKET, "recordings/a.mp4", Body=b"a") == is_copier
    for bucket, key in ((BUCKET, "a.mp4"), (OTHER_BUCKET, "recordings/a.mp4")):
        assert not allows(s3, "get_object", bucket, key)
        assert not allows(s3, "put_object", bucket, key, Body=b"a")
    assert allows(s3, "list_objects_v2", BUCKET, Prefix="recordings/2026") == is_copier
    for more in ({}, {"Prefix": ""}, {"Prefix": "invoices/"}):
        assert not allows(s3, "list_objects_v2", BUCKET, **more)


def allows(s3: Any, operation: str, bucket: str, key: str | None = None, **more: Any) -> bool:
    """Return whether a call is not denied. Any other error means that it was allowed."""
    place = {"Bucket": bucket} if key is None else {"Bucket": bucket, "Key": key}
    try:
        getattr(s3, operation)(**place, **more)
    except ClientError as error:
        return error.response["Error"]["Code"] != "AccessDenied"
    return True
