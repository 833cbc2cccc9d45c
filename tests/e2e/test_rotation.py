"""Secrets that are rotated while the stack runs: nothing is deployed anew.

A function that runs on knows a secret for five minutes, which the unit tests let pass. Here the
function is started anew instead, as Lambda does at its own will, and reads it at once.
"""

import json
import secrets
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.clients.jobs import start
from local.clients.management import ManagementApi
from local.testing.builders import a_body, a_signature
from tests.support import functions
from tests.support.deployed import Deployed

pytestmark = pytest.mark.local_stack


class Rotation:
    """The two secrets of the stack, and what callers get by them."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self._client = deployed.stack.client("secretsmanager")

    def put(self, output: str, content: str, *, hours_ago: int = 0) -> None:
        """Put a new version in force, which for the local AWS was created some hours ago."""
        self._client.put_secret_value(
            SecretId=self.deployed.stack.outputs[output],
            SecretString=content,
            ClientRequestToken=f"{hours_ago}-hours-ago-{uuid.uuid4().hex}",
        )

    def rotate(self, *, hours_ago: int = 0) -> dict[str, str]:
        """Give the callback secret a new token and signature secret; return them."""
        fresh = {"token": secrets.token_hex(24), "signature_secret": secrets.token_hex(32)}
        self.put("CallbackSecretArn", json.dumps(fresh), hours_ago=hours_ago)
        return fresh

    def start_anew(self, **variables: str) -> Any:
        """Have the intake forget the secret it knows, and have these variables for a while."""
        intake = self.deployed.id_of("CallbackIntake")
        return functions.configured(self.deployed, intake, STARTED=uuid.uuid4().hex, **variables)

    def answers(self, secret: dict[str, str]) -> tuple[int, int]:
        """Return what a callback is answered by the secret's token, and by its signature."""
        body = a_body("recording:started", recording_id=str(uuid.uuid4()))
        signature = a_signature(body, secret=secret["signature_secret"])
        by_token = self.deployed.post(body, f"/callbacks/{secret['token']}")
        by_signature = self.deployed.post(body, "/callbacks", Authorization=signature)
        return by_token.status_code, by_signature.status_code


@pytest.fixture(scope="module")
def rotation(deployed: Deployed, signature_secret: str) -> Iterator[Rotation]:
    rotation, known = Rotation(deployed), deployed.stack.callback_secret()
    yield rotation
    rotation.put("CallbackSecretArn", json.dumps(known))
    with rotation.start_anew():
        pass
    assert rotation.answers(known) == (204, 204)


def test_a_new_token_and_signature_secret_hold_beside_the_old_for_the_grace_period(
    rotation: Rotation, deployed: Deployed
) -> None:
    old = deployed.stack.callback_secret()
    new = rotation.rotate()

    with rotation.start_anew():
        assert rotation.answers(new) == (204, 204)
        assert rotation.answers(old) == (204, 204)
        with rotation.start_anew(PREVIOUS_SECRET_GRACE_HOURS="0"):
            assert rotation.answers(new) == (204, 204)
            assert rotation.answers(old) == (401, 401)


def test_a_second_change_leaves_the_first_token_the_rest_of_its_grace_time(
    rotation: Rotation, deployed: Deployed
) -> None:
    first = rotation.rotate(hours_ago=40)
    second = rotation.rotate(hours_ago=23)
    third = rotation.rotate(hours_ago=1)
    with rotation.start_anew():
        assert [rotation.answers(each) for each in (third, second, first)] == [(204, 204)] * 3

    with rotation.start_anew(PREVIOUS_SECRET_GRACE_HOURS="22"):  # an hour later, as it were
        assert [rotation.answers(each) for each in (third, second)] == [(204, 204)] * 2
        assert rotation.answers(first) == (401, 401)


def test_a_mistake_takes_nothing_in_until_it_is_mended_and_ends_no_grace_time(
    rotation: Rotation, deployed: Deployed
) -> None:
    old = deployed.stack.callback_secret()
    rotation.put("CallbackSecretArn", '{"token": ')
    with rotation.start_anew():
        assert rotation.answers(old) == (503, 503)
        new = rotation.rotate()
        assert rotation.answers(new) == (204, 204)
        assert rotation.answers(old) == (204, 204)


def test_new_vonage_credentials_are_used_by_the_next_run_and_after_the_first_refusal(
    rotation: Rotation, deployed: Deployed
) -> None:
    api = ManagementApi(deployed.stack)
    assert api.call("GET", "/rooms").status_code == 200
    assert scheme(deployed) == "Basic"

    rotation.put("VonageSecretArn", json.dumps(an_application()))

    start(deployed.stack, "room-expiry-extension", dry_run=True)
    assert scheme(deployed) == "Bearer"
    deployed.vonage.fault("list_rooms", status=401, times=1)  # as Vonage does to what was revoked
    assert api.call("GET", "/rooms").status_code == 502
    assert api.call("GET", "/rooms").status_code == 200
    assert scheme(deployed) == "Bearer"
    rotation.put("VonageSecretArn", json.dumps({"api_key": "local", "api_secret": "local"}))


def scheme(deployed: Deployed) -> str:
    """Return how the last request to Vonage was authorized."""
    found: str = deployed.vonage.requests()[-1]["authorization"]
    return found


def an_application() -> dict[str, str]:
    """Return an application's credentials, as Vonage gives them out."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {"application_id": str(uuid.uuid4()), "private_key": pem.decode()}
