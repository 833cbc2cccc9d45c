"""Hostile requests for every route of the template, hand-picked or generated from a seed.

An `intruder` sends requests with no or invalid credentials. An `insider` sends invalid requests
with valid credentials.
"""

import json
import random
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from typing import Any, Literal
from urllib.parse import quote

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from msgspec import Struct
from msgspec.structs import replace

from local.testing.builders import PUBLISHED, a_signature, sample
from local.testing.template import ROOT, resources
from roomkeeper.domain.observations import Product
from tests.torture.invalid_credentials import INVALID_CREDENTIALS
from tests.torture.payloads import BODIES, BROKEN_UTF8, HEADERS, IDS, QUERIES

VIDEO_SAMPLES = sorted(file.stem for file in (ROOT / "events").glob("video_*.json"))
"""The names of the callbacks of the Video API."""

Caller = Literal["intruder", "insider"]


class Route(Struct, frozen=True):
    """A route of the HTTP API. `signed`: its requests need an AWS signature."""

    method: str
    path: str
    signed: bool


class Attack(Struct, frozen=True):
    """A request to `route` or a similar one; `target` is the URL-quoted path with the query."""

    route: Route
    caller: Caller
    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def has_oversize_headers(self) -> bool:
        """Whether the headers exceed the 16 KB that the local server reads."""
        return sum(map(len, self.headers.values())) > 16 * 1024


class Known(Struct, frozen=True):
    """The address and secrets of the attacked stack, and a user who may call every route."""

    host: str
    region: str
    tokens: Mapping[Product, str]
    signature_secrets: Mapping[Product, str]
    user: Credentials


def product_of(path: str) -> Product:
    """Return the product whose callbacks go to a path."""
    return "video" if path.startswith("/callbacks/video") else "meetings"


def routes() -> list[Route]:
    """Return every route of the template. The default route is replaced by three unknown ones."""
    found = []
    for each in resources("AWS::ApiGatewayV2::Route").values():
        key, signed = each["Properties"]["RouteKey"], "AuthorizationType" in each["Properties"]
        keys = ["GET /", "PUT /callbacks", "POST /{x}/{y}"] if key == "$default" else [key]
        for method, path in (one.split(" ") for one in keys):
            found.append(Route(method, path, signed))
    return found


def attacks(known: Known, seed: int, count: int) -> Iterator[Attack]:
    """Yield `count` requests: each hand-picked body and id at every route, then generated ones."""
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
    make.rng.shuffle(picked)  # a small `count` is then a sample of all kinds
    for number in range(count):
        if number < len(picked):
            yield make.attack(*picked[number])
        else:
            yield make.attack(make.rng.choice(routes()), make.rng.choice(callers), None, None)


class _Maker:
    """Makes requests with the random choices of `rng`."""

    def __init__(self, known: Known, rng: random.Random) -> None:
        self._known = known
        self.rng = rng

    def attack(self, route: Route, caller: Caller, body: bytes | None, id_: str | None) -> Attack:
        """Return a request to `route`; a `body` or `id_` of None is generated."""
        content = self._body() if body is None else body
        target = self._target(route, caller, id_)
        headers = {"Content-Type": "application/json", **self.rng.choice(HEADERS)}
        attack = Attack(route, caller, route.method, target, headers, content)
        return self._signed(attack) if route.signed else self._posted(attack)

    # --- bodies, ids ------------------------------------------------------------------------------

    def _body(self) -> bytes:
        return self.rng.choice([self._mutated, self._swapped, self._noise])()

    def _sample(self) -> dict[str, Any]:
        """Return a callback of either product; the route that it goes to may be the other's."""
        if self.rng.random() < 0.5:
            return sample(f"{self.rng.choice(VIDEO_SAMPLES)}.json")
        event = self.rng.choice(sorted(PUBLISHED))
        return {"event": event, **PUBLISHED[event]}

    def _mutated(self) -> bytes:
        """Return a callback with some bytes replaced."""
        body = bytearray(json.dumps(self._sample()).encode())
        for _ in range(self.rng.randint(1, 6)):
            body[self.rng.randrange(len(body))] = self.rng.randrange(256)
        return bytes(body)

    def _swapped(self) -> bytes:
        """Return a callback with one field replaced by an unexpected value."""
        body = self._sample()
        body[self.rng.choice(sorted(body))] = self._value()
        return json.dumps(body).encode(errors="surrogatepass")

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
            token = self._known.tokens[product_of(path)]
            given = token if caller == "insider" else (id_ or self._guess(token))
            path = path.replace("{token}", given)
        while "{" in path:
            before, _, rest = path.partition("{")
            path = before + (id_ or self._id()) + rest.partition("}")[2]
        query = self.rng.choice([*QUERIES, *[""] * 20])
        return f"{path}?{query}" if query else path

    def _guess(self, token: str) -> str:
        """Return an invalid token similar to the valid one, or that of the other product."""
        near = [
            *[each for each in self._known.tokens.values() if each != token],
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
        """Return a callback with its caller's signature."""
        is_valid = attack.caller == "insider"
        if is_valid and attack.route.path.endswith("{token}"):
            return attack  # the path has the token
        secret = self._known.signature_secrets[product_of(attack.route.path)]
        authorization = (
            a_signature(attack.body, secret=secret) if is_valid else self._forged(attack)
        )
        return _with_authorization(attack, authorization)

    def _forged(self, attack: Attack) -> str:
        """Return an invalid Authorization header."""
        forge: Callable[[bytes, str], str] = self.rng.choice(INVALID_CREDENTIALS)
        return forge(attack.body, self._known.signature_secrets[product_of(attack.route.path)])

    def _signed(self, attack: Attack) -> Attack:
        user = self._known.user
        if attack.caller == "insider":
            return self._by(user, attack)
        wrong = [
            lambda: attack,
            lambda: _with_authorization(attack, self._forged(attack)),
            lambda: self._by(Credentials(user.access_key, "guessed" * 6), attack),
            lambda: self._by(Credentials("AKIAIOSFODNN7EXAMPLE", user.secret_key), attack),
            lambda: replace(self._by(user, attack), body=attack.body + b" "),
            lambda: replace(self._by(user, attack), target=attack.target + "&a=b?"),
            lambda: replace(self._by(user, attack), method=_other(attack.method)),
        ]
        return self.rng.choice(wrong)()

    def _by(self, user: Credentials, attack: Attack) -> Attack:
        """Return the request signed by `user`."""
        kept = {name: value for name, value in attack.headers.items() if name != "Forwarded"}
        signed = AWSRequest(
            attack.method,
            f"http://{self._known.host}{attack.target}",
            {**kept, "Host": self._known.host},
            attack.body,
        )
        SigV4Auth(user, "execute-api", self._known.region).add_auth(signed)
        return replace(attack, headers=dict(signed.headers.items()))


def _with_authorization(attack: Attack, authorization: str) -> Attack:
    """Return the request with this Authorization header, or without one if it is empty."""
    more = {"Authorization": authorization} if authorization else {}
    return replace(attack, headers={**attack.headers, **more})


def _other(method: str) -> str:
    return "DELETE" if method != "DELETE" else "GET"


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="replace")
