"""Runs after all other torture tests: no secret is in any output of the stack."""

import json
import uuid
from contextlib import suppress
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from local import stack as local_stack
from local.clients.management import ManagementApi
from tests.support import jobs, leaks
from tests.support.deployed import Deployed
from tests.support.jobs import JobFailed
from tests.support.leaks import Past
from tests.support.measurements import Measurements

pytestmark = pytest.mark.local_stack

NAME = "Margaret Hamilton"
GUESS = "a-token-that-somebody-has-guessed"
JOBS = ("RecordingCleanupName", "RecordingReconcilerName", "RoomExpiryExtenderName")


@pytest.fixture
def private_key(deployed: Deployed) -> str:
    """The key of a Vonage application, which the stack uses from now on."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    content = {"application_id": "an-application", "private_key": key.decode()}
    deployed.stack.client("secretsmanager").put_secret_value(
        SecretId=deployed.stack.outputs["VonageSecretArn"], SecretString=json.dumps(content)
    )
    return key.decode()


def call_with_secrets(
    deployed: Deployed, past: Past, signature_secret: str, video_secret: str
) -> None:
    """Send secrets of every kind in valid and invalid requests."""
    stack, vonage = deployed.stack, deployed.vonage
    meeting = vonage.hold_meeting(participants=[NAME])
    bare = f"{stack.base_url}/callbacks"
    vonage.callbacks_to(bare, signature_secret=signature_secret, headers=stack.headers)
    vonage.hold_meeting(participants=[NAME])
    local_stack.connect_callbacks(stack, vonage)
    _send_video_callbacks(deployed, video_secret)
    [uploaded] = [c for c in meeting["callbacks"] if c["event"] == "recording:uploaded"]
    body = json.dumps(uploaded | {"name": NAME, "duration": -1})
    guess = f"Bearer {GUESS}"
    responses = [deployed.post(text) for text in (body[:-2], f"[{body}]", body + body)]
    responses += [
        deployed.post(body, f"/callbacks/{GUESS}"),
        deployed.post(body, "/callbacks", Authorization=guess),
        deployed.post(body, f"{stack.callback_path()}/{GUESS}", Authorization=guess),
        ManagementApi(stack).call("GET", "/recordings/unknown"),
        ManagementApi(stack).call("PATCH", "/rooms/unknown", body.encode()),
    ]
    assert all(response.status_code >= 400 for response in responses)
    past.errors += [response.text for response in responses]


def _send_video_callbacks(deployed: Deployed, signature_secret: str) -> None:
    """Send callbacks of the Video API with a token and with signatures, then invalid ones."""
    stack, video = deployed.stack, deployed.vonage.video
    video.play_session(participants=[NAME], manual=True)
    bare = f"{stack.base_url}/callbacks/video"
    video.callbacks_to(bare, signature_secret=signature_secret, headers=stack.headers)
    played = video.play_session(participants=[NAME])
    local_stack.connect_callbacks(stack, deployed.vonage)
    body = json.dumps(played["callbacks"][-1] | {"password": NAME, "status": NAME})
    assert deployed.post_video(body).status_code == 204
    assert deployed.post_video(body[:-2]).status_code >= 400
    assert deployed.post(body, f"/callbacks/video/{GUESS}").status_code >= 400


def run_jobs_with_secrets(deployed: Deployed) -> None:
    """Run every job against a Vonage that responds with errors."""
    faults: list[dict[str, Any]] = [{"status": 500}, {"status": 401}]
    asked = len(deployed.vonage.requests())
    for fault in faults:
        deployed.vonage.fault("*", times=4, **fault)
        for output in JOBS:
            with suppress(JobFailed):
                jobs.run(deployed, output)
        deployed.vonage.clear_faults()
    assert "Bearer" in {each["authorization"] for each in deployed.vonage.requests()[asked:]}


def test_no_output_contains_a_secret(
    deployed: Deployed,
    past: Past,
    measurements: Measurements,
    signature_secret: str,
    video_signature_secrets: tuple[str, ...],
    private_key: str,
) -> None:
    call_with_secrets(deployed, past, signature_secret, video_signature_secrets[0])
    run_jobs_with_secrets(deployed)
    secrets = {
        **leaks.secrets_of(deployed),
        **leaks.names_in(past.deliveries(deployed)),
        "private_key": private_key.splitlines()[1],
        "a guess": GUESS,
    }
    assert len(secrets) > 4
    assert {f"the name {NAME}", f"the name {NAME}'s camera"} <= secrets.keys()

    outputs = leaks.all_outputs(deployed, past)
    leaked = leaks.found(outputs, secrets)

    measurements.add("leaks", searched_bytes=sum(map(len, outputs.values())), found=len(leaked))
    assert leaked == []
    one = deployed.subscriber.received[-1]["detail"]["metadata"]["event_id"]
    assert any(one in text for where, text in outputs.items() if "EventPublisher" in where)


def test_the_search_finds_secrets_in_a_text() -> None:
    url = "https://recordings.example/archive.mp4?X-Amz-Signature=ab12"
    header = "Authorization: Basic a2V5OnNlY3JldC1vZi10aGUtYWNjb3VudA=="

    assert leaks.found({"a log": url}, {}) == [("a log", "a download URL's query")]
    assert leaks.found({"a log": header}, {}) == [("a log", "an Authorization header")]
    assert leaks.found({"a log": f"from {NAME}."}, {"name": NAME}) == [("a log", "name")]
    assert leaks.found({"a log": "recording:uploaded"}, {"name": NAME, "none": ""}) == []


def test_the_search_covers_callbacks_from_before_a_reset_of_the_emulated_vonage(
    deployed: Deployed, past: Past
) -> None:
    name = str(uuid.uuid4())
    deployed.vonage.hold_meeting(participants=[name])
    nowhere = f"{deployed.stack.base_url}/{name}"
    deployed.vonage.callbacks_to(nowhere, headers=deployed.stack.headers)
    deployed.vonage.hold_meeting()
    responses = leaks.all_outputs(deployed, past)["the responses to callbacks"]

    past.reset_vonage(deployed)

    assert name in leaks.names_in(past.deliveries(deployed)).values()
    assert responses.strip()
    assert leaks.all_outputs(deployed, past)["the responses to callbacks"] == responses
