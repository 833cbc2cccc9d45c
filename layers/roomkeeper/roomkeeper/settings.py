"""What a function is told by its environment and by Secrets Manager; typed, read once.

The template sets every variable, and alone knows the defaults.
"""

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from roomkeeper.aws import AwsError, RetryPolicy
from roomkeeper.callbacks.authenticity import TOKEN_RULE, SignatureRules, is_token
from roomkeeper.domain.rooms import ExtensionPolicy, Selection
from roomkeeper.errors import RoomkeeperError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

logger = logging.getLogger(__name__)

SecretT = TypeVar("SecretT", bound=Struct)

SECRET_MAX_AGE = timedelta(minutes=5)
"""How long a secret is used before it is read again: a rotated one is in force after that."""

READ_TIMEOUT = 6.0
"""Seconds after which no further version of a secret is read."""

MAX_EARLIER_VERSIONS = 10
"""Versions before the current one that are accepted at once; a change a minute makes too many."""

SECRET_RETRY = RetryPolicy(max_attempts=2, timeout=1.5)
"""Of one read of a secret."""


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
    signature_rules: SignatureRules
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
            signature_rules=_signature_rules(env),
            previous_secret_grace=timedelta(hours=int(env["PREVIOUS_SECRET_GRACE_HOURS"])),
            session_days=int(env["SESSION_DAYS"]),
            event_days=int(env["EVENT_DAYS"]),
        )


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
    """The tokens and signature secrets that a caller may use, those of the grace time included."""

    tokens: tuple[str, ...] = ()
    signature_secrets: tuple[str, ...] = ()


class CallbackSecretContent(Struct, frozen=True):
    """The JSON that the callback secret holds; an empty text is a credential not in use."""

    token: str = ""
    signature_secret: str = ""

    def token_error(self) -> str | None:
        """Return why `token` cannot be used; None if it can, or if there is none."""
        if not self.token or is_token(self.token):
            return None
        return f"Its token must have {TOKEN_RULE}, so that it stays as it is in a URL."


class CallbackSecret:
    """The callback secret: its current version and those that it replaced within a grace time.

    Each change of the secret starts the grace time of the version before it, and leaves that of
    earlier ones alone. Labels do not tell these: Secrets Manager keeps AWSCURRENT and AWSPREVIOUS
    alone. The versions are listed instead, which also finds those that somebody put by hand.

    `on_unusable_token` is called for each version read whose token cannot be used.

    Source: "ListSecretVersionIds" in the Secrets Manager API reference; "Secrets Manager quotas"
    (versions without a label are removed when there are more than 100, and none within 24 hours).
    """

    def __init__(
        self,
        client: "SecretsManagerClient",
        secret_id: str,
        previous_grace: timedelta,
        on_unusable_token: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._id = secret_id
        self._previous_grace = previous_grace
        self._on_unusable_token = on_unusable_token
        self._known: CallbackCredentials | None = None
        self._fresh_until = datetime.max

    def credentials(self, now: datetime) -> CallbackCredentials:
        """Return what is accepted at `now`, read anew when it was read SECRET_MAX_AGE ago.

        While Secrets Manager fails, what was read before is used on, with a warning.

        Raises:
            SecretUnavailable: nothing was read yet; the next call tries again.
        """
        if self._known is None:
            self._known, self._fresh_until = self._read(now), now + SECRET_MAX_AGE
        elif now > self._fresh_until:
            self._known, self._fresh_until = self._refreshed(self._known, now), now + SECRET_MAX_AGE
        return self._known

    def _refreshed(self, known: CallbackCredentials, now: datetime) -> CallbackCredentials:
        try:
            return self._read(now)
        except SecretUnavailable as exc:
            logger.warning("Using credentials read over %s ago: %s", SECRET_MAX_AGE, exc)
            return known

    def _read(self, now: datetime) -> CallbackCredentials:
        current, created = read_secret(self._client, self._id, CallbackSecretContent)
        contents = [current]
        if now - created < self._previous_grace:
            contents += self._replaced_since(now - self._previous_grace)
        return CallbackCredentials(
            tokens=tuple(content.token for content in contents if self._has_token(content)),
            signature_secrets=tuple(c.signature_secret for c in contents if c.signature_secret),
        )

    def _has_token(self, content: CallbackSecretContent) -> bool:
        if error := content.token_error():
            logger.error("The token of the secret %s is not used. %s", self._id, error)
            self._on_unusable_token()
            return False
        return bool(content.token)

    def _replaced_since(self, moment: datetime) -> Iterator[CallbackSecretContent]:
        deadline = time.monotonic() + READ_TIMEOUT
        for version in replaced_since(self._versions(), moment)[:MAX_EARLIER_VERSIONS]:
            if time.monotonic() > deadline:
                raise SecretUnavailable(f"The secret {self._id} takes too long to be read.")
            try:
                yield read_secret(self._client, self._id, CallbackSecretContent, version)[0]
            except SecretUnavailable as exc:
                if _is_outage(exc.__cause__):
                    raise
                # It was no JSON, which the change after it has mended, or it is deleted by now.

    def _versions(self) -> Sequence["SecretVersion"]:
        found: list[SecretVersion] = []
        page: dict[str, Any] = {}
        while True:
            try:
                response: Any = self._client.list_secret_version_ids(
                    SecretId=self._id, IncludeDeprecated=True, **page
                )
            except AwsError as exc:
                raise SecretUnavailable(
                    f"The versions of the secret {self._id} cannot be listed: {exc.code}."
                ) from exc
            found += msgspec.convert(response["Versions"], list[SecretVersion])
            if not response.get("NextToken"):
                return found
            page = {"NextToken": response["NextToken"]}


class SecretVersion(Struct, frozen=True, rename="pascal"):
    """A version of a secret, as it is listed; `created_date` is aware."""

    version_id: str
    created_date: datetime
    version_stages: frozenset[str] = frozenset()


def replaced_since(versions: Sequence[SecretVersion], moment: datetime) -> list[str]:
    """Return the ids of the versions that were in force after `moment`, but for the current one.

    The newest comes first. A version was in force until the next one was created. One that is newer
    than the current version was taken back by a label, and counts from its creation.
    """
    in_force = [v for v in versions if v.version_stages != {"AWSPENDING"}]
    newest_first = sorted(in_force, key=lambda version: version.created_date, reverse=True)
    ends = [v.created_date for v in newest_first[:1] + newest_first]
    return [
        version.version_id
        for version, end in zip(newest_first, ends, strict=False)
        if end > moment and "AWSCURRENT" not in version.version_stages
    ]


def read_secret(
    client: "SecretsManagerClient", secret_id: str, kind: type[SecretT], version_id: str = ""
) -> tuple[SecretT, datetime]:
    """Return the content of a secret, JSON of this `kind`, and when that version was created.

    It is the current version unless `version_id` names another one.

    Raises:
        SecretUnavailable: it cannot be read, or holds something else. The message names the secret
            and the fields that it must have, and quotes nothing that it holds.
    """
    which = {"VersionId": version_id} if version_id else {"VersionStage": "AWSCURRENT"}
    try:
        response: Any = client.get_secret_value(SecretId=secret_id, **which)
        return msgspec.json.decode(response["SecretString"], type=kind), response["CreatedDate"]
    except (AwsError, KeyError, msgspec.DecodeError) as problem:
        fields = ", ".join(field.name for field in msgspec.structs.fields(kind))
        raise SecretUnavailable(
            f"The secret {secret_id} ({version_id or 'AWSCURRENT'}) cannot be used: "
            f"{_name(problem)}. It must hold a JSON object with the texts {fields}."
        ) from problem


def _is_outage(problem: BaseException | None) -> bool:
    return isinstance(problem, AwsError) and problem.code != "ResourceNotFoundException"


def _name(problem: Any) -> str:
    """Return what went wrong without a word of what the secret holds."""
    return problem.code if isinstance(problem, AwsError) else type(problem).__name__
