"""Starts the deployed stack's jobs, and kills their processes."""

import json
import os
import signal
from collections.abc import Container
from datetime import timedelta
from pathlib import Path
from typing import Any

from botocore.config import Config

from tests.support.deployed import Deployed

DAY = timedelta(days=1)


class JobFailed(Exception):
    """A job's invocation raised; the message is that of its error."""


def run(deployed: Deployed, function: str, **options: Any) -> dict[str, Any]:
    """Invoke the function that the stack's output names, as its schedule does; return its report.

    Raises:
        JobFailed: the job raised, as it does when an item of its batch failed.
    """
    config = Config(read_timeout=900, retries={"total_max_attempts": 1})
    response = deployed.stack.client("lambda", config=config).invoke(
        FunctionName=deployed.stack.outputs[function], Payload=json.dumps(options)
    )
    report: dict[str, Any] = json.loads(response["Payload"].read())
    if "FunctionError" in response:
        raise JobFailed(report["errorMessage"])
    return report


def uploads(deployed: Deployed, count: int) -> list[str]:
    """Have Vonage add recordings and post their upload callbacks; return their ids."""
    ids: list[str] = deployed.vonage.add_recordings(count)["recording_ids"]
    for recording_id in ids:
        assert deployed.vonage.upload(recording_id)["status"] == 204
    return ids


def kill_worker(deployed: Deployed, function: str) -> None:
    """Kill the processes in which the local AWS runs a function, with SIGKILL."""
    killed = kill_all(deployed, deployed.stack.outputs[function])
    assert killed, "no process of that function runs"


def kill_all(deployed: Deployed, name: str) -> int:
    """Kill all processes of the function with this name; return how many there were."""
    running = workers(deployed, name)
    for worker in running:
        os.kill(worker, signal.SIGKILL)
    return len(running)


def workers(deployed: Deployed, name: str, but: Container[int] = ()) -> list[int]:
    """Return the ids of the processes in which the local AWS runs the function with this name.

    Processes in `but` are skipped: reading the environment of every process is slow.
    """
    wanted = {
        f"AWS_LAMBDA_FUNCTION_NAME={name}".encode(),
        f"GATEWAY_PORT={deployed.stack.base_url.rpartition(':')[2]}".encode(),
    }
    return [
        each
        for each in processes()
        if each not in but and wanted <= set(_environment_of(Path(f"/proc/{each}")))
    ]


def processes() -> list[int]:
    """Return the ids of all processes of this machine."""
    return [int(each) for each in os.listdir("/proc") if each.isdecimal()]  # noqa: PTH208 - fast


def at_work(deployed: Deployed, name: str, but: Container[int] = ()) -> list[int]:
    """Return the ids of those `workers` that are handling an invocation."""
    return [each for each in workers(deployed, name, but) if _is_at_work(each)]


def _is_at_work(worker: int) -> bool:
    """Return whether a process is handling an invocation: an idle one waits in a pipe read.

    Source: proc_pid_wchan(5).
    """
    try:
        return "pipe_read" not in Path(f"/proc/{worker}/wchan").read_text()
    except OSError:  # the process has ended
        return False


def _environment_of(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:  # the process is another user's or has ended
        return []
