"""Searches logs, metrics, events and error bodies for secrets."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from local.stack import connect_callbacks
from tests.support.deployed import Deployed

SHAPES = {
    "a signed token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}",
    "an Authorization header": r"\b(?:Basic|Bearer) [\w+/=.-]{12,}",
    "a download URL's query": r"[?&](?:X-Amz-\w+|Expires|Signature)=",
    "a private key": r"PRIVATE KEY",
}
"""Patterns that match any secret of a kind."""

SECRETS = ("CallbackSecretArn", "VonageSecretArn", "VideoCallbackSecretArn", "VideoSecretArn")
"""The outputs with the stack's secrets."""

_PUBLIC = {"VideoSecretArn.application_id.0", "VideoSecretArn.api_key.0"}
"""Fields that name the project in the URLs of the Video API."""


class Past:
    """Outputs of a test run that would be lost before the search for leaks at its end."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        """The bodies of error responses to every caller but the emulated Vonage."""
        self._deliveries: list[dict[str, Any]] = []

    def reset_vonage(self, deployed: Deployed) -> None:
        """Reset the emulated Vonage, but keep its record of delivered callbacks."""
        self._deliveries += deployed.vonage.deliveries()
        deployed.vonage.reset()
        connect_callbacks(deployed.stack, deployed.vonage)

    def deliveries(self, deployed: Deployed) -> list[dict[str, Any]]:
        """Return all callbacks of the test run, each with the responses to it."""
        return [*self._deliveries, *deployed.vonage.deliveries()]


def found(texts: Mapping[str, str], secrets: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return the name of each text with the name of each secret, or of SHAPES, that it contains."""
    words = {name: rf"\b{re.escape(secret)}\b" for name, secret in secrets.items() if secret}
    return [
        (where, name)
        for where, text in texts.items()
        for name, pattern in {**SHAPES, **words}.items()
        if re.search(pattern, text)
    ]


def logged(deployed: Deployed) -> str:
    """Return all messages that the stack's log groups return."""
    resources = deployed.stack.client("cloudformation").describe_stack_resources(
        StackName=deployed.stack.name
    )["StackResources"]
    groups = [r for r in resources if r["ResourceType"] == "AWS::Logs::LogGroup"]
    logs = deployed.stack.client("logs")
    lines: list[str] = []
    for group in groups:
        pages = logs.get_paginator("filter_log_events").paginate(
            logGroupName=group["PhysicalResourceId"]
        )
        lines += [event["message"] for page in pages for event in page["events"]]
    return "\n".join(lines)


def all_outputs(deployed: Deployed, past: Past) -> dict[str, str]:
    """Return a local stack's logs, metrics, events and responses, by where they come from.

    A function's metrics are lines of its log. The download URL is removed from
    `recording:uploaded`, the one event type that has to carry it.
    """
    files = {file.name: file.read_text() for file in (deployed.folder / "functions").iterdir()}
    events = "\n".join(json.dumps(_without_url(each)) for each in deployed.subscriber.receive_all())
    return {
        **files,
        "the local AWS's own log": (deployed.folder / "local.aws.log").read_text(),
        "the log groups": logged(deployed),
        "the events": events,
        "the responses to callbacks": "\n".join(_responses(past.deliveries(deployed))),
        "the errors": "\n".join(past.errors),
    }


def secrets_of(deployed: Deployed) -> dict[str, str]:
    """Return the current fields of the stack's secrets, by the secret's output and their name.

    A private key is represented by its first line in base64, which no line break interrupts.
    """
    known: dict[str, str] = {}
    for output in SECRETS:
        for name, value in deployed.stack.secret(output).items():
            for index, each in enumerate(value if isinstance(value, list) else [value]):
                shown = each.splitlines()[1] if "PRIVATE KEY" in each else each
                known[f"{output}.{name}.{index}"] = shown
    return {name: each for name, each in known.items() if name not in _PUBLIC}


def names_in(deliveries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the participants' names in callbacks, each with a description as its key."""
    names = {name for each in deliveries for name in _names(each["body"]) if name}
    return {f"the name {name}": name for name in names}


def _names(body: Mapping[str, Any]) -> Iterator[str | None]:
    """Yield the names in a callback: a participant's; in Video, those of tokens and streams."""
    if body.get("participant_id"):
        yield body.get("name")
    stream = body.get("stream") or {}
    yield stream.get("name")
    for connection in (body.get("connection") or {}, stream.get("connection") or {}):
        yield connection.get("data")


def _without_url(event: Mapping[str, Any]) -> Mapping[str, Any]:
    if event["detail-type"] != "recording:uploaded":
        return event
    data = {name: value for name, value in event["detail"]["data"].items() if name != "url"}
    return {**event, "detail": {**event["detail"], "data": data}}


def _responses(deliveries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for delivery in deliveries:
        yield from (attempt["answer"] for attempt in delivery["attempts"])
