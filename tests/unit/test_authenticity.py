import base64
import codecs
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import jwt
import pytest
import time_machine
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st

from local.testing.builders import ABSENT, NOON, SIGNATURE_SECRET, TOKEN, a_body, a_signature
from roomkeeper.callbacks.authenticity import (
    SignatureRules,
    Unauthorized,
    is_signature_secret,
    is_token,
    require_authentic,
)
from roomkeeper.callbacks.body import MAX_BODY_BYTES

BODY = a_body("recording:uploaded")
DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)
OTHER = "another-secret-of-sufficient-length"


RULES = SignatureRules(max_age=DAY)


@pytest.fixture(autouse=True)
def _at_noon() -> Iterator[None]:
    with time_machine.travel(NOON, tick=False):
        yield


def authenticate(
    body: bytes = BODY,
    *,
    token: str | None = None,
    authorization: str | None = None,
    tokens: tuple[str, ...] = (TOKEN,),
    secrets: tuple[str, ...] = (SIGNATURE_SECRET,),
    rules: SignatureRules = RULES,
) -> None:
    require_authentic(
        body,
        token=token,
        authorization=authorization,
        tokens=tokens,
        signature_secrets=secrets,
        rules=rules,
    )


def signed(**options: Any) -> str:
    return a_signature(BODY, **{"at": NOON} | options)


def signed_jwt(header: object, claims: object, secret: str = SIGNATURE_SECRET) -> str:
    """Return a JWT of any content with a valid signature, which no library would write."""
    unsigned = a_jwt(header, claims).removeprefix("Bearer ").rstrip(".")
    signature = hmac.digest(secret.encode(), unsigned.encode(), "sha256")
    return f"Bearer {unsigned}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def claims(**changes: Any) -> dict[str, Any]:
    return {
        "iat": int(NOON.timestamp()),
        "payload_hash": hashlib.sha256(BODY).hexdigest(),
        **changes,
    }


def a_jwt(header: object, claims: object, signature: bytes = b"") -> str:
    """Return a JWT of any content, as an attacker would write it."""
    parts = [json.dumps(header).encode(), json.dumps(claims).encode(), signature]
    return "Bearer " + b".".join(base64.urlsafe_b64encode(p).rstrip(b"=") for p in parts).decode()


# --- the token in the path ------------------------------------------------------------------------


def test_the_right_token_is_accepted() -> None:
    authenticate(token=TOKEN)


@pytest.mark.parametrize("tokens", [(TOKEN, "older"), ("newer", TOKEN)])
def test_each_of_several_tokens_is_accepted(tokens: tuple[str, ...]) -> None:
    authenticate(token=TOKEN, tokens=tokens)


@pytest.mark.parametrize(
    "token", ["", TOKEN[:-1], TOKEN + "x", TOKEN.upper(), f" {TOKEN}", "t\0", "é", "\ud800"]
)
def test_any_other_token_is_rejected(token: str) -> None:
    with pytest.raises(Unauthorized, match="The token in the path is not valid") as raised:
        authenticate(token=token)
    assert (raised.value.status, raised.value.code) == (401, "unauthorized")


@pytest.mark.parametrize("tokens", [(), ("",), ("", "")])
@pytest.mark.parametrize("token", ["", TOKEN])
def test_every_token_is_rejected_if_none_is_set(token: str, tokens: tuple[str, ...]) -> None:
    with pytest.raises(Unauthorized):
        authenticate(token=token, tokens=tokens)


def test_a_valid_signature_is_accepted_despite_a_wrong_token() -> None:
    authenticate(token="wrong", authorization=signed())


def test_a_valid_token_is_accepted_despite_a_wrong_signature() -> None:
    authenticate(token=TOKEN, authorization=signed(secret=OTHER))


def test_a_request_without_proof_gets_a_hint_on_the_callback_url() -> None:
    with pytest.raises(Unauthorized) as raised:
        authenticate()
    assert str(raised.value) == (
        "There is no signature in the Authorization header. Set the callback URL, with its token, "
        "that the operator's `make callback-url` prints."
    )


def test_the_hint_on_the_callback_url_is_only_for_unsigned_requests() -> None:
    for authorization in (
        signed(at=NOON - 2 * DAY),
        signed(secret=OTHER),
        signed(payload_hash="x"),
    ):
        with pytest.raises(Unauthorized) as raised:
            authenticate(authorization=authorization)
        assert "callback-url" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "usable"),
    [
        ("A" * 32, True),
        ("aZ09-._~" * 8, True),
        ("A" * 31, False),
        ("", False),
        ("A" * 32 + "/", False),
        ("A" * 32 + "%", False),
        ("A" * 32 + "?", False),
        ("A" * 32 + "+", False),
        ("A" * 32 + "=", False),
        ("A" * 32 + " ", False),
        ("A" * 32 + "\n", False),
        ("é" * 32, False),
        ("٣" * 32, False),
    ],
)
def test_a_token_is_long_and_needs_no_escaping_in_a_path(text: str, usable: bool) -> None:
    assert is_token(text) is usable


# --- the signature --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_valid_signature_is_accepted(scheme: str) -> None:
    authenticate(authorization=signed().replace("Bearer", scheme))


@pytest.mark.parametrize("secrets", [(SIGNATURE_SECRET, OTHER), (OTHER, SIGNATURE_SECRET)])
def test_a_signature_with_each_of_several_secrets_is_accepted(secrets: tuple[str, ...]) -> None:
    authenticate(authorization=signed(), secrets=secrets)


@pytest.mark.parametrize("claim", ["jti", "iss", "api_key", "application_id"])
def test_claims_that_not_all_apis_send_are_optional(claim: str) -> None:
    authenticate(authorization=signed(**{claim: ABSENT}))


ANYTHING = [None, 4, 4.5, True, "", "somebody", [], ["a", 1], {}, {"a": None}]


@pytest.mark.parametrize("value", ANYTHING, ids=repr)
@pytest.mark.parametrize(
    "claim", ["sub", "jti", "aud", "iss", "kid", "acl", "api_key", "application_id"]
)
def test_claims_without_an_expected_value_are_ignored(claim: str, value: Any) -> None:
    authenticate(authorization=signed_jwt({"alg": "HS256"}, claims(**{claim: value})))


@pytest.mark.parametrize("secret", [SIGNATURE_SECRET, "x"])
@pytest.mark.parametrize("value", ANYTHING, ids=repr)
def test_a_key_id_of_any_type_is_ignored(value: Any, secret: str) -> None:
    header = {"alg": "HS256", "typ": "JWT", "kid": value}
    authenticate(authorization=signed_jwt(header, claims(), secret), secrets=(OTHER, secret))


@pytest.mark.parametrize("value", ANYTHING, ids=repr)
def test_a_key_id_of_any_type_makes_no_invalid_signature_valid(value: Any) -> None:
    rejected = [
        signed_jwt({"alg": "HS256", "kid": value}, claims(), OTHER),
        signed_jwt({"alg": "HS256", "kid": value}, claims(payload_hash="x")),
        signed_jwt({"alg": "HS256", "kid": value}, claims(iat=0)),
        signed_jwt({"alg": "HS256", "kid": value, "crit": ["x"]}, claims()),
        signed_jwt({"alg": "HS256", "kid": value, "b64": False, "crit": ["b64"]}, claims()),
        signed_jwt({"alg": "HS256", "kid": value}, []),
        signed_jwt({"alg": "none", "kid": value}, claims()),
        signed_jwt({"alg": ["HS256"], "kid": value}, claims()),
        a_jwt({"alg": "HS256", "kid": value}, claims()),
        a_jwt({"alg": "none", "kid": value}, claims()),
    ]
    for authorization in rejected:
        with pytest.raises(Unauthorized):
            authenticate(authorization=authorization)


@pytest.mark.parametrize("secret", ["x", "a3c", "s" * 31, "\N{SNOWMAN}", " "])
def test_a_signature_secret_may_have_any_length(secret: str) -> None:
    authenticate(authorization=signed_jwt({"alg": "HS256"}, claims(), secret), secrets=(secret,))
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        authenticate(authorization=signed(), secrets=(secret,))


@pytest.mark.parametrize(
    ("secret", "usable"),
    [
        ("x", True),
        (SIGNATURE_SECRET, True),
        ("", False),
        ("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", False),
        ("ssh-rsa AAAA", False),
    ],
)
def test_a_signature_secret_is_any_text_except_a_key_file(secret: str, usable: bool) -> None:
    assert is_signature_secret(secret) is usable


# --- the account ----------------------------------------------------------------------------------


ACCOUNT = {"api_key": "a1b2c3d4", "application_id": "78d335fa-323d-0114-9c3d-d6f0d48968cf"}


@pytest.mark.parametrize(
    "expected", [{}, ACCOUNT, *({name: value} for name, value in ACCOUNT.items())]
)
def test_a_signature_from_the_expected_account_is_accepted(expected: Mapping[str, str]) -> None:
    rules = SignatureRules(max_age=DAY, expected_claims=expected)
    authenticate(authorization=signed(), rules=rules)


@pytest.mark.parametrize("value", ["other", "", None, 4, ["a1b2c3d4"], ABSENT])
@pytest.mark.parametrize("claim", ACCOUNT)
def test_a_signature_from_another_account_is_rejected(claim: str, value: Any) -> None:
    rules = SignatureRules(max_age=DAY, expected_claims=ACCOUNT)
    with pytest.raises(Unauthorized, match=f"not from the expected account.*{claim}"):
        authenticate(authorization=signed(**{claim: value}), rules=rules)


def test_a_token_is_accepted_for_any_expected_account() -> None:
    authenticate(token=TOKEN, rules=SignatureRules(max_age=DAY, expected_claims=ACCOUNT))


def test_the_payload_hash_is_case_insensitive() -> None:
    authenticate(authorization=signed(payload_hash=hashlib.sha256(BODY).hexdigest().upper()))


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "Basic dTpw", SIGNATURE_SECRET, "Bearer" + signed().split()[1]],
)
def test_a_header_without_a_bearer_token_is_no_signature(header: str) -> None:
    with pytest.raises(Unauthorized, match="There is no signature"):
        authenticate(authorization=header)


@pytest.mark.parametrize("secrets", [(), ("",), ("", "")])
def test_every_signature_is_rejected_if_no_secret_is_set(secrets: tuple[str, ...]) -> None:
    with pytest.raises(Unauthorized, match="Signatures are not accepted here"):
        authenticate(authorization=signed(), secrets=secrets)


def test_a_signature_with_the_empty_secret_is_rejected_if_no_secret_is_set() -> None:
    empty = signed_jwt({"alg": "HS256"}, claims(), "")
    with pytest.raises(Unauthorized):
        authenticate(authorization=empty, secrets=("",))


def test_a_signature_with_another_secret_is_rejected() -> None:
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        authenticate(authorization=signed(secret=OTHER))


@pytest.mark.parametrize("algorithm", ["HS384", "HS512"])
def test_other_algorithms_are_rejected(algorithm: str) -> None:
    long_enough = SIGNATURE_SECRET * 2
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        authenticate(
            authorization=signed(algorithm=algorithm, secret=long_enough), secrets=(long_enough,)
        )


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, 1])
def test_an_unsigned_jwt_is_rejected(algorithm: object) -> None:
    claims = {"iat": int(NOON.timestamp())}
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        authenticate(authorization=a_jwt({"alg": algorithm, "typ": "JWT"}, claims))


def test_a_jwt_signed_with_a_private_key_is_rejected() -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    rs256 = "Bearer " + jwt.encode({"iat": int(NOON.timestamp())}, key, "RS256")
    for secrets in [(SIGNATURE_SECRET,), (public.decode(),)]:
        with pytest.raises(Unauthorized, match="The signature is not valid"):
            authenticate(authorization=rs256, secrets=secrets)


def test_every_signature_is_rejected_if_the_secret_is_a_public_key() -> None:
    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    ).decode()
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        authenticate(authorization=signed(), secrets=(pem,))


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
def test_a_malformed_jwt_is_rejected(header: object, claims: object) -> None:
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        authenticate(authorization=a_jwt(header, claims))


def test_a_deeply_nested_jwt_header_is_rejected() -> None:
    deep = base64.urlsafe_b64encode(b'{"alg":' + b"[" * 100_000).decode()
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        authenticate(authorization=f"Bearer {deep}.e30.x")


@given(st.text(st.characters()))
def test_an_arbitrary_header_is_rejected_without_an_unexpected_error(header: str) -> None:
    for scheme in ("", "Bearer ", "Bearer e30.", "Bearer eyJhbGciOiJIUzI1NiJ9."):
        with pytest.raises(Unauthorized):
            authenticate(authorization=scheme + header)


# --- comparisons in constant time -----------------------------------------------------------------


class Unequalled(str):
    """A string that fails on every comparison except in constant time, which uses its bytes."""

    def __eq__(self, _other: object) -> bool:
        raise AssertionError("A secret was compared in a time that depends on it.")

    __ne__ = __lt__ = __gt__ = __contains__ = startswith = endswith = find = __eq__  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]


@pytest.fixture
def compared(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bytes, bytes]]:
    """Return the list of constant-time comparisons. PyJWT uses the same function."""
    seen: list[tuple[bytes, bytes]] = []
    compare = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        seen.append((bytes(one), bytes(other)))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    return seen


@pytest.mark.parametrize("given", [TOKEN, "x", TOKEN[:-1] + "x", "older"])
def test_all_tokens_are_compared_in_constant_time_whichever_matches(
    given: str, compared: list[tuple[bytes, bytes]]
) -> None:
    known = (Unequalled(TOKEN), Unequalled("older"), Unequalled("oldest"))
    with suppress(Unauthorized):
        authenticate(token=Unequalled(given), tokens=known)
    assert compared == [(given.encode(), str.encode(token)) for token in known]


def test_the_signature_and_the_payload_hash_are_compared_in_constant_time(
    compared: list[tuple[bytes, bytes]],
) -> None:
    header = signed()
    authenticate(authorization=header, secrets=(Unequalled(SIGNATURE_SECRET),))

    signing_input, _, signature = header.removeprefix("Bearer ").rpartition(".")
    expected = hmac.new(SIGNATURE_SECRET.encode(), signing_input.encode(), "sha256").digest()
    given = base64.urlsafe_b64decode(signature + "==")
    by_hash = (hashlib.sha256(BODY).hexdigest().encode(),) * 2
    assert {frozenset(pair) for pair in compared} == {
        frozenset({given, expected}),
        frozenset(by_hash),
    }
    assert len(compared) == 2


# --- the time of the signature --------------------------------------------------------------------


def test_a_signature_at_the_maximum_age_is_accepted_and_an_older_one_is_rejected() -> None:
    authenticate(authorization=signed(at=NOON - DAY))
    with pytest.raises(Unauthorized, match="more than 24 hours old"):
        authenticate(authorization=signed(at=NOON - DAY - SECOND))


def test_the_senders_clock_may_be_at_most_a_minute_ahead() -> None:
    authenticate(authorization=signed(at=NOON + 60 * SECOND))
    with pytest.raises(Unauthorized, match="not valid at this time"):
        authenticate(authorization=signed(at=NOON + 61 * SECOND))


def test_an_expired_signature_is_rejected() -> None:
    expiry = int(NOON.timestamp()) - 61
    authenticate(authorization=signed(exp=expiry + 2))
    with pytest.raises(Unauthorized, match="not valid at this time"):
        authenticate(authorization=signed(exp=expiry))


def test_a_signature_that_is_not_yet_valid_is_rejected() -> None:
    authenticate(authorization=signed(nbf=int(NOON.timestamp()) + 60))
    with pytest.raises(Unauthorized, match="not valid at this time"):
        authenticate(authorization=signed(nbf=int(NOON.timestamp()) + 61))


@pytest.mark.parametrize(
    "moment",
    [ABSENT, None, "", "now", [], {}, [1], float("nan"), float("inf"), 10**400, -(10**400)],
)
def test_a_signature_without_a_valid_issue_time_is_rejected(moment: Any) -> None:
    with pytest.raises(Unauthorized, match="The signature is"):
        authenticate(authorization=signed(iat=moment))


@pytest.mark.parametrize("claim", ["exp", "nbf"])
@pytest.mark.parametrize("moment", ["now", None, [], {}, float("nan")])
def test_an_exp_or_nbf_claim_that_is_no_time_is_rejected(claim: str, moment: Any) -> None:
    with pytest.raises(Unauthorized, match="The signature is not valid"):
        authenticate(authorization=signed(**{claim: moment}))


# --- the signed content ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "payload_hash",
    ["", "0" * 64, 5, 0, False, [], {"sha256": "x"}, "é", "\ud800", hashlib.md5(BODY).hexdigest()],
)
def test_a_signature_of_another_body_is_rejected(payload_hash: Any) -> None:
    with pytest.raises(Unauthorized, match="The body does not match"):
        authenticate(authorization=signed(payload_hash=payload_hash))


@pytest.mark.parametrize("missing", [ABSENT, None])
def test_a_signature_must_cover_the_body_unless_the_rules_say_otherwise(missing: Any) -> None:
    with pytest.raises(Unauthorized, match=r"not cover the body.*CallbackRequirePayloadHash=false"):
        authenticate(authorization=signed(payload_hash=missing))
    lenient = SignatureRules(max_age=DAY, requires_payload_hash=False)
    authenticate(authorization=signed(payload_hash=missing), rules=lenient)
    with pytest.raises(Unauthorized, match="The body does not match"):
        authenticate(authorization=signed(payload_hash="0" * 64), rules=lenient)


SENT = '{ "b": "\\u00e9\N{SNOWMAN}", "a" : [1, 2.50, {"x y": " , "}],\r\n\t"c":null }'


@pytest.mark.parametrize("hashed", [BODY, codecs.BOM_UTF8 + BODY])
def test_the_hash_may_leave_out_the_byte_order_mark(hashed: bytes) -> None:
    header = signed(payload_hash=hashlib.sha256(hashed).hexdigest())
    authenticate(codecs.BOM_UTF8 + BODY, authorization=header)


@pytest.mark.parametrize(
    "hashed",
    [
        SENT,
        '{"b":"\\u00e9\N{SNOWMAN}","a":[1,2.50,{"x y":" , "}],"c":null}',
        '{"b":"é\N{SNOWMAN}","a":[1,2.5,{"x y":" , "}],"c":null}',
        '{"b":"\\u00e9\\u2603","a":[1,2.5,{"x y":" , "}],"c":null}',
    ],
    ids=["as sent", "without white space", "as JSON.stringify writes it", "in ASCII"],
)
def test_the_hash_may_cover_the_body_or_its_json_without_white_space(hashed: str) -> None:
    header = signed(payload_hash=hashlib.sha256(hashed.encode()).hexdigest())
    authenticate(SENT.encode(), authorization=header)


@pytest.mark.parametrize(
    "sent",
    [
        '{"a": 1, "b": 3}',
        '{"b": 2, "a": 1}',
        '{"a": 1, "b": 2, "c": 3}',
        '{"a": 1, "b": 1, "b": 2}',  # a parser keeps the last; another may keep the first
        '{"a": 1, "b": "2"}',
        '{"a": 1, "b": 2} {}',
        "{'a': 1, 'b': 2}",
        "",
        "[" * 100_000,
        "\N{SNOWMAN}",
    ],
)
def test_a_body_with_another_meaning_does_not_match_the_hash(sent: str) -> None:
    header = signed(payload_hash=hashlib.sha256(b'{"a":1,"b":2}').hexdigest())
    authenticate(b'{ "a": 1, "b": 2 }', authorization=header)
    with pytest.raises(Unauthorized, match="The body does not match"):
        authenticate(sent.encode(), authorization=header)


@pytest.mark.parametrize("body", [b"\xff\xfe", b'{"a":"\\ud800"}', b'{"a": 1e999}', b"NaN"])
def test_a_body_without_another_json_form_is_rejected_without_an_unexpected_error(
    body: bytes,
) -> None:
    with pytest.raises(Unauthorized, match="The body does not match"):
        authenticate(body, authorization=signed(payload_hash="0" * 64))


def test_the_largest_body_is_hashed_in_four_forms_at_most(
    compared: list[tuple[bytes, bytes]],
) -> None:
    body = b'["' + b" " * (MAX_BODY_BYTES - 4) + b'"]'
    with pytest.raises(Unauthorized):
        authenticate(body, authorization=signed(payload_hash="0" * 64))
    assert len(compared) == 1 + 4  # the signature's own comparison comes first


def test_error_messages_never_reveal_a_valid_value() -> None:
    expected = hashlib.sha256(BODY).hexdigest()
    for options in ({"token": "x"}, {"authorization": signed(payload_hash="x")}):
        with pytest.raises(Unauthorized) as raised:
            authenticate(**options)  # type: ignore[arg-type]
        assert not any(s in str(raised.value) for s in (TOKEN, SIGNATURE_SECRET, expected))
