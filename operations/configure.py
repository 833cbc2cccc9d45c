"""`make configure`: checks credentials and stores them in the stack's secrets.

Credentials come from a file, from standard input, or from a prompt that hides them. They are never
printed and never appear in arguments, so neither shell history nor process lists contain them.
Fields that are not given keep their value.

Before anything is stored, the functions' own code parses the new content, and one call to Vonage
tests the given credentials.
"""

import argparse
import codecs
import getpass
import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import msgspec

from operations.command import command, fail
from operations.stack import Stack, StackError, deployed_stack
from roomkeeper.aws.secrets import CallbackSecretContent
from roomkeeper.callbacks.authenticity import is_signature_secret
from roomkeeper.vonage import ApplicationKey, Unauthorized, VonageError, credentials_from
from roomkeeper.vonage.connect import VonageSecretContent
from roomkeeper.vonage.meetings import MeetingsClient

PAIRS = (("application_id", "private_key"), ("api_key", "api_secret"))
"""The fields of the Vonage secret: those of an application and those of an account."""

API = (*PAIRS[0], *PAIRS[1])

CALLBACK = ("token", "signature_secret")
"""The fields of the callback secret. The template generates the first token."""

MIN_SECRET_LENGTH = 32
"""Characters. The operator is warned about a shorter signature secret.

HS256 requires 32 bytes (RFC 7518, section 3.2); Vonage accepts 1 to 50 characters.
"""

VONAGE_TIMEOUT = 15.0  # seconds, in total

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks that editors and PowerShell on Windows write, and their encodings."""

Fields = Mapping[str, str]
ContentT = TypeVar("ContentT", VonageSecretContent, CallbackSecretContent)


class Malformed(Exception):
    """The input does not make a usable secret; the message quotes none of it."""


class Refused(Exception):
    """Vonage rejected the credentials; the message contains its response."""


@command
def main() -> int:
    """Store the given credentials; return the exit code, 0 once they are stored."""
    parser = argparse.ArgumentParser(prog="python -m operations.configure")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    parser.add_argument("--file", type=Path, help="JSON; without it, standard input is read")
    options = parser.parse_args()
    try:
        stack = deployed_stack(options.stack)
        for message in configure(stack, _given(options.file)):
            print(message)
    except (StackError, Malformed, Refused) as error:
        return fail(f"{error} Nothing was changed.")
    return 0


def configure(stack: Stack, given: Fields) -> list[str]:
    """Store credentials in the stack's secrets; return the messages to print.

    If Vonage cannot be reached, the credentials are stored anyway.

    Raises:
        Malformed: together with the stored fields they make no usable secret.
        Refused: Vonage rejected them.
        StackError: there is no such stack, or its secrets cannot be read or written.
    """
    api, callback = _only(API, given), _only(CALLBACK, given)
    stored_api = stack.secret("VonageSecretArn") if api else {}
    stored_callback = stack.secret("CallbackSecretArn") if callback else {}
    # Check both secrets first, so that either everything is stored or nothing.
    messages: list[str] = []
    if api:
        base_url = stack.parameters["VonageBaseUrl"]
        messages += check_vonage_secret(base_url, {**stored_api, **api}, given=api)
    if callback:
        accepted = stack.parameters["CallbackAcceptedCredentials"]
        messages += check_callback_secret({**stored_callback, **callback}, accepted)
    if api:
        messages.append(_store(stack, "VonageSecretArn", stored_api, api))
    if callback:
        messages.append(_store(stack, "CallbackSecretArn", stored_callback, callback))
    if "token" in callback:
        messages.append(_NEW_URL.format(hours=stack.parameters["CallbackPreviousSecretGraceHours"]))
    return messages


_NEW_URL = (
    "Enter the URL that `make callback-url` prints at Vonage. The previous URL works for "
    "{hours} more hours (CallbackPreviousSecretGraceHours)."
)


def check_vonage_secret(base_url: str, content: Fields, *, given: Fields) -> Iterator[str]:
    """Yield messages about a Vonage secret with this new `content`.

    Test each pair of credentials with a `given` field at Vonage. If the given fields only remove a
    pair, test the remaining credentials.

    Raises:
        Malformed: half of a pair is missing, or the functions could not use the content.
        Refused: Vonage rejected a pair.
    """
    read = _read(content, VonageSecretContent)
    pairs = [_pair(content, names) for names in PAIRS if given.keys() & {*names}]
    try:
        in_use = read.credentials()
    except ValueError as exc:
        raise Malformed(str(exc)) from exc
    for fields in [pair for pair in pairs if any(pair.values())] or [msgspec.structs.asdict(read)]:
        yield ask_vonage(base_url, fields, VONAGE_TIMEOUT)
    if isinstance(in_use, ApplicationKey) and not given.keys() & {*PAIRS[0]}:
        yield (
            "The functions keep using the application in the secret, which takes precedence over "
            'an account. To remove it, store {"application_id": "", "private_key": ""}.'
        )


def check_callback_secret(content: Fields, accepted: str) -> Iterator[str]:
    """Yield messages about a callback secret with this new `content`.

    `accepted` is the stack's parameter CallbackAcceptedCredentials.

    Raises:
        Malformed: the intake could not use it.
    """
    read = _read(content, CallbackSecretContent)
    if error := read.token_error():
        raise Malformed(error)
    if read.signature_secret and not is_signature_secret(read.signature_secret):
        raise Malformed(
            "The signature_secret is a key file. Use the signature secret of the Vonage account, "
            "a short text."
        )
    if not (read.token and "token" in accepted) and not (
        read.signature_secret and "signature" in accepted
    ):
        raise Malformed(
            f"Every callback would be rejected: CallbackAcceptedCredentials is {accepted}, and the "
            "secret has no such credential."
        )
    if 0 < len(read.signature_secret) < MIN_SECRET_LENGTH:
        yield (
            f"Warning: the signature_secret has {len(read.signature_secret)} characters. A secret "
            f"shorter than {MIN_SECRET_LENGTH} can be guessed from a single signed callback."
        )


def ask_vonage(base_url: str, fields: Fields, within: float) -> str:
    """Test credentials by listing one room, as the functions would; return a message.

    The call takes at most `within` seconds, retries included.

    Raises:
        Malformed: the fields are not usable credentials.
        Refused: Vonage rejected them.
    """
    try:
        credentials = credentials_from(**fields)
    except ValueError as exc:
        raise Malformed(str(exc)) from exc
    try:
        with MeetingsClient(base_url, credentials, total_timeout=within) as vonage:
            vonage.list_rooms(page_size=1)
    except Unauthorized as exc:
        raise Refused(f"Vonage rejected these credentials: {exc}") from exc
    except VonageError as exc:
        return f"The credentials could not be tested at Vonage ({base_url}): {exc}"
    kind = "application" if isinstance(credentials, ApplicationKey) else "account"
    return f"Vonage accepts these {kind} credentials ({base_url})."


def parse(text: bytes) -> dict[str, str]:
    """Return the fields of the JSON object in `text`.

    Raises:
        Malformed: it is not a JSON object with some of the known fields, all strings.
    """
    form = f"Give a JSON object with one or more of {', '.join((*API, *CALLBACK))}, all strings"
    try:
        fields = msgspec.json.decode(decode(text), type=dict[str, str])
    except (msgspec.DecodeError, UnicodeError):
        # No cause: it may quote the input.
        raise Malformed(f"The input is not valid. {form}.") from None
    if not fields or not fields.keys() <= {*API, *CALLBACK}:
        raise Malformed(f"The input has unknown fields, or none. {form}.")
    for name, value in fields.items():
        if value != _without_blanks(name, value):
            raise Malformed(f"{name} contains blanks or line breaks. Remove them.")
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


def _without_blanks(name: str, value: str) -> str:
    if name == "private_key":
        return value
    if name == "signature_secret":  # chosen by the operator: may contain blanks
        return " ".join(value.splitlines()).strip()
    return "".join(value.split())


def _given(file: Path | None) -> dict[str, str]:
    if file is None and sys.stdin.isatty():
        return _typed()
    try:
        return parse(file.read_bytes() if file else sys.stdin.buffer.read())
    except OSError as exc:
        raise Malformed(f"{file} cannot be read: {exc.strerror}.") from exc


def _typed() -> dict[str, str]:
    """Return the fields typed at hidden prompts; empty fields are left out."""
    print("Input is hidden. Leave a field empty to keep its current value.")
    fields = {name: getpass.getpass(f"{name}: ") for name in API if name != "private_key"}
    if key_file := input("path of the private_key file (PEM): ").strip():
        try:
            fields["private_key"] = decode(Path(key_file).expanduser().read_bytes())
        except (OSError, UnicodeError) as exc:
            raise Malformed(f"{key_file} cannot be read: {type(exc).__name__}.") from exc
    fields["signature_secret"] = getpass.getpass("signature_secret: ")
    return parse(msgspec.json.encode({name: value for name, value in fields.items() if value}))


def _only(names: tuple[str, ...], fields: Fields) -> Fields:
    return {name: fields[name] for name in names if name in fields}


def _pair(content: Fields, names: tuple[str, str]) -> Fields:
    """Return the two fields of a pair.

    Raises:
        Malformed: only one of them is set.
    """
    pair = {name: content.get(name, "") for name in names}
    for name, other in (names, names[::-1]):
        if pair[name] and not pair[other]:
            raise Malformed(f"{name} needs {other}, which is neither given nor in the secret.")
    return pair


def _read(content: Fields, kind: type[ContentT]) -> ContentT:
    """Return the content, parsed as the functions parse it.

    Raises:
        Malformed: they could not parse it.
    """
    try:
        return msgspec.json.decode(json.dumps(content), type=kind)
    except msgspec.DecodeError:
        # No cause: it may quote the secret.
        names = ", ".join(field.name for field in msgspec.structs.fields(kind))
        raise Malformed(f"The secret must contain only the strings {names}.") from None


def _store(stack: Stack, output: str, stored: Fields, given: Fields) -> str:
    """Update the `given` fields of a secret and keep the others; return the message to print."""
    kind = "Vonage" if output == "VonageSecretArn" else "callback"
    content = {**stored, **given}
    if content == stored:  # an equal version would displace the previous one
        return f"The {kind} secret already has these values."
    stack.put_secret(output, json.dumps(content))
    return f"Stored in the {kind} secret: {', '.join(given)}. In effect within 5 minutes."


if __name__ == "__main__":
    sys.exit(main())
