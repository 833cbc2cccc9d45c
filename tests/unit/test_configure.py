"""The format of the credentials that `make configure` accepts."""

import codecs
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from jwt import InsecureKeyLengthWarning

from operations import configure
from operations.secret_checks import CredentialsRejected
from operations.secret_fields import Malformed, parse
from roomkeeper.domain.observations import Product


@pytest.mark.parametrize(
    "given",
    [
        b"",
        b"-----BEGIN PRIVATE KEY-----\nhunter2",
        b'{"api_key": "hunter2", "api_secret": 2}',
        b'{"hunter2": ""}',
        b"{}",
        b'["hunter2"]',
        b'{"api_key": "hunter2 "}',
        b'{"signature_secret": "hunter2\\n"}',
        b'{"token": "hunter2 hunter2"}',
        b'{"token": ["hunter2"]}',
        b'{"signature_secrets": "hunter2"}',
        b'{"signature_secrets": ["good", "hunter2\\n"]}',
        b'{"signature_secrets": [["hunter2"]]}',
        b"\xff\xfehunter2",
        b'{"api_key": "\xff"}',
    ],
)
@pytest.mark.parametrize("product", ["meetings", "video"])
def test_malformed_input_is_rejected_and_not_quoted(given: bytes, product: Product) -> None:
    with pytest.raises(Malformed) as refusal:
        parse(given, product)

    chain = [refusal.value, refusal.value.__cause__]
    assert "hunter2" not in " ".join(map(repr, chain))
    assert refusal.value.__suppress_context__ or refusal.value.__context__ is None


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_a_file_may_be_in_the_encodings_of_windows(mark: bytes, encoding: str) -> None:
    text = '{"signature_secret": "snow\N{SNOWMAN} man"}'
    assert parse(mark + text.encode(encoding), "meetings") == {
        "signature_secret": "snow\N{SNOWMAN} man"
    }


def test_some_of_the_fields_are_enough() -> None:
    assert parse(b'{"api_secret": "s"}', "meetings") == {"api_secret": "s"}
    key = "-----BEGIN PRIVATE KEY-----\n...\n"
    given = b'{"private_key": "%s"}' % key.encode().replace(b"\n", b"\\n")
    assert parse(given, "video") == {"private_key": key}


def test_video_has_a_list_of_signature_secrets_and_meetings_has_one() -> None:
    several = b'{"signature_secrets": ["archives", "sessions of mine"]}'
    assert parse(several, "video") == {"signature_secrets": ["archives", "sessions of mine"]}
    with pytest.raises(Malformed, match="signature_secret, all strings"):
        parse(several, "meetings")
    with pytest.raises(Malformed, match="signature_secrets, a list of strings"):
        parse(b'{"signature_secret": "archives"}', "video")


def test_a_short_api_secret_is_rejected_by_vonage_and_not_by_a_warning_of_python(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class AStack:
        parameters = {"VideoBaseUrl": ""}  # noqa: RUF012

        def secret(self, _output: str) -> dict[str, Any]:
            return {}

    def rejected(*_given: Any, **_more: Any) -> Iterator[str]:
        warnings.warn("1 byte", InsecureKeyLengthWarning, stacklevel=2)
        yield "asked"
        raise CredentialsRejected("Vonage rejected these credentials.")

    monkeypatch.setattr(configure, "check_vonage_secret", rejected)
    stack: Any = AStack()
    with pytest.raises(CredentialsRejected):
        configure.configure(stack, "video", {"api_key": "k", "api_secret": "s"})
