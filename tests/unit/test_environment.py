"""The operator's AWS and proxy settings do not reach what runs on this machine."""

import os

import pytest
import requests

from operations import environment
from operations.stack import Stack, StackError


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"NO_PROXY": "corp.example"},
        {"no_proxy": "corp.example , .internal"},
        {"no_proxy": "", "NO_PROXY": "corp.example"},
        {"no_proxy": "*"},
        {"NO_PROXY": "corp.example,*"},
    ],
)
def test_this_machine_is_reached_without_a_proxy_and_other_exceptions_stay(
    given: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        **given,
        "http_proxy": "http://proxy:1",
        "HTTP_PROXY": "http://p:1",
    }.items():
        monkeypatch.setenv(name, value)

    environment.bypass_proxies()

    for host in ("127.0.0.1", "localhost"):
        assert not requests.utils.get_environ_proxies(f"http://{host}:4566/"), host
    excepted = any("corp" in value or "*" in value for value in given.values())
    assert bool(requests.utils.get_environ_proxies("http://corp.example/")) is not excepted
    assert os.environ["NO_PROXY"] == os.environ["no_proxy"]
    assert bool(requests.utils.get_environ_proxies("http://aws.example/")) is (
        "*" not in os.environ["no_proxy"]
    )


def test_no_aws_setting_of_the_shell_or_the_home_folder_is_left() -> None:
    given = {"AWS_PROFILE": "typo", "AWS_CA_BUNDLE": "/none", "PATH": "/bin"}

    kept = environment.without_account(given)

    assert kept.pop("AWS_EC2_METADATA_DISABLED") == "true"
    assert kept == {
        "PATH": "/bin",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_ENDPOINT_URL", "localhost:4566"), ("AWS_MAX_ATTEMPTS", "many")],
)
def test_an_invalid_setting_of_the_sdk_is_named(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(StackError, match=f"An AWS setting is invalid .*{value}"):
        Stack("a-stack").client("sts")
