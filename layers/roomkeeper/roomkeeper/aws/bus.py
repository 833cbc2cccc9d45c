"""Publishing on an EventBridge bus, in the fewest calls; reports which events failed.

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
"""The limit for one call, and therefore for one entry."""

ATTEMPTS = 3
"""Attempts for an entry that EventBridge rejects with a transient error."""

_TRANSIENT = {
    "AccessDeniedException",
    "InternalException",
    "InternalFailure",
    "NotAuthorizedForSourceException",
    "ServiceUnavailable",
    "ServiceUnavailableException",
    "ThrottlingException",
}
"""Error codes of an entry that may be accepted later. A missing permission affects all entries."""

_NON_RETRYABLE = {"ValidationException", "SerializationException"}
"""Error codes of a call with an invalid entry. Retrying the same call cannot succeed."""

RETRY = RetryPolicy(max_attempts=3, timeout=3)
"""The retry policy for one call."""

PUBLISH_TIMEOUT = 23.0
"""Seconds after which `publish` starts no call; the last one ends RETRY.worst_case later."""

_Entry = Any  # PutEventsRequestEntryTypeDef, whose stubs are not installed at run time


class Failure(Struct, frozen=True):
    """The reason why an event is not on the bus: `refused` for good, or `unavailable` for now."""

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
        """Send `events`; return the failures, by the index of the event.

        Entries with a transient error are sent again without the others, ATTEMPTS times in all.
        Entries that succeeded are never sent again. If a whole call fails after its retries, or
        PUBLISH_TIMEOUT passes, every unsent event is returned as unavailable.
        """
        entries = {index: self._entry(event) for index, event in enumerate(events)}
        too_large = Failure("refused", f"The event has more than {MAX_BYTES} bytes.")
        refused = {i: too_large for i, entry in entries.items() if _size(entry) > MAX_BYTES}
        session = _PutEventsSession(
            self._client, deadline=self._clock() + PUBLISH_TIMEOUT, clock=self._clock
        )
        pending = {i: entry for i, entry in entries.items() if i not in refused}
        unavailable: dict[int, Failure] = {}
        for attempt in range(ATTEMPTS):
            if attempt:
                self._sleep(random.uniform(0, 0.1 * 2**attempt))  # noqa: S311 - jitter
            failures = session.send(pending)
            refused |= {i: f for i, f in failures.items() if f.kind == "refused"}
            unavailable = {i: f for i, f in failures.items() if f.kind == "unavailable"}
            pending = {i: pending[i] for i in unavailable}
            if session.is_over or not pending:
                break
        return unavailable | refused

    def _entry(self, event: Event) -> _Entry:
        # Without Time, EventBridge sets the time of publishing, by which replays select events
        # ("StartReplay" in its API reference).
        return {
            "EventBusName": self._name,
            "Source": SOURCE,
            "DetailType": event.name,
            "Detail": event.detail(),
        }


class _PutEventsSession:
    """Calls to the bus, until a whole call fails or the `deadline` (by `clock`) passes."""

    def __init__(
        self, client: "EventBridgeClient", *, deadline: float, clock: Callable[[], float]
    ) -> None:
        self._client = client
        self._deadline = deadline
        self._clock = clock
        self.is_over = False

    def send(self, entries: Mapping[int, _Entry]) -> dict[int, Failure]:
        """Send `entries` in the fewest calls; return those that failed or were not sent.

        If one entry makes a call invalid, the entries of that call are sent singly.
        """
        failures: dict[int, Failure] = {}
        calls = deque(_chunks(entries))
        while calls:
            call = calls.popleft()
            try:
                failures |= self._put({index: entries[index] for index in call})
            except _InvalidRequest as exc:
                if len(call) == 1:
                    failures[call[0]] = Failure("refused", str(exc))
                else:
                    calls.extendleft([index] for index in reversed(call))
            except _Unavailable as exc:
                self.is_over = True
                unsent = [*call, *itertools.chain(*calls)]
                return failures | dict.fromkeys(unsent, Failure("unavailable", str(exc)))
        return failures

    def _put(self, entries: Mapping[int, _Entry]) -> dict[int, Failure]:
        if self._clock() >= self._deadline:
            raise _Unavailable("There was no time left to send it.")
        try:
            response = self._client.put_events(Entries=list(entries.values()))
        except AwsError as exc:
            error_type = _InvalidRequest if exc.code in _NON_RETRYABLE else _Unavailable
            raise error_type(str(exc)) from exc
        return {
            index: _failure(entry)
            for index, entry in zip(entries, response["Entries"], strict=True)
            if "ErrorCode" in entry
        }


class _InvalidRequest(Exception):
    """An entry makes the whole call invalid, so that it can never succeed."""


class _Unavailable(Exception):
    """A whole call failed, or was not made; its events may not be on the bus."""


def _failure(entry: Mapping[str, Any]) -> Failure:
    code = entry["ErrorCode"]
    reason = f"{code}: {entry.get('ErrorMessage', 'no message')}"
    return Failure("unavailable" if code in _TRANSIENT else "refused", reason)


def _chunks(entries: Mapping[int, _Entry]) -> Iterator[list[int]]:
    """Yield the indexes of `entries` in the largest chunks that PutEvents accepts."""
    chunk: list[int] = []
    size = 0
    for index, entry in entries.items():
        size += (added := _size(entry))
        if chunk and (len(chunk) == MAX_ENTRIES or size > MAX_BYTES):
            yield chunk
            chunk, size = [], added
        chunk.append(index)
    if chunk:
        yield chunk


def _size(entry: _Entry) -> int:
    return sum(len(entry[part].encode()) for part in ("Source", "DetailType", "Detail"))
