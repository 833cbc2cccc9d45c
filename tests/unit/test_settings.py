from collections.abc import Callable, Mapping
from datetime import timedelta

import msgspec
import pytest

from roomkeeper.callbacks.authenticity import SignatureRules
from roomkeeper.settings import (
    ApiSettings,
    IntakeSettings,
    PublisherSettings,
    VonageSettings,
    served_products,
)

INTAKE = {
    "TABLE_NAME": "rooms",
    "SERVED_PRODUCTS": "both",
    "CALLBACK_SECRET_ARN": "arn:secret",
    "VIDEO_CALLBACK_SECRET_ARN": "arn:video",
    "ACCEPTED_CREDENTIALS": "token-or-signature",
    "SIGNATURE_MAX_AGE_HOURS": "24",
    "REQUIRE_PAYLOAD_HASH": "true",
    "EXPECTED_API_KEY": "",
    "EXPECTED_APPLICATION_ID": "",
    "PREVIOUS_SECRET_GRACE_HOURS": "12",
    "SESSION_DAYS": "400",
    "EVENT_DAYS": "30",
    "DELETED_RECORDING_DAYS": "90",
}
MEETINGS = {"VONAGE_BASE_URL": "https://vonage.example", "VONAGE_SECRET_ARN": "arn:vonage"}
VIDEO = {"VIDEO_BASE_URL": "", "VIDEO_SECRET_ARN": "arn:video"}
VONAGE = MEETINGS | VIDEO | {"SERVED_PRODUCTS": "both"}
PUBLISHER = {"TABLE_NAME": "rooms", "EVENT_BUS_NAME": "bus", "DEAD_LETTER_QUEUE_URL": "https://q"}


def test_the_intake_reads_its_settings() -> None:
    assert IntakeSettings.from_env(INTAKE) == IntakeSettings(
        table_name="rooms",
        secret_ids={"meetings": "arn:secret", "video": "arn:video"},
        accepts_token=True,
        accepts_signature=True,
        signature_rules=SignatureRules(max_age=timedelta(days=1)),
        previous_secret_grace=timedelta(hours=12),
        session_days=400,
        event_days=30,
        deleted_days=90,
    )


def test_the_signature_rules_are_read() -> None:
    env = {
        "REQUIRE_PAYLOAD_HASH": "false",
        "EXPECTED_API_KEY": "a1b2c3d4",
        "EXPECTED_APPLICATION_ID": "78d335fa",
    }
    assert IntakeSettings.from_env(INTAKE | env).signature_rules == SignatureRules(
        max_age=timedelta(days=1),
        requires_payload_hash=False,
        expected_claims={"api_key": "a1b2c3d4", "application_id": "78d335fa"},
    )


def test_the_publisher_reads_its_settings() -> None:
    assert PublisherSettings.from_env(PUBLISHER) == PublisherSettings(
        table_name="rooms", bus_name="bus", dead_letter_queue_url="https://q"
    )


def test_the_vonage_settings_are_read() -> None:
    assert VonageSettings.from_env(VONAGE) == VonageSettings(
        meetings=ApiSettings(base_url="https://vonage.example", secret_id="arn:vonage"),
        video=ApiSettings(base_url="", secret_id="arn:video"),
    )


@pytest.mark.parametrize(("product", "env"), [("meetings", MEETINGS), ("video", VIDEO)])
def test_a_product_that_is_not_served_has_no_settings(product: str, env: dict[str, str]) -> None:
    served = env | {"SERVED_PRODUCTS": product}
    settings = msgspec.structs.asdict(VonageSettings.from_env(served))
    assert [name for name, each in settings.items() if each is not None] == [product]
    assert IntakeSettings.from_env(INTAKE | served).secret_ids.keys() == {product}


@pytest.mark.parametrize("products", ["", "rooms"])
def test_an_unknown_product_is_not_served(products: str) -> None:
    with pytest.raises(KeyError):
        served_products({"SERVED_PRODUCTS": products})


@pytest.mark.parametrize(
    ("accepted", "token", "signature"),
    [("token-or-signature", True, True), ("token", True, False), ("signature", False, True)],
)
def test_either_kind_of_credential_can_be_disabled(
    accepted: str, token: bool, signature: bool
) -> None:
    settings = IntakeSettings.from_env(INTAKE | {"ACCEPTED_CREDENTIALS": accepted})
    assert (settings.accepts_token, settings.accepts_signature) == (token, signature)


@pytest.mark.parametrize(
    ("read", "env", "missing"),
    [(IntakeSettings.from_env, INTAKE, name) for name in INTAKE]
    + [(PublisherSettings.from_env, PUBLISHER, name) for name in PUBLISHER]
    + [(VonageSettings.from_env, VONAGE, name) for name in VONAGE],
)
def test_a_missing_variable_is_named(
    read: Callable[[Mapping[str, str]], object], env: dict[str, str], missing: str
) -> None:
    with pytest.raises(KeyError, match=missing):
        read({name: value for name, value in env.items() if name != missing})
