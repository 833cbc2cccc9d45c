"""The emulated project in each of the Video API's environments, and its credentials."""

import secrets
from functools import cached_property
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from local.vonage.recordings import ACCOUNT

Environment = Literal["unified", "classic"]
"""`unified`: an application of the Vonage dashboard. `classic`: a project of OpenTok."""

APPLICATION_ID = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
API_KEY = ACCOUNT
"""The API key of the classic project."""

PROJECT_IDS: dict[Environment, str] = {"unified": APPLICATION_ID, "classic": API_KEY}


class Credentials:
    """The credentials of both projects, generated at the first use and never stored."""

    @cached_property
    def private_key(self) -> rsa.RSAPrivateKey:
        """The private key of the unified application."""
        return rsa.generate_private_key(65537, 2048)

    @cached_property
    def api_secret(self) -> str:
        """The secret of the classic project: 40 hexadecimal digits."""
        return secrets.token_hex(20)

    def as_json(self) -> dict[str, str]:
        """Return the credentials under the names that `make configure` reads."""
        pem = self.private_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {
            "application_id": APPLICATION_ID,
            "private_key": pem.decode(),
            "api_key": API_KEY,
            "api_secret": self.api_secret,
        }
