"""`make smoke`: sends a marked callback through a deployed stack and removes it again.

The callback is a `room:expired` for a room that does not exist, smoke-RUN-N: it touches no
recording, session or worklist, so that no job ever sees it, and its item has a ttl, should the
command be killed before it deletes it. Subscribers of the bus get its event, as of any room.
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
"""A new rule may miss events for a short time (EventBridge API Reference, PutRule), so that an
event that does not arrive in this time is followed by another callback."""

HTTP_TIMEOUT = 30.0  # seconds; API Gateway answers within 30


class StepFailed(Exception):
    """A step did not do what it should; the message says which, and why."""


@command
def main() -> int:
    """Run the smoke test, step by step; return the exit code: 0 when every step was done."""
    parser = argparse.ArgumentParser(prog="python -m operations.smoke")
    parser.add_argument("--stack", default="roomkeeper", help="the stack's name")
    try:
        run(deployed_stack(parser.parse_args().stack), f"smoke-{secrets.token_hex(4)}")
    except StepFailed as error:
        line(f"FAIL {error}", 0)
        return 1
    line("The stack takes callbacks and publishes events.", 0)
    return 0


def run(stack: Stack, marker: str) -> None:
    """Send callbacks marked `marker` until an event of one arrives; remove all that was made.

    Raises:
        StepFailed: a step failed, the removal included.
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
            f"receive its event: none arrived within {ATTEMPTS * ATTEMPT_SECONDS:.0f} s. See make "
            "status (dead letters, alarms) and make logs FUNCTION=event_publisher."
        )


def callback_body(room_id: str) -> bytes:
    """Return the callback that the smoke test sends."""
    return json.dumps({"event": "room:expired", "room_id": room_id}).encode()


def key_of(body: bytes) -> str:
    """Return the key of the item that the callback becomes."""
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
        # The URL has the token in it: the error's own text is not printed.
        raise StepFailed(f"the callback URL did not answer ({type(error).__name__})") from None
    if response.status_code != 204:
        raise StepFailed(f"answered {response.status_code}: {response.text[:300]}")


def _authorization(stack: Stack, body: bytes) -> Mapping[str, str]:
    """Return a signature where the stack takes no token (Vonage's guide "Signed webhooks")."""
    if stack.parameters.get("AcceptedCredentials") != "signature":
        return {}
    secret = stack.callback_secret().get("signature_secret")
    if not secret:
        raise StepFailed("the callback secret has no signature_secret, which alone is accepted")
    return {"Authorization": f"Bearer {_signature(stack.parameters, body, secret)}"}


def _signature(parameters: Mapping[str, str], body: bytes, secret: str) -> str:
    claims = {
        "iat": int(time.time()),
        "jti": str(uuid.uuid4()),
        "api_key": parameters.get("ExpectedApiKey", ""),
        "application_id": parameters.get("ExpectedApplicationId", ""),
        "payload_hash": hashlib.sha256(body).hexdigest(),
    }
    with warnings.catch_warnings():  # the length of the secret is not this command's to judge
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        return jwt.encode(claims, secret, algorithm="HS256")


def _require_item(stack: Stack, body: bytes) -> None:
    found = stack.client("dynamodb").get_item(
        TableName=stack.outputs["TableName"], Key=items.key_of(key_of(body)), ConsistentRead=True
    )
    if "Item" not in found:
        raise StepFailed(f"the table has no item {key_of(body)}")


def _event_arrives(source: Subscriber, marker: str) -> bool:
    """Wait for an event of this run, an earlier callback's too; return whether it came in time."""
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
    """Give a list, and delete the items of all callbacks that are in it at the end."""
    sent: list[bytes] = []
    try:
        yield sent
    except BaseException:
        try:
            _delete_items(stack, sent)
        except StepFailed as error:  # told beside the failure that came first
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
    """Print the step once it is done.

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
