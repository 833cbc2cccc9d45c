"""Builds the real template and deploys it onto the local AWS, with the SAM CLI."""

import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3
import yaml

from local.servers import BUILD, CREDENTIALS, PROJECT, REGION, TOOLS, LocalStackError, Server
from operations import bytecode
from operations.stack import Stack

STACK_NAME = "roomkeeper-local"
UNKNOWN_TO_MINISTACK = {"AWS::Events::Archive", "AWS::EventSchemas::Schema"}

Say = Callable[[str], None]


def build() -> Path:
    """Build functions and layer for the interpreter at hand; return the built template's path.

    Raises:
        LocalStackError: the build failed; the message says where its output is.
    """
    target = BUILD / "sam"
    _sam(
        ["build", "--build-dir", str(target)],
        BUILD / "local/sam-build.log",
        {},
    )
    bytecode.compile_built(target)
    return target / "template.yaml"


def deploy(aws: Server, say: Say, parameters: Mapping[str, str] | None = None) -> Stack:
    """Deploy the built template onto `aws`; return the stack once it is complete.

    Raises:
        LocalStackError: the deployment failed; the message says where its output is.
    """
    template = _for_ministack(build(), say)
    session = local_session()
    command = ["deploy", "--template-file", str(template), "--stack-name", STACK_NAME]
    command += ["--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset"]
    _sam(
        [*command, "--no-progressbar", "--region", REGION],
        Path(aws.log).with_name("sam-deploy.log"),
        {**CREDENTIALS, "AWS_ENDPOINT_URL": aws.url},
        parameters or {},
    )
    return Stack(STACK_NAME, session, aws.url)


def local_session() -> boto3.Session:
    """Return an SDK session of the local AWS's root user."""
    return boto3.Session(
        aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
        region_name=REGION,
    )


def _for_ministack(built: Path, say: Say) -> Path:
    """Write the built template without the resource types that MiniStack refuses, and say which."""
    template: dict[str, Any] = yaml.safe_load(built.read_text())
    resources = template["Resources"]
    for name in [n for n, r in resources.items() if r["Type"] in UNKNOWN_TO_MINISTACK]:
        say(f"left out locally: {name} ({resources.pop(name)['Type']}), unknown to MiniStack")
    local = built.with_name("template-local.yaml")
    local.write_text(yaml.safe_dump(template, sort_keys=False))
    return local


def _sam(
    command: Sequence[str],
    log: Path,
    settings: Mapping[str, str],
    parameters: Mapping[str, str] | None = None,
) -> None:
    overrides = {**_this_machine(), **(parameters or {})}
    command = [str(TOOLS / "sam/bin/sam"), *command, "--parameter-overrides"]
    command += [f"{name}={value}" for name, value in overrides.items()]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as output:
        code = subprocess.call(  # noqa: S603 - our own command
            command,
            cwd=PROJECT,
            env={**_environment(), **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
    if code:
        raise LocalStackError(
            f"`sam {command[1]}` failed: {_complaint(log)} Its whole output is in {log}."
        )


def _this_machine() -> dict[str, str]:
    """Return the parameters under which the functions run here: its Python, its processor."""
    runtime = f"python{sys.version_info.major}.{sys.version_info.minor}"
    is_arm = platform.machine() in ("aarch64", "arm64")
    return {"Runtime": runtime, "Architecture": "arm64" if is_arm else "x86_64"}


def _environment() -> dict[str, str]:
    """Return this environment, with the interpreter that has pip first in the path."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    scratch = BUILD / "local/tmp"
    scratch.mkdir(parents=True, exist_ok=True)
    return ours | {
        "PATH": f"{TOOLS / 'uv/bin'}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(scratch),
    }


def _complaint(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    complaints = [line for line in lines if "Error" in line or "FAILED" in line]
    return (complaints or lines or ["it said nothing."])[-1].strip()
