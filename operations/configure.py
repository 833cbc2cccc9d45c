"""`make configure`: checks a product's credentials and stores them in the stack's secrets.

Credentials come from a file, from standard input, or from a prompt that hides them. They are never
printed and never appear in arguments, so neither shell history nor process lists contain them.
Fields that are not given keep their value.

Before anything is stored, the functions' own code parses the new content, and one call to Vonage
tests the given credentials.
"""

import getpass
import json
import sys
import warnings
from pathlib import Path

import jwt
import msgspec

from operations import products
from operations.arguments import Parser
from operations.command import command, fail
from operations.products import NAMES, NotChosen
from operations.secret_checks import CredentialsRejected, check_callback_secret, check_vonage_secret
from operations.secret_fields import API, CALLBACK, LISTS, Fields, Malformed, decode, only, parse
from operations.stack import Stack, StackError, deployed_stack
from roomkeeper.domain.observations import Product


class PartlyStored(Exception):
    """Only the first of a product's two secrets was stored; the message says so, and why."""


@command
def main() -> int:
    """Store the given credentials; return the exit code, 0 once they are stored."""
    parser = Parser("configure")
    parser.add_stack()
    parser.add_argument("--file", default="", help="JSON; without it, standard input is read")
    products.add_option(parser)
    options = parser.parse_args()
    try:
        stack = deployed_stack(options.stack)
        product = _product(stack, options.product, options.file)
        for message in configure(stack, product, _given(product, options.file)):
            print(message)
    except (StackError, NotChosen, Malformed, CredentialsRejected) as error:
        return fail(f"{error} Nothing was changed.")
    except PartlyStored as error:
        return fail(str(error))
    return 0


def configure(stack: Stack, product: Product, given: Fields) -> list[str]:
    """Store a product's credentials in the stack's secrets; return the messages to print.

    If Vonage cannot be reached, the credentials are stored anyway.

    Raises:
        Malformed: together with the stored fields they make no usable secret.
        CredentialsRejected: Vonage rejected them.
        StackError: there is no such stack, or its secrets cannot be read or written.
        PartlyStored: the second secret cannot be written.
    """
    names = NAMES[product]
    api, callback = only(API, given), only(CALLBACK[product], given)
    stored_api = stack.secret(names.vonage_secret) if api else {}
    stored_callback = stack.secret(names.callback_secret) if callback else {}
    # Check both secrets first, so that either everything is stored or nothing.
    messages: list[str] = []
    if api:
        base_url = stack.parameters[names.base_url]
        with warnings.catch_warnings():  # Vonage accepts or rejects a secret of any length
            warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
            messages += check_vonage_secret(product, base_url, stored_api, api)
    if callback:
        accepted = stack.parameters["CallbackAcceptedCredentials"]
        messages += check_callback_secret(product, {**stored_callback, **callback}, accepted)
    if api:
        messages.append(_store(stack, names.vonage_secret, stored_api, api))
    if callback:
        try:
            messages.append(_store(stack, names.callback_secret, stored_callback, callback))
        except StackError as exc:
            if not api:
                raise
            raise PartlyStored(f"{messages[-1]} {exc} Run the command again.") from exc
    if callback.get("token", stored_callback.get("token")) != stored_callback.get("token"):
        messages.append(_NEW_URL.format(hours=stack.parameters["CallbackPreviousSecretGraceHours"]))
    return messages


_NEW_URL = (
    "Enter the URL that `make callback-url` prints at Vonage. The previous URL works for "
    "{hours} more hours (CallbackPreviousSecretGraceHours)."
)


def _product(stack: Stack, product: str, file: str) -> Product:
    """Return the product whose credentials are given; somebody at a terminal is asked.

    Raises:
        NotChosen: the stack does not serve it, or serves both and nobody can be asked.
    """
    if product or len(stack.products) == 1 or not _is_typed(file):
        return products.only_one(stack.parameters, product)
    return products.only_one(stack.parameters, _asked(stack.products))


def _asked(served: tuple[Product, ...]) -> str:
    while True:
        answer = input(f"Credentials of which product, {' or '.join(served)}? ").strip().lower()
        if answer in served:
            return answer


def _is_typed(file: str) -> bool:
    return not file and sys.stdin.isatty()


def _given(product: Product, file: str) -> Fields:
    if _is_typed(file):
        return _typed(product)
    return parse(_content(file) if file else sys.stdin.buffer.read(), product)


def _content(path: str) -> bytes:
    """Return the content of a file. Not every shell expands the `~` in `FILE=~/vonage.json`.

    Raises:
        Malformed: it cannot be read; the message says why.
    """
    try:
        return Path(path).expanduser().read_bytes()
    except OSError as exc:
        raise Malformed(f"{path} cannot be read: {exc.strerror}.") from exc
    except RuntimeError as exc:  # of expanduser
        raise Malformed(f"{path} cannot be found: {exc}.") from exc


def _typed(product: Product) -> Fields:
    """Return the fields typed at hidden prompts; empty fields are left out."""
    print("Input is hidden. Leave a field empty to keep its current value.")
    fields: dict[str, str | list[str]] = {}
    for name in API:
        fields[name] = _typed_key() if name == "private_key" else getpass.getpass(f"{name}: ")
    for name in CALLBACK[product]:
        if name in LISTS:
            fields[name] = _typed_list(name)
        elif name != "token":
            fields[name] = getpass.getpass(f"{name}: ")
    given = {name: value for name, value in fields.items() if value}
    if not given:
        raise Malformed("No field was given.")
    return parse(msgspec.json.encode(given), product)


def _typed_key() -> str:
    """Return the content of the private key's file; empty without one."""
    if not (path := input("path of the private_key file (PEM): ").strip()):
        return ""
    try:
        return decode(_content(path))
    except UnicodeError:
        raise Malformed(f"{path} is not a text file in UTF-8.") from None


def _typed_list(name: str) -> list[str]:
    print(f"{name}: type each one; an empty line ends the list. They replace the stored ones.")
    typed: list[str] = []
    while value := getpass.getpass(f"{name}, number {len(typed) + 1}: "):
        typed.append(value)
    return typed


def _store(stack: Stack, output: str, stored: Fields, given: Fields) -> str:
    """Update the `given` fields of a secret and keep the others; return the message to print."""
    content = {**stored, **given}
    if content == stored:  # an equal version would displace the previous one
        return f"The {_KINDS[output]} secret already has these values."
    stack.put_secret(output, json.dumps(content))
    return f"Stored in the {_KINDS[output]} secret: {', '.join(given)}. In effect within 5 minutes."


_KINDS = {
    NAMES["meetings"].vonage_secret: "Vonage",
    NAMES["meetings"].callback_secret: "callback",
    NAMES["video"].vonage_secret: "Video",
    NAMES["video"].callback_secret: "Video callback",
}


if __name__ == "__main__":
    sys.exit(main())
