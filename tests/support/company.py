"""A company's account: its own key, and a bucket for copies that the key encrypts."""

from collections.abc import Mapping

from local import deployer
from local.deployment import local_session
from operations.stack import Stack
from operations.template import ROOT

BUCKET, OTHER_BUCKET = "recordings-of-the-company", "something-else"


def prepare(url: str) -> Mapping[str, str]:
    """Make a key and two buckets at the local AWS, one of which the key encrypts.

    Returns the parameters for a stack that uses them, which the deployer may set from then on.
    """
    account = Stack("allow-deployment", local_session(), url)
    key = made(url, "company-key", "encryption-key.yaml", "KeyArn")
    for bucket in (BUCKET, OTHER_BUCKET):
        where = {"LocationConstraint": account.region}
        account.client("s3").create_bucket(Bucket=bucket, CreateBucketConfiguration=where)
    encrypt_bucket(account, key)
    account.client("iam").attach_user_policy(
        UserName=deployer.NAME, PolicyArn=account.outputs["DeployCompanyRulesPolicyArn"]
    )
    return {"CopyBucket": BUCKET, "EncryptionKeyArn": key}


def made(url: str, name: str, template: str, output: str) -> str:
    """Deploy a template of operations/ as an administrator; return one of its outputs."""
    stack = Stack(name, local_session(), url)
    formation = stack.client("cloudformation")
    formation.create_stack(
        StackName=name,
        TemplateBody=(ROOT / "operations" / template).read_text(),
        Capabilities=["CAPABILITY_IAM"],
    )
    complete = formation.get_waiter("stack_create_complete")
    complete.wait(StackName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return stack.outputs[output]


def encrypt_bucket(account: Stack, key: str) -> None:
    """Have new objects in the bucket encrypted with another key."""
    by_key = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    account.client("s3").put_bucket_encryption(
        Bucket=BUCKET,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": by_key}]
        },
    )


def key_of_bucket(account: Stack) -> str:
    """Return the ARN of the key with which new objects in the bucket are encrypted."""
    found = account.client("s3").get_bucket_encryption(Bucket=BUCKET)
    [rule] = found["ServerSideEncryptionConfiguration"]["Rules"]
    key: str = rule["ApplyServerSideEncryptionByDefault"]["KMSMasterKeyID"]
    return key
