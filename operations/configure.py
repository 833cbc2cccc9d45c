"""`make configure`: stores Vonage's credentials in the stack's secrets, and has Vonage try them.

They come from a file, from standard input, or typed without being shown. Nothing of them is ever
printed, nor put where a shell or a process list would have it. What is not given stays as it is.
"""

import argparse
import getpass
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from operations.command import command, fail
from operations.stack import Stack, StackError, deployed_stack
from roomkeeper.vonage import Unauthorized, VonageClient, VonageError, credentials_from

API = ("application_id", "private_key", "api_key", "api_secret")
"""The fields of the Vonage secret."""

SIGNATURE = "signature_secret"
"""The field of the callback secret that is Vonage's to give; the token is the template's."""

TRIED_FOR = 15.0  # seconds

Fields = Mapping[str, str]


class Malformed(Exception):
    """What was given is no set of credentials; the message quotes nothing of it."""


class Refused(Exception):
    """Vonage does not take the credentials; the message tells its answer."""


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
    """Store credentials in the stack's secrets; return what to tell of it.

    Vonage is asked before anything is stored, so that working credentials are never replaced by
    some that it refuses. When it cannot be asked, they are stored all the same.

    Raises:
        Malformed: with those that the secret holds already they make no usable set.
        Refused: Vonage does not take them.
        StackError: there is no such stack, or its secrets cannot be read or written.
    """
    api = {name: value for name, value in given.items() if name in API}
    told: list[str] = []
    if api:
        secret = stack.secret("VonageSecretArn")
        fields = {name: {**secret, **api}.get(name, "") for name in API}
        told.append(ask_vonage(stack.parameters["VonageBaseUrl"], fields, TRIED_FOR))
        told.append(_store(stack, "VonageSecretArn", secret, api))
    if SIGNATURE in given:
        signature = {SIGNATURE: given[SIGNATURE]}
        held = stack.secret("CallbackSecretArn")
        told.append(_store(stack, "CallbackSecretArn", held, signature))
    return told


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
        with VonageClient(base_url, credentials, budget=within) as vonage:
            vonage.get_rooms_page(page_size=1)
    except Unauthorized as problem:
        raise Refused(f"Vonage refuses these credentials: {problem}") from problem
    except VonageError as problem:
        return f"Vonage could not be asked whether it takes them ({base_url}): {problem}"
    which = "application" if fields["application_id"] and fields["private_key"] else "account"
    return f"Vonage takes them ({base_url}), as those of an {which}."


def parse(text: bytes) -> dict[str, str]:
    """Return the fields that JSON `text` gives.

    Raises:
        Malformed: it is anything else than an object with some of the fields, all of them texts.
    """
    form = f"It must be a JSON object with texts, of which there are {', '.join((*API, SIGNATURE))}"
    try:
        fields = msgspec.json.decode(text, type=dict[str, str])
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Without its cause, which may quote what was given.
        raise Malformed(f"What was given cannot be read. {form}.") from None
    if not fields or not fields.keys() <= {*API, SIGNATURE}:
        raise Malformed(f"What was given has other fields, or none. {form}.")
    for name, value in fields.items():
        if name != "private_key" and value != "".join(value.split()):
            raise Malformed(f"{name} holds blanks or line ends, which none of Vonage's does.")
    return fields


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
            fields["private_key"] = Path(key_file).expanduser().read_text()
        except (OSError, UnicodeDecodeError) as problem:
            raise Malformed(f"{key_file} cannot be read: {type(problem).__name__}.") from problem
    fields[SIGNATURE] = getpass.getpass(f"{SIGNATURE}: ")
    return parse(msgspec.json.encode({name: value for name, value in fields.items() if value}))


def _store(stack: Stack, output: str, held: Mapping[str, Any], given: Fields) -> str:
    """Put `given` into a secret, all else in it kept; return what to tell of it."""
    kind = "Vonage" if output == "VonageSecretArn" else "callback"
    content = {**held, **given}
    if content == held:  # a version that says the same would take the place of the one before
        return f"The {kind} secret held all that already."
    stack.put_secret(output, json.dumps(content))
    return f"Stored in the {kind} secret: {', '.join(given)}. In force within 5 minutes."


if __name__ == "__main__":
    sys.exit(main())
