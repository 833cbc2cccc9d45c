"""Deploys the example subscribers beside the stack of the end-to-end tests."""

import subprocess
from collections.abc import Mapping

import boto3

from local import deployment
from local.servers import BUILD, CREDENTIALS, REGION, TOOLS
from local.testing.template import ROOT
from operations.stack import Stack

OTHER_ACCOUNT = "222222222222"
"""The local AWS takes an access key of 12 digits for the root user of the account with that id."""


def deploy(
    roomkeeper: Stack, template: str, parameters: Mapping[str, str], account: str | None = None
) -> Stack:
    """Deploy a template of examples/ to the local AWS as its README says; return the stack."""
    name = template.removesuffix(".yaml").replace("/", "-").replace("_", "-")
    keys = CREDENTIALS | ({"AWS_ACCESS_KEY_ID": account} if account else {})
    command = [str(TOOLS / "sam/bin/sam"), "deploy", "--region", REGION, "--stack-name", name]
    command += ["--template-file", str(ROOT / "examples" / template), "--no-confirm-changeset"]
    command += ["--capabilities", "CAPABILITY_IAM", "--resolve-s3", "--no-progressbar"]
    if parameters:
        command += ["--parameter-overrides", *(f"{k}={v}" for k, v in parameters.items())]
    where = {**keys, "AWS_ENDPOINT_URL": roomkeeper.base_url}
    ran = subprocess.run(
        command,
        cwd=BUILD,
        env={**deployment._environment(), **where},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    session = boto3.Session(
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )
    return Stack(name, session, roomkeeper.base_url)
