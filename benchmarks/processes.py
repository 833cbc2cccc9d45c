"""Measurements in processes of their own, so that none profits from what another has loaded."""

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

LONGEST = 1800.0
"""Seconds after which a process is ended that does not come to an end."""

Measured = Mapping[str, float]


class MeasurementFailed(Exception):
    """A process that was to be measured ended badly; the message has what it said last."""


@contextmanager
def endpoint() -> Iterator[str]:
    """Have AWS and Vonage answer, in a process of their own; yield where."""
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
    """Run one of the scripts here in a fresh interpreter; return what it measured.

    Raises:
        MeasurementFailed: it ended with an error.
    """
    search = os.pathsep.join(map(str, paths))
    # -B, as Lambda mounts code read-only; -s and no PYTHONPATH, so that nothing else is found.
    command = [sys.executable, "-B", "-s", str(HERE / script), search, *arguments]
    done = subprocess.run(  # noqa: S603 - our own command
        command,
        env={"PATH": os.environ["PATH"], **env},
        input=stdin,
        stdout=subprocess.DEVNULL,  # logs and metrics
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=LONGEST,
    )
    if done.returncode:
        raise MeasurementFailed(f"{script} of {paths[0].name}: {done.stderr[-2000:]}")
    measured: dict[str, float] = json.loads(done.stderr.splitlines()[-1])
    return measured


def environment(url: str, **more: str) -> dict[str, str]:
    """Return what Lambda's environment has, led to `url`."""
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
    """Have the SDK's bytecode in place, as it is in Lambda's runtime, for the floor's sake."""
    for name in SDK:
        spec: Any = importlib.util.find_spec(name)
        compileall.compile_dir(Path(spec.origin).parent, quiet=2)
