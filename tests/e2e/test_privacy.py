"""The logs of the deployed functions have no secrets and no participants' names."""

import json
import uuid

from local.waiting import wait_until
from tests.support import leaks
from tests.support.deployed import WITHIN, Deployed

NAME = "Margaret Hamilton"


def test_no_log_holds_a_secret_or_a_name(deployed: Deployed) -> None:
    recording_id, guessed = str(uuid.uuid4()), f"guessed-{uuid.uuid4()}"
    meeting = deployed.vonage.hold_meeting(participants=[NAME])
    [uploaded] = [c for c in meeting["callbacks"] if c["event"] == "recording:uploaded"]
    body = json.dumps(uploaded | {"recording_id": recording_id})
    for text in (body, body.replace('"duration": ', '"duration": -'), body[:-2]):
        deployed.post(text)
    deployed.post(body, f"/callbacks/{guessed}", Authorization=f"Bearer {guessed}")

    # The event publisher's log must be complete, not only the intake's.
    published = deployed.events_about(recording_id, count=1)[0]["detail"]["metadata"]["event_id"]
    assert wait_until(lambda: published in leaks.logged(deployed), WITHIN, interval=1.0)

    forbidden = {"guess": guessed, "name": NAME, **deployed.stack.callback_secret()}
    assert leaks.found({"the logs": leaks.logged(deployed)}, forbidden) == []
