"""The intake accepts callbacks of the Video API at their own routes, with their own credentials."""

import json
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jwt import InsecureKeyLengthWarning

from local.testing.builders import (
    ABSENT,
    SIGNATURE_SECRET,
    TOKEN,
    AContext,
    a_body,
    a_request,
    a_signature,
)
from local.testing.sdk import LONG_TIMEOUT, endpoints, record_calls
from local.testing.template import ROOT, environment
from roomkeeper.aws import sdk
from roomkeeper.callbacks import video
from roomkeeper.callbacks.body import MAX_BODY_BYTES
from roomkeeper.handlers import callback_intake as app
from tests.unit.conftest import Output, Table

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

PATH = "/callbacks/video"
VIDEO_TOKEN = "v" * 48
SECRETS = ("of-the-archives-callback-url-32-bytes", "short", "of-session-monitoring-with-32-bytes")
SAMPLES = sorted((ROOT / "events").glob("video_*.json"))
ARCHIVE = (ROOT / "events/video_archive_started.json").read_bytes()


@pytest.fixture(scope="module")
def secrets(moto: None) -> "SecretsManagerClient":
    return sdk.secrets_manager(LONG_TIMEOUT)


@pytest.fixture(autouse=True)
def secret_ids(
    secrets: "SecretsManagerClient",
    table: Table,
    moto_server: str,
    patient_intake: None,
    monkeypatch: pytest.MonkeyPatch,
) -> dict[str, str]:
    """Set up the function with a secret for each product; return the secrets' ids."""
    contents: dict[str, dict[str, Any]] = {
        "CALLBACK_SECRET_ARN": {"token": TOKEN, "signature_secret": SIGNATURE_SECRET},
        "VIDEO_CALLBACK_SECRET_ARN": {"token": VIDEO_TOKEN, "signature_secrets": SECRETS},
    }
    ids = {
        name: secrets.create_secret(Name=f"{table.name}-{name}", SecretString=json.dumps(content))[
            "ARN"
        ]
        for name, content in contents.items()
    }
    ours = {"TABLE_NAME": table.name, **ids}
    for name, value in (environment("CallbackIntake") | endpoints(moto_server) | ours).items():
        monkeypatch.setenv(name, value)
    return ids


def status_of(
    body: bytes = ARCHIVE, token: str | None = VIDEO_TOKEN, path: str = PATH, **options: Any
) -> int:
    response: dict[str, Any] = app.handler(
        a_request(body, token=token, path=path, **options), AContext()
    )
    status: int = response["statusCode"]
    return status


def signed(body: bytes = ARCHIVE, secret: str = SECRETS[0], **claims: Any) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        return a_signature(body, secret=secret, **claims)


# --- accepted callbacks ---------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_callback_is_accepted_with_a_token_and_makes_one_item(
    sample: Path, table: Table, output: Output
) -> None:
    body = sample.read_bytes()
    assert status_of(body) == 204
    line = output.logged("callback accepted")
    assert (line["product"], line["event"]) == ("video", video.parse(body).event)
    assert status_of(body) == 204
    [item] = table.items()
    assert item["pk"]["S"].startswith(("RECORDING#", "EVENT#"))
    assert output.lines[-1]["CallbackRepeated"] == [1.0]


def test_the_largest_body_fits_into_an_item_although_redacting_makes_it_longer(
    table: Table,
) -> None:
    body = b'{"url":0%s}' % (b',"url":0' * 32_766)
    assert MAX_BODY_BYTES - 8 < len(body) <= MAX_BODY_BYTES
    assert status_of(body) == 204
    [item] = table.items()
    assert json.loads(item["body"]["S"]) == {"url": None}


def test_an_accepted_callback_makes_exactly_one_call(
    moto: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = record_calls(monkeypatch)
    status_of()
    first = len(calls)
    status_of(ARCHIVE.replace(b'"started"', b'"stopped"'))
    assert calls[first:] == ["UpdateItem"]


@pytest.mark.parametrize("secret", SECRETS)
def test_each_signature_secret_is_accepted_however_short(secret: str, table: Table) -> None:
    assert status_of(token=None, authorization=signed(secret=secret)) == 204
    assert len(table.items()) == 1


def test_a_signature_is_accepted_as_long_as_vonage_sends_its_callback_again() -> None:
    last = datetime.now(UTC) - timedelta(hours=24, minutes=15)
    assert status_of(token=None, authorization=signed(at=last)) == 204


@pytest.mark.parametrize(
    ("path", "body", "product"),
    [(PATH, a_body("recording:started"), "video"), ("/callbacks", ARCHIVE, "meetings")],
)
def test_the_route_and_not_the_body_decides_about_the_product(
    path: str, body: bytes, product: str, table: Table, output: Output
) -> None:
    token = VIDEO_TOKEN if path == PATH else TOKEN
    assert status_of(body, token, path) == 204
    line = output.logged("callback accepted")
    assert (line["event"], line["product"]) == ("callback:unrecognized", product)
    assert table.items()[0]["pk"]["S"].startswith("EVENT#")


# --- refused callbacks ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        "Bearer none",
        signed(secret="a-secret-that-the-stack-does-not-know"),
        signed(secret=SIGNATURE_SECRET),
        signed(b'{"another": "body"}'),
        signed(payload_hash=ABSENT),
        signed(at=datetime.now(UTC) - timedelta(days=3)),
    ],
    ids=["unsigned", "no JWT", "unknown", "the other product's", "tampered", "no hash", "old"],
)
def test_a_callback_that_is_not_signed_rightly_is_refused(
    authorization: str | None, table: Table
) -> None:
    """Vonage sends unsigned callbacks after an internal error, and sends them again."""
    assert status_of(token=None, authorization=authorization) == 401
    assert table.items() == []


def test_a_token_is_valid_for_its_own_product_alone(table: Table) -> None:
    assert status_of(token=TOKEN) == 401
    assert status_of(token=VIDEO_TOKEN, path="/callbacks") == 401
    assert table.items() == []


@pytest.mark.parametrize(
    ("accepted", "with_token", "with_signature"),
    [("token", 204, 401), ("signature", 401, 204), ("token-or-signature", 204, 204)],
)
def test_only_the_configured_kinds_of_credentials_are_accepted(
    accepted: str, with_token: int, with_signature: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCEPTED_CREDENTIALS", accepted)
    assert status_of() == with_token
    assert status_of(token=None, authorization=signed()) == with_signature


# --- secrets --------------------------------------------------------------------------------------


def test_after_a_rotation_the_earlier_token_and_secrets_are_still_accepted(
    secrets: "SecretsManagerClient", secret_ids: dict[str, str]
) -> None:
    fresh = {"token": "n" * 48, "signature_secrets": ["a-new-secret-of-32-bytes-or-more!"]}
    secrets.put_secret_value(
        SecretId=secret_ids["VIDEO_CALLBACK_SECRET_ARN"], SecretString=json.dumps(fresh)
    )
    for token in (VIDEO_TOKEN, fresh["token"]):
        assert status_of(token=str(token)) == 204
    for secret in (SECRETS[0], fresh["signature_secrets"][0]):
        assert status_of(token=None, authorization=signed(secret=secret)) == 204


@pytest.mark.parametrize(
    "content",
    [
        "{}",
        '{"token": ""}',
        '{"signature_secrets": [""]}',
        '{"token": "", "signature_secrets": "text"}',
        '{"signature_secrets": [5]}',
    ],
)
def test_without_usable_credentials_vonage_is_asked_to_send_again(
    content: str,
    secrets: "SecretsManagerClient",
    secret_ids: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PREVIOUS_SECRET_GRACE_HOURS", "0")
    secret_id = secret_ids["VIDEO_CALLBACK_SECRET_ARN"]
    secrets.put_secret_value(SecretId=secret_id, SecretString=content)
    assert status_of() == 503
    assert status_of(a_body("recording:started"), TOKEN, "/callbacks") == 204


def test_a_product_that_is_not_served_needs_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERVED_PRODUCTS", "video")
    monkeypatch.setenv("CALLBACK_SECRET_ARN", "")
    assert status_of() == 204


# --- personal data --------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_neither_the_table_nor_the_logs_have_personal_data_or_passwords(
    sample: Path, table: Table, output: Output
) -> None:
    body = json.loads(sample.read_text())
    personal = {"data": "Lovelace", "name": "Lovelace"}
    body |= {
        "password": "Lovelace",
        "transcription": {"url": "https://a.example/Lovelace"},
        "connection": body.get("connection", {}) | personal,
        "stream": body.get("stream", {}) | {"name": "Lovelace", "connection": personal},
    }
    assert status_of(json.dumps(body).encode()) == 204
    assert "Lovelace" not in str(table.items())
    assert "Lovelace" not in output.text
