"""Callbacks over HTTP: authentication, responses, stored items and published events."""

import json
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jwt
import pytest
from jsonschema import Draft202012Validator

from tests.support.deployed import WITHIN, Deployed

PROJECT = Path(__file__).parent.parent.parent
SAMPLES = sorted((PROJECT / "events/callbacks").glob("*.json"))


def a_started_recording(recording_id: str) -> dict[str, Any]:
    return {
        "event": "recording:started",
        "recording_id": recording_id,
        "session_id": f"session-of-{recording_id}",
    }


@pytest.fixture
def recording_id() -> str:
    return str(uuid.uuid4())


def test_a_meeting_is_stored_and_published_as_one_event_per_callback(deployed: Deployed) -> None:
    meeting = deployed.vonage.hold_meeting(
        recordings=2, repeat={"recording:uploaded": 2, "session:ended": 1}, shuffle_seed=7
    )
    sent = {json.dumps(body, sort_keys=True) for body in meeting["callbacks"]}

    events = deployed.events_about(meeting["session_id"], count=len(sent))

    assert len(events) == len(sent)
    assert len({event["detail"]["metadata"]["event_id"] for event in events}) == len(sent)
    for recording_id in meeting["recording_ids"]:
        recording = deployed.store().recordings.get(recording_id)
        assert recording is not None
        assert recording.status == "uploaded"
        assert recording.seen == {"recording:started", "recording:ended", "recording:uploaded"}


def test_an_uploaded_recording_is_published_with_its_room(deployed: Deployed) -> None:
    meeting = deployed.vonage.hold_meeting()
    [recording_id] = meeting["recording_ids"]

    events = deployed.events_about(recording_id, count=3)

    [uploaded] = [event for event in events if event["detail-type"] == "recording:uploaded"]
    [callback] = [c for c in meeting["callbacks"] if c["event"] == "recording:uploaded"]
    assert "room_id" not in callback
    assert uploaded["source"] == "roomkeeper"
    assert uploaded["detail"]["data"]["room_id"] == meeting["room_id"]
    assert uploaded["detail"]["data"]["url"] == callback["url"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_callback_is_accepted_and_published_by_its_schema(
    deployed: Deployed, sample: Path
) -> None:
    marks = {name: f"{name}-{uuid.uuid4()}" for name in ("recording_id", "session_id", "room_id")}
    body = json.loads(sample.read_text())
    body |= {name: mark for name, mark in marks.items() if name in body}

    assert deployed.post(json.dumps(body)).status_code == 204

    [event] = deployed.events_about(*marks.values(), count=1)
    assert event["detail-type"] == body["event"]
    schema = json.loads((PROJECT / "docs/events" / sample.name).read_text())
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
        event["detail"]
    )


def test_repeats_and_aliases_give_no_second_event(deployed: Deployed, recording_id: str) -> None:
    body = json.loads((PROJECT / "events/callbacks/recording-uploaded.json").read_text())
    body["recording_id"] = recording_id
    for event in ("recording:uploaded", "recording:ready", "recording:uploaded"):
        assert deployed.post(json.dumps(body | {"event": event})).status_code == 204
    assert deployed.post(json.dumps(a_started_recording(recording_id))).status_code == 204

    events = deployed.events_about(recording_id, count=2)

    assert sorted(e["detail-type"] for e in events) == ["recording:started", "recording:uploaded"]


@pytest.mark.parametrize(
    "body",
    [
        {"event": "room:painted", "colour": "blue"},
        {"event": "recording:uploaded", "recording_id": 7},
        {"event": ["nested"]},
        {},
    ],
    ids=["unknown event", "ill-typed field", "ill-typed event", "no event"],
)
def test_an_unrecognized_callback_is_stored_whole_and_published(
    deployed: Deployed, body: dict[str, Any]
) -> None:
    text = json.dumps(body | {"mark": str(uuid.uuid4())})

    assert deployed.post(text).status_code == 204

    def is_stored(event: dict[str, Any]) -> bool:
        if event["detail-type"] != "callback:unrecognized":
            return False
        item = deployed.item(event["detail"]["data"]["key"])
        return item is not None and item["body"]["S"] == text

    events = deployed.subscriber.wait_for(lambda events: any(map(is_stored, events)), WITHIN)
    assert len([*filter(is_stored, events)]) == 1


@pytest.mark.parametrize(
    ("body", "status", "complaint"),
    [
        (b'{"event": ', 400, "not JSON"),
        (b"\xff\xfe{}", 400, "byte 0"),
        (b"[1, 2]", 400, "must be a JSON object"),
        (b"", 400, "not JSON"),
        (b'{"a":' * 100_000, 413, "at most 262144"),
        (b'{"a":' * 50_000, 400, "JSON"),
    ],
    ids=["cut off", "not UTF-8", "not an object", "empty", "too large", "too deep"],
)
def test_a_body_that_cannot_be_read_is_refused_with_the_reason(
    deployed: Deployed, body: bytes, status: int, complaint: str
) -> None:
    response = deployed.post(body)

    assert response.status_code == status
    assert set(response.json()) == {"error"}
    assert set(response.json()["error"]) == {"code", "message"}
    assert complaint in response.json()["error"]["message"]


def test_a_body_without_a_content_type_is_accepted(deployed: Deployed, recording_id: str) -> None:
    body = json.dumps(a_started_recording(recording_id))

    response = deployed.post(body, **{"Content-Type": "application/octet-stream"})

    assert response.status_code == 204
    assert deployed.store().recordings.get(recording_id) is not None


@pytest.mark.parametrize(
    "path", ["/callbacks", "/callbacks/guessed", "/callbacks/%00", "/callbacks/%F0%9F%92%A9"]
)
def test_a_caller_without_credentials_is_refused_and_stores_nothing(
    deployed: Deployed, path: str, recording_id: str
) -> None:
    response = deployed.post(json.dumps(a_started_recording(recording_id)), path)

    assert response.status_code == 401
    assert response.json()["error"]["code"] == "unauthorized"
    assert deployed.store().recordings.get(recording_id) is None


def test_a_signed_meeting_needs_no_token(deployed: Deployed, signature_secret: str) -> None:
    deployed.vonage.callbacks_to(
        f"{deployed.stack.base_url}/callbacks",
        signature_secret=signature_secret,
        headers=deployed.stack.headers,
    )
    try:
        meeting = deployed.vonage.hold_meeting()
    finally:
        deployed.vonage.callbacks_to(deployed.stack.callback_url(), headers=deployed.stack.headers)

    assert deployed.store().recordings.get(meeting["recording_ids"][0]) is not None


@pytest.mark.parametrize(
    ("claims", "algorithm"),
    [
        ({"iat": 0}, "HS256"),
        ({"iat": 4_000_000_000}, "HS256"),
        ({"payload_hash": "0" * 64}, "HS256"),
        ({}, "HS512"),
        ({}, "none"),
    ],
    ids=["too old", "not yet", "another body", "another algorithm", "unsigned"],
)
def test_an_invalid_signature_is_refused(
    deployed: Deployed,
    signature_secret: str,
    claims: dict[str, Any],
    algorithm: str,
    recording_id: str,
) -> None:
    key = "" if algorithm == "none" else signature_secret
    token = jwt.encode({"iat": int(time.time())} | claims, key, algorithm=algorithm)

    response = deployed.post(
        json.dumps(a_started_recording(recording_id)),
        "/callbacks",
        Authorization=f"Bearer {token}",
    )

    assert response.status_code == 401
    assert deployed.store().recordings.get(recording_id) is None


def test_many_meetings_at_once_lose_nothing(deployed: Deployed) -> None:
    meetings = deployed.vonage.hold_meetings(20, senders=8, duplicates=0.2, drop=0.0, seed=1)
    sessions = set(meetings["session_ids"])

    def ids(events: Sequence[dict[str, Any]]) -> set[str]:
        """Return the ids of these sessions' events: after a slow response one may be repeated."""
        details = [event["detail"] for event in events]
        ours = [each for each in details if sessions & set(map(str, each["data"].values()))]
        return {each["metadata"]["event_id"] for each in ours}

    count = meetings["callbacks"]
    events = deployed.subscriber.wait_for(lambda events: len(ids(events)) >= count, WITHIN)

    assert len(ids(events)) == count
