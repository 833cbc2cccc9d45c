"""`make callback-url`: prints the URL of each product, with its token, and where to enter it.

The URLs go to standard output, everything else to standard error, so that a script gets the URLs.
"""

import sys
from collections.abc import Iterator, Mapping

from operations import products
from operations.arguments import Parser
from operations.command import command
from operations.layout import line
from operations.products import NAMES
from operations.stack import Stack, deployed_stack
from roomkeeper.domain.observations import Product


@command
def main() -> int:
    """Print the URLs; return the exit code."""
    parser = Parser("callback-url")
    parser.add_stack()
    products.add_option(parser)
    options = parser.parse_args()
    stack = deployed_stack(options.stack)
    for product in products.selected(stack.parameters, options.product):
        line(f"{NAMES[product].label}:", 0, sys.stderr)
        print(url_to_enter(stack, product), flush=True)
        for instruction in instructions(stack, product):
            line(instruction, 2, sys.stderr)
        line("", 0, sys.stderr)
    return 0


def url_to_enter(stack: Stack, product: Product) -> str:
    """Return a product's callback URL; on the local AWS, one that curl accepts as it is.

    curl itself resolves names below localhost (RFC 6761).
    """
    if host := stack.headers.get("Host"):
        return f"http://{host}{stack.callback_path(product)}"
    return stack.callback_url(product)


def instructions(stack: Stack, product: Product) -> Iterator[str]:
    """Yield the lines that say where to enter a product's URL, and about its signature secrets.

    Raises:
        StackError: the stack's secret cannot be read.
    """
    yield from _WHERE_TO_ENTER[product]
    accepted = stack.parameters["CallbackAcceptedCredentials"]
    if "signature" not in accepted:
        yield "This stack checks the token in the URL only (CallbackAcceptedCredentials is token)."
        return
    count = len(signature_secrets(stack.callback_secret(product)))
    is_closed = accepted == "signature" and not count
    without = " Every callback is rejected until there is one." if is_closed else ""
    yield f"Signature secrets stored here: {count}.{without}"
    yield from _SIGNATURES[product]


def signature_secrets(content: Mapping[str, object]) -> list[str]:
    """Return the signature secrets of a callback secret of either product."""
    secrets = content.get("signature_secrets", [content.get("signature_secret", "")])
    return [str(each) for each in secrets if each] if isinstance(secrets, list) else []


_WHERE_TO_ENTER: Mapping[Product, tuple[str, ...]] = {
    "meetings": (
        "Vonage dashboard, Applications, your application, capability Meetings: enter the URL for "
        "rooms, for sessions and for recordings.",
    ),
    "video": (
        "Unified: Vonage dashboard, Applications, your application, capability Video: enter the "
        "URL in the field for the archive status, and in the one for session monitoring.",
        "Classic (OpenTok): account portal, your project: enter the URL under Archiving: Configure "
        "Callback URL, and under Session Monitoring.",
        "A change there takes up to 30 minutes to take effect.",
    ),
}
_SIGNATURES: Mapping[Product, tuple[str, ...]] = {
    "meetings": (
        'To store the one of your Vonage account: make configure with {"signature_secret": "..."}.',
    ),
    "video": (
        "Beside each URL at Vonage you can set a signature secret of 1 to 50 characters, one for "
        "each URL. Store all of them here first: make configure PRODUCT=video with "
        '{"signature_secrets": ["...", "..."]}.',
    ),
}


if __name__ == "__main__":
    sys.exit(main())
