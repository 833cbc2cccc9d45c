"""The IAM user that deploys to the local AWS with the policies of deployer-policy.yaml."""

from typing import Any

import boto3

from local.servers import PROJECT, REGION
from operations.stack import Stack

TEMPLATE = PROJECT / "operations/deployer-policy.yaml"
NAME = "deployer"
POLICIES = ("DeployPolicy", "DeployDataPolicy", "DeployCopiesPolicy", "OperatePolicy")
"""The policies that suffice without the parameters for a company's rules."""


def create(root: boto3.Session, endpoint: str) -> boto3.Session:
    """Create the user with an access key, as an administrator would; return its SDK session."""
    policies = _policies(Stack("allow-deployment", root, endpoint))
    iam: Any = root.client("iam", endpoint_url=endpoint)
    iam.create_user(UserName=NAME)
    for name in POLICIES:
        arn = policies.outputs[f"{name}Arn"]
        iam.attach_user_policy(UserName=NAME, PolicyArn=arn)
    key = iam.create_access_key(UserName=NAME)["AccessKey"]
    return boto3.Session(
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
        region_name=REGION,
    )


def _policies(stack: Stack) -> Stack:
    """Deploy the policies' template; return its stack once it is complete."""
    formation = stack.client("cloudformation")
    formation.create_stack(
        StackName=stack.name,
        TemplateBody=TEMPLATE.read_text(),
        Capabilities=["CAPABILITY_IAM"],
    )
    complete = formation.get_waiter("stack_create_complete")
    complete.wait(StackName=stack.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    return stack


def environment(user: Any) -> dict[str, str]:
    """Return the environment variables with a user's credentials."""
    return {"AWS_ACCESS_KEY_ID": user.access_key, "AWS_SECRET_ACCESS_KEY": user.secret_key}
