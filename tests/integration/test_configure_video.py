"""`make configure` for Video: credentials of both kinds, tested by a list of one archive."""

import codecs
import json
from pathlib import Path
from typing import Any

import pytest

from local.vonage import VonageControl
from local.vonage.video.projects import API_KEY, APPLICATION_ID
from operations import configure as configure_command
from operations import products
from operations.configure import configure
from operations.secret_checks import CredentialsRejected
from operations.secret_fields import Malformed
from roomkeeper.domain.observations import Product
from roomkeeper.vonage.video import ClassicKey, UnifiedKey, video_credentials_from
from tests.integration.test_configure import PEM

TOKEN = "a-token-that-is-in-the-url-of-video"
EMPTY = {"application_id": "", "private_key": "", "api_key": "", "api_secret": ""}


class VideoStack:
    """A stack with only parameters and the secrets of Video."""

    def __init__(self, base_url: str, known: dict[str, str], *signature_secrets: str) -> None:
        self.parameters = {
            "VideoBaseUrl": base_url,
            "CallbackAcceptedCredentials": "token-or-signature",
            "CallbackPreviousSecretGraceHours": "24",
        }
        self.secrets: dict[str, Any] = {
            "VideoSecretArn": EMPTY | known,
            "VideoCallbackSecretArn": {
                "token": TOKEN,
                "signature_secrets": list(signature_secrets),
            },
        }
        self.puts: list[str] = []

    @property
    def products(self) -> tuple[Product, ...]:
        return products.served(self.parameters)

    def secret(self, output: str) -> dict[str, Any]:
        found: dict[str, Any] = self.secrets[output]
        return found

    def put_secret(self, output: str, content: str) -> None:
        self.puts.append(output)
        self.secrets[output] = json.loads(content)


@pytest.fixture
def stack(emulator: VonageControl) -> VideoStack:
    return VideoStack(emulator.base, {})


@pytest.fixture
def unified(emulator: VonageControl) -> dict[str, str]:
    key = emulator.video.credentials()["private_key"]
    return {"application_id": APPLICATION_ID, "private_key": key}


@pytest.fixture
def classic(emulator: VonageControl) -> dict[str, str]:
    return {"api_key": API_KEY, "api_secret": emulator.video.credentials()["api_secret"]}


def store(stack: Any, **given: Any) -> str:
    return " ".join(configure(stack, "video", given))


# --- the credentials for Vonage's API -------------------------------------------------------------


def test_an_application_is_tested_by_a_list_of_its_archives(
    emulator: VonageControl, stack: VideoStack, unified: dict[str, str]
) -> None:
    messages = store(stack, **unified)
    assert f"Vonage accepts these application credentials ({emulator.base})" in messages
    assert "Stored in the Video secret: application_id, private_key." in messages
    assert len(emulator.requests()) == 1
    stored = video_credentials_from(**stack.secrets["VideoSecretArn"])
    assert isinstance(stored, UnifiedKey)
    assert unified["private_key"] not in messages


def test_a_classic_project_is_tested_by_a_list_of_its_archives(
    emulator: VonageControl, stack: VideoStack, classic: dict[str, str]
) -> None:
    messages = store(stack, **classic)
    assert "Vonage accepts these project credentials" in messages
    assert len(emulator.requests()) == 1
    stored = video_credentials_from(**stack.secrets["VideoSecretArn"])
    assert isinstance(stored, ClassicKey)
    assert classic["api_secret"] not in messages


def test_a_key_may_have_its_line_ends_written_out(
    stack: VideoStack, unified: dict[str, str]
) -> None:
    key = unified["private_key"].replace("\n", "\\n")
    assert "Vonage accepts these application" in store(
        stack, application_id=APPLICATION_ID, private_key=key
    )


@pytest.mark.parametrize("wrong", ["key", "secret", "application"])
def test_credentials_that_vonage_rejects_are_not_stored(
    wrong: str, stack: VideoStack, classic: dict[str, str], unified: dict[str, str]
) -> None:
    given = {
        "key": unified | {"private_key": PEM},
        "secret": classic | {"api_secret": "hunter2" * 6},
        "application": unified | {"application_id": "11111111-2222-3333-4444-555555555555"},
    }[wrong]
    with pytest.raises(CredentialsRejected) as refusal:
        store(stack, **given)
    assert "hunter2" not in str(refusal.value)
    assert stack.puts == []


def test_the_pair_that_was_given_is_the_one_that_is_tested(
    emulator: VonageControl, unified: dict[str, str], classic: dict[str, str]
) -> None:
    stack = VideoStack(emulator.base, unified)
    messages = store(stack, **classic)
    assert "these project credentials" in messages
    assert "The functions keep using the application in the secret" in messages
    assert "takes precedence over the project" in messages
    with pytest.raises(CredentialsRejected):
        store(stack, **classic | {"api_secret": "wrong" * 8})


@pytest.mark.parametrize(
    ("known", "given", "named"),
    [
        ({}, {"api_key": "k"}, "api_key needs api_secret"),
        ({}, {"application_id": "a"}, "application_id needs private_key"),
        ({}, {"private_key": PEM}, "private_key needs application_id"),
        ({"api_key": "k", "api_secret": "s"}, {"api_key": ""}, "api_secret needs api_key"),
        ({"api_key": "k", "api_secret": "s"}, {"private_key": PEM}, "needs application_id"),
        ({}, {"api_key": "", "api_secret": ""}, "No complete Vonage credentials"),
        ({}, {"application_id": "a", "private_key": "hunter2"}, "not an RSA key"),
    ],
)
def test_unusable_credentials_are_not_stored(
    known: dict[str, str], given: dict[str, str], named: str, emulator: VonageControl
) -> None:
    stack = VideoStack(emulator.base, known)
    with pytest.raises(Malformed, match=named) as refusal:
        store(stack, **given)
    assert "hunter2" not in str(refusal.value)
    assert stack.puts == []
    assert emulator.requests() == []


def test_credentials_that_cannot_be_tested_are_stored_with_a_warning(
    emulator: VonageControl, stack: VideoStack, classic: dict[str, str]
) -> None:
    emulator.fault("list_archives", status=404)  # the response to a wrong base URL
    messages = store(stack, **classic)
    assert f"could not be tested at Vonage ({emulator.base})" in messages
    assert stack.puts == ["VideoSecretArn"]


def test_credentials_of_another_project_are_stored_with_a_warning(
    stack: VideoStack, unified: dict[str, str], classic: dict[str, str]
) -> None:
    first = store(stack, **classic)
    again = store(stack, api_secret=classic["api_secret"])
    assert "Warning" not in first + again
    other = store(stack, **unified)  # an application takes precedence over a project
    assert "Warning: until now the functions used another application" in other
    assert not any(name in other for name in [API_KEY, APPLICATION_ID])
    assert stack.secrets["VideoSecretArn"] == classic | unified


# --- the callback secret --------------------------------------------------------------------------


def test_each_callback_url_has_a_signature_secret(stack: VideoStack) -> None:
    secrets = ["a" * 40, "b" * 50]
    messages = store(stack, signature_secrets=secrets)
    assert stack.secrets["VideoCallbackSecretArn"] == {
        "token": TOKEN,
        "signature_secrets": secrets,
    }
    assert "Stored in the Video callback secret: signature_secrets." in messages
    assert "Warning" not in messages
    assert not any(each in messages for each in [*secrets, TOKEN])


def test_a_short_signature_secret_is_stored_with_a_warning(stack: VideoStack) -> None:
    messages = store(stack, signature_secrets=["a", "b" * 32])
    assert messages.count("Warning: the signature secret has 1 characters") == 1
    assert stack.puts == ["VideoCallbackSecretArn"]


@pytest.mark.parametrize("secret", ["", "s" * 51, PEM])
def test_a_signature_secret_that_vonage_could_not_have_is_not_stored(
    secret: str, stack: VideoStack
) -> None:
    with pytest.raises(Malformed, match="1 to 50 characters"):
        store(stack, signature_secrets=["a" * 40, secret])
    assert stack.puts == []


def test_an_empty_list_removes_the_signature_secrets_if_the_token_remains(
    emulator: VonageControl,
) -> None:
    stack = VideoStack(emulator.base, {}, "s" * 40)
    store(stack, signature_secrets=[])
    assert stack.secrets["VideoCallbackSecretArn"]["signature_secrets"] == []
    stack.parameters["CallbackAcceptedCredentials"] = "signature"
    with pytest.raises(Malformed, match="Every callback would be rejected"):
        store(stack, token=TOKEN[::-1])


def test_a_token_that_a_url_would_change_is_not_stored(stack: VideoStack) -> None:
    with pytest.raises(Malformed, match=r"token must have 32 characters or more.*URL"):
        store(stack, token="a/b" * 20)
    assert stack.puts == []


def test_nothing_is_stored_when_one_of_two_secrets_is_malformed(
    stack: VideoStack, classic: dict[str, str]
) -> None:
    with pytest.raises(Malformed):
        store(stack, **classic, token="short")
    assert stack.puts == []


# --- at a terminal --------------------------------------------------------------------------------


class Typed:
    """Type these lines at prompts of every kind, as at a terminal."""

    def __init__(self, *lines: str) -> None:
        self._lines = iter(lines)
        self.prompts: list[str] = []

    def isatty(self) -> bool:
        return True

    def __call__(self, prompt: str = "") -> str:
        self.prompts.append(prompt)
        return next(self._lines)


def type_in(
    monkeypatch: pytest.MonkeyPatch, stack: VideoStack, *lines: str, code: int = 0
) -> Typed:
    """Run `make configure` for a stack with both products, and type these lines."""
    stack.parameters["Products"] = "both"
    typed = Typed(*lines)
    monkeypatch.setattr("sys.stdin", typed)
    monkeypatch.setattr("builtins.input", typed)
    monkeypatch.setattr("getpass.getpass", typed)
    monkeypatch.setattr("sys.argv", ["configure"])
    monkeypatch.setattr(configure_command, "deployed_stack", lambda _name: stack)
    assert configure_command.main() == code
    return typed


def test_at_a_terminal_the_product_its_key_file_and_its_secrets_are_asked_for(
    stack: VideoStack,
    unified: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "private.key"
    file.write_bytes(codecs.BOM_UTF8 + unified["private_key"].encode())
    first, second = "a" * 40, "b" * 40
    answers = ("rooms", "video", APPLICATION_ID, str(file), "", "", first, second, "")

    typed = type_in(monkeypatch, stack, *answers)

    assert typed.prompts[0] == typed.prompts[1]
    assert "which product, meetings or video?" in typed.prompts[0]
    assert stack.secrets["VideoSecretArn"] == EMPTY | unified
    assert stack.secrets["VideoCallbackSecretArn"]["signature_secrets"] == [first, second]
    shown = capsys.readouterr().out
    assert "Vonage accepts these application credentials" in shown
    assert first not in shown


def test_signature_secrets_that_are_not_typed_stay_as_they_are(
    emulator: VonageControl, classic: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = VideoStack(emulator.base, {}, "s" * 40)
    type_in(monkeypatch, stack, "video", "", "", classic["api_key"], classic["api_secret"], "")
    assert stack.puts == ["VideoSecretArn"]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("{folder}", "{folder} cannot be read: Is a directory. Nothing was changed."),
        ("{folder}/no", "{folder}/no cannot be read: No such file or directory. Nothing"),
        ("{folder}/bytes", "{folder}/bytes is not a text file in UTF-8. Nothing was changed."),
        ("~no-such-user/key", "~no-such-user/key cannot be found: Could not determine home"),
    ],
)
def test_a_key_file_that_cannot_be_read_is_named_with_the_reason(
    path: str,
    expected: str,
    stack: VideoStack,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\x00\xfe")
    path, expected = (each.format(folder=tmp_path) for each in (path, expected))

    type_in(monkeypatch, stack, "video", APPLICATION_ID, path, code=1)

    assert capsys.readouterr().err.startswith(expected)
    assert stack.puts == []


def test_typing_nothing_changes_nothing(
    stack: VideoStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    type_in(monkeypatch, stack, "video", *[""] * 5, code=1)
    assert capsys.readouterr().err == "No field was given. Nothing was changed.\n"
    assert stack.puts == []


def test_the_file_may_be_below_the_home_folder_in_every_shell(
    stack: VideoStack, classic: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vonage.json").write_text(json.dumps(classic))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.argv", ["configure", "--product=video", "--file=~/vonage.json"])
    monkeypatch.setattr(configure_command, "deployed_stack", lambda _name: stack)
    stack.parameters["Products"] = "both"
    assert configure_command.main() == 0
    assert stack.secrets["VideoSecretArn"] == EMPTY | classic
