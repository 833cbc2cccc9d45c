"""The clients of Vonage's APIs, made from the settings and the secrets with the credentials."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Self

import msgspec
from aws_lambda_powertools import single_metric
from aws_lambda_powertools.metrics import MetricUnit
from msgspec import Struct

from roomkeeper.aws.secrets import SecretUnavailable, read_secret
from roomkeeper.domain.observations import Product
from roomkeeper.settings import ApiSettings, VonageSettings
from roomkeeper.vonage import Credentials, RecordingsApi, credentials_from
from roomkeeper.vonage.meetings import MeetingsClient

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


class Clients(Struct, frozen=True, kw_only=True):
    """The client of each product; None for a product that the stack does not serve."""

    meetings: MeetingsClient | None = None

    @property
    def recordings(self) -> Mapping[Product, RecordingsApi]:
        """The recordings of each product that the stack serves."""
        return {client.product: client for client in self._all()}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._all():
            client.close()

    def _all(self) -> list[RecordingsApi]:
        return [client for client in (self.meetings,) if client is not None]


class NotConfigured(SecretUnavailable):
    """No Vonage credentials are stored: the secret still has the template's empty strings."""


def meetings_client(
    secrets: "SecretsManagerClient",
    settings: ApiSettings,
    *,
    total_timeout: float,
    timeout: float = 10.0,
) -> MeetingsClient:
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
    return MeetingsClient(
        settings.base_url,
        credentials,
        total_timeout=total_timeout,
        timeout=timeout,
        on_unauthorized=count_unauthorized,
    )


def clients(
    secrets: "SecretsManagerClient",
    settings: VonageSettings,
    *,
    total_timeout: float,
    timeout: float = 10.0,
) -> Clients:
    """Return the clients of all products that are served; both timeouts are in seconds.

    Raises:
        NotConfigured: no credentials are stored.
        SecretUnavailable: a secret cannot be read, or its credentials are incomplete or invalid.
    """
    if settings.meetings is None:
        return Clients()
    meetings = meetings_client(
        secrets, settings.meetings, total_timeout=total_timeout, timeout=timeout
    )
    return Clients(meetings=meetings)


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
