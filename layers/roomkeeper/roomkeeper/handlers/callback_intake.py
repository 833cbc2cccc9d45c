"""HTTP API -> table: receives Vonage's callbacks."""
# ruff: noqa: E402 - a cold start does some things before the imports

import gc
import os

COLD_START = "AWS_LAMBDA_FUNCTION_NAME" in os.environ
"""Whether Lambda imports this module. Elsewhere, connections open with the first callback."""

if COLD_START:
    gc.disable()  # collections during imports free nothing, and take 7% of a cold start

from functools import cache
from typing import TYPE_CHECKING, Any

from roomkeeper.aws import crt
from roomkeeper.aws.retries import SECRET_RETRY, TABLE_RETRY

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_secretsmanager import SecretsManagerClient


@cache
def _secrets_manager() -> "SecretsManagerClient":
    return crt.secrets_manager(SECRET_RETRY)


@cache
def _dynamodb() -> "DynamoDBClient":
    return crt.dynamodb(TABLE_RETRY)


if COLD_START:  # connect while all else is imported, which takes as long; the secret is read first
    _secrets_manager()
    _dynamodb()

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from aws_lambda_powertools import Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from roomkeeper import http_api, store
from roomkeeper.aws.secrets import (
    CallbackContent,
    CallbackSecret,
    CallbackSecretContent,
    SecretUnavailable,
    VideoCallbackSecretContent,
)
from roomkeeper.callbacks import authenticity
from roomkeeper.callbacks.body import CallbackRejected, require_size
from roomkeeper.domain.observations import Observation, Occurrence, Product
from roomkeeper.http_api import Request, Response
from roomkeeper.log_sample import LogSample
from roomkeeper.logs import function_logger
from roomkeeper.settings import IntakeSettings
from roomkeeper.store import CallbackStore, StoreUnavailable

logger = function_logger()
metrics = Metrics()

if COLD_START:
    gc.freeze()  # later collections skip the imported modules, too
    gc.enable()

REFUSALS_LOGGED_PER_MINUTE = 20
"""Per process. The metric CallbackRefused (template.yaml) counts all of them in the access log."""


@logger.inject_lambda_context
def handler(request: Request, _context: object) -> Response:
    """Return 204 once the callback is in the table, 4xx if it is refused, 503 if Vonage must retry.

    `request` is an HTTP API request, payload format 2.0. An unexpected exception is not caught:
    API Gateway then returns 500, which makes Vonage send the callback again.
    """
    now = datetime.now(UTC)
    product = _PRODUCTS[request["routeKey"]]
    observation: Observation | None = None
    table = _store()  # first: its connection opens while the secret is read
    try:
        observation = _parser(product)(_authentic_body(request, product, now))
        is_new = table.apply(observation, now)
    except CallbackRejected as exc:
        return _refuse(exc)
    except (StoreUnavailable, SecretUnavailable) as exc:
        return _ask_again(exc, observation)
    logger.info("callback accepted", extra=_identity(observation) | {"is_new": is_new})
    _count("CallbackAccepted" if is_new else "CallbackRepeated", event=observation.event)
    return http_api.response(204)


_PRODUCTS: Mapping[str, Product] = {
    "POST /callbacks": "meetings",
    "POST /callbacks/{token}": "meetings",
    "POST /callbacks/video": "video",
    "POST /callbacks/video/{token}": "video",
}
"""The product whose callbacks use a route. The body does not decide about it."""


@cache
def _parser(product: Product) -> Callable[[bytes], Observation]:
    """Return the function that reads the product's callbacks. No other parser is imported."""
    if product == "video":
        from roomkeeper.callbacks import video  # noqa: PLC0415

        return video.parse
    from roomkeeper.callbacks import meetings  # noqa: PLC0415

    return meetings.parse


@cache
def _settings() -> IntakeSettings:
    return IntakeSettings.from_env(os.environ)


@cache
def _store() -> CallbackStore:
    known = _settings()
    return CallbackStore(
        _dynamodb(),
        known.table_name,
        session_days=known.session_days,
        event_days=known.event_days,
        deleted_days=known.deleted_days,
        copies=known.copies,
    )


@cache
def _secret(product: Product) -> CallbackSecret:
    known = _settings()
    return CallbackSecret(
        _secrets_manager(),
        known.secret_ids[product],
        known.previous_secret_grace,
        count_unusable_token,
        _SECRET_CONTENTS[product],
    )


_SECRET_CONTENTS: Mapping[Product, type[CallbackContent]] = {
    "meetings": CallbackSecretContent,
    "video": VideoCallbackSecretContent,
}


def count_unusable_token() -> None:
    """Count an invalid token, in a metric apart from that of the current callback."""
    with single_metric(name="CallbackTokenUnusable", unit=MetricUnit.Count, value=1) as metric:
        metric.add_dimension(name="service", value="callback_intake")


@cache
def _refusals_logged() -> LogSample:
    return LogSample(REFUSALS_LOGGED_PER_MINUTE)


def _authentic_body(request: Request, product: Product, now: datetime) -> bytes:
    """Return the body once its sender is authenticated as Vonage. It is not parsed before that."""
    known = _settings()
    body = http_api.body_of(request)
    require_size(body)  # before all else: anybody can send a large body
    accepted = _secret(product).credentials(now)
    tokens = accepted.tokens if known.accepts_token else ()
    signature_secrets = accepted.signature_secrets if known.accepts_signature else ()
    if not (tokens or signature_secrets):  # our mistake: Vonage must retry
        raise SecretUnavailable(
            f"The secret {known.secret_ids[product]} has no accepted credential: it must have a "
            "token or a signature secret, as CallbackAcceptedCredentials requires."
        )
    authenticity.require_authentic(
        body,
        token=(request.get("pathParameters") or {}).get("token"),
        authorization=request["headers"].get("authorization"),
        tokens=tokens,
        signature_secrets=signature_secrets,
        rules=known.signature_rules,
    )
    return body


def _refuse(exc: CallbackRejected) -> Response:
    if _refusals_logged().admits_one_more():
        logger.warning("callback refused", reason=exc.code, error=str(exc))
    return http_api.error(exc.status, exc.code, str(exc))


def _ask_again(
    exc: StoreUnavailable | SecretUnavailable, observation: Observation | None
) -> Response:
    about = _identity(observation) if observation else {}
    logger.error("callback not stored", extra=about | {"error": str(exc)})
    _count("CallbackUnavailable", reason=type(exc).__name__)
    message = "The callback could not be stored; send it again."
    return http_api.error(503, "unavailable", message, **{"Retry-After": "5"})


def _count(metric: str, **dimensions: str) -> None:
    for name, value in dimensions.items():
        metrics.add_dimension(name=name, value=value)
    metrics.add_metric(name=metric, unit=MetricUnit.Count, value=1)
    metrics.flush_metrics()  # log_metrics would warn about a refusal, which has no metric


def _identity(observation: Observation) -> dict[str, Any]:
    """Return the fields that may be logged: ids and names, no content."""
    about = observation.data if isinstance(observation, Occurrence) else observation
    names = ("recording_id", "session_id", "room_id", "reason")
    fields = {name: value for name in names if (value := getattr(about, name, None))}
    event_id = store.correlation.event_id_for_observation(observation)
    return (
        {"event": observation.event, "product": observation.product}
        | fields
        | {"correlation_id": event_id}
    )
