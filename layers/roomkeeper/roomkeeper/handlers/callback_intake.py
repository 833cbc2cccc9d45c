"""HTTP API -> table: takes Vonage's callbacks."""

import os
from datetime import UTC, datetime
from functools import cache
from typing import Any

from aws_lambda_powertools import Metrics, single_metric
from aws_lambda_powertools.metrics import MetricUnit

from roomkeeper import http_api, settings, store
from roomkeeper.aws import crt
from roomkeeper.callbacks import authenticity, meetings
from roomkeeper.callbacks.meetings import CallbackRejected
from roomkeeper.http_api import Answer, Request
from roomkeeper.log_sample import LogSample
from roomkeeper.logs import function_logger
from roomkeeper.settings import (
    CallbackSecret,
    IntakeSettings,
    SecretUnavailable,
)
from roomkeeper.store import Store, StoreUnavailable

logger = function_logger()
metrics = Metrics()

REFUSALS_LOGGED_PER_MINUTE = 20
"""By each process. CallbackRefused (template.yaml) counts all of them, from the access log."""


@logger.inject_lambda_context
def handler(request: Request, _context: object) -> Answer:
    """Answer 204 once the callback is safe in the table, 4xx if it never can be, 503 to be retried.

    `request` is an HTTP API request, payload format 2.0. Any error that is not foreseen escapes:
    API Gateway then answers 500, which asks Vonage to send the callback again.
    """
    now = datetime.now(UTC)
    about: dict[str, Any] = {}
    table = _store()  # its connection opens while the secret is read
    try:
        callback = meetings.parse(_authentic_body(request, now))
        about = _identity(callback)
        is_new = table.apply(callback, now)
    except CallbackRejected as rejected:
        return _refuse(rejected)
    except (StoreUnavailable, SecretUnavailable) as problem:
        return _ask_again(problem, about)
    logger.info("callback accepted", extra=about | {"is_new": is_new})
    _count("CallbackAccepted" if is_new else "CallbackRepeated", event=callback.event)
    return {"statusCode": 204}


@cache
def _settings() -> IntakeSettings:
    return IntakeSettings.from_env(os.environ)


@cache
def _store() -> Store:
    known = _settings()
    return Store(
        crt.dynamodb(store.RETRY),
        known.table_name,
        session_days=known.session_days,
        event_days=known.event_days,
    )


@cache
def _secret() -> CallbackSecret:
    known = _settings()
    return CallbackSecret(
        crt.secrets_manager(settings.SECRET_RETRY),
        known.secret_id,
        known.previous_secret_grace,
        count_unusable_token,
    )


def count_unusable_token() -> None:
    """Count a token that cannot be used, apart from what becomes of the callback at hand."""
    with single_metric(name="CallbackTokenUnusable", unit=MetricUnit.Count, value=1) as metric:
        metric.add_dimension(name="service", value="callback_intake")


@cache
def _refusals_logged() -> LogSample:
    return LogSample(REFUSALS_LOGGED_PER_MINUTE)


def _authentic_body(request: Request, now: datetime) -> bytes:
    """Return the body, once its sender has proven to be Vonage. The bytes are not parsed before."""
    known = _settings()
    body = http_api.body_of(request)
    meetings.require_size(body)  # first: a large body must not cost a look at the secret
    accepted = _secret().credentials(now)
    tokens = accepted.tokens if known.accepts_token else ()
    signature_secrets = accepted.signature_secrets if known.accepts_signature else ()
    if not (tokens or signature_secrets):  # a mistake of ours must not turn Vonage away for good
        raise SecretUnavailable(
            f"The secret {known.secret_id} holds nothing that is accepted: it must have a token "
            "or a signature_secret, as AcceptedCredentials asks for."
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


def _refuse(rejected: CallbackRejected) -> Answer:
    if _refusals_logged().admits_one_more():
        logger.warning("callback refused", reason=rejected.code, problem=str(rejected))
    return _error(rejected.status, rejected.code, str(rejected))


def _ask_again(problem: StoreUnavailable | SecretUnavailable, about: dict[str, Any]) -> Answer:
    logger.error("callback could not be taken now", extra=about | {"problem": str(problem)})
    _count("CallbackUnavailable", reason=type(problem).__name__)
    answer = _error(503, "unavailable", "The callback could not be kept just now; send it again.")
    return answer | {"headers": answer["headers"] | {"Retry-After": "5"}}


def _error(status: int, code: str, message: str) -> Answer:
    return {
        "statusCode": status,
        "headers": {"Content-Type": "application/json"},
        "body": http_api.error_body(code, message),
    }


def _count(metric: str, **dimensions: str) -> None:
    for name, value in dimensions.items():
        metrics.add_dimension(name=name, value=value)
    metrics.add_metric(name=metric, unit=MetricUnit.Count, value=1)
    metrics.flush_metrics()  # log_metrics would complain of a refusal, which counts nothing here


def _identity(callback: meetings.Callback) -> dict[str, Any]:
    """Return what may be logged of a callback: whose it is, and nothing that it says."""
    names = ("event", "recording_id", "session_id", "room_id", "reason")
    told = {name: value for name in names if (value := getattr(callback, name, None))}
    return told | {"correlation_id": store.correlation.event_id_for_callback(callback)}
