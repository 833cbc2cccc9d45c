"""The region of the operator's commands, and the sentences about AWS's errors."""

import pytest
from botocore.exceptions import (
    ClientError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    SSOTokenLoadError,
    UnknownServiceError,
)

from operations import account
from operations.stack import Stack


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-north-1"),
        ({"AWS_REGION": "eu-north-1", "AWS_DEFAULT_REGION": None}, "eu-north-1"),
        ({"AWS_REGION": "", "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
        ({"AWS_REGION": None, "AWS_DEFAULT_REGION": "eu-west-3"}, "eu-west-3"),
        ({"AWS_REGION": None, "AWS_DEFAULT_REGION": None}, "ca-central-1"),
    ],
)
def test_the_region_is_the_one_that_the_aws_cli_takes(
    variables: dict[str, str | None],
    region: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: object,
) -> None:
    profile = f"{tmp_path}/config"
    with open(profile, "w") as config:  # noqa: PTH123
        config.write("[default]\nregion = ca-central-1\n")
    for name, value in {**variables, "AWS_CONFIG_FILE": profile}.items():
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)

    assert Stack("a-stack").region == region
    assert Stack("a-stack").client("sts").meta.region_name == region


def test_only_aws_region_is_passed_on_to_the_sam_cli(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AWS_REGION", raising=False)
    assert account.region_variables() == {}


def an_error_response(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": "No."}}, "DescribeStacks")


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NoRegionError(), "set AWS_REGION"),
        (NoCredentialsError(), "log in, or set AWS_PROFILE"),
        (SSOTokenLoadError(error_msg="expired"), "log in, or set AWS_PROFILE"),
        (an_error_response("ExpiredToken"), "log in again"),
        (an_error_response("UnrecognizedClientException"), "log in again"),
        (an_error_response("AccessDenied"), "lack a permission"),
        (an_error_response("Throttling"), "AWS returned an error"),
        (EndpointConnectionError(endpoint_url="https://x"), "check the network and AWS_REGION"),
        (UnknownServiceError(service_name="x", known_service_names="y"), "The call to AWS failed"),
    ],
)
def test_an_error_is_one_sentence_with_what_to_do(error: Exception, sentence: str) -> None:
    message = account.explain(error)  # type: ignore[arg-type]
    assert sentence in message
    assert message.endswith(".")
    assert not message.endswith("..")
