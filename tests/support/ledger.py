"""Compares what was acknowledged with what the table holds and what subscribers received."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from local.vonage.video import callbacks
from roomkeeper.callbacks import video
from roomkeeper.domain.observations import Observation, RecordingObservation
from roomkeeper.store import correlation, observations
from roomkeeper.store.items import deserialize
from tests.support.deployed import WITHIN, Deployed
from tests.support.measurements import Measurements

Fact = tuple[str, str]
"""The name of an event, and the id of the resource it is about.

For the Video API it is the id of the event: one session starts and ends several times.
"""

_IDS = ("participant_id", "recording_id", "session_id", "room_id")
_FACTS = ("product", "recording_id", "session_id", "sha256", "size", "url")
_KEYS = {"recording": "RECORDING#", "session": "SESSION#"}


def fact(event: str, data: Mapping[str, Any]) -> Fact:
    """Return the fact that an event or callback reports, with the most specific id in `data`."""
    return event, str(next(data[name] for name in _IDS if name in data))


def fact_of_callback(body: Mapping[str, Any]) -> Fact:
    """Return the fact that a callback of either product reports."""
    if not is_of_video(body):
        return fact(body["event"], body)
    observation = _observation(body)
    return observation.event, correlation.event_id_for_observation(observation)


def is_of_video(body: Mapping[str, Any]) -> bool:
    """Return whether a callback is one of the Video API."""
    return callbacks.kind_of(body) is not None


def _observation(body: Mapping[str, Any]) -> Observation:
    return video.parse(json.dumps(body).encode())


class Totals(Struct, frozen=True):
    """The counts of a trial: callbacks sent, events due and events received."""

    sent: int
    refused: int
    lost: list[Mapping[str, Any]]
    """Callbacks that were acknowledged but are not completely in the table."""
    due: set[Fact]
    received: Counter[Fact]
    ids: dict[Fact, set[str]]
    dead_letters: int

    @property
    def missing(self) -> set[Fact]:
        """The facts that are due and were not received."""
        return self.due - self.received.keys()

    @property
    def invented(self) -> set[Fact]:
        """The facts that were received and are not due."""
        return self.received.keys() - self.due

    @property
    def repeated(self) -> int:
        """The number of events that were received again, with the same event id."""
        return self.received.total() - len(self.received)

    def record(self, measurements: Measurements) -> "Totals":
        """Add the totals to the measurements and return them."""
        measurements.add(
            "callbacks",
            sent=self.sent,
            refused=self.refused,
            acknowledged=self.sent - self.refused,
            lost=len(self.lost),
        )
        measurements.add(
            "events",
            due=len(self.due),
            received=self.received.total(),
            missing=len(self.missing),
            repeated=self.repeated,
        )
        return self

    def require(self) -> None:
        """Fail if anything is lost, missing, invented, dead-lettered or published with two ids."""
        assert not self.lost, f"{len(self.lost)} acknowledged, not in the table: {self.lost[0]}"
        assert not self.missing, f"{len(self.missing)} due and not received: {sample(self.missing)}"
        assert not self.invented, f"{len(self.invented)} not due: {sample(self.invented)}"
        ambiguous = [each for each, ids in self.ids.items() if len(ids) != 1]
        assert not ambiguous, f"{len(ambiguous)} with more than one id: {sample(ambiguous)}"
        assert not self.dead_letters


class Ledger:
    """Counts from its creation on: create it before the trial."""

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed
        self._deliveries = len(deployed.vonage.deliveries())
        self.events_before = len(deployed.subscriber.receive_all())

    def close(self, due: Iterable[Fact] = ()) -> Totals:
        """Return the totals once all due events were received, or none arrive any more.

        The events of acknowledged callbacks are due; `due` names further ones.
        """
        deliveries = self._deployed.vonage.deliveries()[self._deliveries :]
        acknowledged = [each["body"] for each in deliveries if each["delivered"]]
        all_due = set(map(fact_of_callback, acknowledged)) | set(due)
        events = [(_fact_of(event), event) for event in self._received(all_due)]
        ids: dict[Fact, set[str]] = {}
        for known, event in events:
            ids.setdefault(known, set()).add(event["detail"]["metadata"]["event_id"])
        stored = StoredFacts(self._deployed)
        return Totals(
            sent=len(deliveries),
            refused=len(deliveries) - len(acknowledged),
            lost=[body for body in acknowledged if not stored.contain(body)],
            due=all_due,
            received=Counter(known for known, _ in events),
            ids=ids,
            dead_letters=dead_letters(self._deployed),
        )

    def _received(self, due: set[Fact]) -> Sequence[dict[str, Any]]:
        subscriber, waiting, seen = self._deployed.subscriber, set(due), self.events_before
        while waiting and (new := subscriber.wait_for_more(seen, WITHIN)):
            waiting -= set(map(_fact_of, new))
            seen += len(new)
        return subscriber.receive_all()[self.events_before :]


class StoredFacts:
    """All facts in the table."""

    def __init__(self, deployed: Deployed) -> None:
        pages = deployed.stack.client("dynamodb").get_paginator("scan")
        table = deployed.stack.outputs["TableName"]
        items = [deserialize(i) for page in pages.paginate(TableName=table) for i in page["Items"]]
        self._items = {item["pk"]: item for item in items}
        self._events = {
            fact(item["event"], detail)
            for item in items
            if "detail" in item
            and item.get("product") != "video"
            and any(name in (detail := json.loads(item["detail"])) for name in _IDS)
        }

    def contain(self, body: Mapping[str, Any]) -> bool:
        """Return whether the table has every field of a callback."""
        if is_of_video(body):
            return self._contain_observation(_observation(body))
        known = fact(body["event"], body)
        kind = body["event"].partition(":")[0]
        item = self._items.get(_KEYS.get(kind, "") + known[1])
        if item is None:
            return known in self._events
        facts = {name: value for name, value in body.items() if name != "event"}
        return body["event"] in item["seen"] and facts.items() <= item.items()

    def _contain_observation(self, observation: Observation) -> bool:
        item = self._items.get(observations.key_of(observation))
        if item is None or not isinstance(observation, RecordingObservation):
            return item is not None
        facts = {name: getattr(observation, name) for name in _FACTS}
        known = {name: value for name, value in facts.items() if value is not None}
        return observation.event in item["seen"] and known.items() <= item.items()


def dead_letters(deployed: Deployed) -> int:
    """Return the number of messages in the dead-letter queue."""
    attributes = deployed.stack.client("sqs").get_queue_attributes(
        QueueUrl=deployed.stack.outputs["DeadLetterQueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return sum(map(int, attributes.values()))


def sample(facts: Iterable[Fact]) -> list[Fact]:
    """Return at most five facts, for an error message."""
    return sorted(facts)[:5]


def _fact_of(event: Mapping[str, Any]) -> Fact:
    if event["detail"]["data"]["product"] == "video":
        return event["detail-type"], event["detail"]["metadata"]["event_id"]
    return fact(event["detail-type"], event["detail"]["data"])
