"""Table's stream -> event bus: publishes the events of changed items. Nothing else publishes."""

import json
import os
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from roomkeeper import store
from roomkeeper.aws import AwsError, RetryPolicy, bus, sdk
from roomkeeper.aws.bus import Bus
from roomkeeper.domain.events import Event
from roomkeeper.logs import function_logger
from roomkeeper.settings import PublisherSettings
from roomkeeper.store import Store

logger = function_logger()
metrics = Metrics()

SQS_RETRY = RetryPolicy(max_attempts=3, timeout=3)
MAX_REASON_LENGTH = 1000
"""Characters of the reason in a dead-letter message without its record."""

Record = Mapping[str, Any]
Reasons = dict[int, str]
"""The reason for each failure, by the index of the record in the batch."""


@metrics.log_metrics
@logger.inject_lambda_context
def handler(batch: Mapping[str, Any], _context: object) -> dict[str, Any]:
    """Publish the events of a batch of stream records; return the records that Lambda must retry.

    A record that can never be published goes to the dead-letter queue, whole, and does not block
    the others. If the bus is unavailable, the event source mapping retries. With `redrive` in the
    batch, the records come from the dead-letter queue, and are not sent there again.

    Source: "Reporting batch item failures" in the Lambda guide on DynamoDB streams.
    """
    records: Sequence[Record] = batch["Records"]
    due, refused = _due(records)
    published, unavailable = _publish(due, refused)
    # Lambda redelivers everything from the first failure on; refused records there can wait.
    first_failed = min(unavailable, default=len(records))
    for_dlq = {i: why for i, why in refused.items() if i < first_failed}
    unavailable |= for_dlq if "redrive" in batch else _send_all_to_dlq(records, for_dlq)
    metrics.add_metric(name="EventPublished", unit=MetricUnit.Count, value=published)
    metrics.add_metric(name="EventRefused", unit=MetricUnit.Count, value=len(refused))
    metrics.add_metric(name="EventDelayed", unit=MetricUnit.Count, value=len(unavailable))
    return {
        "batchItemFailures": [
            {"itemIdentifier": records[index]["dynamodb"]["SequenceNumber"]}
            for index in sorted(unavailable)
        ]
    }


@cache
def _settings() -> PublisherSettings:
    return PublisherSettings.from_env(os.environ)


@cache
def _store() -> Store:
    return Store(sdk.dynamodb(store.RETRY), _settings().table_name)


@cache
def _bus() -> Bus:
    return Bus(sdk.events(bus.RETRY), _settings().bus_name)


@cache
def _queue() -> Any:
    return sdk.sqs(SQS_RETRY)


def _due(records: Sequence[Record]) -> tuple[list[tuple[int, Event]], Reasons]:
    """Return the events due, each with its record's index, and the records that are invalid."""
    due: list[tuple[int, Event]] = []
    refused: Reasons = {}
    for index, record in enumerate(records):
        try:
            due += [(index, event) for event in store.events_due(record)]
        except Exception as exc:
            logger.exception("stream record makes no sense", key=_key(record))
            refused[index] = f"{type(exc).__name__}: {exc}"
    return due, refused


def _publish(due: Sequence[tuple[int, Event]], refused: Reasons) -> tuple[int, Reasons]:
    """Publish the events; add to `refused`; return the number published and what to retry."""
    events = _in_rooms([event for _, event in due])
    failures = _bus().publish(events)
    unavailable: Reasons = {}
    for event_index, failure in failures.items():
        record_index, event = due[event_index]
        reasons = refused if failure.kind == "refused" else unavailable
        reasons[record_index] = failure.reason
        logger.error("event not published", extra=_identity(event) | {"reason": failure.reason})
    for index, event in enumerate(events):
        if index not in failures:
            logger.info("event published", extra=_identity(event))
    return len(events) - len(failures), unavailable


def _in_rooms(events: Sequence[Event]) -> list[Event]:
    """Return `events`, with the room id added where it is missing and the session's item has it."""
    sessions = {session_id for event in events if (session_id := event.session_lacking_room)}
    rooms = _store().sessions.room_ids(sessions) if sessions else {}
    return [
        event.in_room(rooms[session_id])
        if (session_id := event.session_lacking_room) in rooms
        else event
        for event in events
    ]


def _send_all_to_dlq(records: Sequence[Record], refused: Reasons) -> Reasons:
    """Send refused records to the dead-letter queue until one cannot be sent; return that one.

    Lambda redelivers it, and all records after it.
    """
    for index, reason in refused.items():
        try:
            _send_to_dlq(records[index], reason)
        except AwsError as exc:
            logger.exception("dead letter not sent", key=_key(records[index]))
            return {index: str(exc)}
    return {}


def _send_to_dlq(record: Record, reason: str) -> None:
    """Send a record to the dead-letter queue; only its key if the queue refuses the record."""
    try:
        _send({"reason": reason, "record": record})
    except AwsError as exc:
        if exc.is_retryable:
            raise
        logger.warning("record too much for the queue", key=_key(record), error=str(exc))
        _send({"reason": reason[:MAX_REASON_LENGTH], "key": _key(record)})


def _send(message: Mapping[str, Any]) -> None:
    # Escaped to ASCII: SQS refuses some characters that DynamoDB stores.
    body = json.dumps(message)
    _queue().send_message(QueueUrl=_settings().dead_letter_queue_url, MessageBody=body)


def _identity(event: Event) -> dict[str, str]:
    names = ("recording_id", "session_id", "room_id")
    about = {name: value for name in names if (value := getattr(event.data, name, None))}
    return about | {"event": event.name, "correlation_id": event.metadata.event_id}


def _key(record: Record) -> str:
    return str(record.get("dynamodb", {}).get("Keys", {}).get("pk", {}).get("S"))
