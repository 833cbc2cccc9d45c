"""The local stack: starts and stops both servers, and deploys the template."""

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct

from local import deployer, deployment, leftovers, servers
from local.deployment import Say
from local.servers import BUILD, LocalStackError, Server
from local.vonage.control import VonageControl
from operations import configure
from operations.signals import exit_on_signals, uninterrupted
from operations.stack import Stack

Prepare = Callable[[str], Mapping[str, str]]
"""Creates resources for a deployment at the local AWS's URL; returns the parameters for them."""


class LocalStack(Struct, frozen=True):
    """A running local stack: `stack` with root credentials, `operated` with the deployer's."""

    stack: Stack
    operated: Stack
    vonage: VonageControl
    aws: Server
    emulator: Server

    def connect_callbacks(self) -> None:
        """Send the emulator's callbacks to the stack, as an operator configures it at Vonage."""
        connect_callbacks(self.stack, self.vonage)


def connect_callbacks(stack: Stack, vonage: VonageControl) -> None:
    """Send the emulator's callbacks of each served product to its URL with a token."""
    send = {"meetings": vonage.callbacks_to, "video": vonage.video.callbacks_to}
    for product in stack.products:
        send[product](stack.callback_url(product), headers=stack.headers)


class _Up(Struct, frozen=True):
    """The servers that `make up` starts and `make down` stops."""

    aws: Server
    emulator: Server


@contextmanager
def running(
    folder: Path,
    say: Say,
    aws_port: int = 0,
    vonage_port: int = 0,
    parameters: Mapping[str, str] | None = None,
    prepare: Prepare | None = None,
) -> Iterator[LocalStack]:
    """Run the local stack while the context lasts. Port 0 means any free port.

    `parameters`, and those that `prepare` returns, override those of samconfig.toml's environment
    `local`.

    The stack's logs stay in `folder`. All its other files, and the logs of earlier runs, are
    removed.

    Raises:
        LocalStackError: a server did not start or the deployment failed. No server keeps running.
    """
    started: list[Server] = []
    with exit_on_signals():
        try:
            yield _start(folder, say, aws_port, vonage_port, started, parameters, prepare)
        finally:
            _end(started, folder)


def up(say: Say, aws_port: int, vonage_port: int) -> LocalStack:
    """Start the local stack and leave it running, for `down`. Port 0 means any free port.

    Raises:
        LocalStackError: a stack runs on this port already, or the start failed.
    """
    aws_port = aws_port or servers.free_port()
    state = _state(aws_port)
    folder = state.with_suffix("")
    if state.exists() and leftovers.is_running(folder):
        raise LocalStackError(
            f"A local stack is already running on port {aws_port}. Stop it first: "
            f"make down PORT={aws_port}"
        )
    state.unlink(missing_ok=True)  # of servers that ended by themselves, as when the machine did
    started: list[Server] = []
    with exit_on_signals():
        try:
            local = _start(folder, say, aws_port, vonage_port, started)
            state.write_bytes(msgspec.json.encode(_Up(local.aws, local.emulator)))
        except BaseException:
            _end(started, folder)
            raise
    return local


def down(aws_port: int) -> None:
    """Stop the stack that `up` started on this port.

    Raises:
        LocalStackError: no stack is running there.
    """
    state = _state(aws_port)
    if not state.exists():
        raise LocalStackError(f"No local stack is running on port {aws_port}. Start one: make up")
    folder = state.with_suffix("")
    servers_up = msgspec.json.decode(state.read_bytes(), type=_Up)
    both = (servers_up.aws, servers_up.emulator)
    # The process id of one that has ended may belong to another process by now.
    for server in filter(lambda each: each.is_responding, both):
        server.stop()
    if leftovers.is_running(folder):  # one is alive and does not respond
        for server in both:
            server.stop()
    state.unlink()
    leftovers.tidy(folder)


def _end(started: list[Server], folder: Path) -> None:
    """Stop the servers and remove their files except logs."""
    with uninterrupted():
        for server in started:
            server.stop()
        leftovers.tidy(folder)


def _state(aws_port: int) -> Path:
    """Return the file that describes the stack that `up` started on this port."""
    return BUILD / f"local/up-{aws_port}.json"


def _start(
    folder: Path,
    say: Say,
    aws_port: int,
    vonage_port: int,
    started: list[Server],
    parameters: Mapping[str, str] | None = None,
    prepare: Prepare | None = None,
) -> LocalStack:
    with leftovers.starting(folder.parent):
        leftovers.remove_earlier_runs(folder)
        say("Starting the local AWS (MiniStack, IAM enforced)")
        started.append(aws := servers.start_aws(aws_port or servers.free_port(), folder))
        say("Starting the Vonage emulator")
        started.append(emulator := servers.start_vonage(vonage_port or servers.free_port(), folder))
    vonage = VonageControl(emulator.url)
    user = deployer.create(deployment.local_session(), aws.url)
    urls = {"VonageBaseUrl": vonage.api_url, "VideoBaseUrl": vonage.video.api_url}
    prepared = prepare(aws.url) if prepare else {}
    stack = deployment.deploy(aws, user, say, {**urls, **(parameters or {}), **prepared})
    operated = Stack(stack.name, user, aws.url)
    _store_vonage_credentials(operated, vonage)
    local = LocalStack(stack, operated, vonage, aws, emulator)
    local.connect_callbacks()
    return local


def _store_vonage_credentials(stack: Stack, vonage: VonageControl) -> None:
    """Store credentials for the emulator: any well-formed ones, and those of its application."""
    given = {name: secrets.token_hex(16) for name in ("api_key", "api_secret")}
    configure.configure(stack, "meetings", given)
    known = vonage.video.credentials()
    application = {name: known[name] for name in ("application_id", "private_key")}
    configure.configure(stack, "video", application)
