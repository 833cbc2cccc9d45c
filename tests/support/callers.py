"""Users who may call routes of the HTTP API that ask for a signature."""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.credentials import Credentials

from operations.stack import Stack


@contextmanager
def a_caller(stack: Stack, pattern: str) -> Iterator[Credentials]:
    """Make a user who may invoke the routes that `pattern` names, such as `GET/rooms*`."""
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
