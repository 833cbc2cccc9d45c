"""Commands run as they are documented, against a stack of the local AWS."""

import os
import subprocess

from msgspec import Struct

from operations.stack import Stack
from operations.template import ROOT


class Told(Struct, frozen=True):
    """How a command ended, and all that it printed."""

    code: int
    text: str


def make(stack: Stack, *arguments: str, given: bytes = b"") -> Told:
    """Run make for `stack`, with `given` for its standard input and nobody at the keyboard."""
    command = ["make", "--no-print-directory", *arguments, f"STACK={stack.name}"]
    return run(command, environment_of(stack), given)


def environment_of(stack: Stack) -> dict[str, str]:
    """Return the environment in which commands reach the stack."""
    account = stack.credentials
    aws = {
        "AWS_ACCESS_KEY_ID": account.access_key,
        "AWS_SECRET_ACCESS_KEY": account.secret_key,
        "AWS_DEFAULT_REGION": stack.region,
        "AWS_ENDPOINT_URL": stack.client("sts").meta.endpoint_url,
    }
    # Without what a make that has started the tests hands on to those that it starts.
    left_out = {"ARGS", "MAKEFLAGS", "MFLAGS", "MAKEOVERRIDES", "MAKELEVEL"}
    return {name: value for name, value in os.environ.items() if name not in left_out} | aws


def run(command: list[str], environment: dict[str, str], given: bytes = b"") -> Told:
    """Run a command in the project's folder."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return Told(done.returncode, done.stdout.decode())
