"""Callbacks of the Video API over HTTP: credentials, responses, stored items, published events."""

import json
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from jwt import InsecureKeyLengthWarning

from local import stack as local_stack
from local.testing.builders import a_signature
from local.waiting import wait_until
from roomkeeper.callbacks import video
from roomkeeper.domain.observations import Unrecognized
from roomkeeper.store import correlation
from tests.support import leaks
from tests.support.deployed import WITHIN, Deployed

PROJECT = Path(__file__).parent.parent.parent
SAMPLES = sorted((PROJECT / "events").glob("video_*.json"))
PATH = "/callbacks/video"


def marked(body: dict[str, Any], mark: str) -> dict[str, Any]:
    """Return a sample with ids of its own, which end with `mark`."""
    return {
        name: marked(value, mark)
        if isinstance(value, dict)
        else f"{value}-{mark}"
        if name in ("id", "sessionId", "session_id") and isinstance(value, str)
        else value
        for name, value in body.items()
    }


def an_archive(status: str = "started", **fields: Any) -> dict[str, Any]:
    sample: dict[str, Any] = json.loads(
        (PROJECT / f"events/video_archive_{status}.json").read_text()
    )
    return marked(sample, uuid.uuid4().hex) | fields


def published(deployed: Deployed, body: dict[str, Any]) -> dict[str, Any]:
    """Wait for the event that a callback causes, known by its id; return it."""
    observation = video.parse(json.dumps(body).encode())
    event_id = correlation.event_id_for_observation(observation)

    def of_callback(events: Any) -> list[dict[str, Any]]:
        return [each for each in events if each["detail"]["metadata"]["event_id"] == event_id]

    found = of_callback(deployed.subscriber.wait_for(lambda e: bool(of_callback(e)), WITHIN))
    assert found[0]["detail-type"] == observation.event
    return found[0]


def is_stored(deployed: Deployed, archive: dict[str, Any]) -> bool:
    return deployed.store().recordings.get(archive["id"]) is not None


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_every_callback_is_accepted_and_published_by_its_schema(
    deployed: Deployed, sample: Path
) -> None:
    body = marked(json.loads(sample.read_text()), uuid.uuid4().hex)

    for _ in range(2):
        assert deployed.post_video(json.dumps(body)).status_code == 204

    event = published(deployed, body)
    file = f"{event['detail-type'].replace(':', '-')}.json"
    schema = json.loads((PROJECT / "docs/events" / file).read_text())
    Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(
        event["detail"]
    )
    assert event["detail"]["data"]["product"] == "video"


@pytest.mark.parametrize("environment", ["unified", "classic"])
def test_sessions_in_disorder_with_repeats_give_one_event_for_each_callback(
    deployed: Deployed, environment: str
) -> None:
    played = deployed.vonage.video.play_session(
        environment=environment, pauses=2, lives=2, rotation=True, shuffle_seed=7
    )
    bodies = {json.dumps(body, sort_keys=True): body for body in played["callbacks"]}
    for body in bodies.values():
        assert deployed.post_video(json.dumps(body)).status_code == 204

    events = [published(deployed, body) for body in bodies.values()]

    session_id = played["session_id"]
    assert len(deployed.events_about(session_id, count=len(events))) == len(events)
    names = [each["detail-type"] for each in events]
    assert names.count("recording:paused") == names.count("recording:resumed") == 2
    assert names.count("session:started") == names.count("session:ended") == 2
    for archive_id in played["archive_ids"]:
        recording = deployed.store().recordings.get(archive_id)
        assert recording is not None
        assert (recording.product, recording.status) == ("video", "uploaded")


@pytest.mark.parametrize("index", [0, 1])
def test_each_of_the_signature_secrets_is_accepted_for_a_day_of_retries(
    deployed: Deployed, video_signature_secrets: tuple[str, ...], index: int
) -> None:
    body = an_archive()
    text, secret = json.dumps(body), video_signature_secrets[index]
    first_attempt = datetime.now(UTC) - timedelta(hours=24)

    header = _signed(text, secret, first_attempt)

    assert deployed.post(text, PATH, Authorization=header).status_code == 204
    assert published(deployed, body)["detail"]["data"]["recording_id"] == body["id"]


def test_a_tampered_body_or_a_foreign_signature_is_refused(
    deployed: Deployed, video_signature_secrets: tuple[str, ...], signature_secret: str
) -> None:
    archive = an_archive()
    text = json.dumps(archive)
    tampered = json.dumps(archive | {"size": 1})
    now = datetime.now(UTC)
    refused = [
        (tampered, _signed(text, video_signature_secrets[0], now)),
        (text, _signed(text, signature_secret, now)),  # the secret of the other product
        (text, _signed(text, video_signature_secrets[0], now - timedelta(days=8))),
        (text, "Bearer none"),
    ]
    for body, header in refused:
        response = deployed.post(body, PATH, Authorization=header)
        assert (response.status_code, response.json()["error"]["code"]) == (401, "unauthorized")
    assert deployed.post(text, PATH).status_code == 401
    assert not is_stored(deployed, archive)


def test_a_token_is_valid_for_its_own_product_alone(deployed: Deployed) -> None:
    archive = an_archive()
    tokens = {
        product: deployed.stack.callback_secret(product)["token"]
        for product in ("meetings", "video")
    }
    assert tokens["meetings"] != tokens["video"]
    for path in (
        f"/callbacks/{tokens['video']}",
        f"{PATH}/{tokens['meetings']}",
        f"{PATH}/guessed",
        f"{PATH}/%00",
    ):
        assert deployed.post(json.dumps(archive), path).status_code == 401
    assert not is_stored(deployed, archive)


def test_an_unsigned_callback_after_an_internal_error_is_sent_again(
    deployed: Deployed, signed_callbacks: None
) -> None:
    deployed.vonage.settings(unsigned_first=True)
    try:
        played = deployed.vonage.video.play_session()
    finally:
        deployed.vonage.settings(unsigned_first=False)
    deployed.vonage.advance_clock(5)  # then Vonage sends them again

    [archive_id] = played["archive_ids"]
    of_archive = [
        each for each in deployed.vonage.deliveries() if each["body"].get("id") == archive_id
    ]
    assert of_archive
    for delivery in of_archive:
        assert [attempt["status"] for attempt in delivery["attempts"]] == [401, 204]
    assert len(deployed.events_about(archive_id, count=3)) == 3


@pytest.fixture
def signed_callbacks(
    deployed: Deployed, video_signature_secrets: tuple[str, ...]
) -> Iterator[None]:
    """Have the emulator sign its callbacks, with a secret for each kind, and send no token."""
    kinds = (["video_archives"], ["video_sessions", "video_others"])
    for kind, secret in zip(kinds, video_signature_secrets, strict=True):
        deployed.vonage.video.callbacks_to(
            f"{deployed.stack.base_url}{PATH}",
            kinds=kind,
            signature_secret=secret,
            headers=deployed.stack.headers,
        )
    yield
    local_stack.connect_callbacks(deployed.stack, deployed.vonage)


def test_no_item_event_or_log_has_personal_data_or_passwords(deployed: Deployed) -> None:
    mark = f"Margaret-{uuid.uuid4().hex}"
    bodies = [_with_personal_data(path, mark) for path in SAMPLES]
    assert all(mark in json.dumps(body) for body in bodies)
    for body in bodies:
        assert deployed.post_video(json.dumps(body)).status_code == 204

    events = [published(deployed, body) for body in bodies]

    last = events[-1]["detail"]["metadata"]["event_id"]
    assert wait_until(lambda: last in leaks.logged(deployed), WITHIN, interval=1.0)
    pages = deployed.stack.client("dynamodb").get_paginator("scan")
    table = [*pages.paginate(TableName=deployed.stack.outputs["TableName"])]
    texts = {
        "the table": str([page["Items"] for page in table]),
        "the events": json.dumps(events),
        "the logs": leaks.logged(deployed),
    }
    assert [where for where, text in texts.items() if mark in text] == []
    assert any(isinstance(video.parse(json.dumps(each).encode()), Unrecognized) for each in bodies)


def _with_personal_data(path: Path, mark: str) -> dict[str, Any]:
    """Return a sample with a name or password in each field that may have one."""
    body = marked(json.loads(path.read_text()), uuid.uuid4().hex)
    personal = {"data": mark, "name": mark}
    return body | {
        "password": mark,
        "transcription": {"status": "available", "url": f"https://a.example/{mark}"},
        "connection": body.get("connection", {}) | personal,
        "stream": body.get("stream", {}) | {"name": mark, "connection": personal},
    }


def _signed(text: str, secret: str, at: datetime) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)  # Vonage allows short secrets
        return a_signature(text.encode(), secret=secret, at=at)
