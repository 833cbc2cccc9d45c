"""The two kinds of credentials of the Video API: unified ones, and classic ones of OpenTok.

Source: Vonage's guide "Authentication", and OpenTok's REST API, "Authentication".
"""

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import jwt

from roomkeeper.vonage.credentials import ApplicationKey, Credentials, from_complete_pair

CLASSIC_TOKEN_LIFE = 180
"""The lifetime of a classic token, in seconds. The API accepts at most 300."""


class VideoCredentials(Credentials, Protocol):
    """Credentials that belong to a project of the Video API."""

    @property
    def project_id(self) -> str:
        """The project's id in URL paths."""
        ...

    @property
    def base_url(self) -> str:
        """The URL of the API that accepts them."""
        ...


class UnifiedKey(ApplicationKey):
    """An application's id and private key (PEM): Bearer authentication with RS256 tokens.

    Raises:
        ValueError: `private_key` is not an RSA key in PEM.
    """

    base_url: ClassVar[str] = "https://video.api.vonage.com"

    def __repr__(self) -> str:
        return f"UnifiedKey({self.application_id!r})"

    @property
    def project_id(self) -> str:
        """The application's id."""
        return self.application_id


@dataclass(frozen=True, slots=True)
class ClassicKey:
    """A project's API key and secret in OpenTok: HS256 tokens in the header X-OPENTOK-AUTH.

    `now` returns Unix seconds.
    """

    key: str
    secret: str = field(repr=False)
    now: Callable[[], float] = field(default=time.time, repr=False)
    header: ClassVar[str] = "X-OPENTOK-AUTH"
    base_url: ClassVar[str] = "https://api.opentok.com"

    @property
    def project_id(self) -> str:
        """The API key."""
        return self.key

    def authorization(self) -> str:
        """Return a token that is valid for CLASSIC_TOKEN_LIFE."""
        issued_at = int(self.now())
        claims = {
            "iss": self.key,
            "ist": "project",
            "iat": issued_at,
            "exp": issued_at + CLASSIC_TOKEN_LIFE,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(claims, self.secret, algorithm="HS256")


def video_credentials_from(**fields: str) -> VideoCredentials:
    """Return credentials of the Video API; fields and errors as in `from_complete_pair`."""
    return from_complete_pair(UnifiedKey, ClassicKey, **fields)
