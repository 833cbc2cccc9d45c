"""`make smoke`: sends a marked callback through a deployed stack, then removes its item.

The callback is a `room:expired` of Meetings or a `sessionNotification` of Video, about a room or
session that does not exist, smoke-RUN-N. It changes no recording, session or worklist, so no job
processes it. Its item has a TTL in case the command is killed before it deletes the item.
Subscribers of the bus receive the event.
"""

import hashlib
import json
import secrets
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import jwt
import requests
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Struct

from operations import products, subscriber
from operations.account import explain
from operations.arguments import Parser
from operations.callback_url import signature_secrets
from operations.command import command
from operations.layout import line, progress
from operations.products import NAMES
from operations.stack import Stack, StackError, deployed_stack
from operations.subscriber import Subscriber
from roomkeeper.callbacks import meetings, video
from roomkeeper.domain.observations import Observation, Product
from roomkeeper.store import items, observations

ATTEMPTS = 4
ATTEMPT_SECONDS = 20.0
"""Seconds to wait for an event before the next attempt. A new rule can miss events for a short time
(EventBridge API Reference, PutRule)."""

HTTP_TIMEOUT = 30.0  # seconds; API Gateway responds within 30


class StepFailed(Exception):
    """A step failed; the message names it and says why."""


class Marked(Struct, frozen=True):
    """The callback of a product that the smoke test sends, about a thing that does not exist."""

    body: Callable[[str], bytes]
    """Makes the callback about the thing with this id."""
    parse: Callable[[bytes], Observation]
    event: str
    """The type of its event."""
    id_field: str
    """The field of the event's data with the id."""


def _room_expired(room_id: str) -> bytes:
    return json.dumps({"event": "room:expired", "room_id": room_id}).encode()


def _session_notification(session_id: str) -> bytes:
    at = int(time.time() * 1000)
    fields = {"event": "sessionNotification", "sessionId": session_id, "timestamp": at}
    return json.dumps(fields).encode()


MARKED: Mapping[Product, Marked] = {
    "meetings": Marked(_room_expired, meetings.parse, "room:expired", "room_id"),
    "video": Marked(_session_notification, video.parse, "session:notification", "session_id"),
}


@command
def main() -> int:
    """Run the smoke test; return the exit code: 0 if every step succeeded."""
    parser = Parser("smoke")
    parser.add_stack()
    products.add_option(parser)
    options = parser.parse_args()
    stack = deployed_stack(options.stack)
    chosen = products.selected(stack.parameters, options.product)
    try:
        for product in chosen:
            line(f"{NAMES[product].label}:", 0)
            run(stack, product, f"smoke-{secrets.token_hex(4)}")
    except StepFailed as error:
        line(f"FAIL {error}", 0)
        return 1
    line(f"The stack accepts callbacks of {products.labels(chosen)} and publishes events.", 0)
    return 0


def run(stack: Stack, product: Product, marker: str) -> None:
    """Send callbacks marked `marker` until the event of one arrives; then remove everything.

    Raises:
        StepFailed: a step failed, possibly the removal.
        StackError: the stack cannot be used.
    """
    url = _callback_url(stack, product)
    marked = MARKED[product]
    with _subscribed(stack) as source, _items_removed(stack) as sent:
        for number in range(1, ATTEMPTS + 1):
            body = marked.body(f"{marker}-{number}")
            sent.append(key := observations.key_of(marked.parse(body)))
            with _step("post a callback (204)"):
                _post(stack, product, url, body)
            with _step("find its item in the table"):
                _require_item(stack, key)
            if _event_arrives(source, marked, marker):
                return
        raise StepFailed(
            f"receive its event: none arrived within {ATTEMPTS * ATTEMPT_SECONDS:.0f} s. Check "
            "make status (dead letters, alarms) and make logs FUNCTION=event_publisher."
        )


def _callback_url(stack: Stack, product: Product) -> str:
    try:
        return stack.callback_url(product)
    except (ClientError, BotoCoreError) as error:
        raise StackError(explain(error)) from error


def _post(stack: Stack, product: Product, url: str, body: bytes) -> None:
    signature = _authorization(stack, product, body)
    headers = {"Content-Type": "application/json", **stack.headers, **signature}
    try:
        response = requests.post(url, data=body, headers=headers, timeout=HTTP_TIMEOUT)
    except requests.RequestException as error:
        # The error's own text may contain the URL and so the token.
        raise StepFailed(f"the callback URL cannot be reached ({type(error).__name__})") from None
    if response.status_code != 204:
        raise StepFailed(f"the stack responded {response.status_code}: {response.text[:300]}")


def _authorization(stack: Stack, product: Product, body: bytes) -> Mapping[str, str]:
    """Return a signed header if the stack accepts only signatures or has no token, else no header.

    Source: Vonage's guide "Signed webhooks".
    """
    content = stack.callback_secret(product)
    accepts_others = stack.parameters.get("CallbackAcceptedCredentials") != "signature"
    if accepts_others and content.get("token"):
        return {}
    found = signature_secrets(content)
    if not found:
        raise StepFailed(
            "CallbackAcceptedCredentials is signature, but the callback secret has no signature "
            f"secret: store one with make configure PRODUCT={product}"
        )
    return {"Authorization": f"Bearer {_signature(stack.parameters, body, found[0])}"}


def _signature(parameters: Mapping[str, str], body: bytes, secret: str) -> str:
    claims = {
        "iat": int(time.time()),
        "jti": str(uuid.uuid4()),
        "api_key": parameters.get("CallbackExpectedApiKey", ""),
        "application_id": parameters.get("CallbackExpectedApplicationId", ""),
        "payload_hash": hashlib.sha256(body).hexdigest(),
    }
    with warnings.catch_warnings():  # make configure already warns about a short secret
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.encode(claims, secret, algorithm="HS256")


def _require_item(stack: Stack, key: str) -> None:
    found = stack.client("dynamodb").get_item(
        TableName=stack.outputs["TableName"], Key=items.key_of(key), ConsistentRead=True
    )
    if "Item" not in found:
        raise StepFailed(f"the table has no item {key}")


def _event_arrives(source: Subscriber, marked: Marked, marker: str) -> bool:
    """Return whether the event of any callback of this run arrives in time."""
    start = time.monotonic()

    def is_there(events: Any) -> bool:
        return any(_is_marked(event, marked, marker) for event in events)

    with progress("Waiting for the event"), _named("receive its event"):
        arrived = is_there(source.wait_for(is_there, ATTEMPT_SECONDS))
    if arrived:
        line(f"ok   receive its event, after {time.monotonic() - start:.1f} s", 0)
    else:
        line(f"...  no event in {ATTEMPT_SECONDS:.0f} s", 0)
    return arrived


def _is_marked(event: Any, marked: Marked, marker: str) -> bool:
    has_type = event["detail-type"] == marked.event
    return has_type and str(event["detail"]["data"][marked.id_field]).startswith(marker)


@contextmanager
def _subscribed(stack: Stack) -> Iterator[Subscriber]:
    with ExitStack() as exits:
        with _step("make a rule and a queue"):
            source = exits.enter_context(subscriber.temporary(stack, "smoke"))
        yield source
        with _step("delete the rule and the queue"):
            exits.close()


@contextmanager
def _items_removed(stack: Stack) -> Iterator[list[str]]:
    """Yield a list for the keys of items; at the end, delete all of them."""
    sent: list[str] = []
    try:
        yield sent
    except BaseException:
        try:
            _delete_items(stack, sent)
        except StepFailed as error:  # print it, but raise the first error
            line(f"FAIL {error}", 0)
        raise
    _delete_items(stack, sent)


def _delete_items(stack: Stack, sent: Iterable[str]) -> None:
    with _step("delete its item"):
        for key in sent:
            stack.client("dynamodb").delete_item(
                TableName=stack.outputs["TableName"], Key=items.key_of(key)
            )


@contextmanager
def _step(name: str) -> Iterator[None]:
    """Print the step's name when it has succeeded.

    Raises:
        StepFailed: it failed; the message names it.
    """
    with _named(name):
        yield
    line(f"ok   {name}", 0)


@contextmanager
def _named(step: str) -> Iterator[None]:
    try:
        yield
    except StepFailed as error:
        raise StepFailed(f"{step}: {error}") from None
    except (ClientError, BotoCoreError) as error:
        raise StepFailed(f"{step}: {explain(error)}") from error


if __name__ == "__main__":
    sys.exit(main())
