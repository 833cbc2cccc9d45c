"""The format of the credentials that `make configure` accepts."""

import codecs

import pytest

from operations.configure import Malformed, parse


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
        b"\xff\xfehunter2",
        b'{"api_key": "\xff"}',
    ],
)
def test_malformed_input_is_rejected_and_not_quoted(given: bytes) -> None:
    with pytest.raises(Malformed) as refusal:
        parse(given)

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
    assert parse(mark + text.encode(encoding)) == {"signature_secret": "snow\N{SNOWMAN} man"}


def test_some_of_the_fields_are_enough() -> None:
    assert parse(b'{"api_secret": "s"}') == {"api_secret": "s"}
    key = "-----BEGIN PRIVATE KEY-----\n...\n"
    assert parse(b'{"private_key": "%s"}' % key.encode().replace(b"\n", b"\\n")) == {
        "private_key": key
    }
