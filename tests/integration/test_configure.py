"""`make configure` tests credentials at Vonage and stores them; the stack has only secrets."""

import json
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.vonage import VonageControl
from operations import configure as command
from operations.configure import configure
from operations.secret_checks import CredentialsRejected
from operations.secret_fields import Malformed
from operations.stack import StackError
from roomkeeper.vonage import ApplicationKey, credentials_from
from roomkeeper.vonage.connect import VonageSecretContent

TOKEN = "a-token-that-is-in-the-callback-url"
PEM = (
    rsa.generate_private_key(65537, 2048)
    .private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    .decode()
)
APPLICATION = {"application_id": "app-0ne", "private_key": PEM}
ACCOUNT = {"api_key": "k3y", "api_secret": "hunter2"}


class KeptStack:
    """A stack with only parameters and secrets."""

    def __init__(self, base_url: str, known: dict[str, str], callback: dict[str, str]) -> None:
        self.parameters = {
            "VonageBaseUrl": base_url,
            "CallbackAcceptedCredentials": "token-or-signature",
            "CallbackPreviousSecretGraceHours": "24",
        }
        self.secrets = {"VonageSecretArn": known, "CallbackSecretArn": callback}
        self.puts: list[str] = []

    def secret(self, output: str) -> dict[str, str]:
        return self.secrets[output]

    def put_secret(self, output: str, content: str) -> None:
        self.puts.append(output)
        self.secrets[output] = json.loads(content)


def a_stack(
    emulator: VonageControl, known: dict[str, str] | None = None, **callback: str
) -> KeptStack:
    return KeptStack(
        emulator.api_url, known or {}, {"token": TOKEN, "signature_secret": ""} | callback
    )


def store(stack: Any, **given: str) -> str:
    return " ".join(configure(stack, "meetings", given))


def schemes(emulator: VonageControl) -> list[str]:
    """Return the Authorization scheme of each request to Vonage."""
    return [each["authorization"] for each in emulator.requests()]


# --- the pair that was given is the one that is tried ---------------------------------------------


def test_an_account_pair_is_tested_even_if_an_application_is_stored(
    emulator: VonageControl,
) -> None:
    stack = a_stack(emulator, APPLICATION)
    messages = store(stack, **ACCOUNT)
    assert schemes(emulator) == ["Basic"]
    assert "these account credentials" in messages
    assert "The functions keep using the application" in messages
    assert stack.secrets["VonageSecretArn"] == APPLICATION | ACCOUNT


def test_a_secret_that_was_stored_is_named_if_the_other_one_cannot_be_written(
    emulator: VonageControl, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stack = a_stack(emulator)
    put = stack.put_secret

    def put_one(output: str, content: str) -> None:
        if output == "CallbackSecretArn":
            raise StackError("The secret of callbacks cannot be written.")
        put(output, content)

    monkeypatch.setattr(stack, "put_secret", put_one)
    monkeypatch.setattr(command, "deployed_stack", lambda _name: stack)
    monkeypatch.setattr(command, "_product", lambda *_given: "meetings")
    monkeypatch.setattr(command, "_given", lambda *_given: ACCOUNT | {"signature_secret": "s" * 32})
    monkeypatch.setattr("sys.argv", ["configure"])

    assert command.main() == 1
    text = capsys.readouterr().err
    assert "Stored in the Vonage secret: api_key, api_secret." in text
    assert "The secret of callbacks cannot be written. Run the command again." in text
    assert "Nothing was changed" not in text


def test_an_account_pair_that_vonage_rejects_is_not_stored(
    emulator: VonageControl,
) -> None:
    stack = a_stack(emulator, APPLICATION)
    emulator.fault("list_rooms", status=401)
    with pytest.raises(CredentialsRejected):
        store(stack, **ACCOUNT)
    assert stack.puts == []


def test_both_pairs_are_tried_when_both_are_given(emulator: VonageControl) -> None:
    messages = store(a_stack(emulator), **ACCOUNT, **APPLICATION)
    assert schemes(emulator) == ["Bearer", "Basic"]
    assert "go on using" not in messages


def test_half_of_a_pair_replaces_that_half_and_the_complete_pair_is_tested(
    emulator: VonageControl,
) -> None:
    stack = a_stack(emulator, APPLICATION | ACCOUNT)
    store(stack, api_secret="new")
    assert schemes(emulator) == ["Basic"]
    assert stack.secrets["VonageSecretArn"] == APPLICATION | ACCOUNT | {"api_secret": "new"}


def test_after_a_pair_is_removed_the_other_pair_is_tested(
    emulator: VonageControl,
) -> None:
    stack = a_stack(emulator, APPLICATION | ACCOUNT)
    store(stack, application_id="", private_key="")
    assert schemes(emulator) == ["Basic"]


@pytest.mark.parametrize(
    ("known", "given", "named"),
    [
        ({}, {"api_key": "k"}, "api_key needs api_secret"),
        (APPLICATION, {"api_key": "k"}, "api_key needs api_secret"),
        (APPLICATION, {"api_secret": "k"}, "api_secret needs api_key"),
        (ACCOUNT, {"application_id": "a"}, "application_id needs private_key"),
        (ACCOUNT, {"private_key": PEM}, "private_key needs application_id"),
        (APPLICATION | ACCOUNT, {"api_key": ""}, "api_secret needs api_key"),
        (ACCOUNT, {"api_key": "", "api_secret": ""}, "No complete Vonage credentials"),
        (ACCOUNT, {"application_id": "a", "private_key": "hunter2"}, "not an RSA key"),
        ({**ACCOUNT, "private_key": 5}, {"api_key": "k"}, "The secret must contain only"),
    ],
)
def test_unusable_credentials_are_not_stored(
    known: dict[str, str], given: dict[str, str], named: str, emulator: VonageControl
) -> None:
    stack = a_stack(emulator, known)
    with pytest.raises(Malformed, match=named) as refusal:
        store(stack, **given)
    assert "hunter2" not in str(refusal.value)
    assert stack.puts == []
    assert schemes(emulator) == []


@pytest.mark.parametrize("line_end", ["\\n", "\\r\\n", "\r\n"])
def test_a_private_key_may_have_its_line_ends_written_out(
    line_end: str, emulator: VonageControl
) -> None:
    stack = a_stack(emulator)
    store(stack, **APPLICATION | {"private_key": PEM.replace("\n", line_end)})
    stored = VonageSecretContent(**stack.secrets["VonageSecretArn"])
    assert isinstance(credentials_from(**msgspec.structs.asdict(stored)), ApplicationKey)
    assert schemes(emulator) == ["Bearer"]


# --- the callback secret --------------------------------------------------------------------------


@pytest.mark.parametrize("token", ["t", "t" * 31, "a/b" * 20, "a%2Fb" * 20, "é" * 40])
def test_a_token_that_a_url_would_change_is_not_stored(token: str, emulator: VonageControl) -> None:
    stack = a_stack(emulator, signature_secret="s" * 32)
    with pytest.raises(Malformed, match=r"token must have 32 characters or more.*URL") as refusal:
        store(stack, token=token)
    assert token not in str(refusal.value) or len(token) == 1
    assert stack.puts == []


def test_storing_a_new_token_prints_the_next_step(
    emulator: VonageControl,
) -> None:
    stack = a_stack(emulator)
    messages = store(stack, token=TOKEN[::-1])
    assert stack.secrets["CallbackSecretArn"]["token"] == TOKEN[::-1]
    assert "`make callback-url`" in messages
    assert "24 more hours (CallbackPreviousSecretGraceHours)" in messages
    assert TOKEN[::-1] not in messages


def test_a_token_that_is_stored_already_has_no_previous_url(emulator: VonageControl) -> None:
    stack = a_stack(emulator)
    messages = store(stack, token=TOKEN)
    assert messages == "The callback secret already has these values."
    assert stack.puts == []


@pytest.mark.parametrize(("length", "warned"), [(1, True), (3, True), (31, True), (32, False)])
def test_a_short_signature_secret_is_stored_with_a_warning(
    length: int, warned: bool, emulator: VonageControl
) -> None:
    stack = a_stack(emulator)
    messages = store(stack, signature_secret="s" * length)
    assert (f"Warning: the signature secret has {length} characters" in messages) is warned
    assert stack.secrets["CallbackSecretArn"] == {"token": TOKEN, "signature_secret": "s" * length}


def test_a_key_file_is_no_signature_secret(emulator: VonageControl) -> None:
    stack = a_stack(emulator)
    with pytest.raises(Malformed, match="is a key file"):
        store(stack, signature_secret=PEM)
    assert stack.puts == []


@pytest.mark.parametrize(
    ("accepted", "given"),
    [
        ("token", {"token": ""}),
        ("signature", {"signature_secret": ""}),
        ("token-or-signature", {"token": "", "signature_secret": ""}),
    ],
)
def test_a_callback_secret_that_would_reject_every_callback_is_not_stored(
    accepted: str, given: dict[str, str], emulator: VonageControl
) -> None:
    stack = a_stack(emulator, signature_secret="s" * 32)
    stack.parameters["CallbackAcceptedCredentials"] = accepted
    with pytest.raises(Malformed, match=f"CallbackAcceptedCredentials is {accepted}"):
        store(stack, **given)
    assert stack.puts == []


def test_nothing_is_stored_when_one_of_two_secrets_is_malformed(emulator: VonageControl) -> None:
    stack = a_stack(emulator)
    with pytest.raises(Malformed, match="token"):
        store(stack, **ACCOUNT, token="short")
    assert stack.puts == []
