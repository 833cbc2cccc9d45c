"""How the sender of a callback proves to be Vonage: by a token in the path, or by a signature.

Source of the signature: Vonage's "Signed webhooks" guide (a JWT, HS256, in the Authorization
header, with the hash of the body).
"""

import hashlib
import hmac
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from roomkeeper.callbacks import CallbackRejected

CLOCK_SKEW = timedelta(seconds=60)
"""How far a sender's clock may be ahead of ours."""

# Times are compared with the caller's `now`, not with a clock of PyJWT's own.
_JWT_OPTIONS: Any = {
    "require": ["iat"],
    **dict.fromkeys(["verify_aud", "verify_iat", "verify_nbf", "verify_exp"], False),
}


class Unauthorized(CallbackRejected):
    """Neither a valid signature nor the right token."""

    status, code = 401, "unauthorized"


def require_authentic(
    body: bytes,
    *,
    token: str | None,
    authorization: str | None,
    tokens: Iterable[str],
    signature_secrets: Iterable[str],
    max_age: timedelta,
    now: datetime,
) -> None:
    """Return only when the caller knows one of `tokens` or signed `body` with one of the secrets.

    `token` is what came in the path, `authorization` the header; either may be missing. An empty
    iterable switches that way of getting in off.

    Raises:
        Unauthorized: neither holds. The message names what was wrong, never what was expected.
    """
    if token is not None and _token_matches(token, tokens):
        return
    problem = _signature_problem(body, authorization, signature_secrets, max_age, now)
    if problem is not None:
        raise Unauthorized(
            f"{'The token in the path is not valid. ' if token is not None else ''}{problem}"
        )


def _token_matches(given: str, tokens: Iterable[str]) -> bool:
    # Every token is compared, in constant time, so that the time taken tells nothing.
    matches = [
        hmac.compare_digest(given.encode(errors="surrogatepass"), token.encode())
        for token in tokens
        if token
    ]
    return any(matches)


def _signature_problem(
    body: bytes,
    authorization: str | None,
    secrets: Iterable[str],
    max_age: timedelta,
    now: datetime,
) -> str | None:
    scheme, _, jwt = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not jwt:
        return (
            "There is no signature in the Authorization header. Set the callback URL, with its "
            "token, that the operator's `make callback-url` prints."
        )
    problem: str | None = "Signatures are not accepted here."
    for secret in filter(None, secrets):
        problem = _jwt_problem(jwt.strip(), secret, body, max_age, now)
        if problem is None:
            return None
    return problem


def _jwt_problem(
    token: str, secret: str, body: bytes, max_age: timedelta, now: datetime
) -> str | None:
    import jwt  # noqa: PLC0415 - costs more to import than all the rest, and tokens do without

    try:
        claims = jwt.decode(token, secret, algorithms=["HS256"], options=_JWT_OPTIONS)
        issued, starts = int(claims["iat"]), int(claims.get("nbf", 0))
        ends = int(claims.get("exp", 1e18))
    except (jwt.PyJWTError, TypeError, ValueError, OverflowError):
        return "The signature is not valid. Sign with the account's signature secret, by HS256."
    skew, moment = CLOCK_SKEW.total_seconds(), now.timestamp()
    if max(issued, starts) > moment + skew or ends <= moment - skew:
        return "The signature is not valid at this time."
    if issued < moment - max_age.total_seconds():
        return (
            f"The signature is more than {max_age.total_seconds() / 3600:g} hours old. Sign anew."
        )
    payload_hash = claims.get("payload_hash")
    if payload_hash is not None and not _is_hash_of(payload_hash, body):
        return "The body is not the one that was signed."
    return None


def _is_hash_of(payload_hash: object, body: bytes) -> bool:
    actual = hashlib.sha256(body).hexdigest()
    given = str(payload_hash).lower().encode(errors="surrogatepass")
    return hmac.compare_digest(given, actual.encode())
