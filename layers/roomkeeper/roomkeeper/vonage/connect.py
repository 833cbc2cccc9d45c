"""A client of the Meetings API, made from the settings and the secret with the credentials."""

from typing import TYPE_CHECKING

import msgspec
from aws_lambda_powertools import single_metric
from aws_lambda_powertools.metrics import MetricUnit
from msgspec import Struct

from roomkeeper.aws.secrets import SecretUnavailable, read_secret
from roomkeeper.settings import VonageSettings
from roomkeeper.vonage import Credentials, VonageClient, credentials_from

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


class VonageSecretContent(Struct, frozen=True):
    """The JSON content of the Vonage secret; a pair of empty strings is not in use."""

    application_id: str = ""
    private_key: str = ""
    api_key: str = ""
    api_secret: str = ""

    def credentials(self) -> Credentials:
        """Return credentials made from the complete pair.

        Raises:
            ValueError: no pair is complete and valid. The message names the mistake, and quotes no
                content.
        """
        return credentials_from(**msgspec.structs.asdict(self))


class NotConfigured(SecretUnavailable):
    """No Vonage credentials are stored: the secret still has the template's empty strings."""


def vonage_client(
    secrets: "SecretsManagerClient",
    settings: VonageSettings,
    *,
    total_timeout: float,
    timeout: float = 10.0,
) -> VonageClient:
    """Return a client of the Meetings API; both timeouts are in seconds.

    Every call reads the secret, so rotated credentials take effect at once. Each 401 counts in the
    metric VonageRefusedCredentials.

    Raises:
        NotConfigured: no credentials are stored.
        SecretUnavailable: the secret cannot be read, or its credentials are incomplete or invalid.
    """
    content, _created = read_secret(secrets, settings.secret_id, VonageSecretContent)
    if content == VonageSecretContent():
        raise NotConfigured(
            f"The secret {settings.secret_id} has no Vonage credentials yet. Store them with "
            "make configure."
        )
    try:
        credentials = content.credentials()
    except ValueError as exc:
        raise SecretUnavailable(f"The secret {settings.secret_id}: {exc}") from exc
    return VonageClient(
        settings.base_url,
        credentials,
        total_timeout=total_timeout,
        timeout=timeout,
        on_unauthorized=count_unauthorized,
    )


def count_unauthorized() -> None:
    """Count that Vonage refused the credentials, in one metric for all functions.

    Emitted separately, because the functions' metrics have other dimensions.
    """
    _count("VonageRefusedCredentials", 1)


def count_not_configured(value: int) -> None:
    """Emit the metric NotConfigured: 1 while no credentials are stored, 0 afterwards.

    The 0 clears the alarm: without data points, the alarm keeps its state.
    """
    _count("NotConfigured", value)


def _count(name: str, value: int) -> None:
    with single_metric(name=name, unit=MetricUnit.Count, value=value) as metric:
        metric.add_dimension(name="service", value="vonage")
