"""IAM users who may call the HTTP API's routes that need an AWS signature."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.credentials import Credentials

from operations.stack import Stack


@contextmanager
def a_caller(stack: Stack, pattern: str) -> Iterator[Credentials]:
    """Create a user who may invoke the routes that match `pattern`, such as `GET/rooms*`.

    Yields:
        The user's credentials. The user is deleted in the end.
    """
    iam, name = stack.client("iam"), f"operator-{uuid.uuid4().hex[:8]}"
    api = stack.outputs["ManagementUrl"].removeprefix("https://").partition(".")[0]
    resource = f"arn:aws:execute-api:*:*:{api}/$default/{pattern}"
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": resource}
    iam.create_user(UserName=name)
    iam.put_user_policy(
        UserName=name,
        PolicyName="invoke",
        PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [statement]}),
    )
    key = iam.create_access_key(UserName=name)["AccessKey"]
    try:
        yield Credentials(key["AccessKeyId"], key["SecretAccessKey"])
    finally:
        iam.delete_access_key(UserName=name, AccessKeyId=key["AccessKeyId"])
        iam.delete_user_policy(UserName=name, PolicyName="invoke")
        iam.delete_user(UserName=name)
