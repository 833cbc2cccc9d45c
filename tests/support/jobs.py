"""Jobs of the deployed stack, as the end-to-end tests start them and cut them off."""

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
    """A run raised; the message is what it raised with."""


def run(deployed: Deployed, function: str, **options: Any) -> dict[str, Any]:
    """Invoke the function that the stack's output names, as its schedule does; return its report.

    Raises:
        JobFailed: it raised, as it does at the end of a round in which something failed.
    """
    patient = Config(read_timeout=900, retries={"total_max_attempts": 1})
    answer = deployed.stack.client("lambda", config=patient).invoke(
        FunctionName=deployed.stack.outputs[function], Payload=json.dumps(options)
    )
    report: dict[str, Any] = json.loads(answer["Payload"].read())
    if "FunctionError" in answer:
        raise JobFailed(report["errorMessage"])
    return report


def uploads(deployed: Deployed, count: int) -> list[str]:
    """Have Vonage hold recordings, and tell of their uploads by callbacks; return their ids."""
    ids: list[str] = deployed.vonage.add_recordings(count)["recording_ids"]
    for recording_id in ids:
        assert deployed.vonage.upload(recording_id)["status"] == 204
    return ids


def kill_worker(deployed: Deployed, function: str) -> None:
    """Kill the process in which the local AWS runs a function, without warning."""
    killed = kill_all(deployed, deployed.stack.outputs[function])
    assert killed, "no process of that function runs"


def kill_all(deployed: Deployed, name: str) -> int:
    """Kill all processes of the function of that name; return how many there were."""
    running = workers(deployed, name)
    for worker in running:
        os.kill(worker, signal.SIGKILL)
    return len(running)


def workers(deployed: Deployed, name: str, but: Container[int] = ()) -> list[int]:
    """Return the processes in which the local AWS runs the function of that name.

    Those in `but` are not looked at: it takes a while to look at all of a machine's.
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
    """Return all processes that there are."""
    return [int(each) for each in os.listdir("/proc") if each.isdecimal()]  # noqa: PTH208 - fast


def is_at_work(worker: int) -> bool:
    """Whether a process is in the middle of an invocation: else it reads from a pipe for the next.

    Source: proc_pid_wchan(5).
    """
    try:
        return "pipe_read" not in Path(f"/proc/{worker}/wchan").read_text()
    except OSError:  # gone
        return False


def _environment_of(process: Path) -> list[bytes]:
    try:
        return (process / "environ").read_bytes().split(b"\0")
    except OSError:  # another user's, or gone
        return []
