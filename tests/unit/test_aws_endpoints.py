"""The intake's client chooses the same endpoints as botocore."""

from typing import Any

import boto3
import pytest
from botocore.config import Config

from roomkeeper.aws import AwsError
from roomkeeper.aws.endpoints import endpoint_of

REGIONS = {
    "eu-west-1": "amazonaws.com",
    "us-east-1": "amazonaws.com",
    "us-gov-west-1": "amazonaws.com",
    "cn-north-1": "amazonaws.com.cn",
    "eusc-de-east-1": "amazonaws.eu",
    "us-iso-east-1": "c2s.ic.gov",
    "us-isob-east-1": "sc2s.sgov.gov",
}
READ = {"dynamodb": "describe_limits", "secretsmanager": "list_secrets"}


class Sent(Exception):
    """A request was about to be sent; the argument is its URL."""


def by_botocore(service: str, region: str, *, fips: bool) -> str:
    client: Any = boto3.client(
        service,  # type: ignore[call-overload]
        region_name=region,
        config=Config(use_fips_endpoint=fips, retries={"total_max_attempts": 1}),
    )

    def stop(request: Any, **_: Any) -> None:
        raise Sent(request.url)

    client.meta.events.register("before-send", stop)
    with pytest.raises(Sent) as sent:
        getattr(client, READ[service])()
    return str(sent.value).rstrip("/")


@pytest.mark.parametrize("fips", [False, True])
@pytest.mark.parametrize("region", REGIONS)
@pytest.mark.parametrize("service", READ)
def test_region_partition_and_fips_choose_the_endpoint(
    service: str, region: str, fips: bool
) -> None:
    env = {"AWS_DEFAULT_REGION": region, "URL_SUFFIX": REGIONS[region]}
    if fips:
        env["AWS_USE_FIPS_ENDPOINT"] = "true"
    assert endpoint_of(service, env) == by_botocore(service, region, fips=fips)


@pytest.mark.parametrize(
    ("service", "variable"),
    [
        ("dynamodb", "AWS_ENDPOINT_URL_DYNAMODB"),
        ("secretsmanager", "AWS_ENDPOINT_URL_SECRETS_MANAGER"),
    ],
)
def test_an_endpoint_url_wins_and_that_of_the_service_first(service: str, variable: str) -> None:
    env = {"AWS_DEFAULT_REGION": "eu-west-1", "URL_SUFFIX": "amazonaws.com"}
    env |= {"AWS_USE_FIPS_ENDPOINT": "true", "AWS_ENDPOINT_URL": "http://all:1"}
    assert endpoint_of(service, env) == "http://all:1"
    assert endpoint_of(service, env | {variable: "http://one:1"}) == "http://one:1"


def test_dual_stack_is_refused_with_the_alternative() -> None:
    env = {"AWS_DEFAULT_REGION": "eu-west-1", "URL_SUFFIX": "amazonaws.com"}
    env["AWS_USE_DUALSTACK_ENDPOINT"] = "true"
    with pytest.raises(AwsError, match="AWS_ENDPOINT_URL_DYNAMODB"):
        endpoint_of("dynamodb", env)
