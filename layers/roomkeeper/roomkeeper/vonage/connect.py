"""The clients of Vonage's APIs, made from the settings and the secrets with the credentials."""

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import msgspec
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit
from msgspec import Struct

from roomkeeper.aws.secrets import SecretUnavailable, read_secret
from roomkeeper.domain.observations import Product
from roomkeeper.errors import RoomkeeperError
from roomkeeper.settings import ApiSettings, VonageSettings
from roomkeeper.vonage import NotServed, RecordingsApi, credentials_from
from roomkeeper.vonage.meetings import MeetingsClient
from roomkeeper.vonage.retry import Deadline
from roomkeeper.vonage.video import VideoClient, video_credentials_from

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient


Made = TypeVar("Made")


class NoRooms(RoomkeeperError):
    """The stack serves no product that has rooms."""


class VonageSecretContent(Struct, frozen=True):
    """The JSON content of a product's secret; credentials that are not in use are empty strings."""

    application_id: str = ""
    private_key: str = ""
    api_key: str = ""
    api_secret: str = ""


class Clients(Struct, frozen=True, kw_only=True):
    """The client of each product that the stack serves and has credentials for, else None.

    `unavailable` has the reason for each product that is served but has no client.
    """

    meetings: MeetingsClient | None = None
    video: VideoClient | None = None
    unavailable: Mapping[Product, SecretUnavailable] = MappingProxyType({})

    @property
    def recordings(self) -> Mapping[Product, RecordingsApi]:
        """The recordings API of each product that has a client."""
        return {client.product: client for client in self._all()}

    @property
    def served(self) -> Sequence[Product]:
        """The products that the stack serves."""
        return [*self.recordings, *self.unavailable]

    @property
    def not_configured(self) -> Sequence[Product]:
        """The products that are served, and whose credentials were never stored."""
        return [
            product
            for product, error in self.unavailable.items()
            if isinstance(error, NotConfigured)
        ]

    @property
    def rooms(self) -> MeetingsClient:
        """The client of the product that has rooms.

        Raises:
            NoRooms: the stack does not serve it.
            SecretUnavailable: the stack serves it, but has no credentials for it.
        """
        if self.meetings is not None:
            return self.meetings
        if "meetings" in self.unavailable:
            raise self.unavailable["meetings"]
        raise NoRooms("There are no rooms: this stack serves the Video API, which has none.")

    def recordings_of(self, product: Product) -> RecordingsApi:
        """Return the recordings API of a product.

        Raises:
            SecretUnavailable: the stack serves the product, but has no client for it.
            NotServed: the stack does not serve the product.
        """
        if product in self.unavailable:
            raise self.unavailable[product]
        if product not in self.recordings:
            raise NotServed(
                f"This stack does not serve the recording's product, {product}. Deploy it with "
                "Products=both."
            )
        return self.recordings[product]

    def within(self, deadline: Deadline) -> Self:
        """Return these clients for calls that all end by `deadline`; see ApiClient.within."""
        limited = {client.product: client.within(deadline) for client in self._all()}
        return msgspec.structs.replace(self, **limited)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._all():
            client.close()

    def _all(self) -> list[MeetingsClient | VideoClient]:
        return [client for client in (self.meetings, self.video) if client is not None]


class NotConfigured(SecretUnavailable):
    """No Vonage credentials are stored: the secret still has the template's empty strings."""


def clients(
    secrets: "SecretsManagerClient",
    settings: VonageSettings,
    *,
    total_timeout: float,
    timeout: float = 10.0,
) -> Clients:
    """Return the clients of `available_clients`, at least one.

    Raises:
        NotConfigured: no product has credentials.
        SecretUnavailable: no product has a client, and at least one secret cannot be read, or has
            incomplete or invalid credentials.
    """
    found = available_clients(secrets, settings, total_timeout=total_timeout, timeout=timeout)
    if found.unavailable and not found.recordings:
        raise _most_severe(found.unavailable.values())
    return found


def available_clients(
    secrets: "SecretsManagerClient",
    settings: VonageSettings,
    *,
    total_timeout: float,
    timeout: float = 10.0,
) -> Clients:
    """Return the clients of the products that the stack serves; both timeouts are in seconds.

    Every call reads the secrets, so rotated credentials take effect at once. Each refusal of the
    credentials by Vonage counts in the metric VonageRefusedCredentials. A product whose credentials
    are missing or cannot be read does not affect the others.
    """
    timeouts = {"total_timeout": total_timeout, "timeout": timeout}
    made: dict[Product, Any] = {}
    unavailable: dict[Product, SecretUnavailable] = {}
    for product, api in settings.served.items():
        try:
            made[product] = _MAKERS[product](api, _content(secrets, api, product), timeouts)
        except SecretUnavailable as error:
            unavailable[product] = error
    return Clients(**made, unavailable=unavailable)


def _most_severe(errors: Iterable[SecretUnavailable]) -> SecretUnavailable:
    return min(errors, key=lambda error: isinstance(error, NotConfigured))


def _content(
    secrets: "SecretsManagerClient", api: ApiSettings, product: Product
) -> VonageSecretContent:
    content, _created = read_secret(secrets, api.secret_id, VonageSecretContent)
    if content == VonageSecretContent():
        raise NotConfigured(
            f"The secret {api.secret_id} has no Vonage credentials for the product {product} yet. "
            "Store them with make configure."
        )
    return content


def _meetings_client(
    api: ApiSettings, content: VonageSecretContent, timeouts: Mapping[str, Any]
) -> MeetingsClient:
    credentials = _credentials(credentials_from, api, content)
    return MeetingsClient(api.base_url, credentials, on_unauthorized=count_unauthorized, **timeouts)


def _video_client(
    api: ApiSettings, content: VonageSecretContent, timeouts: Mapping[str, Any]
) -> VideoClient:
    credentials = _credentials(video_credentials_from, api, content)
    base_url = api.base_url or credentials.base_url
    return VideoClient(base_url, credentials, on_unauthorized=count_unauthorized, **timeouts)


_MAKERS: Mapping[Product, Callable[..., RecordingsApi]] = {
    "meetings": _meetings_client,
    "video": _video_client,
}


def _credentials(make: Callable[..., Made], api: ApiSettings, content: VonageSecretContent) -> Made:
    try:
        return make(**msgspec.structs.asdict(content))
    except ValueError as exc:
        raise SecretUnavailable(f"The secret {api.secret_id}: {exc}") from exc


def count_unauthorized() -> None:
    """Count that Vonage refused the credentials, in one metric for all functions.

    Emitted separately, because the functions' metrics have other dimensions.
    """
    _count("VonageRefusedCredentials", 1)


def count_not_configured(value: int) -> None:
    """Emit the metric NotConfigured: 1 while a product has no credentials, 0 afterwards.

    The 0 clears the alarm: without data points, the alarm keeps its state. It must come from a job
    that uses all served products, since the alarm takes the lowest value of an hour.
    """
    _count("NotConfigured", value)


def _count(name: str, value: int) -> None:
    metric = EphemeralMetrics()
    metric.add_dimension(name="service", value="vonage")
    metric.add_metric(name=name, unit=MetricUnit.Count, value=value)
    # In one write, as jobs call Vonage in several threads: `print` writes a line's end separately,
    # so that a line of another thread may come in between. Both would be unreadable.
    sys.stdout.write(json.dumps(metric.serialize_metric_set()) + "\n")
