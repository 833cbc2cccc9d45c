"""The way to Vonage's API: a client made of the settings and the secret that holds credentials."""

from typing import TYPE_CHECKING

from aws_lambda_powertools import single_metric
from aws_lambda_powertools.metrics import MetricUnit
from msgspec import Struct

from roomkeeper.settings import SecretUnavailable, VonageSettings, read_secret
from roomkeeper.vonage import VonageClient, credentials_from

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class _VonageSecret(Struct, frozen=True):
    """The JSON that the Vonage secret holds; a pair of empty texts is a way in that is not used."""

    application_id: str = ""
    private_key: str = ""
    api_key: str = ""
    api_secret: str = ""


class NotConfigured(SecretUnavailable):
    """No Vonage credentials were ever stored: the secret still has the template's empty texts."""


def vonage_client(
    secrets: "SecretsManagerClient",
    settings: VonageSettings,
    *,
    budget: float,
    timeout: float = 10.0,
) -> VonageClient:
    """Return a client of the Meetings API; `budget` and `timeout` in seconds, as it takes them.

    The secret is read anew at every call, so that rotated credentials are in force at once. A 401
    is counted.

    Raises:
        NotConfigured: no credentials were ever stored.
        SecretUnavailable: it cannot be read, or holds no complete credentials.
    """
    held, _since = read_secret(secrets, settings.secret_id, _VonageSecret)
    if held == _VonageSecret():
        raise NotConfigured(
            f"The secret {settings.secret_id} holds no Vonage credentials yet. Store them with "
            "make configure."
        )
    try:
        credentials = credentials_from(
            application_id=held.application_id,
            private_key=held.private_key,
            api_key=held.api_key,
            api_secret=held.api_secret,
        )
    except ValueError as problem:
        raise SecretUnavailable(f"The secret {settings.secret_id}: {problem}") from problem
    return VonageClient(
        settings.base_url,
        credentials,
        budget=budget,
        timeout=timeout,
        on_refusal=count_refusal,
    )


def count_refusal() -> None:
    """Count that Vonage did not take our credentials: one metric, whichever function they were of.

    It is written by itself, since the functions' own metrics carry dimensions of theirs.
    """
    _count("VonageRefusedCredentials", 1)


def count_not_configured(value: int) -> None:
    """Put out the metric NotConfigured: 1 while no credentials are stored, 0 once there are.

    The 0 ends the alarm: an alarm keeps its state while nothing is put out.
    """
    _count("NotConfigured", value)


def _count(name: str, value: int) -> None:
    with single_metric(name=name, unit=MetricUnit.Count, value=value) as metric:
        metric.add_dimension(name="service", value="vonage")
