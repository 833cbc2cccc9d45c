"""Starts and stops the servers of the local stack, each in a process group of its own."""

import argparse
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import requests
from msgspec import Struct

from local import leftovers
from local.waiting import wait_until
from operations.environment import bypass_proxies, without_account

PROJECT = Path(__file__).parent.parent
TOOLS = PROJECT / ".tools"
BUILD = PROJECT / "build"

REGION = "eu-west-1"
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test"}
"""MiniStack's root user. All other callers have only the permissions of their role."""

NEEDED_PERMISSIONS = "needed-permissions.log"
"""The log of `local.aws.needed_permissions` in the folder of a local stack."""

_children: dict[int, "subprocess.Popen[bytes]"] = {}
"""The servers that this process started and must reap when they exit."""

_PORTS = range(20_000, 30_000)
"""The range of ports for servers without a given port."""

STARTS_WITHIN = 60.0  # seconds
ENDS_WITHIN = 10.0


class LocalStackError(Exception):
    """The local stack cannot start, stop or be used; the message says why, and what to do."""


class Server(Struct, frozen=True):
    """A running server: the process that leads its group, its URL and its log file."""

    name: str
    pid: int
    url: str
    log: str

    @property
    def is_responding(self) -> bool:
        """Whether the server's URL responds."""
        return _responds(self.url)

    def stop(self) -> None:
        """Stop the server and all processes it started; do nothing if it has ended already.

        Raises:
            LocalStackError: it does not stop.
        """
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
            if wait_until(lambda: not _group_lives(self.pid), ENDS_WITHIN):
                return
        raise LocalStackError(f"{self.name} does not stop: end its process {self.pid} yourself.")


def start_aws(port: int, folder: Path) -> Server:
    """Start MiniStack with IAM enforced on a loopback `port`; all its files are below `folder`.

    `folder`/functions contains a log file for each function, `folder`/needed-permissions.log the
    permissions that the functions' calls need.
    """
    scratch = folder / "aws"
    scratch.mkdir(parents=True, exist_ok=True)
    settings = {
        "AUTH": "true",
        "BIND_HOST": "127.0.0.1",
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "LOG_LEVEL": "WARNING",
        "TMPDIR": str(scratch),
        "FUNCTION_OUTPUT": str(folder / "functions"),
        "NEEDED_PERMISSIONS": str(folder / NEEDED_PERMISSIONS),
        "STATE_DIR": str(scratch / "state"),
        "S3_DATA_DIR": str(scratch / "s3"),
    }
    command = [str(TOOLS / "ministack/bin/python"), "-m", "local.aws"]
    return _start("The local AWS", command, port, folder, settings | CREDENTIALS)


def start_vonage(port: int, folder: Path) -> Server:
    """Start the Vonage emulator on a loopback `port`."""
    command = [str(TOOLS / "dev/bin/python"), "-m", "local.vonage", "--port", str(port)]
    return _start("The Vonage emulator", command, port, folder, {})


def start_faults(upstream: str, folder: Path) -> Server:
    """Start the proxy that injects faults into calls to the local AWS, on a free loopback port."""
    port = free_port()
    command = [str(TOOLS / "dev/bin/python"), "-m", "local.faults", "--port", str(port)]
    return _start(
        "The fault proxy", [*command, "--upstream", upstream], port, folder, {**CREDENTIALS}
    )


def port_number(text: str) -> int:
    """Return the port number in a command's argument.

    Raises:
        argparse.ArgumentTypeError: it is not a port number.
    """
    if not (text.isascii() and text.isdigit() and int(text) < 65536):
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number from 0 to 65535")
    return int(text)


def free_port() -> int:
    """Return a loopback port that is free at the moment.

    It is below the ephemeral ports of Linux and macOS, so that no other program is given it before
    the caller uses it. Source: ip(7), ip_local_port_range.
    """
    while _is_taken(port := secrets.choice(_PORTS)):
        pass
    return port


def _start(
    name: str, command: Sequence[str], port: int, folder: Path, settings: Mapping[str, str]
) -> Server:
    url = f"http://127.0.0.1:{port}"
    if _is_taken(port):
        raise LocalStackError(
            f"{name} cannot start: port {port} is in use. Stop the program that uses it, or choose "
            "another port (make up PORT=... VONAGE_PORT=...)."
        )
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{command[2]}.log"
    with log.open("w") as output, leftovers.lock(folder) as lock:
        process = subprocess.Popen(  # noqa: S603 - our own commands
            command,
            cwd=PROJECT,
            env={**_environment(), **settings},
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            pass_fds=[lock],
        )
    _children[process.pid] = process
    server = Server(name, process.pid, url, str(log))
    try:
        _await_response(server, process)
    except BaseException:  # also Ctrl-C: leave no server running
        server.stop()
        raise
    return server


def _await_response(server: Server, process: "subprocess.Popen[bytes]") -> None:
    if not wait_until(lambda: server.is_responding or process.poll() is not None, STARTS_WITHIN):
        raise LocalStackError(
            f"{server.name} did not respond within {STARTS_WITHIN:.0f} s: see {server.log}."
        )
    if process.poll() is not None:
        raise LocalStackError(
            f"{server.name} exited during its start. {_last_line(Path(server.log))} "
            f"Its complete output is in {server.log}."
        )


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _environment() -> dict[str, str]:
    """Return this process's environment without AWS settings, and without proxies to this host."""
    ours = without_account(os.environ)
    bypass_proxies(ours)
    return ours | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{PROJECT / 'layers/roomkeeper'}"}


def _responds(url: str) -> bool:
    try:
        requests.get(f"{url}/_ministack/health", timeout=2)
    except requests.RequestException:
        return False
    return True


def _group_lives(leader: int) -> bool:
    if leader in _children:
        _children[leader].poll()
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "It printed nothing."
