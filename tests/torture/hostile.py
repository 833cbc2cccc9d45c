"""Hostile requests, hand-picked and generated from a seed, for every route of the template.

A request comes from one of two: an `intruder`, who has no credentials, or ones that do not hold,
and an `insider`, whose credentials are good and whose requests are not.
"""

import base64
import gzip
import json
import random
import time
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import product
from typing import Any, Literal
from urllib.parse import quote

import jwt
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from msgspec import Struct
from msgspec.structs import replace

from tests.builders import PUBLISHED, a_signature
from tests.template import resources

Caller = Literal["intruder", "insider"]


class Route(Struct, frozen=True):
    """A route of the HTTP API: its method and path, and whether callers have to sign."""

    method: str
    path: str
    signed: bool


class Attack(Struct, frozen=True):
    """A request for `route`, or near it; `target` is path and query, quoted."""

    route: Route
    caller: Caller
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


class Known(Struct, frozen=True):
    """What belongs to the stack that is attacked: its secrets, and a user who may do everything."""

    host: str
    region: str
    token: str
    signature_secret: str
    user: Credentials


def routes() -> list[Route]:
    """Return every route of the template; of the default one some that lead nowhere else."""
    found = []
    for each in resources("AWS::ApiGatewayV2::Route").values():
        key, signed = each["Properties"]["RouteKey"], "AuthorizationType" in each["Properties"]
        keys = ["GET /", "PUT /callbacks", "POST /{x}/{y}"] if key == "$default" else [key]
        for method, path in (one.split(" ") for one in keys):
            found.append(Route(method, path, signed))
    return found


# --- what requests are made of --------------------------------------------------------------------

IDS = [
    *("..", "../..", ".", "%", "%00", "%0d%0aX: y", "a/b", "a\\b", "RECORDING#x", "*", "$default"),
    *("' OR 1=1 --", "${jndi:ldap://x}", "{{7*7}}", "<script>", "\u202e\u0000", "\ufeff", "null"),
    *(
        "%2e%2e%2f",
        "\ud83d\ude00".encode("utf-16", "surrogatepass").decode("utf-16"),
        "\U0001d54f" * 64,
    ),
    *("a" * 256, "a" * 257, "é" * 2000, " ", "\t", "-1", "9" * 400, "true", "__proto__", "~", ";"),
]
BROKEN_UTF8 = ["%ff%fe", "%c0%af", "%ED%A0%80", "%f0%9f", "%80"]
NUMBERS = [
    "1e400",
    "-1e400",
    "NaN",
    "Infinity",
    "9" * 5000,
    "0.1e-999",
    "-0",
    "1E+9999",
    "0x1",
    "01",
]
BODIES = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b'"text"',
    b"\xff\xfe{}",
    b"\xc0\xaf",
    b'{"event": "\xed\xa0\x80"}',
    b"\xef\xbb\xbf{}",
    '{"event": "recording:started"}'.encode("utf-16"),
    b'{"event": "\\ud800"}',
    b'{"event": "\\u0000"}',
    b'{"\x00": "\x00"}',
    b"[" * 50_000,
    b'{"a":' * 20_000,
    b'{"event":' + b"[" * 900 + b"]" * 900 + b"}",
    b'{"event": "recording:started", "event": "room:expired", "room_id": "a", "room_id": 1}',
    b'{"event": "recording:started", "recording_id": "../..", "session_id": "a/b"}',
    b'{"event": "recording:started", "recording_id": {"S": "x"}, "session_id": ["x"]}',
    b'{"event": "recording:uploaded", "url": "javascript:alert(1)"}',
    b'{"reason": "\\u0000", "by": ["b"]}',
    b'{"reason": "' + b"a" * 5000 + b'"}',
    b'{"expires_at": "9999-12-31T23:59:59-23:59"}',
    b'{"expires_at": "0001-01-01T00:00:00+23:59"}',
    b'{"expires_at": "\\ud800"}',
    b'{"dry_run": "perhaps", "limit": 1e400}',
    b'{"limit": -1}',
    b'{"retention_days": 1e308}',
    b'{"__proto__": {"dry_run": true}}',
    b"a=b&c=d",
    b"<?xml version='1.0'?><!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><x>&e;</x>",
    base64.b64encode(b'{"event": "recording:started"}'),
    gzip.compress(b'{"event": "recording:started"}', mtime=0),
    b"--x\r\nContent-Disposition: form-data; name=event\r\n\r\nrecording:started\r\n--x--",
    b'{"event": "' + b"x" * 300_000 + b'"}',
    *(f'{{"event": {n}, "duration": {n}, "limit": {n}}}'.encode() for n in NUMBERS),
]
HEADERS: list[dict[str, str]] = [
    {},
    {"Content-Type": ""},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/xml"},
    {"Content-Type": "application/octet-stream"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Type": "a/b; charset=\xff"},
    {"Content-Encoding": "gzip"},
    {"Accept": "*/*;q=x"},
    {"Cookie": ";;;=; a=b; a=c"},
    {"X-Forwarded-For": "::1,,"},
    {"X-HTTP-Method-Override": "DELETE", "X-Original-URL": "/rooms"},
    {"X-Amzn-Trace-Id": "Root=1;Sampled=x"},
    {"Forwarded": "a" * 4000},
]
QUERIES = [
    "page_size=-1",
    "page_size=1e9&cursor=" + "%00" * 50,
    "page_size=%F0%9F%92%A9",
    "cursor=..%2F..%2F&cursor=b",
    "a%5B%5D=1&a%5B%5D=2&%3D=&%26",
    "token=x&dry_run=false",
    "x=" + "y" * 4000,
]


def attacks(known: Known, seed: int, count: int) -> Iterator[Attack]:
    """Yield `count` requests: each hand-picked body and id at every route, then what comes."""
    make = _Maker(known, random.Random(seed))
    callers: list[Caller] = ["intruder", "insider"]
    picked: list[tuple[Route, Caller, bytes, str | None]] = [
        (route, caller, body, None) for route, caller, body in product(routes(), callers, BODIES)
    ]
    picked += [
        (route, caller, b"", id_)
        for route, caller, id_ in product(routes(), callers, [*map(_quoted, IDS), *BROKEN_UTF8])
        if "{" in route.path
    ]
    make.rng.shuffle(picked)  # so that a few of them are a fair choice
    for number in range(count):
        if number < len(picked):
            yield make.attack(*picked[number])
        else:
            yield make.attack(make.rng.choice(routes()), make.rng.choice(callers), None, None)


class _Maker:
    """Makes requests out of what `rng` chooses."""

    def __init__(self, known: Known, rng: random.Random) -> None:
        self._known = known
        self.rng = rng

    def attack(self, route: Route, caller: Caller, body: bytes | None, id_: str | None) -> Attack:
        """Return a request for `route`; what is None is generated."""
        content = self._body() if body is None else body
        target = self._target(route, caller, id_)
        headers = {"Content-Type": "application/json", **self.rng.choice(HEADERS)}
        attack = Attack(route, caller, route.method, target, headers, content)
        return self._signed(attack) if route.signed else self._posted(attack)

    # --- bodies, ids ------------------------------------------------------------------------------

    def _body(self) -> bytes:
        return self.rng.choice([self._mutated, self._swapped, self._noise])()

    def _sample(self) -> dict[str, Any]:
        event = self.rng.choice(sorted(PUBLISHED))
        return {"event": event, **PUBLISHED[event]}

    def _mutated(self) -> bytes:
        """Return a callback of which some bytes are others."""
        body = bytearray(json.dumps(self._sample()).encode())
        for _ in range(self.rng.randint(1, 6)):
            body[self.rng.randrange(len(body))] = self.rng.randrange(256)
        return bytes(body)

    def _swapped(self) -> bytes:
        """Return a callback with a field that is something else."""
        sample = self._sample()
        sample[self.rng.choice(sorted(sample))] = self._value()
        return json.dumps(sample).encode(errors="surrogatepass")

    def _noise(self) -> bytes:
        return self.rng.randbytes(self.rng.randint(0, 200))

    def _value(self) -> Any:
        deep: Any = []
        for _ in range(self.rng.randint(0, 50)):
            deep = [deep]
        odd = [None, True, -1, 10**400, 1e308, float("nan"), "", "\ud800", "\0", deep, {}, {"": {}}]
        return self.rng.choice([*odd, *IDS, "a" * self.rng.randint(1, 5000)])

    def _id(self) -> str:
        text = "".join(chr(self.rng.randrange(1, 0xD800)) for _ in range(self.rng.randint(1, 40)))
        return self.rng.choice([*map(_quoted, [*IDS, text]), *BROKEN_UTF8])

    def _target(self, route: Route, caller: Caller, id_: str | None) -> str:
        path = route.path
        if path.endswith("{token}"):
            given = self._known.token if caller == "insider" else (id_ or self._guess())
            path = path.replace("{token}", given)
        while "{" in path:
            before, _, rest = path.partition("{")
            path = before + (id_ or self._id()) + rest.partition("}")[2]
        query = self.rng.choice([*QUERIES, *[""] * 20])
        return f"{path}?{query}" if query else path

    def _guess(self) -> str:
        """Return something that is nearly the token."""
        token = self._known.token
        near = [
            token[:-1],
            token + "x",
            token + "%00",
            token.swapcase(),
            token[::-1],
            "%20" + token,
        ]
        return self.rng.choice([*near, quote(token[:-1] + "/", safe=""), self._id()])

    # --- credentials ------------------------------------------------------------------------------

    def _posted(self, attack: Attack) -> Attack:
        """Return a callback with the signature that its caller has."""
        holds = attack.caller == "insider"
        if holds and attack.target.startswith("/callbacks/"):
            return attack  # by its token
        secret = self._known.signature_secret
        authorization = a_signature(attack.body, secret=secret) if holds else self._forged(attack)
        return _bearing(attack, authorization)

    def _forged(self, attack: Attack) -> str:
        """Return an Authorization header that does not let in."""
        forge: Callable[[bytes, str], str] = self.rng.choice(FORGERIES)
        return forge(attack.body, self._known.signature_secret)

    def _signed(self, attack: Attack) -> Attack:
        user = self._known.user
        if attack.caller == "insider":
            return self._by(user, attack)
        wrong = [
            lambda: attack,
            lambda: _bearing(attack, self._forged(attack)),
            lambda: self._by(Credentials(user.access_key, "guessed" * 6), attack),
            lambda: self._by(Credentials("AKIAIOSFODNN7EXAMPLE", user.secret_key), attack),
            lambda: replace(self._by(user, attack), body=attack.body + b" "),
            lambda: replace(self._by(user, attack), target=attack.target + "&a=b?"),
            lambda: replace(self._by(user, attack), method=_other(attack.method)),
        ]
        return self.rng.choice(wrong)()

    def _by(self, who: Credentials, attack: Attack) -> Attack:
        """Return the request as `who` signs it."""
        kept = {name: value for name, value in attack.headers.items() if name != "Forwarded"}
        signed = AWSRequest(
            attack.method,
            f"http://{self._known.host}{attack.target}",
            {**kept, "Host": self._known.host},
            attack.body,
        )
        SigV4Auth(who, "execute-api", self._known.region).add_auth(signed)
        return replace(attack, headers=dict(signed.headers.items()))


def _bearing(attack: Attack, authorization: str) -> Attack:
    """Return the request with that Authorization header; without one when it is empty."""
    more = {"Authorization": authorization} if authorization else {}
    return replace(attack, headers={**attack.headers, **more})


def _other(method: str) -> str:
    return "DELETE" if method != "DELETE" else "GET"


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")


# --- signatures that do not hold ------------------------------------------------------------------


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


FORGERIES: list[Callable[[bytes, str], str]] = [
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
