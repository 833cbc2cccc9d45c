"""Checks the credentials of calls to the API."""

import base64
import binascii

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key


def rsa_public_key(pem: str) -> RSAPublicKey:
    """Return the RSA public key in `pem`.

    Raises:
        ValueError: `pem` is not an RSA public key.
    """
    try:
        key = load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm) as exc:
        raise ValueError("The public key is not in PEM.") from exc
    if not isinstance(key, RSAPublicKey):
        raise ValueError("The public key is not an RSA key.")  # noqa: TRY004 - the content is wrong, not the type
    return key


def is_authorized(header: str | None, public_key: RSAPublicKey | None) -> bool:
    """Return whether the Meetings API would accept an Authorization `header`.

    Any well-formed Basic or Bearer passes. With a `public_key`, a Bearer token must be signed with
    its private key, not be expired, and have the claims of an application.
    """
    scheme, _, credentials = (header or "").strip().partition(" ")
    if scheme.lower() == "basic":
        return _is_key_and_secret(credentials.strip())
    return scheme.lower() == "bearer" and _is_application(credentials.strip(), public_key)


def _is_key_and_secret(credentials: str) -> bool:
    try:
        key, _, secret = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return False
    return bool(key and secret)


def _is_application(token: str, public_key: RSAPublicKey | None) -> bool:
    try:
        if public_key is None:
            jwt.decode(token, options={"verify_signature": False})
        else:
            required = ["application_id", "iat", "exp", "jti"]
            jwt.decode(token, public_key, algorithms=["RS256"], options={"require": required})
    except jwt.InvalidTokenError:
        return False
    return True
