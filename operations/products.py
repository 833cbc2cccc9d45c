"""Vonage's products: the parts of a stack for each, and the option PRODUCT= of the commands."""

import argparse
from collections.abc import Mapping

from msgspec import Struct

from roomkeeper.domain.observations import Product


class ProductNames(Struct, frozen=True, kw_only=True):
    """A product's label, and the names of its outputs and parameters in the template."""

    label: str
    url_output: str
    """The output with the callback URL, without a token."""
    path: str
    """The path of its callbacks, without a token."""
    vonage_secret: str
    """The output with the ARN of the secret with credentials for Vonage's API."""
    callback_secret: str
    """The output with the ARN of the secret that authenticates callbacks."""
    base_url: str
    """The parameter with the URL of Vonage's API."""


NAMES: Mapping[Product, ProductNames] = {
    "meetings": ProductNames(
        label="Meetings",
        url_output="CallbackUrl",
        path="/callbacks",
        vonage_secret="VonageSecretArn",  # noqa: S106 - an output's name
        callback_secret="CallbackSecretArn",  # noqa: S106
        base_url="VonageBaseUrl",
    ),
    "video": ProductNames(
        label="Video",
        url_output="VideoCallbackUrl",
        path="/callbacks/video",
        vonage_secret="VideoSecretArn",  # noqa: S106
        callback_secret="VideoCallbackSecretArn",  # noqa: S106
        base_url="VideoBaseUrl",
    ),
}

_SERVED: Mapping[str, tuple[Product, ...]] = {
    "meetings": ("meetings",),
    "video": ("video",),
    "both": ("meetings", "video"),
}


class NotChosen(ValueError):
    """PRODUCT= names no product of the stack, or is needed and missing; the message says which."""


def served(parameters: Mapping[str, str]) -> tuple[Product, ...]:
    """Return the products of a stack with these parameters; Meetings if it has none of them."""
    return _SERVED[parameters.get("Products", "meetings")]


def labels(products: tuple[Product, ...]) -> str:
    """Return the products in words, such as `Meetings and Video`."""
    return " and ".join(NAMES[each].label for each in products)


def add_option(parser: argparse.ArgumentParser) -> None:
    """Add the option for PRODUCT= to a command; empty means all products of the stack."""
    parser.add_argument("--product", default="", type=_product, help="meetings or video")


def _product(text: str) -> str:
    if text not in ("", *NAMES):
        raise argparse.ArgumentTypeError(f"{text!r} is neither meetings nor video")
    return text


def selected(parameters: Mapping[str, str], product: str) -> tuple[Product, ...]:
    """Return the product that PRODUCT= names; all products of the stack if it is empty.

    Raises:
        NotChosen: the stack does not serve it.
    """
    all_served = served(parameters)
    if not product:
        return all_served
    found = tuple(each for each in all_served if each == product)
    if not found:
        raise NotChosen(
            f"This stack serves {labels(all_served)} only: choose PRODUCT={all_served[0]}, or "
            "deploy with PARAMETERS='Products=both'."
        )
    return found


def only_one(parameters: Mapping[str, str], product: str) -> Product:
    """Return the product that PRODUCT= names, or the only one of the stack.

    Raises:
        NotChosen: the stack does not serve it, or serves both and `product` is empty.
    """
    found = selected(parameters, product)
    if len(found) > 1:
        ways = " or ".join(f"PRODUCT={each}" for each in found)
        raise NotChosen(f"This stack serves {labels(found)}: add {ways}.")
    return found[0]
