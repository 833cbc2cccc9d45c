import base64
import re
from concurrent.futures import ThreadPoolExecutor

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from roomkeeper.vonage import ApiKey, ApplicationKey, credentials_from
from roomkeeper.vonage.credentials import RENEWAL_MARGIN, TOKEN_LIFE

APPLICATION = "78d335fa-323d-0114-9c3d-d6f0d48968cf"
NOON = 1_782_900_000.0


def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey, password: bytes | None = None) -> str:
    encryption = serialization.BestAvailableEncryption(password) if password else None
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    ).decode()


@pytest.fixture(scope="module")
def key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


class Watch:
    """A clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> float:
        return self.now


def claims(authorization: str, key: rsa.RSAPrivateKey) -> dict[str, object]:
    scheme, _, token = authorization.partition(" ")
    assert scheme == "Bearer"
    read: dict[str, object] = jwt.decode(
        token,
        key.public_key(),
        algorithms=["RS256"],
        options={"verify_exp": False, "verify_iat": False},
    )
    return read


def test_basic_is_key_and_secret_in_base64() -> None:
    scheme, _, pair = ApiKey("abc", "s:ecrét").authorization().partition(" ")
    assert (scheme, base64.b64decode(pair).decode()) == ("Basic", "abc:s:ecrét")


def test_a_token_has_the_published_claims(key: rsa.RSAPrivateKey) -> None:
    read = claims(ApplicationKey(APPLICATION, pem(key), Watch()).authorization(), key)
    assert set(read) == {"application_id", "iat", "exp", "jti"}
    assert read["application_id"] == APPLICATION
    assert (read["iat"], read["exp"]) == (int(NOON), int(NOON) + TOKEN_LIFE)


def test_a_token_is_used_until_shortly_before_it_expires(key: rsa.RSAPrivateKey) -> None:
    watch = Watch()
    application = ApplicationKey(APPLICATION, pem(key), watch)
    first = application.authorization()
    watch.now = NOON + TOKEN_LIFE - RENEWAL_MARGIN
    assert application.authorization() == first
    watch.now += 1
    second = application.authorization()
    assert second != first
    assert claims(second, key)["jti"] != claims(first, key)["jti"]


def test_many_threads_share_one_token(key: rsa.RSAPrivateKey) -> None:
    application = ApplicationKey(APPLICATION, pem(key))
    with ThreadPoolExecutor(16) as pool:
        tokens = set(pool.map(lambda _: application.authorization(), range(64)))
    assert len(tokens) == 1


@pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n"])
def test_an_invalid_key_is_rejected_by_the_constructor_and_not_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="not an RSA key in PEM") as caught:
        ApplicationKey(APPLICATION, text)
    assert caught.value.__context__ is None


def test_other_kinds_of_keys_are_rejected(key: rsa.RSAPrivateKey) -> None:
    for other in (pem(ec.generate_private_key(ec.SECP256R1())), pem(key, b"passphrase")):
        with pytest.raises(ValueError, match="without a passphrase"):
            ApplicationKey(APPLICATION, other)


def test_the_application_wins_over_the_account(key: rsa.RSAPrivateKey) -> None:
    both = credentials_from(
        application_id=APPLICATION, private_key=pem(key), api_key="k", api_secret="s"
    )
    assert isinstance(both, ApplicationKey)
    half = credentials_from(application_id=APPLICATION, api_key="k", api_secret="s")
    assert half == ApiKey("k", "s")


@pytest.mark.parametrize(
    ("half", "missing"),
    [
        ({"application_id": APPLICATION, "api_key": "k"}, ["private_key", "api_secret"]),
        ({"private_key": "hunter2"}, ["application_id"]),
        ({"api_secret": "hunter2"}, ["api_key"]),
        ({}, []),
    ],
)
def test_an_incomplete_pair_is_rejected_and_the_missing_value_named(
    half: dict[str, str], missing: list[str]
) -> None:
    with pytest.raises(ValueError, match="No complete Vonage credentials") as raised:
        credentials_from(**half)
    assert re.findall(r"without (\w+)\.", str(raised.value)) == missing
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("line_end", ["\\n", "\\r\\n", "\r\n"])
def test_a_key_may_have_escaped_line_breaks(line_end: str, key: rsa.RSAPrivateKey) -> None:
    text = pem(key).replace("\n", line_end)
    assert claims(ApplicationKey(APPLICATION, text).authorization(), key)


def test_no_secret_is_in_a_repr(key: rsa.RSAPrivateKey) -> None:
    assert repr(ApiKey("k", "hidden")) == "ApiKey(key='k')"
    application = ApplicationKey(APPLICATION, pem(key))
    application.authorization()
    assert repr(application) == f"ApplicationKey('{APPLICATION}')"
