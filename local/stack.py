"""The local stack as a whole: both servers and the deployed template, started and ended."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from local import deployer, deployment, leftovers, servers
from local.deployment import Say
from local.servers import BUILD, LocalStackError, Server
from local.vonage.control import VonageControl
from operations import configure
from operations.stack import Stack


class LocalStack(Struct, frozen=True):
    """A local stack that runs: as the root user sees it, and as its deployer does."""

    stack: Stack
    operated: Stack
    vonage: VonageControl
    aws: Server
    emulator: Server

    def connect_callbacks(self) -> None:
        """Have the emulator post its callbacks to the stack, as an operator would at Vonage."""
        self.vonage.callbacks_to(self.stack.callback_url(), headers=self.stack.headers)


class _Up(Struct, frozen=True):
    """What `make up` leaves behind for `make down`."""

    aws: Server
    emulator: Server


@contextmanager
def running(
    folder: Path, say: Say, aws_port: int = 0, vonage_port: int = 0
) -> Iterator[LocalStack]:
    """Start the local stack, and end it with the context. A port of 0 takes a free one.

    Only its logs, in `folder`, outlast it. Those of earlier runs are removed.

    Raises:
        LocalStackError: something did not start; what had started is ended again.
    """
    started: list[Server] = []
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        yield _start(folder, say, aws_port, vonage_port, started)
    finally:
        _end(started, folder)


def up(say: Say, aws_port: int, vonage_port: int) -> LocalStack:
    """Start the local stack and leave it running, for `down`."""
    state = _state(aws_port)
    if state.exists():
        raise LocalStackError("A local stack runs already. End it first: make down")
    started: list[Server] = []
    folder = state.with_suffix("")
    try:
        local = _start(folder, say, aws_port, vonage_port, started)
        state.write_bytes(msgspec.json.encode(_Up(local.aws, local.emulator)))
    except BaseException:
        _end(started, folder)
        raise
    return local


def down(aws_port: int) -> None:
    """End the stack that `up` has left running on that port.

    Raises:
        LocalStackError: none runs.
    """
    state = _state(aws_port)
    if not state.exists():
        raise LocalStackError(f"No local stack runs on port {aws_port}. Start one: make up")
    left = msgspec.json.decode(state.read_bytes(), type=_Up)
    for server in (left.aws, left.emulator):
        if server.answers:  # else it is gone, and its process number may be another's by now
            server.stop()
    state.unlink()
    leftovers.tidy(state.with_suffix(""))


def _end(started: list[Server], folder: Path) -> None:
    """End the servers, and remove what they leave but for their logs."""
    for server in started:
        server.stop()
    leftovers.tidy(folder)


def _state(aws_port: int) -> Path:
    """Return where `up` notes what it leaves running on that port."""
    return BUILD / f"local/up-{aws_port}.json"


def _start(
    folder: Path, say: Say, aws_port: int, vonage_port: int, started: list[Server]
) -> LocalStack:
    leftovers.remove_earlier_runs(folder)
    say("Starting the local AWS (MiniStack, IAM enforced)")
    started.append(aws := servers.start_aws(aws_port or servers.free_port(), folder))
    say("Starting the Vonage emulator")
    started.append(emulator := servers.start_vonage(vonage_port or servers.free_port(), folder))
    vonage = VonageControl(emulator.url)
    user = deployer.create(deployment.local_session(), aws.url)
    stack = deployment.deploy(aws, user, say, {"VonageBaseUrl": vonage.api_url})
    operated = Stack(stack.name, user, aws.url)
    _store_vonage_credentials(operated)
    local = LocalStack(stack, operated, vonage, aws, emulator)
    local.connect_callbacks()
    return local


def _store_vonage_credentials(stack: Stack) -> None:
    """Store credentials for the emulator, which takes any that are well-formed."""
    configure.configure(stack, {"api_key": "local", "api_secret": "local"})
