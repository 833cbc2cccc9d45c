"""Environment variables of the operator's shell that must not reach local servers and tests."""

import os
from collections.abc import Mapping, MutableMapping

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def without_account(variables: Mapping[str, str]) -> dict[str, str]:
    """Return `variables` without AWS settings, which select a real account or may be invalid.

    The configuration files in the home folder are not read either, nor is EC2 asked for
    credentials.
    """
    others = {name: value for name, value in variables.items() if not name.startswith("AWS_")}
    return others | {
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def bypass_proxies(variables: MutableMapping[str, str] = os.environ) -> None:
    """Make HTTP clients reach this machine without a proxy, and all other hosts as before.

    Some programs read the upper-case variable, others the lower-case one, so both get the hosts of
    both.
    """
    given = ",".join(variables.get(name, "") for name in ("no_proxy", "NO_PROXY")).split(",")
    hosts = list(dict.fromkeys([*filter(None, map(str.strip, given)), *LOOPBACK]))
    excepted = "*" if "*" in hosts else ",".join(hosts)  # curl and urllib accept * only alone
    variables["NO_PROXY"] = variables["no_proxy"] = excepted


def use_only_this_machine() -> None:
    """Limit this process and its child processes to the local AWS, without a proxy."""
    kept = without_account(os.environ)
    os.environ.clear()
    os.environ.update(kept)
    bypass_proxies()
