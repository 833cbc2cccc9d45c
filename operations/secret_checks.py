"""Checks of a product's secrets before they are stored: the functions' own, and one by Vonage."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from operations.secret_fields import PAIRS, Fields, Malformed
from roomkeeper.aws.secrets import (
    CallbackContent,
    CallbackSecretContent,
    VideoCallbackSecretContent,
)
from roomkeeper.callbacks.authenticity import is_signature_secret
from roomkeeper.domain.observations import Product
from roomkeeper.vonage import (
    ApplicationKey,
    Credentials,
    Unauthorized,
    VonageError,
    credentials_from,
)
from roomkeeper.vonage.connect import VonageSecretContent
from roomkeeper.vonage.meetings import MeetingsClient
from roomkeeper.vonage.video import VideoClient, VideoCredentials, video_credentials_from

MIN_SECRET_LENGTH = 32
"""Characters. The operator is warned about a shorter signature secret.

HS256 requires 32 bytes (RFC 7518, section 3.2); Vonage accepts 1 to 50 characters.
"""

MAX_VIDEO_SECRET_LENGTH = 50
"""Characters that a signature secret of Vonage Video can have (Vonage's guide "Callbacks")."""

VONAGE_TIMEOUT = 15.0  # seconds, in total

ContentT = TypeVar("ContentT", bound=Struct)


class CredentialsRejected(Exception):
    """Vonage rejected the credentials; the message contains its response."""


# --- the secret for Vonage's API ------------------------------------------------------------------


def check_vonage_secret(
    product: Product, base_url: str, stored: Fields, given: Fields
) -> Iterator[str]:
    """Yield messages about a product's secret for Vonage's API: the `stored` fields, updated.

    Test each pair of credentials with a `given` field at Vonage. If the given fields only remove a
    pair, test the remaining credentials.

    Raises:
        Malformed: half of a pair is missing, or the functions could not use the content.
        CredentialsRejected: Vonage rejected a pair.
    """
    content = {**stored, **given}
    read = msgspec.structs.asdict(_read(content, VonageSecretContent))
    pairs = [_pair(content, names) for names in PAIRS if given.keys() & {*names}]
    in_use = _credentials(product, read)
    for fields in [pair for pair in pairs if any(pair.values())] or [read]:
        yield ask_vonage(product, base_url, fields, VONAGE_TIMEOUT)
    if isinstance(in_use, ApplicationKey) and not given.keys() & {*PAIRS[0]}:
        yield (
            "The functions keep using the application in the secret, which takes precedence over "
            f"the {_APIS[product].other_kind}. To remove it, store "
            '{"application_id": "", "private_key": ""}.'
        )
    if _owner(stored) not in ("", _owner(content)):
        yield _OTHER_OWNER


_OTHER_OWNER = (
    "Warning: until now the functions used another application, account or project. Jobs will "
    "record each recording as deleted that Vonage does not show to the new one. While the earlier "
    "recordings matter, store the earlier credentials again, and deploy another stack for the new "
    "ones."
)


def _owner(content: Fields) -> str:
    """Return the id of the application, account or project in use; empty if there is none."""
    owners = (content.get(name, "") for name, secret in PAIRS if content.get(secret))
    return next(filter(None, owners), "")


def ask_vonage(product: Product, base_url: str, fields: Fields, within: float) -> str:
    """Test credentials by a list of one room or archive; return a message.

    An empty `base_url` is Vonage's own. The call takes at most `within` seconds, retries included.

    Raises:
        Malformed: the fields are not usable credentials.
        CredentialsRejected: Vonage rejected them.
    """
    credentials = _credentials(product, fields)
    url = base_url or credentials.base_url  # only credentials of Video have one
    try:
        _APIS[product].list_one(url, credentials, within)
    except Unauthorized as exc:
        raise CredentialsRejected(f"Vonage rejected these credentials: {exc}") from exc
    except VonageError as exc:
        return f"The credentials could not be tested at Vonage ({url}): {exc}"
    is_application = isinstance(credentials, ApplicationKey)
    kind = "application" if is_application else _APIS[product].other_kind
    return f"Vonage accepts these {kind} credentials ({url})."


def _credentials(product: Product, fields: Fields) -> Any:
    """Return credentials made from the complete pair, as the functions make them.

    Raises:
        Malformed: the functions could not use the fields.
    """
    try:
        return _APIS[product].credentials_from(**fields)
    except ValueError as exc:
        raise Malformed(str(exc)) from exc


def _list_one_room(base_url: str, credentials: Credentials, within: float) -> None:
    with MeetingsClient(base_url, credentials, total_timeout=within) as meetings:
        meetings.list_rooms(page_size=1)


def _list_one_archive(base_url: str, credentials: VideoCredentials, within: float) -> None:
    with VideoClient(base_url, credentials, total_timeout=within) as video:
        video.require_accepted_credentials()


class _Api(Struct, frozen=True):
    """A product's API: how to make credentials, and how to test them with a list of one."""

    credentials_from: Callable[..., Any]
    list_one: Callable[[str, Any, float], None]
    other_kind: str
    """The kind of credentials that are no application's."""


_APIS: Mapping[Product, _Api] = {
    "meetings": _Api(credentials_from, _list_one_room, "account"),
    "video": _Api(video_credentials_from, _list_one_archive, "project"),
}


def _pair(content: Fields, names: tuple[str, str]) -> Fields:
    """Return the two fields of a pair.

    Raises:
        Malformed: only one of them is set.
    """
    pair = {name: content.get(name, "") for name in names}
    for name, other in (names, names[::-1]):
        if pair[name] and not pair[other]:
            raise Malformed(f"{name} needs {other}, which is neither given nor in the secret.")
    return pair


# --- the callback secret --------------------------------------------------------------------------


def check_callback_secret(product: Product, content: Fields, accepted: str) -> Iterator[str]:
    """Yield messages about a product's callback secret with this new `content`.

    `accepted` is the stack's parameter CallbackAcceptedCredentials.

    Raises:
        Malformed: the intake could not use it, or Vonage could not have such a signature secret.
    """
    read = _read(content, _CALLBACK_TYPES[product])
    if error := read.token_error():
        raise Malformed(error)
    if isinstance(read, VideoCallbackSecretContent):
        _require_lengths(read.signature_secrets)
    secrets = read.all_signature_secrets()
    if not all(map(is_signature_secret, secrets)):
        raise Malformed(
            "The signature secret is a key file. Give the signature secret of the Vonage account "
            "or, for Video, of the callback URL, which is a short text."
        )
    if not (read.token and "token" in accepted) and not (secrets and "signature" in accepted):
        raise Malformed(
            f"Every callback would be rejected: CallbackAcceptedCredentials is {accepted}, and the "
            "secret has no such credential."
        )
    for length in map(len, secrets):
        if length < MIN_SECRET_LENGTH:
            yield (
                f"Warning: the signature secret has {length} characters. A secret shorter than "
                f"{MIN_SECRET_LENGTH} can be guessed from a single signed callback."
            )


_CALLBACK_TYPES: Mapping[Product, type[CallbackContent]] = {
    "meetings": CallbackSecretContent,
    "video": VideoCallbackSecretContent,
}


def _require_lengths(secrets: Iterable[str]) -> None:
    """Raise Malformed if Vonage Video could not have one of these signature secrets."""
    if not all(1 <= len(secret) <= MAX_VIDEO_SECRET_LENGTH for secret in secrets):
        raise Malformed(
            f"Each of signature_secrets must have 1 to {MAX_VIDEO_SECRET_LENGTH} characters, as at "
            "Vonage. An empty list removes them all."
        )


def _read(content: Fields, content_type: type[ContentT]) -> ContentT:
    """Return the content, parsed as the functions parse it.

    Raises:
        Malformed: they could not parse it.
    """
    try:
        return msgspec.json.decode(json.dumps(content), type=content_type)
    except msgspec.DecodeError:
        # No cause: it may quote the secret.
        names = ", ".join(field.name for field in msgspec.structs.fields(content_type))
        raise Malformed(f"The secret must contain only {names}, in their usual form.") from None
