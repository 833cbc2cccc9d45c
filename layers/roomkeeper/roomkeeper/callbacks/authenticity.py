"""Proof that a callback comes from Vonage: a token in the path, or a signature.

Source of the signature: "Signed webhooks" in Vonage's guides. It is a JWT (HS256) in the
Authorization header, whose `payload_hash` is the hash of the body.
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

from roomkeeper.callbacks.meetings import MAX_BODY_BYTES, CallbackRejected

CLOCK_SKEW = timedelta(seconds=60)
"""Leeway for `exp`, `nbf` and `iat`, as the sender's clock may differ from ours."""

TOKEN_RULE = "32 characters or more, each a letter, a digit or one of - . _ ~"  # noqa: S105
"""The form of a token in words.

HTTP APIs decode a path before they match it: `%2F` becomes a slash, `%3F` cuts the path, and `%25`
is answered 400. These characters are never encoded (RFC 3986, section 2.3, "unreserved").
"""

_TOKEN = re.compile(r"[A-Za-z0-9_~.-]{32,}")

# Claims that are not checked may have any form: no option here is on but for the three times.
_JWT_OPTIONS: Any = {
    "require": ["iat"],
    **dict.fromkeys(["verify_aud", "verify_iss", "verify_sub", "verify_jti"], False),
}


class Unauthorized(CallbackRejected):
    """Neither a valid signature nor the right token."""

    status, code = 401, "unauthorized"


class SignatureRules(Struct, frozen=True, kw_only=True):
    """What a signature must hold besides being made with the right secret.

    It is at most `max_age` old. With `requires_payload_hash` it covers the body. Each claim of
    `expected_claims` has the value given there.
    """

    max_age: timedelta
    requires_payload_hash: bool = True
    expected_claims: Mapping[str, str] = {}


def is_token(text: str) -> bool:
    """Return whether `text` can be a token, which is part of a URL's path (see TOKEN_RULE)."""
    return _TOKEN.fullmatch(text) is not None


def is_signature_secret(text: str) -> bool:
    """Return whether signatures can be verified with `text`: it is neither empty nor a key file.

    PyJWT refuses PEM and SSH keys as HMAC secrets, as they may be public.
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
    """Return only if the caller knows one of `tokens` or signed `body` with one of the secrets.

    `token` comes from the path, `authorization` is the header; either may be missing. An empty
    iterable disables that method.

    Raises:
        Unauthorized: neither holds. The message names the mistake, never the right value.
    """
    if token is not None and _token_matches(token, tokens):
        return
    error = _signature_error(body, authorization, signature_secrets, rules)
    if error is not None:
        raise Unauthorized(
            f"{'The token in the path is not valid. ' if token is not None else ''}{error}"
        )


def _token_matches(given: str, tokens: Iterable[str]) -> bool:
    # Every token is compared, in constant time, so that the time taken reveals nothing.
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
    import jwt  # noqa: PLC0415 - costs more to import than all the rest, and tokens do without

    for secret in secrets:
        try:
            claims = _verified_claims(token, secret)
        except (jwt.ImmatureSignatureError, jwt.ExpiredSignatureError):
            return "The signature is not valid at this time."
        except (jwt.PyJWTError, ValueError, RecursionError):
            continue  # another secret may be the right one
        return _claims_error(claims, body, rules)
    return "The signature is not valid. Sign with the account's signature secret, by HS256."


def _verified_claims(token: str, secret: str) -> dict[str, Any]:
    """Return the claims of a JWT that was signed with `secret` and holds at this time.

    Raises:
        jwt.PyJWTError: it was not, or does not.
        ValueError: `token` is not a JWT.
    """
    import jwt  # noqa: PLC0415

    with warnings.catch_warnings():
        # Vonage lets a signature secret be short, and the operator was warned when it was stored.
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.decode(
            _without_odd_key_id(token, secret),
            secret,
            algorithms=["HS256"],
            leeway=CLOCK_SKEW,
            options=_JWT_OPTIONS,
        )


def _without_odd_key_id(token: str, secret: str) -> str:
    """Return `token`, signed anew without its `kid` if that is not a text.

    A `kid` selects among keys. There is nothing to select here, but PyJWT refuses one that is not
    a text (RFC 7515, section 4.1.4) and has no option for it.

    Raises:
        jwt.InvalidSignatureError: such a token was not signed with `secret`.
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
        return f"The signature is more than {hours:g} hours old. Sign anew."
    for name, expected in rules.expected_claims.items():
        if claims.get(name) != expected:
            return f"The signature is not of the account that is expected here: see its {name}."
    payload_hash = claims.get("payload_hash")
    if payload_hash is None:
        return _MISSING_HASH if rules.requires_payload_hash else None
    if not _is_hash_of(payload_hash, body):
        return "The body is not the one that was signed."
    return None


_MISSING_HASH = (
    "The signature does not cover the body: it has no payload_hash. Sign with one, or have the "
    "operator set RequirePayloadHash=false."
)


def _is_hash_of(payload_hash: object, body: bytes) -> bool:
    given = str(payload_hash).lower().encode(errors="surrogatepass")
    return any(
        hmac.compare_digest(given, hashlib.sha256(form).hexdigest().encode())
        for form in _forms(body)
    )


def _forms(body: bytes) -> Iterator[bytes]:
    """Yield the forms of `body` that Vonage may have hashed, each made only when it is needed.

    First the bytes as they came. Then the same JSON without white space ("Signed webhooks" of the
    Voice API), and as JSON.stringify writes it (Vonage's sample for Node.js), with characters
    beyond ASCII as they are or escaped. All of them mean the same as `body`.
    """
    yield body
    if len(body) > MAX_BODY_BYTES:  # refused later on, so not worth the time
        return
    try:
        yield msgspec.json.format(body, indent=-1)
        content = json.loads(body, object_pairs_hook=_unique)
        for ascii_only in (False, True):
            yield json.dumps(content, separators=(",", ":"), ensure_ascii=ascii_only).encode()
    except (ValueError, RecursionError):  # not JSON, nested too deeply, or not the same JSON
        return


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the pairs as a dict. A name that comes twice would be dropped from what is hashed."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name comes twice in one object")
    return found
