"""Invalid Authorization headers: unsigned, wrongly signed, expired, or signed for another body."""

import base64
import json
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local.testing.builders import a_signature


@cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _public_pem() -> str:
    return (
        _key()
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        .decode()
    )


def _raw(header: object, claims: object, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return "Bearer " + ".".join(base64.urlsafe_b64encode(p).rstrip(b"=").decode() for p in parts)


def _now(**more: Any) -> dict[str, Any]:
    return {"iat": int(time.time()), **more}


INVALID_CREDENTIALS: list[Callable[[bytes, str], str]] = [
    lambda _body, _secret: "",
    lambda _body, _secret: "Bearer",
    lambda _body, _secret: "Bearer " + "A" * 5000,
    lambda _body, _secret: "Basic dXNlcjpwYXNz",
    lambda _body, _secret: "AWS4-HMAC-SHA256 Credential=x/y/z, SignedHeaders=, Signature=",
    lambda _body, _secret: _raw({"alg": "none", "typ": "JWT"}, _now()),
    lambda _body, _secret: _raw({"alg": "None"}, _now()),
    lambda _body, _secret: _raw({"alg": ["HS256"]}, _now()),
    lambda _body, _secret: _raw({"alg": "HS256", "kid": "../../dev/null"}, _now()),
    lambda _body, _secret: _raw([], {}),
    lambda _body, _secret: "Bearer " + base64.urlsafe_b64encode(b"[" * 4000).decode() + ".e30.x",
    lambda _body, _secret: "Bearer " + jwt.encode(_now(), _key(), "RS256"),
    lambda _body, _secret: a_signature(b"", secret=_public_pem().replace("PUBLIC KEY", "TEXT")),
    lambda body, _secret: a_signature(body, secret="x" * 64),
    lambda body, secret: a_signature(body, secret=secret.upper()),
    lambda body, secret: a_signature(body + b" ", secret=secret),
    lambda body, secret: a_signature(body, secret=secret, iat=0),
    lambda body, secret: a_signature(body, secret=secret, iat=4_000_000_000),
    lambda body, secret: a_signature(body, secret=secret, exp=1),
    lambda body, secret: a_signature(body, secret=secret, nbf=4_000_000_000),
    lambda body, secret: a_signature(body, secret=secret, iat=None),
    lambda body, secret: a_signature(body, secret=secret, iat=float("nan")),
    lambda body, secret: a_signature(body, secret=secret, payload_hash="0" * 64),
    lambda body, secret: a_signature(body, secret=secret, payload_hash=["x"]),
    lambda body, secret: a_signature(body, secret=secret)[:-2],
    lambda body, secret: a_signature(body, secret=secret).replace(".", "..", 1),
    lambda body, secret: a_signature(body, secret=secret * 2, algorithm="HS512"),
]
"""Functions of a request's body and the stack's signature secret that return an invalid header."""
