"""Secrets in Secrets Manager: JSON objects, read with a bounded time, rotated with a grace time."""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import Struct

from roomkeeper.aws import AwsError
from roomkeeper.callbacks.authenticity import TOKEN_RULE, is_token
from roomkeeper.errors import RoomkeeperError

if TYPE_CHECKING:
    from mypy_boto3_secretsmanager import SecretsManagerClient

logger = logging.getLogger(__name__)

SecretT = TypeVar("SecretT", bound=Struct)

SECRET_MAX_AGE = timedelta(minutes=5)
"""The time for which a secret is used before it is read again; a rotation takes effect then."""

READ_TIMEOUT = 6.0
"""Seconds after which no further version of a secret is read."""

MAX_EARLIER_VERSIONS = 10
"""Replaced versions that are accepted at once; older ones are ignored."""


class SecretUnavailable(RoomkeeperError):
    """A secret cannot be read, or its content is invalid; the message names the secret."""


class CallbackCredentials(Struct, frozen=True):
    """The tokens and signature secrets that are accepted, including those within the grace time."""

    tokens: tuple[str, ...] = ()
    signature_secrets: tuple[str, ...] = ()


class _TokenHolder(Struct, frozen=True):
    """A secret with the token of the callback URLs; an empty string disables the token."""

    token: str = ""

    def token_error(self) -> str | None:
        """Return why `token` cannot be used; None if it is valid or empty."""
        if not self.token or is_token(self.token):
            return None
        return f"A token must have {TOKEN_RULE}, so that a URL does not change it."


class CallbackSecretContent(_TokenHolder, frozen=True):
    """The JSON content of the callback secret of the Meetings API.

    An empty string disables that credential.
    """

    signature_secret: str = ""

    def all_signature_secrets(self) -> tuple[str, ...]:
        """Return the signature secret, if there is one."""
        return (self.signature_secret,) if self.signature_secret else ()


class VideoCallbackSecretContent(_TokenHolder, frozen=True):
    """The JSON content of the callback secret of the Video API.

    Vonage makes one signature secret for each callback URL, so there is a list of them.
    """

    signature_secrets: tuple[str, ...] = ()

    def all_signature_secrets(self) -> tuple[str, ...]:
        """Return the signature secrets that are not empty."""
        return tuple(filter(None, self.signature_secrets))


CallbackContent = CallbackSecretContent | VideoCallbackSecretContent


class CallbackSecret:
    """The callback secret: its current version, and those it replaced within a grace time.

    `content_type` is the type of its content, which depends on the product.

    Each change of the secret starts the grace time of the version that it replaces; the grace time
    of earlier versions goes on. Secrets Manager labels only AWSCURRENT and AWSPREVIOUS, so the
    versions are listed instead. The list also has versions that were stored by hand.

    `on_unusable_token` is called for each version read whose token is invalid.

    Source: "ListSecretVersionIds" in the Secrets Manager API reference; "Secrets Manager quotas"
    (versions without a label are removed when there are more than 100, and none within 24 hours).
    """

    def __init__(
        self,
        client: "SecretsManagerClient",
        secret_id: str,
        previous_grace: timedelta,
        on_unusable_token: Callable[[], None] = lambda: None,
        content_type: type[CallbackContent] = CallbackSecretContent,
    ) -> None:
        self._client = client
        self._id = secret_id
        self._previous_grace = previous_grace
        self._on_unusable_token = on_unusable_token
        self._content_type = content_type
        self._known: CallbackCredentials | None = None
        self._fresh_until = datetime.max

    def credentials(self, now: datetime) -> CallbackCredentials:
        """Return the credentials accepted at `now`, from a cache of SECRET_MAX_AGE.

        If a refresh fails, the cached credentials are returned and a warning is logged.

        Raises:
            SecretUnavailable: nothing is cached yet; the next call tries again.
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
        current, created = read_secret(self._client, self._id, self._content_type)
        contents = [current]
        if now - created < self._previous_grace:
            contents += self._replaced_since(now - self._previous_grace)
        return CallbackCredentials(
            tokens=tuple(content.token for content in contents if self._has_token(content)),
            signature_secrets=tuple(
                chain.from_iterable(content.all_signature_secrets() for content in contents)
            ),
        )

    def _has_token(self, content: CallbackContent) -> bool:
        if error := content.token_error():
            logger.error("The token of the secret %s is not used. %s", self._id, error)
            self._on_unusable_token()
            return False
        return bool(content.token)

    def _replaced_since(self, moment: datetime) -> Iterator[CallbackContent]:
        deadline = time.monotonic() + READ_TIMEOUT
        for version in replaced_since(self._versions(), moment)[:MAX_EARLIER_VERSIONS]:
            if time.monotonic() > deadline:
                raise SecretUnavailable(f"The secret {self._id} takes too long to be read.")
            try:
                yield read_secret(self._client, self._id, self._content_type, version)[0]
            except SecretUnavailable as exc:
                if _is_outage(exc.__cause__):
                    raise
                # A malformed version was corrected by the next one; a deleted one is not needed.
                logger.warning("An earlier version is not accepted: %s", exc)

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
    """A version of a secret, as ListSecretVersionIds returns it; `created_date` is aware."""

    version_id: str
    created_date: datetime
    version_stages: frozenset[str] = frozenset()


def replaced_since(versions: Sequence[SecretVersion], moment: datetime) -> list[str]:
    """Return the ids of the versions that were in force after `moment`, newest first.

    The current version is left out. A version is in force until the next one is created. A version
    newer than the current one was rolled back by moving a label; it ends at its own creation.
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
    client: "SecretsManagerClient",
    secret_id: str,
    content_type: type[SecretT],
    version_id: str = "",
) -> tuple[SecretT, datetime]:
    """Return the content of a secret, JSON of type `content_type`, and the version's creation time.

    `version_id` selects a version; without it, the current version is read.

    Raises:
        SecretUnavailable: the secret cannot be read, or its content has another type. The message
            names the secret and the required fields, and quotes no content.
    """
    version = {"VersionId": version_id} if version_id else {"VersionStage": "AWSCURRENT"}
    try:
        response: Any = client.get_secret_value(SecretId=secret_id, **version)
        content = msgspec.json.decode(response["SecretString"], type=content_type)
        return _stripped(content), response["CreatedDate"]
    except (AwsError, KeyError, msgspec.DecodeError) as exc:
        fields = ", ".join(field.name for field in msgspec.structs.fields(content_type))
        raise SecretUnavailable(
            f"The secret {secret_id} ({version_id or 'AWSCURRENT'}) cannot be used: {_name(exc)}. "
            f"It must be a JSON object with the fields {fields}."
        ) from exc


def _stripped(content: SecretT) -> SecretT:
    """Return `content` without the white space around its texts, such as a shell's line break.

    No credential begins or ends with white space; `make configure` refuses it.
    """
    return msgspec.convert(without_blanks(msgspec.to_builtins(content)), type(content))


def without_blanks(value: Any) -> Any:
    """Return a secret's content, decoded from JSON, without the white space around its texts."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, dict):
        return {name: without_blanks(each) for name, each in value.items()}
    return [without_blanks(each) for each in value] if isinstance(value, list) else value


_OF_ONE_VERSION = {"ResourceNotFoundException", "DecryptionFailure", "AccessDeniedException"}
"""Error codes for a version if another version of the secret was just read: it is deleted, or the
KMS key that encrypts it cannot be used. A change of the secret's key encrypts only the versions
with a label anew.

Source: "Change the encryption key for an AWS Secrets Manager secret" in its user guide.
"""


def _is_outage(error: BaseException | None) -> bool:
    return isinstance(error, AwsError) and error.code not in _OF_ONE_VERSION


def _name(error: Exception) -> str:
    """Return the kind of error, without any content of the secret."""
    return error.code if isinstance(error, AwsError) else type(error).__name__
