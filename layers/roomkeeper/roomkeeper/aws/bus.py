"""The event bus in EventBridge: sends events in the fewest calls, and tells which failed.

Source: "PutEvents" in the EventBridge API reference, "Calculating event entry size" in its guide.
"""

import itertools
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct

from roomkeeper.aws import AwsError, RetryPolicy
from roomkeeper.domain.events import SOURCE, Event

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
_NON_RETRYABLE = {"ValidationException", "SerializationException"}
"""Codes of a whole call that some entry of it makes invalid: a retry would fail alike."""

RETRY = RetryPolicy(max_attempts=3, timeout=3)
"""Of one call."""

PUBLISH_TIMEOUT = 23.0
"""Seconds after which `publish` makes no further call: the last ends RETRY.worst_case later."""

_Entry = Any  # PutEventsRequestEntryTypeDef, whose stubs are not there at run time


class Failure(Struct, frozen=True):
    """Why an event is not on the bus: `refused` for good, or `unavailable` and worth a retry."""

    kind: Literal["refused", "unavailable"]
    reason: str


class Bus:
    """The event bus called `name`."""

    def __init__(
        self,
        client: "EventBridgeClient",
        name: str,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._name = name
        self._sleep = sleep
        self._clock = clock

    def publish(self, events: Sequence[Event]) -> dict[int, Failure]:
        """Send `events`; return why, by index, for each that is not on the bus afterwards.

        An entry that the bus could not take just now is tried again by itself, ATTEMPTS times in
        all; those that went through are never sent a second time. A call that fails as a whole has
        had its tries: all that it leaves, and what there is after PUBLISH_TIMEOUT, is unavailable.
        """
        entries = {index: self._entry(event) for index, event in enumerate(events)}
        too_large = Failure("refused", f"The event has more than {MAX_BYTES} bytes.")
        refused = {i: too_large for i, entry in entries.items() if _size(entry) > MAX_BYTES}
        sending = _PutEventsSession(
            self._client, until=self._clock() + PUBLISH_TIMEOUT, clock=self._clock
        )
        due = {i: entry for i, entry in entries.items() if i not in refused}
        unavailable: dict[int, Failure] = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - jitter
            failures = sending.send(due)
            refused |= {i: f for i, f in failures.items() if f.kind == "refused"}
            unavailable = {i: f for i, f in failures.items() if f.kind == "unavailable"}
            due = {i: due[i] for i in unavailable}
            if sending.is_over or not due:
                break
        return unavailable | refused

    def _entry(self, event: Event) -> _Entry:
        # No Time: EventBridge then sets the time of publishing, by which replays select events
        # ("StartReplay" in its API reference).
        return {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": event.name,
            "Detail": event.detail(),
        }


class _PutEventsSession:
    """Calls to the bus, until one fails as a whole or it is `until` by `clock`: then it is over."""

    def __init__(
        self, client: "EventBridgeClient", *, until: float, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._until = until
        self._clock = clock
        self.is_over = False

    def send(self, entries: Mapping[int, _Entry]) -> dict[int, Failure]:
        """Send `entries` in the fewest calls; return what failed, and what was left unsent.

        If one entry makes a call invalid, the entries of that call are sent singly.
        """
        failures: dict[int, Failure] = {}
        calls = deque(_chunks(entries))
        while calls:
            call = calls.popleft()
            try:
                failures |= self._put({index: entries[index] for index in call})
            except _InvalidRequest as problem:
                if len(call) == 1:
                    failures[call[0]] = Failure("refused", str(problem))
                else:
                    calls.extendleft([index] for index in reversed(call))
            except _Unavailable as problem:
                self.is_over = True
                unsent = [*call, *itertools.chain(*calls)]
                return failures | dict.fromkeys(unsent, Failure("unavailable", str(problem)))
        return failures

    def _put(self, entries: Mapping[int, _Entry]) -> dict[int, Failure]:
        if self._clock() >= self._until:
            raise _Unavailable("There was no time left to send it.")
        try:
            answer = self._client.put_events(Entries=list(entries.values()))
        except AwsError as exc:
            kind = _InvalidRequest if exc.code in _NON_RETRYABLE else _Unavailable
            raise kind(str(exc)) from exc
        return {
            index: _failure(entry)
            for index, entry in zip(entries, answer["Entries"], strict=True)
            if "ErrorCode" in entry
        }


class _InvalidRequest(Exception):
    """Some entry makes the whole call one that can never succeed."""


class _Unavailable(Exception):
    """A whole call failed, or was not made: nothing is known to be on the bus."""


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
    return sum(len(entry[part].encode()) for part in ("Source", "DetailType", "Detail"))
