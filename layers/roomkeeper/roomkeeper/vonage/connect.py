"""The way to Vonage's API: a client made of the settings and the secret that holds credentials."""

from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools import single_metric
from aws_lambda_powertools.metrics import MetricUnit
from msgspec import Struct

from roomkeeper.settings import SecretUnavailable, VonageSettings, read_secret
from roomkeeper.vonage import Credentials, VonageClient, credentials_from

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class VonageSecretContent(Struct, frozen=True):
    """The JSON that the Vonage secret holds; a pair of empty texts is not in use."""

    application_id: str = ""
    private_key: str = ""
    api_key: str = ""
    api_secret: str = ""

    def credentials(self) -> Credentials:
        """Return the credentials that it makes.

        Raises:
            ValueError: it makes none. The message names the mistake, and quotes nothing.
        """
        return credentials_from(**msgspec.structs.asdict(self))


class NotConfigured(SecretUnavailable):
    """No Vonage credentials were ever stored: the secret still has the template's empty texts."""


def vonage_client(
    secrets: "SecretsManagerClient",
    settings: VonageSettings,
    *,
    total_timeout: float,
    timeout: float = 10.0,
) -> VonageClient:
    """Return a client of the Meetings API; both timeouts are in seconds.

    The secret is read anew at every call, so that rotated credentials are in force at once. A 401
    is counted.

    Raises:
        NotConfigured: no credentials were ever stored.
        SecretUnavailable: it cannot be read, or holds no complete credentials.
    """
    content, _created = read_secret(secrets, settings.secret_id, VonageSecretContent)
    if content == VonageSecretContent():
        raise NotConfigured(
            f"The secret {settings.secret_id} holds no Vonage credentials yet. Store them with "
            "make configure."
        )
    try:
        credentials = content.credentials()
    except ValueError as problem:
        raise SecretUnavailable(f"The secret {settings.secret_id}: {problem}") from problem
    return VonageClient(
        settings.base_url,
        credentials,
        total_timeout=total_timeout,
        timeout=timeout,
        on_unauthorized=count_unauthorized,
    )


def count_unauthorized() -> None:
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
