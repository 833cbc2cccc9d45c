"""The event bus in EventBridge: sends events in the fewest calls, and tells which failed.

Source: "PutEvents" in the EventBridge API reference, "Calculating event entry size" in its guide.
"""

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, cast

from msgspec import Struct

from roomkeeper import aws
from roomkeeper.aws import CallFailed
from roomkeeper.events import SOURCE, Event

if TYPE_CHECKING:
    from mypy_boto3_events import EventBridgeClient

MAX_ENTRIES = 10
MAX_BYTES = 256 * 1024
"""Of one call, and so of one entry too."""

ATTEMPTS = 3

_TRANSIENT = {
    "InternalException",
    "InternalFailure",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ThrottlingException",
}
_SENSELESS = {"ValidationException", "SerializationException"}
"""What a whole call fails with because of what is in it; the same call would always fail so."""
_PATIENCE = aws.Patience(connect=1, read=3, tries=3)
_Entry = Any  # PutEventsRequestEntryTypeDef, whose stubs are not there at run time


class Failure(Struct, frozen=True):
    """Why an event is not on the bus: `refused` for good, or `unavailable` and worth a retry."""

    kind: Literal["refused", "unavailable"]
    reason: str


class Bus:
    """The event bus called `name`."""

    def __init__(
        self, client: "EventBridgeClient", name: str, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._client = client
        self._name = name
        self._sleep = sleep

    def publish(self, events: Sequence[Event]) -> dict[int, Failure]:
        """Send `events`; return why, by index, for each that is not on the bus afterwards.

        An entry that the bus could not take just now is tried again by itself, ATTEMPTS times in
        all; those that went through are never sent a second time.
        """
        waiting = {index: self._entry(event) for index, event in enumerate(events)}
        refused = {
            index: Failure("refused", f"The event has more than {MAX_BYTES} bytes.")
            for index, entry in waiting.items()
            if _size(entry) > MAX_BYTES
        }
        failures: dict[int, Failure] = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - jitter
            failures = self._send({i: e for i, e in waiting.items() if i not in refused})
            refused |= {i: f for i, f in failures.items() if f.kind == "refused"}
            waiting = {i: waiting[i] for i in failures}
            if waiting.keys() <= refused.keys():
                break
        return failures | refused

    def _entry(self, event: Event) -> _Entry:
        return {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": event.name,
            "Time": event.metadata.occurred_at.timestamp(),
            "Detail": event.detail(),
        }

    def _send(self, entries: Mapping[int, _Entry]) -> dict[int, Failure]:
        failures: dict[int, Failure] = {}
        for chunk in _chunks(entries):
            failures |= self._put({index: entries[index] for index in chunk})
        return failures

    def _put(self, entries: Mapping[int, _Entry]) -> dict[int, Failure]:
        """Send `entries` in one call; one by one when some entry makes the call senseless."""
        try:
            answer = self._client.put_events(Entries=list(entries.values()))
        except CallFailed as problem:
            if problem.code not in _SENSELESS:
                return dict.fromkeys(entries, Failure("unavailable", str(problem)))
            if len(entries) == 1:
                return dict.fromkeys(entries, Failure("refused", str(problem)))
            each_alone = [self._put({index: entry}) for index, entry in entries.items()]
            return {index: failure for alone in each_alone for index, failure in alone.items()}
        return {
            index: _failure(entry)
            for index, entry in zip(entries, answer["Entries"], strict=True)
            if "ErrorCode" in entry
        }


def connect() -> "EventBridgeClient":
    """Return an EventBridge client with the timeouts and retries that the publisher lives by."""
    return cast("EventBridgeClient", aws.Client(aws.EVENTS, _PATIENCE))


def _failure(answer: Mapping[str, Any]) -> Failure:
    code = answer["ErrorCode"]
    reason = f"{code}: {answer.get('ErrorMessage', 'no message')}"
    return Failure("unavailable" if code in _TRANSIENT else "refused", reason)


def _chunks(entries: Mapping[int, _Entry]) -> Iterator[list[int]]:
    """Yield the indexes of `entries` in parts that PutEvents takes, each as full as can be."""
    chunk: list[int] = []
    size = 0
    for index, entry in entries.items():
        if chunk and (len(chunk) == MAX_ENTRIES or size + _size(entry) > MAX_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(index)
        size += _size(entry)
    if chunk:
        yield chunk


def _size(entry: _Entry) -> int:
    texts = (entry["Source"], entry["DetailType"], entry["Detail"])
    return 14 + sum(len(text.encode()) for text in texts)  # 14 is what EventBridge counts for Time
