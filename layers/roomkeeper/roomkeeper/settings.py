"""What a function is told by its environment and by Secrets Manager; typed, read once.

The template sets every variable, and alone knows the defaults.
"""

import logging
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec
from msgspec import Struct

from roomkeeper import aws
from roomkeeper.aws import CallFailed
from roomkeeper.errors import RoomkeeperError
from roomkeeper.rooms import ExtensionPolicy, Selection

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

logger = logging.getLogger(__name__)

Held = TypeVar("Held", bound=Struct)

SECRET_MAX_AGE = timedelta(minutes=5)
"""How long a secret is used before it is read again: a rotated one is in force after that."""

SHORTEST_SIGNATURE_SECRET = 32
"""Bytes that HS256 asks of a key (RFC 7518, section 3.2): a shorter one could be guessed."""

PATIENCE = aws.Patience(seconds=2, tries=2)
"""Of a secret's read."""


class SecretUnavailable(RoomkeeperError):
    """A secret cannot be read, or does not hold what it must; the message names it."""


class Misconfigured(RoomkeeperError):
    """Settings contradict each other; the message names the parameters to change."""


class IntakeSettings(Struct, frozen=True, kw_only=True):
    """What the callback intake is configured with."""

    table_name: str
    secret_id: str
    accepts_token: bool
    accepts_signature: bool
    signature_max_age: timedelta
    previous_secret_grace: timedelta
    session_days: int
    event_days: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "IntakeSettings":
        """Raise KeyError, naming the variable, when one is missing."""
        accepted = env["ACCEPTED_CREDENTIALS"]
        return cls(
            table_name=env["TABLE_NAME"],
            secret_id=env["CALLBACK_SECRET_ARN"],
            accepts_token="token" in accepted,
            accepts_signature="signature" in accepted,
            signature_max_age=timedelta(hours=int(env["SIGNATURE_MAX_AGE_HOURS"])),
            previous_secret_grace=timedelta(hours=int(env["PREVIOUS_SECRET_GRACE_HOURS"])),
            session_days=int(env["SESSION_DAYS"]),
            event_days=int(env["EVENT_DAYS"]),
        )


class PublisherSettings(Struct, frozen=True, kw_only=True):
    """What the event publisher is configured with."""

    table_name: str
    bus_name: str
    dead_letter_queue_url: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "PublisherSettings":
        """Raise KeyError, naming the variable, when one is missing."""
        return cls(
            table_name=env["TABLE_NAME"],
            bus_name=env["EVENT_BUS_NAME"],
            dead_letter_queue_url=env["DEAD_LETTER_QUEUE_URL"],
        )


class ManagementSettings(Struct, frozen=True, kw_only=True):
    """What the management API is configured with."""

    table_name: str
    event_days: int
    deleted_days: int
    vonage: "VonageSettings"

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "ManagementSettings":
        """Raise KeyError, naming the variable, when one is missing."""
        return cls(
            table_name=env["TABLE_NAME"],
            event_days=int(env["EVENT_DAYS"]),
            deleted_days=int(env["DELETED_RECORDING_DAYS"]),
            vonage=VonageSettings.from_env(env),
        )


class VonageSettings(Struct, frozen=True, kw_only=True):
    """Where Vonage's Meetings API is, and which secret holds the credentials for it."""

    base_url: str
    secret_id: str

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "VonageSettings":
        """Raise KeyError, naming the variable, when one is missing."""
        return cls(base_url=env["VONAGE_BASE_URL"], secret_id=env["VONAGE_SECRET_ARN"])


class JobSettings(Struct, frozen=True, kw_only=True):
    """How every job works: rehearsing or in earnest, and how hard."""

    dry_run: bool
    concurrency: int
    per_second: float
    consecutive_failures: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "JobSettings":
        """Raise KeyError, naming the variable, when one is missing."""
        return cls(
            dry_run=env["DRY_RUN"] == "true",
            concurrency=int(env["JOB_CONCURRENCY"]),
            per_second=float(env["JOB_RATE_PER_SECOND"]),
            consecutive_failures=int(env["JOB_CONSECUTIVE_FAILURES"]),
        )


class CleanupSettings(Struct, frozen=True, kw_only=True):
    """What the recording cleanup is configured with; no days of retention switch it off."""

    table_name: str
    retention_days: int
    deleted_days: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "CleanupSettings":
        """Raise KeyError, naming the variable, when one is missing."""
        return cls(
            table_name=env["TABLE_NAME"],
            retention_days=int(env["RETENTION_DAYS"]),
            deleted_days=int(env["DELETED_RECORDING_DAYS"]),
        )


class ReconcilerSettings(Struct, frozen=True, kw_only=True):
    """What the recording reconciler is configured with."""

    table_name: str
    grace_hours: int
    deleted_days: int

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "ReconcilerSettings":
        """Raise KeyError, naming the variable, when one is missing."""
        return cls(
            table_name=env["TABLE_NAME"],
            grace_hours=int(env["UPLOAD_GRACE_HOURS"]),
            deleted_days=int(env["DELETED_RECORDING_DAYS"]),
        )


class ExtenderSettings(Struct, frozen=True, kw_only=True):
    """What the room-expiry extender is configured with."""

    table_name: str
    event_days: int
    policy: ExtensionPolicy

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "ExtenderSettings":
        """Raise KeyError, naming the variable, when one is missing.

        Raises:
            Misconfigured: the settings contradict each other.
        """
        used_days, session_days = int(env["ONLY_ROOMS_USED_WITHIN_DAYS"]), int(env["SESSION_DAYS"])
        if used_days > session_days:
            raise Misconfigured(
                f"OnlyRoomsUsedWithinDays is {used_days}, but sessions are forgotten after "
                f"SessionDays, {session_days}: rooms in use would be taken for idle."
            )
        try:
            policy = ExtensionPolicy(
                within=timedelta(days=int(env["EXTEND_WITHIN_DAYS"])),
                extend_to=timedelta(days=int(env["EXTEND_TO_DAYS"])),
                selection=msgspec.convert(env["ROOM_SELECTION"], Selection),
                keep_marker=env["KEEP_MARKER"],
                let_expire_marker=env["LET_EXPIRE_MARKER"],
                used_within=timedelta(days=used_days) if used_days else None,
                expire_after_use=env["EXTEND_EXPIRE_AFTER_USE"] == "true",
            )
        except ValueError as problem:
            raise Misconfigured(f"The extension of rooms cannot work so: {problem}") from problem
        return cls(table_name=env["TABLE_NAME"], event_days=int(env["EVENT_DAYS"]), policy=policy)


class CallbackCredentials(Struct, frozen=True):
    """What a caller may prove to know; several, while a rotated one's predecessor holds."""

    tokens: tuple[str, ...] = ()
    signature_secrets: tuple[str, ...] = ()


class _CallbackSecret(Struct, frozen=True):
    """The JSON that the callback secret holds; an empty text is a credential not in use."""

    token: str = ""
    signature_secret: str = ""


class CallbackSecret:
    """The callback secret: its current version and, for a grace period, the one before.

    Source: "Secret versions" in the Secrets Manager guide (AWSCURRENT, AWSPREVIOUS).
    """

    def __init__(
        self, client: "SecretsManagerClient", secret_id: str, previous_grace: timedelta
    ) -> None:
        self._client = client
        self._id = secret_id
        self._previous_grace = previous_grace
        self._known: CallbackCredentials | None = None
        self._fresh_until = datetime.max

    def credentials(self, now: datetime) -> CallbackCredentials:
        """Return what is accepted at `now`, read anew when what we know is SECRET_MAX_AGE old.

        What we know is used on, with a warning, while Secrets Manager fails.

        Raises:
            SecretUnavailable: nothing is known yet; the next call tries again.
        """
        if self._known is None:
            self._known, self._fresh_until = self._read(now), now + SECRET_MAX_AGE
        elif now > self._fresh_until:
            self._known, self._fresh_until = self._refreshed(self._known, now), now + SECRET_MAX_AGE
        return self._known

    def _refreshed(self, known: CallbackCredentials, now: datetime) -> CallbackCredentials:
        try:
            return self._read(now)
        except SecretUnavailable as problem:
            logger.warning(
                "Going on with credentials read over %s ago: %s", SECRET_MAX_AGE, problem
            )
            return known

    def _read(self, now: datetime) -> CallbackCredentials:
        current, since = self._version("AWSCURRENT")
        secrets = [current]
        if now - since < self._previous_grace:
            secrets += self._previous()
        return CallbackCredentials(
            tokens=tuple(secret.token for secret in secrets if secret.token),
            signature_secrets=tuple(s.signature_secret for s in secrets if s.signature_secret),
        )

    def _previous(self) -> list[_CallbackSecret]:
        try:
            return [self._version("AWSPREVIOUS")[0]]
        except SecretUnavailable as problem:
            if _is_outage(problem.__cause__):
                raise
            return []  # never rotated yet, or a mistake that the rotation has mended

    def _version(self, stage: str) -> tuple[_CallbackSecret, datetime]:
        secret, since = read_secret(self._client, self._id, _CallbackSecret, stage)
        if 0 < len(secret.signature_secret.encode()) < SHORTEST_SIGNATURE_SECRET:
            raise SecretUnavailable(
                f"The secret {self._id} ({stage}) cannot be used: its signature_secret has fewer "
                f"than {SHORTEST_SIGNATURE_SECRET} bytes. Put a longer one there and at Vonage, or "
                "leave it empty to let callbacks in by the token alone."
            )
        return secret, since


def read_secret(
    client: "SecretsManagerClient", secret_id: str, kind: type[Held], stage: str = "AWSCURRENT"
) -> tuple[Held, datetime]:
    """Return what a version of a secret holds, JSON of this `kind`, and since when it does.

    Raises:
        SecretUnavailable: it cannot be read, or holds something else. The message names the secret
            and the fields that it must have, and quotes nothing that it holds.
    """
    try:
        answer: Any = client.get_secret_value(SecretId=secret_id, VersionStage=stage)
        since = datetime.fromtimestamp(answer["CreatedDate"], UTC)
        return msgspec.json.decode(answer["SecretString"], type=kind), since
    except (CallFailed, KeyError, msgspec.DecodeError) as problem:
        fields = ", ".join(field.name for field in msgspec.structs.fields(kind))
        raise SecretUnavailable(
            f"The secret {secret_id} ({stage}) cannot be used: {_name(problem)}. "
            f"It must hold a JSON object with the texts {fields}."
        ) from problem


def connect() -> "SecretsManagerClient":
    """Return a Secrets Manager client with the timeouts and retries that the functions live by."""
    return cast("SecretsManagerClient", aws.Client(aws.SECRETS_MANAGER, PATIENCE))


def _is_outage(problem: BaseException | None) -> bool:
    return isinstance(problem, CallFailed) and problem.code != "ResourceNotFoundException"


def _name(problem: Any) -> str:
    """Return what went wrong without a word of what the secret holds."""
    return problem.code if isinstance(problem, CallFailed) else type(problem).__name__
