import base64
import hashlib
import hmac
import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from roomkeeper.authenticity import Unauthorized, require_authentic
from tests.builders import ABSENT, NOON, SIGNATURE_SECRET, TOKEN, a_body, a_signature

BODY = a_body("recording:uploaded")
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
OTHER = "another-secret-of-sufficient-length"


def let_in(
    *,
    token: str | None = None,
    authorization: str | None = None,
    tokens: tuple[str, ...] = (TOKEN,),
    secrets: tuple[str, ...] = (SIGNATURE_SECRET,),
) -> None:
    require_authentic(
        BODY,
        token=token,
        authorization=authorization,
        tokens=tokens,
        signature_secrets=secrets,
        max_age=DAY,
        now=NOON,
    )


def signed(**options: Any) -> str:
    return a_signature(BODY, **{"at": NOON} | options)


def a_jwt(header: object, claims: object, signature: bytes = b"") -> str:
    """Return a JWT of any content, as an attacker would write it."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return "Bearer " + b".".join(base64.urlsafe_b64encode(p).rstrip(b"=") for p in parts).decode()


# --- the token in the path ------------------------------------------------------------------------


def test_the_right_token_lets_in() -> None:
    let_in(token=TOKEN)


@pytest.mark.parametrize("tokens", [(TOKEN, "older"), ("newer", TOKEN)])
def test_each_of_several_tokens_lets_in(tokens: tuple[str, ...]) -> None:
    let_in(token=TOKEN, tokens=tokens)


@pytest.mark.parametrize(
    "token", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), f" {TOKEN}", "t\0", "é", "\ud800"]
)
def test_any_other_token_does_not(token: str) -> None:
    with pytest.raises(Unauthorized, match="The token in the path is not valid") as refused:
        let_in(token=token)
    assert (refused.value.status, refused.value.code) == (401, "unauthorized")


@pytest.mark.parametrize("tokens", [(), ("",), ("", "")])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_no_token_lets_in_where_none_is_set(token: str, tokens: tuple[str, ...]) -> None:
    with pytest.raises(Unauthorized):
        let_in(token=token, tokens=tokens)


def test_a_signature_lets_in_in_spite_of_a_wrong_token() -> None:
    let_in(token="wrong", authorization=signed())


def test_a_token_lets_in_in_spite_of_a_wrong_signature() -> None:
    let_in(token=TOKEN, authorization=signed(secret=OTHER))


def test_who_proves_nothing_is_told_how_to() -> None:
    with pytest.raises(Unauthorized) as refused:
        let_in()
    assert str(refused.value) == (
        "There is no signature in the Authorization header. Set the callback URL, with its token, "
        "that the operator's `make callback-url` prints."
    )


def test_who_signs_is_not_sent_for_a_token() -> None:
    for authorization in (
        signed(at=NOON - 2 * DAY),
        signed(secret=OTHER),
        signed(payload_hash="x"),
    ):
        with pytest.raises(Unauthorized) as refused:
            let_in(authorization=authorization)
        assert "callback-url" not in str(refused.value)


# --- the signature --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_signature_lets_in(scheme: str) -> None:
    let_in(authorization=signed().replace("Bearer", scheme))


@pytest.mark.parametrize("secrets", [(SIGNATURE_SECRET, OTHER), (OTHER, SIGNATURE_SECRET)])
def test_each_of_several_secrets_lets_in(secrets: tuple[str, ...]) -> None:
    let_in(authorization=signed(), secrets=secrets)


@pytest.mark.parametrize("claim", ["jti", "iss", "api_key", "application_id", "payload_hash"])
def test_a_signature_without_a_claim_that_not_all_apis_send_lets_in(claim: str) -> None:
    let_in(authorization=signed(**{claim: ABSENT}))


def test_the_hash_may_be_in_capitals() -> None:
    let_in(authorization=signed(payload_hash=hashlib.sha256(BODY).hexdigest().upper()))


def test_an_audience_is_nobodys_business() -> None:
    let_in(authorization=signed(aud="somebody"))


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic dTpw", SIGNATURE_SECRET, "Bearer" + signed().split()[1]],
)
def test_a_header_of_another_kind_is_no_signature(header: str) -> None:
    with pytest.raises(Unauthorized, match="There is no signature"):
        let_in(authorization=header)


@pytest.mark.parametrize("secrets", [(), ("",), ("", "")])
def test_no_signature_lets_in_where_no_secret_is_set(secrets: tuple[str, ...]) -> None:
    with pytest.raises(Unauthorized, match="Signatures are not accepted here"):
        let_in(authorization=signed(), secrets=secrets)


def test_a_signature_with_the_empty_secret_does_not_let_in_where_none_is_set() -> None:
    empty = a_jwt({"alg": "HS256"}, {"iat": int(NOON.timestamp())})
    with pytest.raises(Unauthorized):
        let_in(authorization=empty, secrets=("",))


def test_a_signature_with_another_secret_is_refused() -> None:
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        let_in(authorization=signed(secret=OTHER))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_no_other_algorithm_is_taken(algorithm: str) -> None:
    long_enough = SIGNATURE_SECRET * 2
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        let_in(
            authorization=signed(algorithm=algorithm, secret=long_enough), secrets=(long_enough,)
        )


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 1])
def test_an_unsigned_token_is_refused(algorithm: object) -> None:
    claims = {"iat": int(NOON.timestamp())}
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        let_in(authorization=a_jwt({"alg": algorithm, "typ": "JWT"}, claims))


def test_a_key_pair_is_no_shared_secret() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    rs256 = "Bearer " + jwt.encode({"iat": int(NOON.timestamp())}, key, "RS256")
    for secrets in [(SIGNATURE_SECRET,), (public.decode(),)]:
        with pytest.raises(Unauthorized, match="The signature is not valid"):
            let_in(authorization=rs256, secrets=secrets)


def test_a_public_key_as_the_secret_lets_nobody_in() -> None:
    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        let_in(authorization=signed(), secrets=(pem,))


@pytest.mark.parametrize(
    ("header", "claims"),
    [
        ({"alg": "HS256"}, []),
        ({"alg": "HS256", "crit": ["x"]}, {"iat": 1}),
        ({"alg": "HS256", "b64": False}, {"iat": 1}),
        ([], {}),
        ("x", "y"),
        (None, None),
    ],
)
def test_a_token_of_another_form_is_refused(header: object, claims: object) -> None:
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        let_in(authorization=a_jwt(header, claims))


def test_a_header_that_is_nested_without_end_is_refused() -> None:
    deep = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 100_000).decode()
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        let_in(authorization=f"Bearer {deep}.e30.x")


@given(st.text(st.characters()))
def test_whatever_the_header_it_is_refused_and_no_error(header: str) -> None:
    for scheme in ("", "Bearer ", "Bearer e30.", "Bearer eyJhbGciOiJIUzI1NiJ9."):
        with pytest.raises(Unauthorized):
            let_in(authorization=scheme + header)


# --- how long a comparison takes ------------------------------------------------------------------


class Unequalled(str):
    """A text that may not be compared but in constant time: that goes by its bytes."""

    def __eq__(self, _other: object) -> bool:
        raise AssertionError("A secret was compared in a time that tells of it.")

    __ne__ = __lt__ = __gt__ = __contains__ = startswith = endswith = find = __eq__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """What is compared in constant time; PyJWT uses the same function."""
    seen: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        seen.append((bytes(one), bytes(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    return seen


@pytest.mark.parametrize("given", [TOKEN, "x", TOKEN[:-1] + "x", "older"])
def test_every_token_is_compared_whichever_holds_and_in_constant_time(
    given: str, compared: list[tuple[bytes, bytes]]
) -> None:
    known = (Unequalled(TOKEN), Unequalled("older"), Unequalled("oldest"))
    with suppress(Unauthorized):
        let_in(token=Unequalled(given), tokens=known)
    assert compared == [(given.encode(), str.encode(token)) for token in known]


def test_a_signature_and_the_bodys_hash_are_compared_in_constant_time(
    compared: list[tuple[bytes, bytes]],
) -> None:
    header = signed()
    let_in(authorization=header, secrets=(Unequalled(SIGNATURE_SECRET),))

    signing_input, _, signature = header.removeprefix("Bearer ").rpartition(".")
    expected = hmac.new(SIGNATURE_SECRET.encode(), signing_input.encode(), "sha256").digest()
    given = base64.urlsafe_b64decode(signature + "==")
    by_hash = (hashlib.sha256(BODY).hexdigest().encode(),) * 2
    assert {frozenset(pair) for pair in compared} == {
        frozenset({given, expected}),
        frozenset(by_hash),
    }
    assert len(compared) == 2


# --- when it was signed ---------------------------------------------------------------------------


def test_a_signature_as_old_as_can_be_lets_in_and_an_older_one_does_not() -> None:
    let_in(authorization=signed(at=NOON - DAY))
    with pytest.raises(Unauthorized, match="more than 24 hours old"):
        let_in(authorization=signed(at=NOON - DAY - SECOND))


def test_the_senders_clock_may_be_a_minute_ahead_and_no_more() -> None:
    let_in(authorization=signed(at=NOON + 60 * SECOND))
    with pytest.raises(Unauthorized, match="not valid at this time"):
        let_in(authorization=signed(at=NOON + 61 * SECOND))


def test_a_signature_that_has_expired_is_refused() -> None:
    expiry = int(NOON.timestamp()) - 61
    let_in(authorization=signed(exp=expiry + 2))
    with pytest.raises(Unauthorized, match="not valid at this time"):
        let_in(authorization=signed(exp=expiry))


def test_a_signature_that_is_not_yet_in_force_is_refused() -> None:
    let_in(authorization=signed(nbf=int(NOON.timestamp()) + 60))
    with pytest.raises(Unauthorized, match="not valid at this time"):
        let_in(authorization=signed(nbf=int(NOON.timestamp()) + 61))


@pytest.mark.parametrize(
    "moment",
    [ABSENT, None, "", "now", [], {}, [1], float("nan"), float("inf"), 10**400, -(10**400)],
)
def test_a_signature_that_does_not_tell_when_is_refused(moment: Any) -> None:
    with pytest.raises(Unauthorized, match="The signature is"):
        let_in(authorization=signed(iat=moment))


@pytest.mark.parametrize("claim", ["exp", "nbf"])
@pytest.mark.parametrize("moment", ["now", None, [], {}, float("nan")])
def test_a_limit_that_is_no_time_is_refused(claim: str, moment: Any) -> None:
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        let_in(authorization=signed(**{claim: moment}))


# --- what was signed ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload_hash",
    ["", "0" * 64, 5, 0, False, [], {"sha256": "x"}, "é", "\ud800", hashlib.md5(BODY).hexdigest()],
)
def test_a_signature_of_another_body_is_refused(payload_hash: Any) -> None:
    with pytest.raises(Unauthorized, match="The body is not the one that was signed"):
        let_in(authorization=signed(payload_hash=payload_hash))


def test_no_refusal_tells_what_would_have_been_right() -> None:
    expected = hashlib.sha256(BODY).hexdigest()
    for options in ({"token": "x"}, {"authorization": signed(payload_hash="x")}):
        with pytest.raises(Unauthorized) as refused:
            let_in(**options)  # type: ignore[arg-type]
        assert not any(s in str(refused.value) for s in (TOKEN, SIGNATURE_SECRET, expected))
