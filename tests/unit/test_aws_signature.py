"""The SDK's own signer is what ours is held to."""

from collections.abc import Mapping
from datetime import UTC, datetime
from unittest import mock

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as SdkCredentials
from hypothesis import given
from hypothesis import strategies as st

from roomkeeper.aws.signature import Credentials, Scope, signed
from tests.builders import NOON

HOST = "dynamodb.eu-west-1.amazonaws.com"
HEADERS = {
    "content-type": "application/x-amz-json-1.0",
    "host": HOST,
    "x-amz-target": "DynamoDB_20120810.UpdateItem",
}
words = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


def by_the_sdk(
    body: bytes, credentials: Credentials, scope: Scope, now: datetime
) -> Mapping[str, str]:
    keys = SdkCredentials(credentials.key_id, credentials.secret, credentials.session_token or None)
    request = AWSRequest("POST", f"https://{HOST}/", HEADERS, body)
    with mock.patch("botocore.auth.get_current_datetime", return_value=now):
        SigV4Auth(keys, scope.service, scope.region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@given(
    st.binary(max_size=1000),
    st.builds(Credentials, words, words, st.just("") | words),
    st.builds(Scope, words, words),
    st.datetimes(datetime(2020, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC)),
)
def test_a_request_is_signed_as_the_sdk_signs_it(
    body: bytes, credentials: Credentials, scope: Scope, now: datetime
) -> None:
    assert signed(HEADERS, body, credentials, scope, now) == by_the_sdk(
        body, credentials, scope, now
    )


def test_credentials_are_read_as_lambda_gives_them() -> None:
    env = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "key", "AWS_SESSION_TOKEN": "token"}
    assert Credentials.from_env(env) == Credentials("id", "key", "token")
    with pytest.raises(KeyError, match="AWS_SECRET_ACCESS_KEY"):
        Credentials.from_env({"AWS_ACCESS_KEY_ID": "id"})


def test_the_secret_is_in_no_header() -> None:
    headers = signed(HEADERS, b"", Credentials("id", "s3cret"), Scope("r", "s"), NOON)
    assert "s3cret" not in repr(headers)
