"""The fields of a product's secrets, read from the text that an operator gives.

No message quotes the text, which contains secrets.
"""

import codecs
from collections.abc import Mapping
from typing import Any

import msgspec

from roomkeeper.domain.observations import Product

PAIRS = (("application_id", "private_key"), ("api_key", "api_secret"))
"""The fields of a secret for Vonage's API: those of an application, and those of an account or, for
classic Video, of a project."""

API = (*PAIRS[0], *PAIRS[1])

CALLBACK: Mapping[Product, tuple[str, ...]] = {
    "meetings": ("token", "signature_secret"),
    "video": ("token", "signature_secrets"),
}
"""The fields of each callback secret. The template generates the first token."""

LISTS = {"signature_secrets"}
"""The fields that are lists of strings. Each callback URL of Video has a secret of its own."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks that editors and PowerShell on Windows write, and their encodings."""

Fields = Mapping[str, Any]
"""Fields of a secret: strings, and lists of strings for those in LISTS."""


_FORMS: Mapping[Product, str] = {
    "meetings": "Give a JSON object with one or more of application_id, private_key, api_key, "
    "api_secret, token, signature_secret, all strings",
    "video": "Give a JSON object with one or more of application_id, private_key, api_key, "
    "api_secret, token, all strings, and signature_secrets, a list of strings",
}


class Malformed(Exception):
    """The input does not make a usable secret; the message quotes none of it."""


def parse(text: bytes, product: Product) -> Fields:
    """Return the fields of the JSON object in `text`.

    Raises:
        Malformed: it is not a JSON object with some of the product's fields, in the right form.
    """
    form = _FORMS[product]
    try:
        fields = msgspec.json.decode(decode(text), type=dict[str, str | list[str]])
    except (msgspec.DecodeError, UnicodeError):
        # No cause: it may quote the input.
        raise Malformed(f"The input is not valid. {form}.") from None
    if not fields or not fields.keys() <= {*API, *CALLBACK[product]}:
        raise Malformed(f"The input has unknown fields, or none. {form}.")
    for name, value in fields.items():
        if isinstance(value, list) is not (name in LISTS):
            raise Malformed(f"{name} has the wrong type. {form}.")
        _require_no_blanks(name, value if isinstance(value, list) else [value])
    return fields


def decode(text: bytes) -> str:
    """Return the text of a file: UTF-8, or the encoding of its byte order mark.

    Raises:
        UnicodeError: the file has another encoding.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if text.startswith(mark):
            return text.decode(encoding)
    return text.decode()


def only(names: tuple[str, ...], fields: Fields) -> Fields:
    """Return the fields with these names."""
    return {name: fields[name] for name in names if name in fields}


def _require_no_blanks(name: str, values: list[str]) -> None:
    if any(value != _without_blanks(name, value) for value in values):
        raise Malformed(f"{name} contains blanks or line breaks. Remove them.")


def _without_blanks(name: str, value: str) -> str:
    if name == "private_key":
        return value
    if name.startswith("signature_secret"):  # chosen by the operator: may contain blanks
        return " ".join(value.splitlines()).strip()
    return "".join(value.split())
