"""Table's stream -> event bus: publishes the events of changed items. Nothing else publishes."""

import os
from collections.abc import Mapping
from functools import cache
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from roomkeeper.aws import RetryPolicy, bus, sdk
from roomkeeper.aws.bus import Bus
from roomkeeper.aws.retries import TABLE_RETRY
from roomkeeper.logs import function_logger
from roomkeeper.publisher import DeadLetterQueue, Published, Publisher
from roomkeeper.settings import PublisherSettings
from roomkeeper.store import Store

logger = function_logger()
metrics = Metrics()

SQS_RETRY = RetryPolicy(max_attempts=3, timeout=3)


@metrics.log_metrics
@logger.inject_lambda_context
def handler(batch: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Publish the events of a batch of stream records; return the records that Lambda must retry.

    With `redrive` in the batch, the records come from the dead-letter queue.
    """
    result = Publisher(_bus(), _store, _dead_letters).publish(
        batch["Records"], is_redrive="redrive" in batch
    )
    _count(result)
    return {"batchItemFailures": [{"itemIdentifier": number} for number in result.unavailable]}


@cache
def _settings() -> PublisherSettings:
    return PublisherSettings.from_env(os.environ)


@cache
def _store() -> Store:
    return Store(sdk.dynamodb(TABLE_RETRY), _settings().table_name)


@cache
def _bus() -> Bus:
    return Bus(sdk.events(bus.RETRY), _settings().bus_name)


@cache
def _queue() -> Any:
    return sdk.sqs(SQS_RETRY)


def _dead_letters() -> DeadLetterQueue:
    return DeadLetterQueue(_queue(), _settings().dead_letter_queue_url)


def _count(result: Published) -> None:
    metrics.add_metric(name="EventPublished", unit=MetricUnit.Count, value=result.published)
    for name, value in (
        ("EventRefused", result.refused),
        ("EventDelayed", len(result.unavailable)),
        ("RecordingFailed", result.recordings_failed),
        ("RecordingLostUncopied", result.lost_uncopied),
    ):
        if value:  # CloudWatch charges for every metric, zero or not
            metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
