"""Event bus -> mail: sends a link to each copy of a recording, valid for an hour.

A repeated event sends the mail once more, which does no harm, so the function stores no event ids.
"""

import json
import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import boto3
from botocore.config import Config

LINK_SECONDS = 3600
"""A link expires with the credentials that sign it. The credentials of a role that another role
assumes expire after at most an hour (role chaining)."""

MAIL = """\
A recording was copied, and the copy is verified.

File:    s3://{bucket}/{key}
Size:    {size:,} bytes
SHA-256: {sha256} (base64)

Anyone who has this link can download the file until {until:%d %B %Y %H:%M} UTC:

{link}

The file stays where it is. To make a link later, with access to the bucket:

aws s3 presign 's3://{bucket}/{key}'
"""

LINK = Config(
    signature_version="s3v4",  # objects encrypted with a KMS key require it
    s3={"addressing_style": "virtual"},  # a link to the region; the global endpoint may redirect
)

sts = boto3.client("sts")
sns = boto3.client("sns")


def handler(event: Mapping[str, Any], _context: object) -> None:
    """Send the mail about a `recording:copied` event.

    The ids in the key are escaped, so no caller of Vonage's API can put text into a mail.

    Raises:
        ClientError: Lambda retries twice, then sends the event to the dead-letter queue.
    """
    copy = event["detail"]["data"]
    link, until = link_to(copy)
    sns.publish(
        TopicArn=os.environ["TOPIC_ARN"],
        Subject="A recording was copied",
        Message=MAIL.format_map({**copy, "link": link, "until": until}),
    )


def link_to(copy: Mapping[str, Any]) -> tuple[str, datetime]:
    """Return a link that downloads this version of the copy, and its expiry time in UTC."""
    assumed = sts.assume_role(
        RoleArn=os.environ["LINK_ROLE_ARN"],
        RoleSessionName="link",
        DurationSeconds=LINK_SECONDS,
        Policy=json.dumps(only(copy)),
    )["Credentials"]
    s3 = boto3.client(
        "s3",
        aws_access_key_id=assumed["AccessKeyId"],
        aws_secret_access_key=assumed["SecretAccessKey"],
        aws_session_token=assumed["SessionToken"],
        config=LINK,
    )
    version = {"VersionId": copy["version_id"]} if "version_id" in copy else {}
    link: str = s3.generate_presigned_url(
        "get_object",
        Params={"Bucket": copy["bucket"], "Key": copy["key"], **version},
        ExpiresIn=LINK_SECONDS,
    )
    return link, assumed["Expiration"]


def only(copy: Mapping[str, Any]) -> dict[str, Any]:
    """Return a session policy that limits the link to this file."""
    partition = os.environ["LINK_ROLE_ARN"].split(":")[1]
    read = {
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:GetObjectVersion"],
        "Resource": f"arn:{partition}:s3:::{copy['bucket']}/{copy['key']}",
    }
    decrypt = {"Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [read, decrypt]}
