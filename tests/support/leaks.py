"""What must be in no log, metric, event or error body, and where it is looked for."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from local.servers import BUILD
from tests.support.deployed import Deployed

SHAPES = {
    "a signed token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}",
    "an Authorization header": r"\b(?:Basic|Bearer) [\w+/=.-]{12,}",
    "a download URL's query": r"[?&](?:X-Amz-\w+|Expires|Signature)=",
    "a private key": r"PRIVATE KEY",
}
"""What gives a secret away, whichever it is."""

LOCAL = BUILD / "local/test"


class Past:
    """What came out in the course of a run, and is nowhere to be found at its end."""

    def __init__(self) -> None:
        self.errors: list[str] = []
        """The bodies of answers that were errors, to whoever it was but the emulated Vonage."""
        self._deliveries: list[dict[str, Any]] = []

    def reset_vonage(self, deployed: Deployed) -> None:
        """Have the emulated Vonage forget everything, but not what its callbacks told."""
        self._deliveries += deployed.vonage.deliveries()
        deployed.vonage.reset()
        deployed.vonage.callbacks_to(deployed.stack.callback_url(), headers=deployed.stack.headers)

    def deliveries(self, deployed: Deployed) -> list[dict[str, Any]]:
        """Return all callbacks of the run, each with how it was answered."""
        return [*self._deliveries, *deployed.vonage.deliveries()]


def found(texts: Mapping[str, str], secrets: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return which of the secrets and of SHAPES is in which of the texts, each by its name."""
    words = {what: rf"\b{re.escape(secret)}\b" for what, secret in secrets.items() if secret}
    return [
        (where, what)
        for where, text in texts.items()
        for what, pattern in {**SHAPES, **words}.items()
        if re.search(pattern, text)
    ]


def logged(deployed: Deployed) -> str:
    """Return what the stack's log groups hold, as far as they hand it out."""
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


def everything_told(deployed: Deployed, past: Past) -> dict[str, str]:
    """Return all that a local stack has logged, measured, published and answered.

    A function's metrics are lines among what it writes. The download URL is left out of the one
    kind of event that is there to carry it.
    """
    files = {file.name: file.read_text() for file in (LOCAL / "functions").iterdir()}
    events = "\n".join(json.dumps(_without_url(each)) for each in deployed.subscriber.receive_all())
    return {
        **files,
        "the local AWS's own log": (LOCAL / "local.aws.log").read_text(),
        "the log groups": logged(deployed),
        "the events": events,
        "the answers to callbacks": "\n".join(_answers(past.deliveries(deployed))),
        "the errors": "\n".join(past.errors),
    }


def secrets_of(deployed: Deployed) -> dict[str, str]:
    """Return the stack's secrets as they are now, each by its name."""
    client, outputs = deployed.stack.client("secretsmanager"), deployed.stack.outputs
    known: dict[str, str] = {}
    for output in ("CallbackSecretArn", "VonageSecretArn"):
        known |= json.loads(client.get_secret_value(SecretId=outputs[output])["SecretString"])
    return known


def names_in(deliveries: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the participants' names that callbacks have told."""
    names = {each["body"].get("name") for each in deliveries if each["body"].get("participant_id")}
    return {f"the name {name}": name for name in names if name}


def _without_url(event: Mapping[str, Any]) -> Mapping[str, Any]:
    if event["detail-type"] != "recording:uploaded":
        return event
    data = {name: value for name, value in event["detail"]["data"].items() if name != "url"}
    return {**event, "detail": {**event["detail"], "data": data}}


def _answers(deliveries: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for delivery in deliveries:
        yield from (attempt["answer"] for attempt in delivery["attempts"])
