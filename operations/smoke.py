"""`make smoke`: sends a marked callback through a deployed stack, then removes its item.

The callback is a `room:expired` for a room that does not exist, smoke-RUN-N. It changes no
recording, session or worklist, so no job processes it. Its item has a TTL in case the command is
killed before it deletes the item. Subscribers of the bus receive the event.
"""

import argparse
import hashlib
import json
import secrets
import sys
import time
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import jwt
import requests
from botocore.exceptions import BotoCoreError, ClientError

from operations import subscriber
from operations.account import explain
from operations.command import command
from operations.layout import line, progress
from operations.stack import Stack, StackError, deployed_stack
from operations.subscriber import Subscriber
from roomkeeper.callbacks import meetings
from roomkeeper.store import items, updates

ATTEMPTS = 4
ATTEMPT_SECONDS = 20.0
"""Seconds to wait for an event before the next attempt. A new rule can miss events for a short time
(EventBridge API Reference, PutRule)."""

HTTP_TIMEOUT = 30.0  # seconds; API Gateway answers within 30


class StepFailed(Exception):
    """A step failed; the message names it and says why."""


@command
def main() -> int:
    """Run the smoke test; return the exit code: 0 if every step succeeded."""
    parser = argparse.ArgumentParser(prog="python -m operations.smoke")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    try:
        run(deployed_stack(parser.parse_args().stack), f"smoke-{secrets.token_hex(4)}")
    except StepFailed as error:
        line(f"FAIL {error}", 0)
        return 1
    line("The stack accepts callbacks and publishes events.", 0)
    return 0


def run(stack: Stack, marker: str) -> None:
    """Send callbacks marked `marker` until the event of one arrives; then remove everything.

    Raises:
        StepFailed: a step failed, possibly the removal.
        StackError: the stack cannot be used.
    """
    url = _callback_url(stack)
    with _subscribed(stack) as source, _items_removed(stack) as sent:
        for number in range(1, ATTEMPTS + 1):
            sent.append(body := callback_body(f"{marker}-{number}"))
            with _step("post a callback (204)"):
                _post(stack, url, body)
            with _step("find its item in the table"):
                _require_item(stack, body)
            if _event_arrives(source, marker):
                return
        raise StepFailed(
            f"receive its event: none arrived within {ATTEMPTS * ATTEMPT_SECONDS:.0f} s. Check "
            "make status (dead letters, alarms) and make logs FUNCTION=event_publisher."
        )


def callback_body(room_id: str) -> bytes:
    """Return the callback that the smoke test sends."""
    return json.dumps({"event": "room:expired", "room_id": room_id}).encode()


def key_of(body: bytes) -> str:
    """Return the key of the callback's item."""
    return updates.key_of(meetings.parse(body))


def _callback_url(stack: Stack) -> str:
    try:
        return stack.callback_url()
    except (ClientError, BotoCoreError) as error:
        raise StackError(explain(error)) from error


def _post(stack: Stack, url: str, body: bytes) -> None:
    headers = {"Content-Type": "application/json", **stack.headers, **_authorization(stack, body)}
    try:
        response = requests.post(url, data=body, headers=headers, timeout=HTTP_TIMEOUT)
    except requests.RequestException as error:
        # The error's own text may contain the URL and so the token.
        raise StepFailed(f"the callback URL cannot be reached ({type(error).__name__})") from None
    if response.status_code != 204:
        raise StepFailed(f"the stack responded {response.status_code}: {response.text[:300]}")


def _authorization(stack: Stack, body: bytes) -> Mapping[str, str]:
    """Return a signed header if the stack accepts only signatures, else no header.

    Source: Vonage's guide "Signed webhooks".
    """
    if stack.parameters.get("CallbackAcceptedCredentials") != "signature":
        return {}
    secret = stack.callback_secret().get("signature_secret")
    if not secret:
        raise StepFailed(
            "CallbackAcceptedCredentials is signature, but the callback secret has no "
            "signature_secret: store one with make configure"
        )
    return {"Authorization": f"Bearer {_signature(stack.parameters, body, secret)}"}


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


def _require_item(stack: Stack, body: bytes) -> None:
    found = stack.client("dynamodb").get_item(
        TableName=stack.outputs["TableName"], Key=items.key_of(key_of(body)), ConsistentRead=True
    )
    if "Item" not in found:
        raise StepFailed(f"the table has no item {key_of(body)}")


def _event_arrives(source: Subscriber, marker: str) -> bool:
    """Return whether the event of any callback of this run arrives in time."""
    start = time.monotonic()

    def is_there(events: Any) -> bool:
        return any(_is_marked(event, marker) for event in events)

    with progress("Waiting for the event"), _named("receive its event"):
        arrived = is_there(source.wait_for(is_there, ATTEMPT_SECONDS))
    if arrived:
        line(f"ok   receive its event, after {time.monotonic() - start:.1f} s", 0)
    else:
        line(f"...  no event in {ATTEMPT_SECONDS:.0f} s", 0)
    return arrived


def _is_marked(event: Any, marker: str) -> bool:
    is_expiry = event["detail-type"] == "room:expired"
    return is_expiry and str(event["detail"]["data"]["room_id"]).startswith(marker)


@contextmanager
def _subscribed(stack: Stack) -> Iterator[Subscriber]:
    with ExitStack() as exits:
        with _step("make a rule and a queue"):
            source = exits.enter_context(subscriber.temporary(stack, "smoke"))
        yield source
        with _step("delete the rule and the queue"):
            exits.close()


@contextmanager
def _items_removed(stack: Stack) -> Iterator[list[bytes]]:
    """Yield a list for callback bodies; at the end, delete the items of all of them."""
    sent: list[bytes] = []
    try:
        yield sent
    except BaseException:
        try:
            _delete_items(stack, sent)
        except StepFailed as error:  # print it, but raise the first error
            line(f"FAIL {error}", 0)
        raise
    _delete_items(stack, sent)


def _delete_items(stack: Stack, sent: Iterable[bytes]) -> None:
    with _step("delete its item"):
        for body in sent:
            stack.client("dynamodb").delete_item(
                TableName=stack.outputs["TableName"], Key=items.key_of(key_of(body))
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
