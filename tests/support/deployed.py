"""A pytest plugin with the deployed stack that the end-to-end tests run against.

The default is a local stack, started once for each worker of the test run. If ROOMKEEPER_STACK
names a stack, the tests run against that one, in the account and region of the environment's AWS
credentials, and the emulator posts its callbacks there. Tests marked `local_stack` are then
deselected: they need functions that reach the emulator, or access to the local AWS.
"""

import json
import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from msgspec import Struct

from local import servers
from local import stack as local_stack
from local.vonage.control import VonageControl
from operations.environment import bypass_proxies, use_only_this_machine
from operations.stack import Stack, resources
from operations.subscriber import Subscriber
from operations.template import included
from roomkeeper.aws import sdk
from roomkeeper.store import Store
from tests.support.suites import LOCAL

WITHIN = 300.0  # seconds; a deadline, not a delay: on a machine at rest it takes one or two


class Deployed(Struct, frozen=True):
    """A deployed stack, an emulated Vonage that posts to it, and a subscriber to its events.

    `stack` uses the credentials of the root user, `operated` those of the user who deployed it.
    `folder` has the logs of a local stack.
    """

    stack: Stack
    operated: Stack
    vonage: VonageControl
    subscriber: Subscriber
    folder: Path = LOCAL

    def post_video(self, body: bytes | str, **headers: str) -> requests.Response:
        """Post a callback of the Video API to the path with the valid token."""
        return self.post(body, self.stack.callback_path("video"), **headers)

    def post(self, body: bytes | str, path: str | None = None, **headers: str) -> requests.Response:
        """Post a callback, by default to the path with the valid token."""
        return requests.post(
            self.stack.base_url + (self.stack.callback_path() if path is None else path),
            data=body.encode() if isinstance(body, str) else body,
            headers={"Content-Type": "application/json", **headers, **self.stack.headers},
            timeout=WITHIN,
        )

    def store(self) -> Store:
        """Return a store of the stack's table."""
        client: Any = sdk.Client(self.stack.client("dynamodb"))
        return Store(client, self.stack.outputs["TableName"])

    def item(self, key: str) -> dict[str, Any] | None:
        """Return the table's item with this key, in DynamoDB's JSON; None if there is none."""
        response = self.stack.client("dynamodb").get_item(
            TableName=self.stack.outputs["TableName"], Key={"pk": {"S": key}}, ConsistentRead=True
        )
        item: dict[str, Any] | None = response.get("Item")
        return item

    def id_of(self, logical_id: str) -> str:
        """Return the physical id of a deployed resource.

        That of a nested stack is named like `Monitoring/AlarmTopic`, or `AlarmTopic` if that is
        the only one.
        """
        found = {each.logical_id: each.physical_id for each in resources(self.stack)}
        if logical_id in found:
            return found[logical_id]
        [nested] = [each for name, each in found.items() if name.endswith(f"/{logical_id}")]
        return nested

    @property
    def functions(self) -> list[str]:
        """The logical ids of the stack's functions, with those that its parameters include."""
        return [
            name
            for name, resource in included(self.stack.parameters).items()
            if resource["Type"] == "AWS::Serverless::Function"
        ]

    def events_about(self, *ids: str, count: int) -> list[dict[str, Any]]:
        """Wait for `count` events whose data has one of `ids`; return all such events."""

        def about(events: Any) -> list[dict[str, Any]]:
            return [e for e in events if set(ids) & set(map(str, e["detail"]["data"].values()))]

        return about(self.subscriber.wait_for(lambda events: len(about(events)) >= count, WITHIN))


def pytest_configure() -> None:
    """Ignore the AWS settings and proxies of the shell, unless they lead to the tested stack."""
    bypass_proxies()
    if "ROOMKEEPER_STACK" not in os.environ:
        use_only_this_machine()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the tests that need the local stack if another stack is tested."""
    if "ROOMKEEPER_STACK" not in os.environ:
        return
    left_out = [item for item in items if item.get_closest_marker("local_stack")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def deployed() -> Iterator[Deployed]:
    """One deployed stack for all tests of this worker."""
    with ExitStack() as exits:
        name = os.environ.get("ROOMKEEPER_STACK")
        stack, operated, vonage = _remote(name, exits) if name else _local(exits)
        local_stack.connect_callbacks(stack, vonage)
        subscriber = Subscriber(stack, f"test-{secrets.token_hex(4)}")
        exits.callback(subscriber.close)
        yield Deployed(stack, operated, vonage, subscriber)


@pytest.fixture(scope="session")
def copying() -> Iterator[Deployed]:
    """A local stack of its own that copies recordings, for all tests of this worker."""
    folder = LOCAL.with_name(f"{LOCAL.name}-copies")
    parameters = {"CopyRecordings": "true", "CleanupRetentionDays": "30"}
    with local_stack.running(folder, print, parameters=parameters) as local:
        subscriber = Subscriber(local.stack, f"test-{secrets.token_hex(4)}")
        try:
            yield Deployed(local.stack, local.operated, local.vonage, subscriber, folder)
        finally:
            subscriber.close()


@pytest.fixture(scope="session")
def signature_secret(deployed: Deployed) -> str:
    """The secret that callbacks to the stack are signed with."""
    secret: str = deployed.stack.callback_secret()["signature_secret"]
    assert secret, "Put a signature_secret into the stack's callback secret to test signatures."
    return secret


@pytest.fixture(scope="session")
def video_signature_secrets(deployed: Deployed) -> tuple[str, ...]:
    """The secrets that callbacks of the Video API to the stack are signed with."""
    found = tuple(deployed.stack.callback_secret("video")["signature_secrets"])
    assert found, "Put signature_secrets into the stack's Video callback secret to test signatures."
    return found


def _local(exits: ExitStack) -> tuple[Stack, Stack, VonageControl]:
    local = exits.enter_context(local_stack.running(LOCAL, print))
    secret = local.stack.callback_secret() | {"signature_secret": secrets.token_hex(32)}
    local.stack.client("secretsmanager").put_secret_value(
        SecretId=local.stack.outputs["CallbackSecretArn"], SecretString=json.dumps(secret)
    )
    signed = {"signature_secrets": [secrets.token_hex(32), secrets.token_hex(8)]}  # one is short
    video = local.stack.callback_secret("video") | signed
    local.stack.put_secret("VideoCallbackSecretArn", json.dumps(video))
    return local.stack, local.operated, local.vonage


def _remote(name: str, exits: ExitStack) -> tuple[Stack, Stack, VonageControl]:
    emulator = servers.start_vonage(servers.free_port(), LOCAL)
    exits.callback(emulator.stop)
    return Stack(name), Stack(name), VonageControl(emulator.url)
