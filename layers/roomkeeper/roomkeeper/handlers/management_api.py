"""HTTP API -> Vonage and table: lets operators and services look after rooms and recordings."""

import os
import time
from datetime import UTC, datetime
from functools import cache, lru_cache
from typing import Any

import msgspec
from aws_lambda_powertools import Metrics
from aws_lambda_powertools.event_handler import APIGatewayHttpResolver, Response
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.metrics import MetricUnit

from roomkeeper import http_api, settings, store
from roomkeeper.aws import sdk
from roomkeeper.domain.recordings import Hold
from roomkeeper.domain.rooms import Room
from roomkeeper.http_api import Answer, Request
from roomkeeper.logs import function_logger
from roomkeeper.management import Management, requests
from roomkeeper.management.problems import Problem, to_problem
from roomkeeper.management.views import KnownRecording, Recordings, Republished, Rooms
from roomkeeper.settings import ManagementSettings
from roomkeeper.store import Store
from roomkeeper.vonage import VonageClient, connect

VONAGE_SECONDS = 4.5
"""What one operation at Vonage may take, retries included; no request needs more than three."""

CAUSED = {
    "DELETE /recordings/{recording_id}": "recording:deleted",
    "POST /recordings/{recording_id}/republish": "recording:uploaded",
}
"""The event that follows from a call to a route, where one does."""

logger = function_logger()
metrics = Metrics()
app = APIGatewayHttpResolver(serializer=lambda answer: msgspec.json.encode(answer).decode())


@metrics.log_metrics
@logger.inject_lambda_context
def handler(request: Request, context: Any) -> Answer:
    """Answer a request to the management API; API Gateway has checked the caller's signature.

    `request` is in payload format 2.0. Whatever is no success has the one form that our errors
    have. Every request may be repeated; after 502, 503 and 504 that is what to do.
    """
    answer = http_api.forbidden_unless_signed(request)
    if answer is None:
        answer = app.resolve(http_api.with_route_path(request), context)
    _note(request, answer["statusCode"])
    return answer


@app.get("/rooms")
def list_rooms() -> Rooms:
    """Answer a page of rooms."""
    return _management().rooms(requests.page_in(_request().get("queryStringParameters") or {}))


@app.get("/rooms/<room_id>")
def get_room(room_id: str) -> Room:
    """Answer a room."""
    return _management().room(requests.id_in(room_id))


@app.patch("/rooms/<room_id>")
def update_expiry(room_id: str) -> Room:
    """Answer a long-term room, which now expires at another time."""
    expires_at = requests.expiry_in(http_api.body_of(_request()), _now())
    return _management().update_expiry(requests.id_in(room_id), expires_at)


@app.delete("/rooms/<room_id>")
def delete_room(room_id: str) -> Response[str]:
    """Delete a room."""
    _management().delete_room(requests.id_in(room_id))
    return _done()


@app.get("/sessions/<session_id>/recordings")
def list_recordings(session_id: str) -> Recordings:
    """Answer a session's recordings, each once."""
    return _management().recordings_in(requests.id_in(session_id))


@app.get("/recordings/<recording_id>")
def get_recording(recording_id: str) -> KnownRecording:
    """Answer a recording, with a fresh URL if there is one."""
    return _management().recording(requests.id_in(recording_id))


@app.delete("/recordings/<recording_id>")
def delete_recording(recording_id: str) -> Response[str]:
    """Delete a recording at Vonage, and note it here."""
    _management().delete_recording(requests.id_in(recording_id), _now())
    return _done()


@app.put("/recordings/<recording_id>/hold")
def hold(recording_id: str) -> Hold:
    """Protect a recording from deletion."""
    order = requests.hold_in(http_api.body_of(_request()))
    who = http_api.caller_of(_request()) or "unknown"
    return _management().hold(requests.id_in(recording_id), order, who, _now())


@app.delete("/recordings/<recording_id>/hold")
def release(recording_id: str) -> Response[str]:
    """Lift the protection."""
    _management().release(requests.id_in(recording_id))
    return _done()


@app.post("/recordings/<recording_id>/republish")
def republish(recording_id: str) -> tuple[Republished, int]:
    """Have a recording's recording:uploaded sent again."""
    return _management().republish(requests.id_in(recording_id), _now()), 202


@app.not_found
def no_such_route(_error: NotFoundError) -> Response[str]:
    """Answer a request that fits no route."""
    return _told(Problem(status=404, code="no_such_route", message="There is no such route."))


@app.exception_handler(Exception)  # type: ignore[untyped-decorator]
def failed(error: Exception) -> Response[str]:
    """Answer a request that could not be done; log what its caller is not told."""
    problem = to_problem(error)
    if problem.status == 500:
        logger.exception("management call failed for a reason that was not foreseen")
    elif problem.status > 500:
        logger.error("management call failed", problem=str(error), code=problem.code)
        _vonage_since.cache_clear()  # perhaps its credentials have been replaced
    return _told(problem)


@cache
def _settings() -> ManagementSettings:
    return ManagementSettings.from_env(os.environ)


@cache
def _store() -> Store:
    known = _settings()
    return Store(
        sdk.dynamodb(store.SHORT_RETRY),
        known.table_name,
        event_days=known.event_days,
        deleted_days=known.deleted_days,
    )


def _vonage() -> VonageClient:
    """Return a client that was made a while ago at most: rotated credentials come in force."""
    return _vonage_since(time.monotonic() // settings.SECRET_MAX_AGE.total_seconds())


@lru_cache(maxsize=1)
def _vonage_since(_period: float) -> VonageClient:
    return connect.vonage_client(
        sdk.secrets_manager(settings.SECRET_RETRY), _settings().vonage, total_timeout=VONAGE_SECONDS
    )


def _management() -> Management:
    return Management(_store(), _vonage())


def _request() -> Request:
    return app.current_event.raw_event


def _now() -> datetime:
    return datetime.now(UTC)


def _done() -> Response[str]:
    return Response(status_code=204, body="")


def _told(problem: Problem) -> Response[str]:
    return Response(
        status_code=problem.status,
        content_type="application/json",
        body=http_api.error_body(problem.code, problem.message),
        headers={"Retry-After": str(problem.retry_after)} if problem.retry_after else {},
    )


def _note(request: Request, status: int) -> None:
    outcome = "failed" if status >= 500 else "refused" if status >= 400 else "done"
    metrics.add_dimension(name="outcome", value=outcome)
    metrics.add_metric(name="ManagementCall", unit=MetricUnit.Count, value=1)
    who = {"route": request["routeKey"], "caller": http_api.caller_of(request)}
    ids = dict(request.get("pathParameters") or {})
    if outcome == "done" and (event := CAUSED.get(request["routeKey"])):
        ids |= {
            "correlation_id": store.correlation.event_id_for_recording(ids["recording_id"], event)
        }
    logger.info("management call", extra={**who, **ids, "status": status})
