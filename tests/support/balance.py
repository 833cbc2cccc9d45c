"""The balance after a trial: what was acknowledged, what the table holds, what subscribers got."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from roomkeeper.store.items import deserialize
from tests.support.deployed import WITHIN, Deployed
from tests.support.figures import Figures

Fact = tuple[str, str]
"""That something happened: the event's name, and the id of whom it happened to."""

_IDS = ("participant_id", "recording_id", "session_id", "room_id")
_KEYS = {"recording": "RECORDING#", "session": "SESSION#"}


def fact(event: str, said: Mapping[str, Any]) -> Fact:
    """Return what an event or a callback tells, by the most particular id that it names."""
    return event, str(next(said[name] for name in _IDS if name in said))


class Balance(Struct, frozen=True):
    """What is left over when what went in is held against what came out."""

    sent: int
    refused: int
    lost: list[Mapping[str, Any]]
    """Callbacks that were acknowledged and are not in the table, with all that they say."""
    due: set[Fact]
    received: Counter[Fact]
    ids: dict[Fact, set[str]]
    dead_letters: int

    @property
    def missing(self) -> set[Fact]:
        """What is due and has not come."""
        return self.due - self.received.keys()

    @property
    def invented(self) -> set[Fact]:
        """What has come and is not due."""
        return self.received.keys() - self.due

    @property
    def repeated(self) -> int:
        """How many events came once more, under the id that they had the first time."""
        return self.received.total() - len(self.received)

    def entered(self, figures: Figures) -> "Balance":
        """Enter the balance into the figures; return it."""
        figures.add(
            "callbacks",
            sent=self.sent,
            refused=self.refused,
            acknowledged=self.sent - self.refused,
            lost=len(self.lost),
        )
        figures.add(
            "events",
            due=len(self.due),
            received=self.received.total(),
            missing=len(self.missing),
            repeated=self.repeated,
        )
        return self

    def require(self) -> None:
        """Fail unless nothing is lost, missing, invented, or told under two ids."""
        assert not self.lost, f"{len(self.lost)} acknowledged, not in the table: {self.lost[0]}"
        assert not self.missing, f"{len(self.missing)} due and not received: {sample(self.missing)}"
        assert not self.invented, f"{len(self.invented)} not due: {sample(self.invented)}"
        ambiguous = [each for each, ids in self.ids.items() if len(ids) != 1]
        assert not ambiguous, f"{len(ambiguous)} with more than one id: {sample(ambiguous)}"
        assert not self.dead_letters


class Account:
    """Opened before a trial, so that what was before does not count."""

    def __init__(self, deployed: Deployed) -> None:
        self._deployed = deployed
        self._deliveries = len(deployed.vonage.deliveries())
        self.events_before = len(deployed.subscriber.receive_all())

    def balance(self, due: Iterable[Fact] = ()) -> Balance:
        """Return the balance once everything has come, or nothing has for a while.

        What callbacks tell is due; `due` is what is due besides.
        """
        deliveries = self._deployed.vonage.deliveries()[self._deliveries :]
        acknowledged = [each["body"] for each in deliveries if each["delivered"]]
        all_due = {fact(body["event"], body) for body in acknowledged} | set(due)
        events = [(_fact_of(event), event) for event in self._received(all_due)]
        ids: dict[Fact, set[str]] = {}
        for known, event in events:
            ids.setdefault(known, set()).add(event["detail"]["metadata"]["event_id"])
        kept = Kept(self._deployed)
        return Balance(
            sent=len(deliveries),
            refused=len(deliveries) - len(acknowledged),
            lost=[body for body in acknowledged if not kept.says(body)],
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


class Kept:
    """All that the table holds."""

    def __init__(self, deployed: Deployed) -> None:
        pages = deployed.stack.client("dynamodb").get_paginator("scan")
        table = deployed.stack.outputs["TableName"]
        items = [deserialize(i) for page in pages.paginate(TableName=table) for i in page["Items"]]
        self._items = {item["pk"]: item for item in items}
        self._told = {
            fact(item["event"], detail)
            for item in items
            if "detail" in item
            and any(name in (detail := json.loads(item["detail"])) for name in _IDS)
        }

    def says(self, body: Mapping[str, Any]) -> bool:
        """Whether the table holds all that a callback told."""
        known = fact(body["event"], body)
        kind = body["event"].partition(":")[0]
        item = self._items.get(_KEYS.get(kind, "") + known[1])
        if item is None:
            return known in self._told
        facts = {name: value for name, value in body.items() if name != "event"}
        return body["event"] in item["seen"] and facts.items() <= item.items()


def dead_letters(deployed: Deployed) -> int:
    """Return how many dead letters wait."""
    attributes = deployed.stack.client("sqs").get_queue_attributes(
        QueueUrl=deployed.stack.outputs["DeadLetterQueueUrl"],
        AttributeNames=["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"],
    )["Attributes"]
    return sum(map(int, attributes.values()))


def sample(facts: Iterable[Fact]) -> list[Fact]:
    """Return a few of them, for a message."""
    return sorted(facts)[:5]


def _fact_of(event: Mapping[str, Any]) -> Fact:
    return fact(event["detail-type"], event["detail"]["data"])
