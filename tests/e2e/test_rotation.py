"""Rotation of secrets while the stack runs, without a deployment.

A running function caches a secret for five minutes; the unit tests cover that with a fake clock.
These tests restart the function instead, as Lambda may at any time, so it reads the secret at once.
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
    """The two secrets of the stack, and the responses that callers get with them."""

    def __init__(self, deployed: Deployed) -> None:
        self.deployed = deployed
        self._client = deployed.stack.client("secretsmanager")

    def put(self, output: str, content: str, *, hours_ago: int = 0) -> None:
        """Store a new current version; the local AWS takes it as created `hours_ago`."""
        self._client.put_secret_value(
            SecretId=self.deployed.stack.outputs[output],
            SecretString=content,
            ClientRequestToken=f"{hours_ago}-hours-ago-{uuid.uuid4().hex}",
        )

    def rotate(self, *, hours_ago: int = 0) -> dict[str, str]:
        """Store a new token and signature secret in the callback secret; return them."""
        fresh = {"token": secrets.token_hex(24), "signature_secret": secrets.token_hex(32)}
        self.put("CallbackSecretArn", json.dumps(fresh), hours_ago=hours_ago)
        return fresh

    def restarted(self, **variables: str) -> Any:
        """Restart the intake with these variables within the context; it reads its secret again."""
        intake = self.deployed.id_of("CallbackIntake")
        return functions.configured(self.deployed, intake, STARTED=uuid.uuid4().hex, **variables)

    def statuses(self, secret: dict[str, str]) -> tuple[int, int]:
        """Return the statuses of two callbacks: with the secret's token, and with its signature."""
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
    with rotation.restarted():
        pass
    assert rotation.statuses(known) == (204, 204)


def test_new_and_old_secrets_are_valid_during_the_grace_period(
    rotation: Rotation, deployed: Deployed
) -> None:
    old = deployed.stack.callback_secret()
    new = rotation.rotate()

    with rotation.restarted():
        assert rotation.statuses(new) == (204, 204)
        assert rotation.statuses(old) == (204, 204)
        with rotation.restarted(PREVIOUS_SECRET_GRACE_HOURS="0"):
            assert rotation.statuses(new) == (204, 204)
            assert rotation.statuses(old) == (401, 401)


def test_a_second_rotation_does_not_shorten_the_first_secrets_grace_period(
    rotation: Rotation, deployed: Deployed
) -> None:
    first = rotation.rotate(hours_ago=40)
    second = rotation.rotate(hours_ago=23)
    third = rotation.rotate(hours_ago=1)
    with rotation.restarted():
        assert [rotation.statuses(each) for each in (third, second, first)] == [(204, 204)] * 3

    with rotation.restarted(PREVIOUS_SECRET_GRACE_HOURS="22"):  # as if an hour had passed
        assert [rotation.statuses(each) for each in (third, second)] == [(204, 204)] * 2
        assert rotation.statuses(first) == (401, 401)


def test_an_invalid_secret_rejects_callbacks_until_it_is_fixed_and_ends_no_grace_period(
    rotation: Rotation, deployed: Deployed
) -> None:
    old = deployed.stack.callback_secret()
    rotation.put("CallbackSecretArn", '{"token": ')
    with rotation.restarted():
        assert rotation.statuses(old) == (503, 503)
        new = rotation.rotate()
        assert rotation.statuses(new) == (204, 204)
        assert rotation.statuses(old) == (204, 204)


def test_new_vonage_credentials_are_used_by_the_next_run_and_after_a_401(
    rotation: Rotation, deployed: Deployed
) -> None:
    api = ManagementApi(deployed.stack)
    assert api.call("GET", "/rooms").status_code == 200
    assert scheme(deployed) == "Basic"

    rotation.put("VonageSecretArn", json.dumps(an_application()))

    start(deployed.stack, "room-extension", dry_run=True)
    assert scheme(deployed) == "Bearer"
    deployed.vonage.fault(
        "list_rooms", status=401, times=1
    )  # Vonage's response to revoked credentials
    assert api.call("GET", "/rooms").status_code == 502
    assert api.call("GET", "/rooms").status_code == 200
    assert scheme(deployed) == "Bearer"
    rotation.put("VonageSecretArn", json.dumps({"api_key": "local", "api_secret": "local"}))


def scheme(deployed: Deployed) -> str:
    """Return the authorization scheme of the last request to Vonage."""
    found: str = deployed.vonage.requests()[-1]["authorization"]
    return found


def an_application() -> dict[str, str]:
    """Return an application's credentials in the form that Vonage issues."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {"application_id": str(uuid.uuid4()), "private_key": pem.decode()}
