"""What the logs of the deployed functions hold, and what they must not."""

import json
import uuid

from local.waiting import eventually
from tests.deployed import WITHIN, Deployed

NAME = "Margaret Hamilton"


def logged(deployed: Deployed) -> str:
    """Return all that the stack's log groups hold."""
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


def test_no_log_holds_a_secret_or_a_name(deployed: Deployed) -> None:
    recording_id, guessed = str(uuid.uuid4()), f"guessed-{uuid.uuid4()}"
    meeting = deployed.vonage.hold_meeting(participants=[NAME])
    [uploaded] = [c for c in meeting["callbacks"] if c["event"] == "recording:uploaded"]
    body = json.dumps(uploaded | {"recording_id": recording_id})
    for text in (body, body.replace('"duration": ', '"duration": -'), body[:-2]):
        deployed.post(text)
    deployed.post(body, f"/callbacks/{guessed}", Authorization=f"Bearer {guessed}")

    # Not only the intake's log: the event publisher's has to be there as well.
    published = deployed.events_about(recording_id, count=1)[0]["detail"]["metadata"]["event_id"]
    assert eventually(lambda: published in logged(deployed), WITHIN, pause=1.0)

    everything = logged(deployed)
    query = uploaded["url"].partition("?")[2]
    secret = deployed.stack.callback_secret()
    forbidden = {"query": query, "guess": guessed, "name": NAME, **secret}
    assert [what for what, text in forbidden.items() if text and text in everything] == []
