"""Vonage's credentials are stored as an operator does it, and nothing of them is ever shown."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.servers import free_port
from operations.configure import ask_vonage
from tests.support import commands
from tests.support.commands import Result
from tests.support.deployed import Deployed

pytestmark = pytest.mark.local_stack

SECRETS = ("VonageSecretArn", "CallbackSecretArn")
KEY, SECRET = "k3y-0f-4n-4cc0unt", "s3cret-0f-4n-4cc0unt"
WORKING = json.dumps({"api_key": KEY, "api_secret": SECRET})


Configure = Callable[..., Result]


@pytest.fixture
def configure(deployed: Deployed) -> Iterator[Configure]:
    """`make configure` on the deployed stack, whose secrets are put back afterwards."""
    before = {name: deployed.stack.secret(name) for name in SECRETS}

    def run(given: str | bytes, *arguments: str) -> Result:
        text = given.encode() if isinstance(given, str) else given
        return commands.make(deployed.operated, "configure", *arguments, stdin=text)

    yield run
    for name, content in before.items():
        if deployed.stack.secret(name) != content:
            deployed.stack.put_secret(name, json.dumps(content))


def versions(deployed: Deployed) -> list[str]:
    """Return the current versions of both secrets, to see whether one was made."""
    client = deployed.stack.client("secretsmanager")
    return [
        client.get_secret_value(SecretId=deployed.stack.outputs[name])["VersionId"]
        for name in SECRETS
    ]


def test_an_accounts_pair_is_stored_and_taken(deployed: Deployed, configure: Configure) -> None:
    told = configure(WORKING)

    assert told.code == 0
    assert "Vonage takes them" in told.text
    assert "Stored in the Vonage secret: api_key, api_secret." in told.text
    assert deployed.stack.secret("VonageSecretArn")["api_secret"] == SECRET
    assert KEY not in told.text
    assert SECRET not in told.text


def test_an_application_comes_from_a_file_and_wins(
    deployed: Deployed, configure: Configure, tmp_path: Path
) -> None:
    pem = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file = tmp_path / "vonage.json"
    file.write_text(json.dumps({"application_id": "app-0ne", "private_key": pem.decode()}))

    told = configure("", f"FILE={file}")

    assert told.code == 0
    assert "as those of an application" in told.text
    held = deployed.stack.secret("VonageSecretArn")
    assert held["private_key"] == pem.decode()
    assert held["api_key"] == "local"  # what was not given stays
    assert pem.splitlines()[1].decode() not in told.text


def test_what_is_held_already_makes_no_new_version(
    deployed: Deployed, configure: Configure
) -> None:
    configure(WORKING)
    before = versions(deployed)

    assert "held all that already" in configure(WORKING).text
    assert versions(deployed) == before


def test_a_signature_secret_joins_the_token(deployed: Deployed, configure: Configure) -> None:
    token = deployed.stack.callback_secret()["token"]
    secret = "s1gnature" * 5

    told = configure(json.dumps({"signature_secret": secret}))

    assert (told.code, "Stored in the callback secret" in told.text) == (0, True)
    assert deployed.stack.callback_secret() == {"token": token, "signature_secret": secret}
    assert secret not in told.text
    assert token not in told.text


def test_what_vonage_refuses_is_not_stored(deployed: Deployed, configure: Configure) -> None:
    before = versions(deployed)
    deployed.vonage.fault("list_rooms", status=401)
    try:
        told = configure(WORKING)
    finally:
        deployed.vonage.clear_faults()

    assert told.code != 0
    assert "Vonage refuses these credentials" in told.text
    assert "Nothing was changed" in told.text
    assert versions(deployed) == before


def test_what_vonage_cannot_be_asked_about_is_stored_and_said(
    deployed: Deployed, configure: Configure
) -> None:
    deployed.vonage.fault("list_rooms", status=404)  # as a wrong base URL is answered
    try:
        told = configure(WORKING)
    finally:
        deployed.vonage.clear_faults()

    assert told.code == 0
    assert "Vonage could not be asked" in told.text
    assert deployed.stack.secret("VonageSecretArn")["api_key"] == KEY


def test_what_is_malformed_is_refused_and_not_quoted(
    deployed: Deployed, configure: Configure
) -> None:
    before = versions(deployed)

    told = configure('{"application_id": "hunter2", "private_key": "hunter2"}')

    assert told.code != 0
    assert "Nothing was changed" in told.text
    assert "Traceback" not in told.text
    assert "hunter2" not in told.text
    assert versions(deployed) == before


def test_a_vonage_that_is_not_there_is_told() -> None:
    fields = {"application_id": "", "private_key": "", "api_key": KEY, "api_secret": SECRET}
    told = ask_vonage(f"http://127.0.0.1:{free_port()}", fields, within=0.5)
    assert "could not be asked" in told
    assert SECRET not in told
