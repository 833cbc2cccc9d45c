"""The functions' settings, read from environment variables into frozen Structs.

The template sets every variable and alone has the defaults. Each `from_env` raises KeyError, naming
the variable, when one is missing.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct

from roomkeeper.callbacks.authenticity import SignatureRules
from roomkeeper.domain.observations import Product
from roomkeeper.errors import RoomkeeperError


class Misconfigured(RoomkeeperError):
    """Settings contradict each other; the message names the parameters to change."""


def served_products(env: Mapping[str, str]) -> frozenset[Product]:
    """Return Vonage's products that the stack serves.

    Raises:
        KeyError: the variable SERVED_PRODUCTS is missing or has no such value.
    """
    return _SERVED[env["SERVED_PRODUCTS"]]


_SERVED: Mapping[str, frozenset[Product]] = {
    "meetings": frozenset({"meetings"}),
    "video": frozenset({"video"}),
    "both": frozenset({"meetings", "video"}),
}


class IntakeSettings(Struct, frozen=True, kw_only=True):
    """The settings of the callback intake; `secret_ids` has the secret of each served product."""

    table_name: str
    secret_ids: Mapping[Product, str]
    accepts_token: bool
    accepts_signature: bool
    signature_rules: SignatureRules
    previous_secret_grace: timedelta
    session_days: int
    event_days: int
    deleted_days: int
    copies: bool

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "IntakeSettings":
        """Return the settings in `env`."""
        accepted = env["ACCEPTED_CREDENTIALS"]
        return cls(
            table_name=env["TABLE_NAME"],
            secret_ids={
                product: env[_CALLBACK_SECRETS[product]] for product in served_products(env)
            },
            accepts_token="token" in accepted,
            accepts_signature="signature" in accepted,
            signature_rules=_signature_rules(env),
            previous_secret_grace=timedelta(hours=int(env["PREVIOUS_SECRET_GRACE_HOURS"])),
            session_days=int(env["SESSION_DAYS"]),
            event_days=int(env["EVENT_DAYS"]),
            deleted_days=int(env["DELETED_RECORDING_DAYS"]),
            copies=_copies(env),
        )


def _copies(env: Mapping[str, str]) -> bool:
    """Return whether recordings are copied to the operator's bucket."""
    return env["COPY_RECORDINGS"] == "true"


_CALLBACK_SECRETS: Mapping[Product, str] = {
    "meetings": "CALLBACK_SECRET_ARN",
    "video": "VIDEO_CALLBACK_SECRET_ARN",
}


def _signature_rules(env: Mapping[str, str]) -> SignatureRules:
    expected = {
        "api_key": env["EXPECTED_API_KEY"],
        "application_id": env["EXPECTED_APPLICATION_ID"],
    }
    return SignatureRules(
        max_age=timedelta(hours=int(env["SIGNATURE_MAX_AGE_HOURS"])),
        requires_payload_hash=env["REQUIRE_PAYLOAD_HASH"] == "true",
        expected_claims={name: value for name, value in expected.items() if value},
    )


class PublisherSettings(Struct, frozen=True, kw_only=True):
    """The settings of the event publisher."""

    table_name: str
    bus_name: str
    dead_letter_queue_url: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "PublisherSettings":
        """Return the settings in `env`."""
        return cls(
            table_name=env["TABLE_NAME"],
            bus_name=env["EVENT_BUS_NAME"],
            dead_letter_queue_url=env["DEAD_LETTER_QUEUE_URL"],
        )


class ManagementSettings(Struct, frozen=True, kw_only=True):
    """The settings of the management API."""

    table_name: str
    event_days: int
    deleted_days: int
    vonage: "VonageSettings"
    copies: bool
    copy: "CopySettings"
    """Used only if recordings are copied."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "ManagementSettings":
        """Return the settings in `env`."""
        return cls(
            table_name=env["TABLE_NAME"],
            event_days=int(env["EVENT_DAYS"]),
            deleted_days=int(env["DELETED_RECORDING_DAYS"]),
            vonage=VonageSettings.from_env(env),
            copies=_copies(env),
            copy=CopySettings.from_env(env),
        )


class ApiSettings(Struct, frozen=True, kw_only=True):
    """The base URL of one of Vonage's APIs, and the secret with the credentials for it.

    An empty base URL stands for Vonage's own, which depends on the kind of the credentials.
    """

    base_url: str
    secret_id: str


class VonageSettings(Struct, frozen=True, kw_only=True):
    """The settings of each of Vonage's APIs; None for one that the stack does not serve."""

    meetings: ApiSettings | None = None
    video: ApiSettings | None = None

    @property
    def served(self) -> Mapping[Product, ApiSettings]:
        """The settings of each product that the stack serves."""
        apis: Mapping[Product, ApiSettings | None] = {
            "meetings": self.meetings,
            "video": self.video,
        }
        return {product: api for product, api in apis.items() if api is not None}

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "VonageSettings":
        """Return the settings in `env`."""
        products = served_products(env)
        return cls(
            meetings=_api(env, "VONAGE") if "meetings" in products else None,
            video=_api(env, "VIDEO") if "video" in products else None,
        )


def _api(env: Mapping[str, str], prefix: str) -> ApiSettings:
    return ApiSettings(base_url=env[f"{prefix}_BASE_URL"], secret_id=env[f"{prefix}_SECRET_ARN"])


class JobSettings(Struct, frozen=True, kw_only=True):
    """The settings that all jobs share: dry run, concurrency and limits."""

    dry_run: bool
    concurrency: int
    per_second: float
    consecutive_failures: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "JobSettings":
        """Return the settings in `env`."""
        return cls(
            dry_run=env["DRY_RUN"] == "true",
            concurrency=int(env["JOB_CONCURRENCY"]),
            per_second=float(env["JOB_RATE_PER_SECOND"]),
            consecutive_failures=int(env["JOB_CONSECUTIVE_FAILURES"]),
        )


class CleanupSettings(Struct, frozen=True, kw_only=True):
    """The settings of the cleanup; a retention of 0 days disables it."""

    table_name: str
    retention_days: int
    deleted_days: int
    copies: bool

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "CleanupSettings":
        """Return the settings in `env`."""
        return cls(
            table_name=env["TABLE_NAME"],
            retention_days=int(env["RETENTION_DAYS"]),
            deleted_days=int(env["DELETED_RECORDING_DAYS"]),
            copies=_copies(env),
        )


class ReconciliationSettings(Struct, frozen=True, kw_only=True):
    """The settings of the reconciliation.

    It reads Vonage's lists back to `horizon_hours` ago. Recordings whose file is deleted within
    `expiring_notice_hours` are reported.
    """

    table_name: str
    grace_hours: int
    horizon_hours: int
    expiring_notice_hours: int
    deleted_days: int
    copies: bool

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "ReconciliationSettings":
        """Return the settings in `env`."""
        return cls(
            table_name=env["TABLE_NAME"],
            grace_hours=int(env["UPLOAD_GRACE_HOURS"]),
            horizon_hours=int(env["HORIZON_HOURS"]),
            expiring_notice_hours=int(env["EXPIRING_NOTICE_HOURS"]),
            deleted_days=int(env["DELETED_RECORDING_DAYS"]),
            copies=_copies(env),
        )


class CopySettings(Struct, frozen=True, kw_only=True):
    """The settings of the copies: bucket and queue, and how long the copies are kept."""

    table_name: str
    bucket: str
    queue_url: str
    storage_class: str
    deleted_days: int
    kept_days: int
    """The days that S3 keeps a copy; 0 for no limit."""
    allows_loopback: bool
    """Whether files may be read from this machine: True only for an emulated Vonage on it."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "CopySettings":
        """Return the settings in `env`."""
        vonage = VonageSettings.from_env(env)
        served = [api for api in (vonage.meetings, vonage.video) if api]
        return cls(
            table_name=env["TABLE_NAME"],
            bucket=env["COPY_BUCKET"],
            queue_url=env["COPY_QUEUE_URL"],
            storage_class=env["COPY_STORAGE_CLASS"],
            deleted_days=int(env["DELETED_RECORDING_DAYS"]),
            kept_days=int(env["COPY_DAYS"]),
            allows_loopback=any(api.base_url.startswith("http://") for api in served),
        )

    def copy_expires_at(self, copied_at: datetime) -> int | None:
        """Return when the item of a copied recording may expire, in Unix seconds; None for never.

        The item stays for the retention of deleted recordings after its copy.
        """
        if not self.kept_days:
            return None
        return int((copied_at + timedelta(days=self.kept_days + self.deleted_days)).timestamp())
