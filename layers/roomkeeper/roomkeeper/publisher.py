"""Publishes the events of stream records, with partial failures.

A record that can never be published goes to the dead-letter queue, complete, and does not block the
others. Records that cannot be published now are returned, for Lambda to deliver them again.

Source: "Reporting batch item failures" in the Lambda guide on DynamoDB streams.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from roomkeeper import store
from roomkeeper.aws import AwsError
from roomkeeper.aws.bus import Bus
from roomkeeper.domain.events import Event
from roomkeeper.logs import function_logger
from roomkeeper.store import Store

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

MAX_REASON_LENGTH = 1000
"""Characters of the reason in a dead-letter message without its record."""

Record = Mapping[str, Any]
Reasons = dict[int, str]
"""The reason for each failure, by the index of the record in the batch."""

logger = function_logger()


class Published(Struct, frozen=True, kw_only=True):
    """The result of a batch: how many events were published and how many records were refused.

    `recordings_failed` is how many of the events are `recording:failed`. `unavailable` has the
    sequence numbers of the records that Lambda must deliver again. `lost_uncopied` is how many of
    the others report a recording that is lost before its copy.
    """

    published: int
    recordings_failed: int
    refused: int
    lost_uncopied: int
    unavailable: Sequence[str]


class DeadLetterQueue:
    """The queue for records that can never be published.

    Args:
        client: an SQS client of `roomkeeper.aws`.
        url: the queue's URL.
    """

    def __init__(self, client: "SQSClient", url: str) -> None:
        self._client = client
        self._url = url

    def send(self, record: Record, reason: str) -> None:
        """Send a record and the reason; only the record's key if the queue refuses the record.

        Raises:
            AwsError: the message could not be sent.
        """
        try:
            self._send({"reason": reason, "record": record})
        except AwsError as exc:
            if exc.is_retryable:
                raise
            logger.warning("record refused by the queue", key=_key(record), error=str(exc))
            self._send({"reason": reason[:MAX_REASON_LENGTH], "key": _key(record)})

    def _send(self, message: Mapping[str, Any]) -> None:
        # Escaped to ASCII: SQS refuses some characters that DynamoDB stores.
        self._client.send_message(QueueUrl=self._url, MessageBody=json.dumps(message))


class Publisher:
    """Publishes batches of stream records on the bus.

    Args:
        bus: the event bus.
        store: returns the table, from which missing room ids are read. Called if one is missing.
        dead_letters: returns the queue for records that can never be published. Called if there is
            such a record.
    """

    def __init__(
        self, bus: Bus, store: Callable[[], Store], dead_letters: Callable[[], DeadLetterQueue]
    ) -> None:
        self._store = store
        self._bus = bus
        self._dead_letters = dead_letters

    def publish(self, records: Sequence[Record], *, is_redrive: bool = False) -> Published:
        """Publish the events that follow from the records.

        In a redrive the records come from the dead-letter queue. Refused ones are not sent there
        again: they count as unavailable.
        """
        due, refused = _due(records)
        published, unavailable = self._publish(due, refused)
        # Lambda redelivers everything from the first failure on; refused records there can wait.
        first_failed = min(unavailable, default=len(records))
        for_dlq = {i: reason for i, reason in refused.items() if i < first_failed}
        unavailable |= for_dlq if is_redrive else self._send_to_dlq(records, for_dlq)
        return Published(
            published=len(published),
            recordings_failed=sum(event.name == "recording:failed" for event in published),
            refused=len(refused),
            lost_uncopied=_log_lost_uncopied(
                record
                for index, record in enumerate(records[: min(unavailable, default=len(records))])
                if index not in refused
            ),
            unavailable=[
                records[index]["dynamodb"]["SequenceNumber"] for index in sorted(unavailable)
            ],
        )

    def _publish(
        self, due: Sequence[tuple[int, Event]], refused: Reasons
    ) -> tuple[Sequence[Event], Reasons]:
        """Publish the events; add to `refused`; return the published ones, and those to retry."""
        events = self._in_rooms([event for _, event in due])
        failures = self._bus.publish(events)
        unavailable: Reasons = {}
        for event_index, failure in failures.items():
            record_index, event = due[event_index]
            reasons = refused if failure.kind == "refused" else unavailable
            reasons[record_index] = failure.reason
            logger.error("event not published", extra=_identity(event) | {"reason": failure.reason})
        published = [event for index, event in enumerate(events) if index not in failures]
        for event in published:
            logger.info("event published", extra=_identity(event))
        return published, unavailable

    def _in_rooms(self, events: Sequence[Event]) -> list[Event]:
        """Return `events`, with missing room ids added if the session's item has them."""
        sessions = {session_id for event in events if (session_id := event.session_lacking_room)}
        rooms = self._store().sessions.room_ids(sessions) if sessions else {}
        return [
            event.in_room(rooms[session_id])
            if (session_id := event.session_lacking_room) in rooms
            else event
            for event in events
        ]

    def _send_to_dlq(self, records: Sequence[Record], refused: Reasons) -> Reasons:
        """Send refused records to the dead-letter queue until one cannot be sent; return that one.

        Lambda redelivers it, and all records after it, so they are sent in their order.
        """
        for index in sorted(refused):
            try:
                self._dead_letters().send(records[index], refused[index])
            except AwsError as exc:
                logger.exception("dead letter not sent", key=_key(records[index]))
                return {index: str(exc)}
        return {}


def _due(records: Sequence[Record]) -> tuple[list[tuple[int, Event]], Reasons]:
    """Return the events due, each with its record's index, and the records that are invalid."""
    due: list[tuple[int, Event]] = []
    refused: Reasons = {}
    for index, record in enumerate(records):
        try:
            due += [(index, event) for event in store.events_due(record)]
        except Exception as exc:
            logger.exception("stream record is invalid", key=_key(record))
            refused[index] = f"{type(exc).__name__}: {exc}"
    return due, refused


def _log_lost_uncopied(records: Iterable[Record]) -> int:
    """Log the recordings that are lost before their copy; return their number."""
    lost = [id_ for record in records if (id_ := store.lost_uncopied(record))]
    for id_ in lost:
        logger.error("recording lost before its copy", recording_id=id_)
    return len(lost)


def _identity(event: Event) -> dict[str, str]:
    names = ("recording_id", "session_id", "room_id")
    about = {name: value for name in names if (value := getattr(event.data, name, None))}
    return about | {"event": event.name, "correlation_id": event.metadata.event_id}


def _key(record: Record) -> str:
    return str(record.get("dynamodb", {}).get("Keys", {}).get("pk", {}).get("S"))
