"""`make configure` on the deployed stack stores Vonage's credentials, and never shows them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.servers import free_port
from operations.secret_checks import ask_vonage
from tests.support import commands
from tests.support.commands import Result
from tests.support.deployed import Deployed

pytestmark = pytest.mark.local_stack

SECRETS = ("VonageSecretArn", "CallbackSecretArn", "VideoSecretArn", "VideoCallbackSecretArn")
KEY, SECRET = "k3y-0f-4n-4cc0unt", "s3cret-0f-4n-4cc0unt"
WORKING = json.dumps({"api_key": KEY, "api_secret": SECRET})


Configure = Callable[..., Result]


@pytest.fixture
def configure(deployed: Deployed) -> Iterator[Configure]:
    """Run `make configure` on the deployed stack; the secrets are restored afterwards."""
    before = {name: deployed.stack.secret(name) for name in SECRETS}

    def run(given: str | bytes, *arguments: str, product: str = "meetings") -> Result:
        text = given.encode() if isinstance(given, str) else given
        choice = [f"PRODUCT={product}"] if product else []
        return commands.make(deployed.operated, "configure", *choice, *arguments, stdin=text)

    yield run
    for name, content in before.items():
        if deployed.stack.secret(name) != content:
            deployed.stack.put_secret(name, json.dumps(content))


def versions(deployed: Deployed) -> list[str]:
    """Return the ids of the current versions of all secrets."""
    client = deployed.stack.client("secretsmanager")
    return [
        client.get_secret_value(SecretId=deployed.stack.outputs[name])["VersionId"]
        for name in SECRETS
    ]


def test_an_accounts_pair_is_stored_and_used(deployed: Deployed, configure: Configure) -> None:
    result = configure(WORKING)

    assert result.code == 0
    assert "Vonage accepts these" in result.text
    assert "Stored in the Vonage secret: api_key, api_secret." in result.text
    assert deployed.stack.secret("VonageSecretArn")["api_secret"] == SECRET
    assert KEY not in result.text
    assert SECRET not in result.text


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
    before = deployed.stack.secret("VonageSecretArn")

    result = configure("", f"FILE={file}")

    assert result.code == 0
    assert "these application credentials" in result.text
    stored = deployed.stack.secret("VonageSecretArn")
    assert stored["private_key"] == pem.decode().strip()
    assert stored["api_key"] == before["api_key"] != ""  # a field that is not given stays
    assert pem.splitlines()[1].decode() not in result.text


@pytest.mark.parametrize("names", [("application_id", "private_key"), ("api_key", "api_secret")])
def test_credentials_of_video_are_tested_and_stored(
    names: tuple[str, str], deployed: Deployed, configure: Configure
) -> None:
    known = deployed.vonage.video.credentials()
    given = {name: known[name] for name in names}
    secrets = ["of the archives' URL", "of the URL of session monitoring"]

    result = configure(json.dumps(given | {"signature_secrets": secrets}), product="video")

    assert result.code == 0, result.text
    assert "Vonage accepts these" in result.text
    assert "Stored in the Video callback secret: signature_secrets." in result.text
    read = {name: value.strip() for name, value in given.items()}
    assert read.items() <= deployed.stack.secret("VideoSecretArn").items()
    stored = deployed.stack.secret("VideoCallbackSecretArn")
    assert (stored["signature_secrets"], len(stored["token"])) == (secrets, 48)
    assert not any(text in result.text for text in [given[names[1]], *secrets, stored["token"]])


def test_credentials_of_video_that_vonage_refuses_are_not_stored(
    deployed: Deployed, configure: Configure
) -> None:
    before = versions(deployed)
    known = deployed.vonage.video.credentials()

    result = configure(
        json.dumps({"api_key": known["api_key"], "api_secret": "w" * 40}), product="video"
    )

    assert result.code != 0
    assert "Vonage rejected these credentials" in result.text
    assert versions(deployed) == before


def test_without_a_terminal_the_product_must_be_named(
    deployed: Deployed, configure: Configure
) -> None:
    before = versions(deployed)
    result = configure(WORKING, product="")
    assert result.code != 0
    assert "serves Meetings and Video: add PRODUCT=meetings or PRODUCT=video." in result.text
    assert versions(deployed) == before


def test_stored_values_make_no_new_version(deployed: Deployed, configure: Configure) -> None:
    configure(WORKING)
    before = versions(deployed)

    assert "already has these values" in configure(WORKING).text
    assert versions(deployed) == before


def test_a_signature_secret_joins_the_token(deployed: Deployed, configure: Configure) -> None:
    token = deployed.stack.callback_secret()["token"]
    secret = "s1gnature" * 5

    result = configure(json.dumps({"signature_secret": secret}))

    assert (result.code, "Stored in the callback secret" in result.text) == (0, True)
    assert deployed.stack.callback_secret() == {"token": token, "signature_secret": secret}
    assert secret not in result.text
    assert token not in result.text


def test_credentials_that_vonage_refuses_are_not_stored(
    deployed: Deployed, configure: Configure
) -> None:
    before = versions(deployed)
    deployed.vonage.fault("list_rooms", status=401)
    try:
        result = configure(WORKING)
    finally:
        deployed.vonage.clear_faults()

    assert result.code != 0
    assert "Vonage rejected these credentials" in result.text
    assert "Nothing was changed" in result.text
    assert versions(deployed) == before


def test_credentials_that_cannot_be_checked_are_stored_with_a_warning(
    deployed: Deployed, configure: Configure
) -> None:
    deployed.vonage.fault("list_rooms", status=404)  # the response to a wrong base URL
    try:
        result = configure(WORKING)
    finally:
        deployed.vonage.clear_faults()

    assert result.code == 0
    assert "could not be tested at Vonage" in result.text
    assert deployed.stack.secret("VonageSecretArn")["api_key"] == KEY


def test_malformed_input_is_refused_and_not_quoted(
    deployed: Deployed, configure: Configure
) -> None:
    before = versions(deployed)

    result = configure('{"application_id": "hunter2", "private_key": "hunter2"}')

    assert result.code != 0
    assert "Nothing was changed" in result.text
    assert "Traceback" not in result.text
    assert "hunter2" not in result.text
    assert versions(deployed) == before


def test_an_unreachable_vonage_is_reported() -> None:
    fields = {"application_id": "", "private_key": "", "api_key": KEY, "api_secret": SECRET}
    result = ask_vonage("meetings", f"http://127.0.0.1:{free_port()}", fields, within=0.5)
    assert "could not be tested" in result
    assert SECRET not in result
