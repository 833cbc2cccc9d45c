import json
import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from roomkeeper.aws import CallFailed
from roomkeeper.settings import (
    SECRET_MAX_AGE,
    CallbackCredentials,
    CallbackSecret,
    IntakeSettings,
    PublisherSettings,
    SecretUnavailable,
    VonageSettings,
)
from tests.builders import NOON
from tests.sdk import OUTAGES

# --- the environment ------------------------------------------------------------------------------

INTAKE = {
    "TABLE_NAME": "rooms",
    "CALLBACK_SECRET_ARN": "arn:secret",
    "ACCEPTED_CREDENTIALS": "token-or-signature",
    "SIGNATURE_MAX_AGE_HOURS": "24",
    "PREVIOUS_SECRET_GRACE_HOURS": "12",
    "SESSION_DAYS": "400",
    "EVENT_DAYS": "30",
}
VONAGE = {"VONAGE_BASE_URL": "https://vonage.example", "VONAGE_SECRET_ARN": "arn:vonage"}
PUBLISHER = {"TABLE_NAME": "rooms", "EVENT_BUS_NAME": "bus", "DEAD_LETTER_QUEUE_URL": "https://q"}


def test_the_intake_reads_its_settings() -> None:
    assert IntakeSettings.from_env(INTAKE) == IntakeSettings(
        table_name="rooms",
        secret_id="arn:secret",
        accepts_token=True,
        accepts_signature=True,
        signature_max_age=timedelta(days=1),
        previous_secret_grace=timedelta(hours=12),
        session_days=400,
        event_days=30,
    )


def test_the_publisher_reads_its_settings() -> None:
    assert PublisherSettings.from_env(PUBLISHER) == PublisherSettings(
        table_name="rooms", bus_name="bus", dead_letter_queue_url="https://q"
    )


def test_the_way_to_vonage_is_read() -> None:
    assert VonageSettings.from_env(VONAGE) == VonageSettings(
        base_url="https://vonage.example", secret_id="arn:vonage"
    )


@pytest.mark.parametrize(
    ("accepted", "token", "signature"),
    [("token-or-signature", True, True), ("token", True, False), ("signature", False, True)],
)
def test_either_way_in_can_be_closed(accepted: str, token: bool, signature: bool) -> None:
    settings = IntakeSettings.from_env(INTAKE | {"ACCEPTED_CREDENTIALS": accepted})
    assert (settings.accepts_token, settings.accepts_signature) == (token, signature)


@pytest.mark.parametrize(
    ("read", "env", "missing"),
    [(IntakeSettings.from_env, INTAKE, name) for name in INTAKE]
    + [(PublisherSettings.from_env, PUBLISHER, name) for name in PUBLISHER]
    + [(VonageSettings.from_env, VONAGE, name) for name in VONAGE],
)
def test_a_variable_that_is_missing_is_named(
    read: Callable[[Mapping[str, str]], object], env: dict[str, str], missing: str
) -> None:
    with pytest.raises(KeyError, match=missing):
        read({name: value for name, value in env.items() if name != missing})


# --- the callback secret --------------------------------------------------------------------------

GRACE = timedelta(hours=12)
OLD, NEW = "the old signature secret of them", "the new signature secret of them"
LATER = NOON + SECRET_MAX_AGE + timedelta(seconds=1)
LONG_AGO = NOON - timedelta(days=30)


class FakeSecrets:
    """A Secrets Manager with one secret, whose versions are as they were set."""

    def __init__(self, current: object, *, since: datetime = LONG_AGO) -> None:
        self.reads: list[str] = []
        self.outages: dict[str, Exception] = {}
        self._versions: dict[str, tuple[str, datetime]] = {}
        self.set(current, since)

    def set(self, current: object, since: datetime) -> None:
        """Put a new version in force; what was in force becomes the previous one."""
        if "AWSCURRENT" in self._versions:
            self._versions["AWSPREVIOUS"] = self._versions["AWSCURRENT"]
        text = current if isinstance(current, str) else json.dumps(current)
        self._versions["AWSCURRENT"] = (text, since)

    def get_secret_value(self, SecretId: str, VersionStage: str) -> dict[str, Any]:  # noqa: N803
        assert SecretId == "arn:secret"
        self.reads.append(VersionStage)
        if VersionStage in self.outages:
            raise self.outages[VersionStage]
        if VersionStage not in self._versions:
            raise CallFailed("GetSecretValue", "ResourceNotFoundException", "no such version")
        text, since = self._versions[VersionStage]
        return {"SecretString": text, "CreatedDate": since.timestamp()}


def a_secret(client: Any, grace: timedelta = GRACE) -> CallbackSecret:
    return CallbackSecret(client, "arn:secret", grace)


def rotated(at: datetime) -> FakeSecrets:
    client = FakeSecrets({"token": "old", "signature_secret": OLD})
    client.set({"token": "new", "signature_secret": NEW}, at)
    return client


ONLY_NEW = CallbackCredentials(("new",), (NEW,))
BOTH = CallbackCredentials(("new", "old"), (NEW, OLD))


@pytest.mark.parametrize(
    ("secret", "accepted"),
    [
        ({"token": "t", "signature_secret": NEW}, CallbackCredentials(("t",), (NEW,))),
        ({"token": "t", "signature_secret": ""}, CallbackCredentials(("t",), ())),
        ({"token": "t"}, CallbackCredentials(("t",), ())),
        ({"signature_secret": NEW, "note": 1}, CallbackCredentials((), (NEW,))),
        ({}, CallbackCredentials((), ())),
    ],
)
def test_what_is_set_is_accepted_and_what_is_empty_is_not(
    secret: object, accepted: CallbackCredentials
) -> None:
    assert a_secret(FakeSecrets(secret)).credentials(NOON) == accepted


def test_a_signature_secret_that_could_be_guessed_is_not_used() -> None:
    client = FakeSecrets({"token": "t", "signature_secret": NEW[:-1]})
    with pytest.raises(SecretUnavailable, match="signature_secret has fewer than 32 bytes") as told:
        a_secret(client).credentials(NOON)
    assert NEW[:-1] not in str(told.value)


def test_the_previous_secret_is_accepted_within_its_grace_period() -> None:
    just_within = rotated(at=NOON - GRACE + timedelta(seconds=1))
    assert a_secret(just_within).credentials(NOON) == BOTH


def test_the_previous_secret_is_not_even_read_after_its_grace_period() -> None:
    client = rotated(at=NOON - GRACE)
    assert a_secret(client).credentials(NOON) == ONLY_NEW
    assert client.reads == ["AWSCURRENT"]


def test_without_a_grace_period_a_rotation_holds_at_once() -> None:
    assert a_secret(rotated(at=NOON), timedelta(0)).credentials(NOON) == ONLY_NEW


def test_a_secret_that_was_never_rotated_has_no_previous_one() -> None:
    client = FakeSecrets({"token": "new"}, since=NOON)
    assert a_secret(client).credentials(NOON) == CallbackCredentials(("new",))


def test_a_previous_secret_that_was_a_mistake_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = FakeSecrets("s3cret, not JSON")
    client.set({"token": "new"}, NOON)
    assert a_secret(client).credentials(NOON) == CallbackCredentials(("new",))
    assert "s3cret" not in caplog.text


@pytest.mark.parametrize("outage", OUTAGES, ids=repr)
def test_a_previous_secret_that_cannot_be_read_just_now_is_no_mistake(outage: Exception) -> None:
    client = rotated(at=NOON)
    client.outages["AWSPREVIOUS"] = outage
    with pytest.raises(SecretUnavailable, match="AWSPREVIOUS"):
        a_secret(client).credentials(NOON)


def test_a_secret_is_read_once_while_it_is_fresh() -> None:
    client = FakeSecrets({"token": "t"})
    secret = a_secret(client)
    for now in (NOON, NOON + timedelta(seconds=1), NOON + SECRET_MAX_AGE):
        secret.credentials(now)
    assert client.reads == ["AWSCURRENT"]


def test_a_rotated_secret_is_in_force_once_the_known_one_is_stale() -> None:
    client = FakeSecrets({"token": "old", "signature_secret": OLD})
    secret = a_secret(client)
    before = secret.credentials(NOON)
    client.set({"token": "new", "signature_secret": NEW}, NOON)
    assert secret.credentials(NOON + SECRET_MAX_AGE) == before
    assert secret.credentials(LATER) == BOTH
    assert secret.credentials(NOON + GRACE + SECRET_MAX_AGE) == ONLY_NEW


@pytest.mark.parametrize("outage", OUTAGES, ids=repr)
def test_a_stale_secret_is_used_on_with_a_warning_while_it_cannot_be_read(
    outage: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    client = FakeSecrets({"token": "t0ken"})
    secret = a_secret(client)
    secret.credentials(NOON)
    client.outages["AWSCURRENT"] = outage
    assert secret.credentials(LATER) == CallbackCredentials(("t0ken",))
    [warning] = caplog.records
    assert warning.levelno == logging.WARNING
    assert "arn:secret (AWSCURRENT)" in warning.getMessage()
    assert "t0ken" not in caplog.text


def test_a_failing_secret_is_asked_for_again_only_after_a_while() -> None:
    client = FakeSecrets({"token": "t"})
    secret = a_secret(client)
    secret.credentials(NOON)
    client.outages["AWSCURRENT"] = OUTAGES[0]
    secret.credentials(LATER)
    client.outages.clear()
    client.set({"token": "new"}, LONG_AGO)
    assert secret.credentials(LATER + SECRET_MAX_AGE).tokens == ("t",)
    assert secret.credentials(LATER + SECRET_MAX_AGE + timedelta(seconds=1)).tokens == ("new",)


def test_a_secret_that_was_never_read_is_unavailable_and_asked_for_again() -> None:
    client = FakeSecrets({"token": "t"})
    secret = a_secret(client)
    client.outages["AWSCURRENT"] = OUTAGES[0]
    with pytest.raises(SecretUnavailable, match="ThrottlingException"):
        secret.credentials(NOON)
    client.outages.clear()
    assert secret.credentials(NOON).tokens == ("t",)


@pytest.mark.parametrize(
    "content",
    [
        "s3cret",
        '"s3cret"',
        '["s3cret"]',
        '{"token": 53, "note": "s3cret"}',
        '{"token": ["s3cret"]}',
        '{"token": "s3cret"',
        '{"token": null, "signature_secret": "s3cret"}',
        "",
    ],
)
def test_a_secret_that_is_malformed_is_named_and_never_shown(content: str) -> None:
    with pytest.raises(SecretUnavailable) as unavailable:
        a_secret(FakeSecrets(content)).credentials(NOON)
    message = str(unavailable.value)
    assert message.startswith("The secret arn:secret (AWSCURRENT) cannot be used: ")
    assert message.endswith("It must hold a JSON object with the texts token, signature_secret.")
    assert "s3cret" not in message


def test_a_secret_of_bytes_is_named() -> None:
    class BinarySecret(FakeSecrets):
        def get_secret_value(self, SecretId: str, VersionStage: str) -> dict[str, Any]:  # noqa: N803
            answer = super().get_secret_value(SecretId, VersionStage)
            return {"SecretBinary": b"x", "CreatedDate": answer["CreatedDate"]}

    with pytest.raises(SecretUnavailable, match=r"arn:secret \(AWSCURRENT\) .*KeyError"):
        a_secret(BinarySecret({})).credentials(NOON)
