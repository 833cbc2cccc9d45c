"""Runs each measurement in its own process, so that none benefits from another's imports."""

import compileall
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local.servers import PROJECT

HERE = Path(__file__).parent
LAYER = "../layer/python"
SDK = ["boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3"]

TIMEOUT = 1800.0
"""Seconds after which a process is killed."""

Measured = Mapping[str, float]


class MeasurementFailed(Exception):
    """A measured process failed; the message contains its last output."""


@contextmanager
def endpoint() -> Iterator[str]:
    """Run the mock of AWS and Vonage in its own process; yield its URL."""
    command = [sys.executable, "-m", "benchmarks.endpoint"]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:  # noqa: S603
        try:
            assert server.stdout is not None  # noqa: S101 - it is a pipe
            yield f"http://127.0.0.1:{server.stdout.readline().strip()}"
        finally:
            server.terminate()


def run(
    script: str, paths: Sequence[Path], *arguments: str, env: Mapping[str, str], stdin: str = ""
) -> Measured:
    """Run a script of this folder in a new interpreter; return its measurements.

    Raises:
        MeasurementFailed: the script failed.
    """
    search = os.pathsep.join(map(str, paths))
    # -B: Lambda mounts code read-only. -s and no PYTHONPATH: only `paths` are importable.
    command = [sys.executable, "-B", "-s", str(HERE / script), search, *arguments]
    done = subprocess.run(  # noqa: S603 - our own command
        command,
        env={"PATH": os.environ["PATH"], **env},
        input=stdin,
        stdout=subprocess.DEVNULL,  # logs and metrics
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=TIMEOUT,
    )
    if done.returncode:
        raise MeasurementFailed(f"{script} of {paths[0].name}: {done.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    return measured


def environment(url: str, **more: str) -> dict[str, str]:
    """Return the environment variables of a function, with `url` as the AWS endpoint."""
    return {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_SESSION_TOKEN": "token",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_REGION": "eu-west-1",
        "AWS_ENDPOINT_URL": url,
        "TABLE_NAME": "table",
        "POWERTOOLS_METRICS_NAMESPACE": "Roomkeeper",
        "POWERTOOLS_LOG_LEVEL": "INFO",
        "POWERTOOLS_SERVICE_NAME": "function",
        **more,
    }


def compile_sdk() -> None:
    """Compile the SDK, as in Lambda's runtime, for a fair comparison with the minimal handler."""
    for name in SDK:
        spec: Any = importlib.util.find_spec(name)
        compileall.compile_dir(Path(spec.origin).parent, quiet=2)
