"""Runs each measurement in its own process, so that none benefits from another's imports."""

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import certifi
import trustme

from local.servers import PROJECT
from local.testing import template

HERE = Path(__file__).parent
LAYER = "../layer/python"
LAYER_FOR_INTAKE = "../layer-for-intake/python"
LAYER_FOR_VONAGE = "../layer-for-vonage/python"
SDK = ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "six", "urllib3"]
"""The packages that Lambda's runtime has."""

TIMEOUT = 300.0
"""Seconds after which a process is killed."""

AT_LEAST = 3
"""The least repetitions of a measurement, even if it takes longer than planned."""

Measured = Mapping[str, float]


class MeasurementFailed(Exception):
    """A measured process failed; the message contains its last output."""


@contextmanager
def endpoint() -> Iterator[str]:
    """Run the mock of AWS and Vonage in its own process; yield its URL."""
    with server("benchmarks.endpoint") as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def tls_endpoint() -> Iterator[tuple[str, Path]]:
    """Run the same mock over TLS; yield its URL, and a file with the authorities to trust.

    The file has the public ones and the server's own, as a real certificate store would.
    """
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    with tempfile.TemporaryDirectory() as folder:
        chain, trusted = Path(folder) / "server.pem", Path(folder) / "trusted.pem"
        issued.private_key_and_cert_chain_pem.write_to_path(str(chain))
        trusted.write_bytes(Path(certifi.where()).read_bytes() + authority.cert_pem.bytes())
        with server("benchmarks.endpoint", str(chain)) as port:
            yield f"https://localhost:{port}", trusted


@contextmanager
def server(module: str, *arguments: str) -> Iterator[str]:
    """Run a module that serves, in its own process; yield the port that it prints.

    It ends with this process, however that ends: see `end_with_parent`.
    """
    command = [sys.executable, "-m", module, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=PROJECT, stdin=pipe, stdout=pipe, text=True) as serving:  # noqa: S603
        try:
            assert serving.stdout is not None  # noqa: S101 - it is a pipe
            yield serving.stdout.readline().strip()
        finally:
            serving.terminate()


def end_with_parent() -> None:
    """End this process when its standard input ends, which its parent holds open."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


def in_turn(
    *runs: Callable[[], Measured], at_most: int, seconds: float
) -> Sequence[Sequence[Measured]]:
    """Repeat several runs in turn; return the measurements of each.

    There are `at_most` repetitions, and fewer on a slow machine: none starts after `seconds`,
    except for the first AT_LEAST.
    """
    ends_at = time.monotonic() + seconds
    measured: list[list[Measured]] = [[] for _ in runs]
    for done in range(at_most):
        if done >= AT_LEAST and time.monotonic() >= ends_at:
            break
        for each, run_once in zip(measured, runs, strict=True):
            each.append(run_once())
    return measured


def run(
    script: str,
    paths: Sequence[Path],
    *arguments: str,
    env: Mapping[str, str],
    stdin: str = "",
    site: bool = True,
) -> Measured:
    """Run a script of this folder in a new interpreter; return its measurements.

    Without `site`, only `paths` and the standard library are importable, as in Lambda.

    Raises:
        MeasurementFailed: the script failed.
    """
    search = os.pathsep.join(map(str, paths))
    # -B: Lambda mounts code read-only.
    options = ["-B", "-s" if site else "-S"]
    command = [sys.executable, *options, str(HERE / script), search, *arguments]
    try:
        done = _run(command, env, stdin)
    except subprocess.TimeoutExpired as error:
        message = f"{script} of {paths[0].name} took more than {TIMEOUT:g} seconds"
        raise MeasurementFailed(message) from error
    if done.returncode:
        raise MeasurementFailed(f"{script} of {paths[0].name}: {done.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    return measured


def _run(
    command: Sequence[str], env: Mapping[str, str], stdin: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - our own command
        command,
        env={"PATH": os.environ["PATH"], **env},
        input=stdin,
        stdout=subprocess.DEVNULL,  # logs and metrics
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )


def environment(function: str, url: str, **more: str) -> dict[str, str]:
    """Return a function's environment in the template, with `url` as the AWS endpoint."""
    return {**template.environment(function), **aws_environment(url), **more}


def aws_environment(url: str) -> dict[str, str]:
    """Return the variables of Lambda and of AWS's SDKs, with `url` as the endpoint."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "token",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_REGION": "eu-west-1",
        "AWS_LAMBDA_FUNCTION_NAME": "function",
        "AWS_ENDPOINT_URL": url,
    }


@contextmanager
def sdk() -> Iterator[Path]:
    """Yield a folder with the SDK alone, compiled, as Lambda's runtime has it."""
    specs: list[Any] = [importlib.util.find_spec(name) for name in SDK]
    modules = [Path(spec.origin) for spec in specs]
    packages = [each.parent if each.stem == "__init__" else each for each in modules]
    # -I: the bytecode is written beside the sources, where the measured processes look for it.
    command = [sys.executable, "-I", "-m", "compileall", "-qq", *map(str, packages)]
    subprocess.run(command, check=True)  # noqa: S603
    with tempfile.TemporaryDirectory() as folder:
        for package in packages:
            (Path(folder) / package.name).symlink_to(package)
        yield Path(folder)
