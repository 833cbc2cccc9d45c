"""Authenticates callbacks by a token in the URL path or by a signature.

The signature is a JWT (HS256) in the Authorization header. Its `payload_hash` is the hash of the
body. Source: "Signed webhooks" in Vonage's guides.
"""

import base64
import hashlib
import hmac
import json
import re
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any

import msgspec
from msgspec import Struct

from roomkeeper.callbacks.body import BYTE_ORDER_MARK, CallbackRejected

CLOCK_SKEW = timedelta(seconds=60)
"""The leeway for `exp`, `nbf` and `iat`, because the sender's clock may differ."""

TOKEN_RULE = "32 characters or more, each a letter, a digit or one of - . _ ~"  # noqa: S105
"""The format of a token, for messages.

HTTP APIs decode a path before they match it: `%2F` becomes a slash, `%3F` cuts the path, and `%25`
gets a 400. These characters are never encoded (RFC 3986, section 2.3, "unreserved").
"""

_TOKEN = re.compile(r"[A-Za-z0-9_~.-]{32,}")

# PyJWT validates only the three time claims. All other claims may have any value.
_JWT_OPTIONS: Any = {
    "require": ["iat"],
    **dict.fromkeys(["verify_aud", "verify_iss", "verify_sub", "verify_jti"], False),
}


class Unauthorized(CallbackRejected):
    """The request has neither a valid signature nor a valid token."""

    status, code = 401, "unauthorized"


class SignatureRules(Struct, frozen=True, kw_only=True):
    """Requirements on a signature, besides the right secret.

    It must be at most `max_age` old. With `requires_payload_hash` it must cover the body. Each
    claim of `expected_claims` must have the given value.
    """

    max_age: timedelta
    requires_payload_hash: bool = True
    expected_claims: Mapping[str, str] = {}


def is_token(text: str) -> bool:
    """Return True if `text` is usable as a token in a URL path (see TOKEN_RULE)."""
    return _TOKEN.fullmatch(text) is not None


def is_signature_secret(text: str) -> bool:
    """Return True if `text` can verify signatures: it is neither empty nor a key file.

    PyJWT rejects PEM and SSH keys as HMAC secrets, because they may be public.
    """
    import jwt  # noqa: PLC0415

    try:
        jwt.get_algorithm_by_name("HS256").prepare_key(text)
    except jwt.InvalidKeyError:
        return False
    return bool(text)


def require_authentic(
    body: bytes,
    *,
    token: str | None,
    authorization: str | None,
    tokens: Iterable[str],
    signature_secrets: Iterable[str],
    rules: SignatureRules,
) -> None:
    """Check that the caller knows one of `tokens`, or signed `body` with one of the secrets.

    `token` comes from the path and `authorization` is the header. Either may be missing. An empty
    iterable disables that method.

    Raises:
        Unauthorized: neither is the case. The message names the mistake, never the right value.
    """
    if token is not None and _token_matches(token, tokens):
        return
    error = _signature_error(body, authorization, signature_secrets, rules)
    if error is not None:
        raise Unauthorized(
            f"{'The token in the path is not valid. ' if token is not None else ''}{error}"
        )


def _token_matches(given: str, tokens: Iterable[str]) -> bool:
    # All tokens are compared, each in constant time, so that the timing reveals nothing.
    matches = [
        hmac.compare_digest(given.encode(errors="surrogatepass"), token.encode())
        for token in tokens
        if token
    ]
    return any(matches)


def _signature_error(
    body: bytes, authorization: str | None, secrets: Iterable[str], rules: SignatureRules
) -> str | None:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        return (
            "There is no signature in the Authorization header. Set the callback URL, with its "
            "token, that the operator's `make callback-url` prints."
        )
    secrets = list(filter(None, secrets))
    if not secrets:
        return "Signatures are not accepted here."
    return _jwt_error(token.strip(), secrets, body, rules)


def _jwt_error(
    token: str, secrets: Iterable[str], body: bytes, rules: SignatureRules
) -> str | None:
    import jwt  # noqa: PLC0415 - a slow import that token checks do not need

    for secret in secrets:
        try:
            claims = _verified_claims(token, secret)
        except (jwt.ImmatureSignatureError, jwt.ExpiredSignatureError):
            return "The signature is not valid at this time."
        except (jwt.PyJWTError, ValueError, RecursionError):
            continue  # try the next secret
        return _claims_error(claims, body, rules)
    return "The signature is not valid. Sign with the account's signature secret, by HS256."


def _verified_claims(token: str, secret: str) -> dict[str, Any]:
    """Return the claims of a JWT that was signed with `secret` and is valid now.

    Raises:
        jwt.PyJWTError: the signature or a time is invalid.
        ValueError: `token` is not a JWT.
    """
    import jwt  # noqa: PLC0415

    with warnings.catch_warnings():
        # Vonage allows short signature secrets, and the operator was warned on storing one.
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.decode(
            _without_invalid_key_id(token, secret),
            secret,
            algorithms=["HS256"],
            leeway=CLOCK_SKEW,
            options=_JWT_OPTIONS,
        )


def _without_invalid_key_id(token: str, secret: str) -> str:
    """Return `token`, re-signed without its `kid` if that is not a string.

    A `kid` selects among keys and has no meaning here. PyJWT rejects a `kid` that is not a string
    (RFC 7515, section 4.1.4) and has no option to ignore it.

    Raises:
        jwt.InvalidSignatureError: `kid` is not a string, and `token` was not signed with `secret`.
        ValueError: `token` is not a JWT.
    """
    import jwt  # noqa: PLC0415

    signing_input, _, signature = token.rpartition(".")
    encoded_header, _, encoded_claims = signing_input.partition(".")
    header = msgspec.json.decode(_from_base64url(encoded_header), type=dict[str, Any])
    if isinstance(header.pop("kid", ""), str) or header.get("alg") != "HS256":
        return token
    algorithm = jwt.get_algorithm_by_name("HS256")
    key = algorithm.prepare_key(secret)
    if not algorithm.verify(signing_input.encode(), key, _from_base64url(signature)):
        raise jwt.InvalidSignatureError
    return jwt.PyJWS().encode(_from_base64url(encoded_claims), secret, headers=header)


def _from_base64url(encoded: str) -> bytes:
    return base64.urlsafe_b64decode(encoded + "==")


def _claims_error(claims: Mapping[str, Any], body: bytes, rules: SignatureRules) -> str | None:
    if int(claims["iat"]) < time.time() - rules.max_age.total_seconds():
        hours = rules.max_age.total_seconds() / 3600
        return f"The signature is more than {hours:g} hours old. Sign again."
    for name, expected in rules.expected_claims.items():
        if claims.get(name) != expected:
            return f"The signature is not from the expected account: check its claim {name}."
    payload_hash = claims.get("payload_hash")
    if payload_hash is None:
        return _MISSING_HASH if rules.requires_payload_hash else None
    if not _is_hash_of(payload_hash, body):
        return "The body does not match the signature's payload_hash."
    return None


_MISSING_HASH = (
    "The signature does not cover the body: it has no payload_hash. Sign with one, or have the "
    "operator set CallbackRequirePayloadHash=false."
)


def _is_hash_of(payload_hash: object, body: bytes) -> bool:
    given = str(payload_hash).lower().encode(errors="surrogatepass")
    return any(
        hmac.compare_digest(given, hashlib.sha256(form).hexdigest().encode())
        for form in _forms(body)
    )


def _forms(body: bytes) -> Iterator[bytes]:
    """Yield the forms of `body` that Vonage may have hashed, computed on demand.

    The first form is the received bytes. The others are the same JSON without white space ("Signed
    webhooks" of the Voice API), and as JSON.stringify writes it (Vonage's sample for Node.js), with
    non-ASCII characters as they are or escaped. All forms have the same meaning as `body`.
    """
    yield body
    try:
        if (unmarked := body.removeprefix(BYTE_ORDER_MARK)) != body:
            yield unmarked
        yield msgspec.json.format(unmarked, indent=-1)
        content = json.loads(unmarked, object_pairs_hook=_unique)
        for ascii_only in (False, True):
            yield json.dumps(content, separators=(",", ":"), ensure_ascii=ascii_only).encode()
    except (ValueError, RecursionError):  # not JSON, nested too deeply, or ambiguous
        return


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a dict; raise ValueError for a duplicate name, which would be lost."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("duplicate name in an object")
    return unique
