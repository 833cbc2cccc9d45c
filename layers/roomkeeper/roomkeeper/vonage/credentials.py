"""The two kinds of Vonage credentials: an API key and secret, or an application's private key.

Source: Vonage's guide "Authentication".
"""

import base64
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import ClassVar, Protocol, TypeVar

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

ForApplication = TypeVar("ForApplication")
ForAccount = TypeVar("ForAccount")

TOKEN_LIFE = 900
"""The lifetime of a token, in seconds."""

RENEWAL_MARGIN = 60
"""Seconds before its expiry when a token is renewed: it must still be valid on arrival."""


class Credentials(Protocol):
    """An object that returns the header that authorizes a request."""

    @property
    def header(self) -> str:
        """The name of the header."""
        ...

    def authorization(self) -> str:
        """Return the value of the header for a request that is sent now."""
        ...


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An account's API key and secret: Basic authentication."""

    key: str
    secret: str = field(repr=False)
    header: ClassVar[str] = "Authorization"

    def authorization(self) -> str:
        """Return `Basic` with key and secret in base64."""
        return f"Basic {base64.b64encode(f'{self.key}:{self.secret}'.encode()).decode()}"


class ApplicationKey:
    """An application's id and private key (PEM): Bearer authentication with RS256 tokens.

    A token is used until shortly before it expires. Safe to use from many threads.
    `now` returns Unix seconds.

    Raises:
        ValueError: `private_key` is not an RSA key in PEM.
    """

    header: ClassVar[str] = "Authorization"

    def __init__(
        self, application_id: str, private_key: str, now: Callable[[], float] = time.time
    ) -> None:
        self.application_id = application_id
        self._key = _rsa_key(private_key)
        self._now = now
        self._lock = threading.Lock()
        self._token = ""
        self._expires_at = 0.0

    def __repr__(self) -> str:
        return f"ApplicationKey({self.application_id!r})"

    def authorization(self) -> str:
        """Return `Bearer` with a token that is valid for at least RENEWAL_MARGIN."""
        with self._lock:
            if self._now() > self._expires_at - RENEWAL_MARGIN:
                self._renew()
            return f"Bearer {self._token}"

    def _renew(self) -> None:
        issued_at = int(self._now())
        claims = {
            "application_id": self.application_id,
            "iat": issued_at,
            "exp": issued_at + TOKEN_LIFE,
            "jti": str(uuid.uuid4()),
        }
        self._token = jwt.encode(claims, self._key, algorithm="RS256")
        self._expires_at = issued_at + TOKEN_LIFE


def from_complete_pair(
    application: Callable[[str, str], ForApplication],
    account: Callable[[str, str], ForAccount],
    *,
    application_id: str = "",
    private_key: str = "",
    api_key: str = "",
    api_secret: str = "",
) -> ForApplication | ForAccount:
    """Return the result of `application` or `account` for its pair; the former takes precedence.

    Raises:
        ValueError: neither pair is complete, or the private key is invalid. The message names the
            missing value, and quotes no value.
    """
    if application_id and private_key:
        return application(application_id, private_key)
    if api_key and api_secret:
        return account(api_key, api_secret)
    halves = {
        "application_id": application_id,
        "private_key": private_key,
        "api_key": api_key,
        "api_secret": api_secret,
    }
    missing = "".join(
        f" There is {name} without {other}." for name, other in _PARTNERS.items() if halves[name]
    )
    raise ValueError(
        f"No complete Vonage credentials.{missing} Give application_id with private_key, or "
        "api_key with api_secret."
    )


def credentials_from(**fields: str) -> Credentials:
    """Return credentials of the Meetings API; fields and errors as in `from_complete_pair`."""
    return from_complete_pair(ApplicationKey, ApiKey, **fields)


_PARTNERS = {
    "application_id": "private_key",
    "private_key": "application_id",
    "api_key": "api_secret",
    "api_secret": "api_key",
}


def _rsa_key(pem: str) -> RSAPrivateKey:
    # JSON and environment files often have line breaks as the two characters backslash and n.
    pem = pem.replace("\\r", "").replace("\\n", "\n")
    # The library's error may quote the key, so it must not be a cause of the error raised here.
    with suppress(ValueError, TypeError, UnsupportedAlgorithm):
        key = load_pem_private_key(pem.encode(), password=None)
        if isinstance(key, RSAPrivateKey):
            return key
    raise ValueError("The private key is not an RSA key in PEM without a passphrase.")
