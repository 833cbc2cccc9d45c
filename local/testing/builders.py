"""Builders of callbacks, requests and stream records; a test gives only the relevant fields."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt

from roomkeeper.callbacks import meetings
from roomkeeper.domain.observations import Observation
from roomkeeper.vonage import RetryPolicy

ROOT = Path(__file__).parent.parent.parent
NOON = datetime(2021, 11, 2, 16, tzinfo=UTC)
TOKEN = "the-token-that-is-in-the-callback-url"
SIGNATURE_SECRET = "the-signature-secret-of-the-account"


def sample(path: str) -> dict[str, Any]:
    """Return one of the samples in events/."""
    found: dict[str, Any] = json.loads((ROOT / "events" / path).read_text())
    return found


PUBLISHED: Mapping[str, Mapping[str, Any]] = {
    callback.pop("event"): callback
    for file in sorted((ROOT / "events/callbacks").iterdir())
    for callback in [sample(f"callbacks/{file.name}")]
}
"""The fields of each sample callback in events/ except `event`, by event."""

_uploaded, _joined = PUBLISHED["recording:uploaded"], PUBLISHED["session:participant:joined"]
RECORDING_ID, SESSION_ID = _uploaded["recording_id"], _uploaded["session_id"]
STARTED_AT, ENDED_AT = _uploaded["started_at"], _uploaded["ended_at"]
ROOM_ID, PARTICIPANT_ID = _joined["room_id"], _joined["participant_id"]
URL, URL_EXPIRES_AT = _uploaded["url"], "2021-11-03T11:56:13.000Z"

ABSENT: Any = object()
"""The value of a field that is left out."""


def a_body(event: str, **changes: Any) -> bytes:
    """Return the sample callback of an event as Vonage posts it, with these fields changed."""
    known = PUBLISHED.get(meetings.ALIASES.get(event, event), {})
    fields = {"event": event, **known, **changes}
    return json.dumps({k: v for k, v in fields.items() if v is not ABSENT}).encode()


def a_callback(event: str, **changes: Any) -> Observation:
    """Return the same callback, parsed."""
    return meetings.parse(a_body(event, **changes))


def a_recording_started(**changes: Any) -> Observation:
    """Return the sample `recording:started`, parsed, with these fields changed."""
    return a_callback("recording:started", **changes)


def a_recording_ended(**changes: Any) -> Observation:
    """Return the sample `recording:ended`, parsed, with these fields changed."""
    return a_callback("recording:ended", **changes)


def a_recording_uploaded(**changes: Any) -> Observation:
    """Return the sample `recording:uploaded`, parsed, with these fields changed."""
    return a_callback("recording:uploaded", **changes)


def a_session_started(**changes: Any) -> Observation:
    """Return the sample `session:started`, parsed, with these fields changed."""
    return a_callback("session:started", **changes)


def a_session_ended(**changes: Any) -> Observation:
    """Return the sample `session:ended`, parsed, with these fields changed."""
    return a_callback("session:ended", **changes)


def a_signature(
    body: bytes,
    *,
    secret: str = SIGNATURE_SECRET,
    at: datetime | None = None,
    algorithm: str = "HS256",
    **claims: Any,
) -> str:
    """Return the Authorization header that signs `body`; `claims` change or remove claims."""
    usual = {
        "iat": int((at or datetime.now(UTC)).timestamp()),
        "jti": "c5ba8f24-1a14-4c10-bfdf-3fbe8ce511b5",
        "iss": "Vonage",
        "api_key": "a1b2c3d4",
        "application_id": "78d335fa-323d-0114-9c3d-d6f0d48968cf",
        "payload_hash": hashlib.sha256(body).hexdigest(),
    }
    kept = {name: value for name, value in (usual | claims).items() if value is not ABSENT}
    return f"Bearer {jwt.encode(kept, secret, algorithm)}"


def a_request(
    body: bytes | None,
    *,
    token: str | None = TOKEN,
    authorization: str | None = None,
    as_base64: bool = False,
    path: str = "/callbacks",
) -> dict[str, Any]:
    """Return API Gateway's event for a POST to `path`, with the token after it if there is one."""
    request = sample("functions/callback_intake.json")
    request |= {"body": None, "isBase64Encoded": as_base64}
    request["routeKey"] = f"POST {path}" + ("" if token is None else "/{token}")
    if body is not None:
        request["body"] = base64.b64encode(body).decode() if as_base64 else body.decode()
    if token is not None:
        request["pathParameters"]["token"] = token
    else:
        del request["pathParameters"]
    if authorization is not None:
        request["headers"]["authorization"] = authorization
    return request


Image = Mapping[str, Any]
"""An item in DynamoDB's own JSON."""


def a_record(new: Image, old: Image | None = None, *, number: str = "100") -> dict[str, Any]:
    """Return the table stream's record of a change from `old` to `new`."""
    [record] = sample("functions/event_publisher.json")["Records"]
    record["eventName"] = "MODIFY" if old else "INSERT"
    record["dynamodb"] |= {
        "ApproximateCreationDateTime": NOON.timestamp(),
        "Keys": {"pk": new["pk"]},
        "NewImage": new,
        "SequenceNumber": number,
        **({"OldImage": old} if old else {}),
    }
    return dict(record)


class VirtualClock:
    """A clock that advances only by `sleep`, so that backoff takes no real time."""

    def __init__(self) -> None:
        self.now = 0.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def instant_retries() -> RetryPolicy:
    """Return a retry policy that runs on virtual time."""
    clock = VirtualClock()
    return RetryPolicy(base_delay=4, sleep=clock.sleep, clock=lambda: clock.now)


@dataclass(frozen=True)
class AContext:
    """Lambda's context object."""

    function_name: str = "function"
    memory_limit_in_mb: int = 256
    invoked_function_arn: str = "arn:aws:lambda:eu-west-1:123456789012:function:function"
    aws_request_id: str = "52fdfc07-2182-454f-963f-5f0f9a621d72"

    def get_remaining_time_in_millis(self) -> int:
        """Return the management API's timeout in milliseconds."""
        return 29_000
