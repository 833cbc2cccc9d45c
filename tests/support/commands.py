"""Runs documented commands against a stack of the local AWS."""

import os
import subprocess

from msgspec import Struct

from operations.stack import Stack
from operations.template import ROOT


class Result(Struct, frozen=True):
    """The exit code and the output of a command; `text` has stdout and stderr."""

    code: int
    text: str


def make(stack: Stack, *arguments: str, stdin: bytes = b"") -> Result:
    """Run make for `stack`. Standard input is `stdin` and never a terminal."""
    command = ["make", "--no-print-directory", *arguments, f"STACK={stack.name}"]
    return run(command, environment_of(stack), stdin)


def environment_of(stack: Stack) -> dict[str, str]:
    """Return the environment variables with which commands reach the stack."""
    account = stack.credentials
    aws = {
        "AWS_ACCESS_KEY_ID": account.access_key,
        "AWS_SECRET_ACCESS_KEY": account.secret_key,
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_ENDPOINT_URL": stack.client("sts").meta.endpoint_url,
    }
    # `make test` passes these on, and they would change the make that the tests start.
    left_out = {"ARGS", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"}
    return {name: value for name, value in os.environ.items() if name not in left_out} | aws


def run(command: list[str], environment: dict[str, str], stdin: bytes = b"") -> Result:
    """Run a command in the project's root folder."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        input=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return Result(done.returncode, done.stdout.decode())
