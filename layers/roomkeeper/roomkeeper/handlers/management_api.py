"""HTTP API -> Vonage and table: manages rooms and recordings for operators and services."""

import os
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import msgspec
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.metrics import MetricUnit

from roomkeeper import http_api, store
from roomkeeper.aws import RetryPolicy, copy_queue, sdk
from roomkeeper.aws.bucket import Bucket
from roomkeeper.aws.copy_queue import CopyQueue
from roomkeeper.aws.retries import SECRET_RETRY, SHORT_TABLE_RETRY
from roomkeeper.aws.secrets import SECRET_MAX_AGE
from roomkeeper.domain.rooms import Room
from roomkeeper.expiring import Expiring
from roomkeeper.http_api import Request
from roomkeeper.http_errors import HttpError, to_http_error
from roomkeeper.logs import function_logger
from roomkeeper.management import Management, requests
from roomkeeper.management.operations import Copies
from roomkeeper.management.views import (
    CopyRequest,
    Deletion,
    File,
    KnownRecording,
    RecordingHold,
    Recordings,
    Republished,
    Rooms,
)
from roomkeeper.settings import ManagementSettings
from roomkeeper.store import Store
from roomkeeper.vonage import connect
from roomkeeper.vonage.retry import Deadline

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_sqs import SQSClient

VONAGE_SECONDS = 4.5
"""Seconds for one call to Vonage, retries included."""

RESPONSE_SECONDS = 0.5
"""Seconds before the function's timeout that are left for the response."""

STORE_SECONDS = SHORT_TABLE_RETRY.worst_case + 0.5
"""Seconds before a request's deadline that are left for a write, once Vonage has made a change."""

S3_RETRY = RetryPolicy(max_attempts=2, timeout=1.5)
"""The retry policy for a change of a copy's tag, or its deletion."""

CAUSED = {
    "DELETE /recordings/{recording_id}": "recording:deleted",
    "POST /recordings/{recording_id}/republish": "recording:uploaded",
}
"""The event that a successful call to a route causes."""

logger = function_logger()
metrics = Metrics()
app = APIGatewayHttpResolver(serializer=lambda body: msgspec.json.encode(body).decode())


@metrics.log_metrics
@logger.inject_lambda_context
def handler(request: Request, context: Any) -> http_api.Response:
    """Handle a request to the management API; API Gateway has checked the caller's signature.

    `request` is in payload format 2.0. All errors share one JSON body. Every request is idempotent;
    after 502, 503 and 504, callers should retry.
    """
    response = http_api.forbidden_unless_signed(request)
    if response is None:
        response = app.resolve(http_api.with_route_path(request), context)
    _log_and_count(request, response["statusCode"])
    return response


@app.get("/rooms")
def list_rooms() -> Rooms:
    """Return a page of rooms."""
    return _management().rooms(requests.page_in(_request().get("queryStringParameters") or {}))


@app.get("/rooms/<room_id>")
def get_room(room_id: str) -> Room:
    """Return a room."""
    return _management().room(requests.id_in(room_id))


@app.patch("/rooms/<room_id>")
def update_expiry(room_id: str) -> Room:
    """Change the expiry of a long-term room; return the room."""
    expires_at = requests.expiry_in(http_api.body_of(_request()), _now())
    return _management().update_expiry(requests.id_in(room_id), expires_at)


@app.delete("/rooms/<room_id>")
def delete_room(room_id: str) -> Response[str]:
    """Delete a room."""
    _management().delete_room(requests.id_in(room_id))
    return _done()


@app.get("/sessions/<session_id>/recordings")
def list_recordings(session_id: str) -> Recordings:
    """Return a session's recordings, each once."""
    return _management().recordings_in(requests.id_in(session_id))


@app.get("/recordings/<recording_id>")
def get_recording(recording_id: str) -> KnownRecording:
    """Return a recording, with a fresh URL if there is one."""
    return _management().recording(requests.id_in(recording_id))


@app.delete("/recordings/<recording_id>")
def delete_recording(recording_id: str) -> Response[str] | Deletion:
    """Delete a recording at Vonage, and its copy on request; return the outcome for the copy."""
    deletes_copy = requests.deletes_copy_in(_request().get("queryStringParameters") or {})
    deletion = _management().delete_recording(
        requests.id_in(recording_id), _now(), deletes_copy=deletes_copy
    )
    return deletion or _done()


@app.get("/recordings/<recording_id>/file")
def get_file(recording_id: str) -> File:
    """Return a pre-signed URL of a recording's copy."""
    return _management().file(requests.id_in(recording_id), _now())


@app.post("/recordings/<recording_id>/copy")
def copy(recording_id: str) -> tuple[CopyRequest, int]:
    """Have a recording copied; return its copy if there is one already."""
    status = _management().copy(requests.id_in(recording_id))
    return status, 200 if status.copy else 202


@app.put("/recordings/<recording_id>/hold")
def hold(recording_id: str) -> RecordingHold:
    """Protect a recording from deletion."""
    hold_request = requests.hold_in(http_api.body_of(_request()))
    caller = http_api.caller_of(_request()) or "unknown"
    return _management().hold(requests.id_in(recording_id), hold_request, caller, _now())


@app.delete("/recordings/<recording_id>/hold")
def release(recording_id: str) -> Response[str]:
    """Remove a recording's hold."""
    _management().release(requests.id_in(recording_id), _now())
    return _done()


@app.post("/recordings/<recording_id>/republish")
def republish(recording_id: str) -> tuple[Republished, int]:
    """Publish a recording's recording:uploaded again."""
    return _management().republish(requests.id_in(recording_id), _now()), 202


@app.not_found
def no_such_route(_error: NotFoundError) -> Response[str]:
    """Return the response to a request that matches no route."""
    return _error_response(
        HttpError(status=404, code="no_such_route", message="There is no such route.")
    )


@app.exception_handler(Exception)  # type: ignore[untyped-decorator]
def failed(exc: Exception) -> Response[str]:
    """Return the response to a failed request; log the cause, which the caller may not see."""
    error = to_http_error(exc)
    if error.status == 500:
        logger.exception("management call failed unexpectedly")
    elif error.status > 500:
        logger.error("management call failed", error=str(exc), code=error.code)
        _vonage_client.cache_clear()  # its credentials may have been rotated
    return _error_response(error)


@cache
def _settings() -> ManagementSettings:
    return ManagementSettings.from_env(os.environ)


@cache
def _dynamodb() -> "DynamoDBClient":
    return sdk.dynamodb(SHORT_TABLE_RETRY)


@cache
def _s3() -> sdk.Client:
    return sdk.s3(S3_RETRY)


@cache
def _sqs() -> "SQSClient":
    return sdk.sqs(copy_queue.RETRY)


def _store(deadline: Deadline) -> Store:
    known = _settings()
    return Store(
        sdk.within(_dynamodb(), deadline.remaining, SHORT_TABLE_RETRY.worst_case),
        known.table_name,
        event_days=known.event_days,
        deleted_days=known.deleted_days,
    )


def _copies(deadline: Deadline) -> Copies | None:
    """Return the bucket and the queue; None if the stack does not copy recordings."""
    known = _settings()
    if not known.copies:
        return None
    s3 = sdk.within(_s3(), deadline.remaining, S3_RETRY.worst_case)
    sqs = sdk.within(_sqs(), deadline.remaining, copy_queue.RETRY.worst_case)
    queue = CopyQueue(sqs, known.copy.queue_url)
    return Copies(Bucket(known.copy.bucket, s3), queue, known.copy.copy_expires_at)


def _vonage() -> connect.Clients:
    """Return the clients; none if no credentials can be used, as some requests need none.

    That is not remembered, since credentials may be stored at any time.
    """
    found = _vonage_client.get()
    if not found.recordings:
        _vonage_client.cache_clear()
    return found


def _connect() -> connect.Clients:
    return connect.available_clients(
        sdk.secrets_manager(SECRET_RETRY), _settings().vonage, total_timeout=VONAGE_SECONDS
    )


_vonage_client = Expiring(_connect, SECRET_MAX_AGE)
"""Expires, so that rotated credentials take effect."""


def _management() -> Management:
    """Return the operations for this request. Together, their calls end by one deadline.

    A change at Vonage thus leaves the time to record it in the table.
    """
    seconds = app.lambda_context.get_remaining_time_in_millis() / 1000 - RESPONSE_SECONDS
    deadline = Deadline(seconds)
    vonage = _vonage().within(deadline.earlier(STORE_SECONDS))
    return Management(_store(deadline), vonage, _copies(deadline))


def _request() -> Request:
    return app.current_event.raw_event


def _now() -> datetime:
    return datetime.now(UTC)


def _done() -> Response[str]:
    return Response(status_code=204, body="")


def _error_response(error: HttpError) -> Response[str]:
    response = http_api.error(error.status, error.code, error.message, **error.headers)
    return Response(response["statusCode"], body=response["body"], headers=response["headers"])


def _log_and_count(request: Request, status: int) -> None:
    outcome = "failed" if status >= 500 else "refused" if status >= 400 else "done"
    metrics.add_dimension(name="outcome", value=outcome)
    metrics.add_metric(name="ManagementCall", unit=MetricUnit.Count, value=1)
    call = {"route": request["routeKey"], "caller": http_api.caller_of(request)}
    ids = dict(request.get("pathParameters") or {})
    if outcome == "done" and (event := CAUSED.get(request["routeKey"])):
        ids |= {
            "correlation_id": store.correlation.event_id_for_recording(ids["recording_id"], event)
        }
    logger.info("management call", extra={**call, **ids, "status": status})
