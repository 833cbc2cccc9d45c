"""Copies into an existing bucket, encrypted with a key of the account, as companies have them."""

import hashlib
from base64 import b64encode
from typing import Any

import pytest
import requests
from botocore.exceptions import ClientError

from local.clients.management import ManagementApi
from local.waiting import wait_until
from roomkeeper.domain.copies import MAX_SINGLE, MIB, Copy
from tests.support.company import BUCKET, OTHER_BUCKET, key_of_bucket
from tests.support.deployed import WITHIN, Deployed
from tests.support.roles import Roles

pytestmark = pytest.mark.local_stack


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
    assert found["SSEKMSKeyId"] == key_of_bucket(company.stack)

    api = ManagementApi(company.stack)
    file = api.call("GET", f"/recordings/{recording_id}/file").json()
    content = requests.get(file["url"], timeout=WITHIN).content
    assert b64encode(hashlib.sha256(content).digest()).decode() == copy.sha256 == file["sha256"]

    deleted = api.call("DELETE", f"/recordings/{recording_id}?copy=delete").json()
    assert deleted == {"recording_id": recording_id, "copy": "deleted"}
    left = company.stack.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=copy.key)
    assert "Contents" not in left


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
