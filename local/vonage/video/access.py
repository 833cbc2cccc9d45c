"""Checks the JWTs of calls to the Video API.

Source: Vonage's guides "Authentication" (unified) and "OpenTok REST API" (classic).
"""

import time
from typing import Any

import jwt
from werkzeug.datastructures import Headers

from local.vonage.video.projects import API_KEY, APPLICATION_ID, Credentials

CLASSIC_HEADER = "X-OPENTOK-AUTH"
UNIFIED_MAX_LIFE = 24 * 3600
"""Seconds after `iat` at which a unified token expires, even if its `exp` is later."""
UNIFIED_DEFAULT_LIFE = 15 * 60
CLASSIC_MAX_LIFE = 5 * 60
"""The most seconds from now to the `exp` of a classic token."""
LEEWAY = 30
"""Seconds by which clocks may differ."""


def is_authorized(project_id: str, headers: Headers, credentials: Credentials) -> bool:
    """Return whether the Video API accepts the `headers` of a call for a project."""
    if project_id == APPLICATION_ID:
        scheme, _, token = headers.get("Authorization", "").strip().partition(" ")
        return scheme.lower() == "bearer" and _is_unified(token.strip(), credentials)
    return project_id == API_KEY and _is_classic(headers.get(CLASSIC_HEADER, ""), credentials)


def _is_unified(token: str, credentials: Credentials) -> bool:
    claims = _claims(token, credentials.private_key.public_key(), "RS256", ["iat", "jti"])
    if claims is None or claims.get("application_id") != APPLICATION_ID:
        return False
    life = UNIFIED_MAX_LIFE if "exp" in claims else UNIFIED_DEFAULT_LIFE
    return bool(time.time() < claims["iat"] + life)


def _is_classic(token: str, credentials: Credentials) -> bool:
    claims = _claims(token, credentials.api_secret, "HS256", ["iss", "ist", "iat", "exp"])
    if claims is None or (claims["iss"], claims["ist"]) != (API_KEY, "project"):
        return False
    return bool(claims["exp"] <= time.time() + CLASSIC_MAX_LIFE + LEEWAY)


def _claims(token: str, key: Any, algorithm: str, required: list[str]) -> dict[str, Any] | None:
    """Return the claims of a token that is signed with `key` and not expired, else None."""
    try:
        return jwt.decode(
            token, key, algorithms=[algorithm], options={"require": required}, leeway=LEEWAY
        )
    except jwt.InvalidTokenError:
        return None
