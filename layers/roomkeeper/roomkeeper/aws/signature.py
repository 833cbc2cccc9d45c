"""Signature Version 4 of the one kind of request that is sent: a POST to the root of a host.

Source: "Create a signed AWS API request" in the IAM guide.
"""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

_ALGORITHM = "AWS4-HMAC-SHA256"


class Credentials(Struct, frozen=True):
    """What requests are signed with; there is a session token wherever a role is assumed."""

    key_id: str
    secret: str
    session_token: str = ""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "Credentials":
        """Return what Lambda puts into the environment.

        Raises:
            KeyError: it is not there; the variable is named.
        """
        return cls(
            env["AWS_ACCESS_KEY_ID"],
            env["AWS_SECRET_ACCESS_KEY"],
            env.get("AWS_SESSION_TOKEN", ""),
        )


class Scope(Struct, frozen=True):
    """What a signature holds for."""

    region: str
    service: str


def signed(
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    scope: Scope,
    now: datetime,
) -> dict[str, str]:
    """Return `headers`, which name the host, with all that makes the request a signed one.

    Their names must be in lower case, their values without blanks at the ends; `now` is in UTC.
    """
    at = now.strftime("%Y%m%dT%H%M%SZ")
    told = {**headers, "x-amz-date": at}
    if credentials.session_token:
        told["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(told))
    lines = [f"{name}:{told[name]}" for name in sorted(told)]
    request = "\n".join(["POST", "/", "", *lines, "", names, _hash(body)])
    parts = (at[:8], scope.region, scope.service, "aws4_request")
    where = "/".join(parts)
    text = "\n".join([_ALGORITHM, at, where, _hash(request.encode())])
    key = f"AWS4{credentials.secret}".encode()
    for part in parts:
        key = _mac(key, part)
    return told | {
        "authorization": f"{_ALGORITHM} Credential={credentials.key_id}/{where}, "
        f"SignedHeaders={names}, Signature={_mac(key, text).hex()}"
    }


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
