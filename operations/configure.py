"""`make configure`: stores credentials in the stack's secrets, once they are known to work.

They come from a file, from standard input, or typed without being shown. None of them is ever
printed, nor put where a shell or a process list would have it. What is not given stays as it is.

What will be stored is read by the code that the functions read it with, and Vonage is asked whether
it takes the pair that was given, before anything is stored.
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
from roomkeeper.vonage import (
    ApplicationKey,
    Unauthorized,
    VonageClient,
    VonageError,
    credentials_from,
)
from roomkeeper.vonage.connect import VonageSecretContent

PAIRS = (("application_id", "private_key"), ("api_key", "api_secret"))
"""The fields of the Vonage secret: an application's, and an account's."""

API = (*PAIRS[0], *PAIRS[1])

CALLBACK = ("token", "signature_secret")
"""The fields of the callback secret. The template makes the first token."""

ENOUGH = 32
"""Characters of a signature secret below which the operator is warned.

HS256 asks for 32 bytes (RFC 7518, section 3.2); Vonage lets it be 1 to 50 characters.
"""

TRIED_FOR = 15.0  # seconds

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Beginnings of texts as editors and PowerShell on Windows write them."""

Fields = Mapping[str, str]
ContentT = TypeVar("ContentT", VonageSecretContent, CallbackSecretContent)


class Malformed(Exception):
    """What was given makes no usable secret; the message quotes nothing of it."""


class Refused(Exception):
    """Vonage does not take the credentials; the message has its response."""


@command
def main() -> int:
    """Store what is given; return the exit code: 0 when it is stored."""
    parser = argparse.ArgumentParser(prog="python -m operations.configure")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    parser.add_argument("--file", type=Path, help="JSON; without it, standard input is read")
    options = parser.parse_args()
    try:
        stack = deployed_stack(options.stack)
        for told in configure(stack, _given(options.file)):
            print(told)
    except (StackError, Malformed, Refused) as error:
        return fail(f"{error} Nothing was changed.")
    return 0


def configure(stack: Stack, given: Fields) -> list[str]:
    """Store credentials in the stack's secrets; return the sentences to print.

    When Vonage cannot be asked, they are stored all the same.

    Raises:
        Malformed: with those that the secrets hold already they make no usable set.
        Refused: Vonage does not take them.
        StackError: there is no such stack, or its secrets cannot be read or written.
    """
    api, callback = _only(API, given), _only(CALLBACK, given)
    held_api = stack.secret("VonageSecretArn") if api else {}
    held_callback = stack.secret("CallbackSecretArn") if callback else {}
    # All checks come first, so that either everything is stored or nothing.
    messages: list[str] = []
    if api:
        base_url = stack.parameters["VonageBaseUrl"]
        messages += check_vonage_secret(base_url, {**held_api, **api}, given=api)
    if callback:
        accepted = stack.parameters["AcceptedCredentials"]
        messages += check_callback_secret({**held_callback, **callback}, accepted)
    if api:
        messages.append(_store(stack, "VonageSecretArn", held_api, api))
    if callback:
        messages.append(_store(stack, "CallbackSecretArn", held_callback, callback))
    if "token" in callback:
        messages.append(_NEW_URL.format(hours=stack.parameters["PreviousSecretGraceHours"]))
    return messages


_NEW_URL = (
    "Enter the URL that `make callback-url` prints at Vonage. The one before is accepted for "
    "PreviousSecretGraceHours, {hours}."
)


def check_vonage_secret(base_url: str, content: Fields, *, given: Fields) -> Iterator[str]:
    """Yield what there is to say of a Vonage secret that is to hold `content`.

    Vonage tries each pair of which a field was `given`; if that took a pair away, what is left.

    Raises:
        Malformed: half of a pair is missing, or the functions could not use the content.
        Refused: Vonage does not take a pair.
    """
    read = _read(content, VonageSecretContent)
    pairs = [_pair(content, names) for names in PAIRS if given.keys() & {*names}]
    try:
        in_use = read.credentials()
    except ValueError as exc:
        raise Malformed(str(exc)) from exc
    for fields in [pair for pair in pairs if any(pair.values())] or [msgspec.structs.asdict(read)]:
        yield ask_vonage(base_url, fields, TRIED_FOR)
    if isinstance(in_use, ApplicationKey) and not given.keys() & {*PAIRS[0]}:
        yield (
            "The functions go on using the application that the secret holds, which wins over an "
            'account. To take it away: {"application_id": "", "private_key": ""}.'
        )


def check_callback_secret(content: Fields, accepted: str) -> Iterator[str]:
    """Yield what there is to say of a callback secret that is to hold `content`.

    `accepted` is the stack's AcceptedCredentials.

    Raises:
        Malformed: the intake could not use it.
    """
    read = _read(content, CallbackSecretContent)
    if error := read.token_error():
        raise Malformed(error)
    if read.signature_secret and not is_signature_secret(read.signature_secret):
        raise Malformed("The signature_secret is a key file. Vonage's is a short text.")
    if not (read.token and "token" in accepted) and not (
        read.signature_secret and "signature" in accepted
    ):
        raise Malformed(f"No callback would be let in: AcceptedCredentials is {accepted}.")
    if 0 < len(read.signature_secret) < ENOUGH:
        yield (
            f"Warning: the signature_secret has {len(read.signature_secret)} characters. One of "
            f"fewer than {ENOUGH} can be guessed from a single signed callback."
        )


def ask_vonage(base_url: str, fields: Fields, within: float) -> str:
    """Have Vonage list one room, as the functions would ask; return what came of it.

    Raises:
        Malformed: the fields make no usable credentials.
        Refused: Vonage does not take them.
    """
    try:
        credentials = credentials_from(**fields)
    except ValueError as problem:
        raise Malformed(str(problem)) from problem
    try:
        with VonageClient(base_url, credentials, total_timeout=within) as vonage:
            vonage.list_rooms(page_size=1)
    except Unauthorized as problem:
        raise Refused(f"Vonage refuses these credentials: {problem}") from problem
    except VonageError as problem:
        return f"Vonage could not be asked whether it takes them ({base_url}): {problem}"
    which = "application" if isinstance(credentials, ApplicationKey) else "account"
    return f"Vonage takes them ({base_url}), as those of an {which}."


def parse(text: bytes) -> dict[str, str]:
    """Return the fields that JSON `text` gives.

    Raises:
        Malformed: it is anything else than an object with some of the fields, all of them texts.
    """
    form = f"It must be a JSON object with texts, of which there are {', '.join((*API, *CALLBACK))}"
    try:
        fields = msgspec.json.decode(decode(text), type=dict[str, str])
    except (msgspec.DecodeError, UnicodeError):
        # Without its cause, which may quote what was given.
        raise Malformed(f"What was given cannot be read. {form}.") from None
    if not fields or not fields.keys() <= {*API, *CALLBACK}:
        raise Malformed(f"What was given has other fields, or none. {form}.")
    for name, value in fields.items():
        if value != _without_blanks(name, value):
            raise Malformed(f"{name} holds blanks or line ends, which none of Vonage's does.")
    return fields


def decode(text: bytes) -> str:
    """Return the text of a file: UTF-8, or as its byte order mark says.

    Raises:
        UnicodeError: it is in another encoding.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if text.startswith(mark):
            return text.decode(encoding)
    return text.decode()


def _without_blanks(name: str, value: str) -> str:
    if name == "private_key":
        return value
    if name == "signature_secret":  # the operator's choice, which may be several words
        return " ".join(value.splitlines()).strip()
    return "".join(value.split())


def _given(file: Path | None) -> dict[str, str]:
    if file is None and sys.stdin.isatty():
        return _typed()
    try:
        return parse(file.read_bytes() if file else sys.stdin.buffer.read())
    except OSError as problem:
        raise Malformed(f"{file} cannot be read: {problem.strerror}.") from problem


def _typed() -> dict[str, str]:
    """Return what is typed, unseen; whatever is left empty is not given."""
    print("What you type is not shown. Leave empty what is to stay as it is.")
    fields = {name: getpass.getpass(f"{name}: ") for name in API if name != "private_key"}
    if key_file := input("file with private_key (PEM): ").strip():
        try:
            fields["private_key"] = decode(Path(key_file).expanduser().read_bytes())
        except (OSError, UnicodeError) as problem:
            raise Malformed(f"{key_file} cannot be read: {type(problem).__name__}.") from problem
    fields["signature_secret"] = getpass.getpass("signature_secret: ")
    return parse(msgspec.json.encode({name: value for name, value in fields.items() if value}))


def _only(names: tuple[str, ...], fields: Fields) -> Fields:
    return {name: fields[name] for name in names if name in fields}


def _pair(content: Fields, names: tuple[str, str]) -> Fields:
    """Return the pair's two fields.

    Raises:
        Malformed: it has only one of them.
    """
    pair = {name: content.get(name, "") for name in names}
    for name, other in (names, names[::-1]):
        if pair[name] and not pair[other]:
            raise Malformed(f"{name} is given without {other}, and the secret holds none.")
    return pair


def _read(content: Fields, kind: type[ContentT]) -> ContentT:
    """Return the content as the functions read it.

    Raises:
        Malformed: they could not.
    """
    try:
        return msgspec.json.decode(json.dumps(content), type=kind)
    except msgspec.DecodeError:
        # Without its cause, which may quote what the secret holds.
        names = ", ".join(field.name for field in msgspec.structs.fields(kind))
        raise Malformed(f"The secret holds something else than the texts {names}.") from None


def _store(stack: Stack, output: str, held: Fields, given: Fields) -> str:
    """Put `given` into a secret, all else in it kept; return the sentence to print."""
    kind = "Vonage" if output == "VonageSecretArn" else "callback"
    content = {**held, **given}
    if content == held:  # a version that says the same would take the place of the one before
        return f"The {kind} secret held all that already."
    stack.put_secret(output, json.dumps(content))
    return f"Stored in the {kind} secret: {', '.join(given)}. In force within 5 minutes."


if __name__ == "__main__":
    sys.exit(main())
