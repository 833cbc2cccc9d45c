"""The worklists: the recordings and sessions that a job will process."""

import heapq
import logging
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from roomkeeper.domain.recordings import DEFERRED, IF_CONFIRMED, Worklist, WorklistEntry
from roomkeeper.store.items import RECORDING, SESSION, deserialize, serialize, shards
from roomkeeper.store.table import Table
from roomkeeper.times import from_iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

logger = logging.getLogger(__name__)

_PAGE = 100
"""Entries in one page of a worklist's shard; one page of each shard is in memory."""


class Worklists:
    """The worklists in the table called `table`.

    `client` is a DynamoDB client of `roomkeeper.aws`.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def read(
        self, worklist: Worklist, until: datetime, after: datetime | None = None
    ) -> Iterator[WorklistEntry]:
        """Yield the entries that were queued on a worklist at `until` or before, oldest first.

        With `after`, only those that were queued then or later.

        Pages are read as needed. The index is eventually consistent: check the item before acting.
        An entry with a corrupt `since` is logged and left out, so that it blocks no others.

        Raises:
            StoreUnavailable: a page could not be read.
        """
        sources = [
            (
                entry
                for page in self._pages(shard, until, after, Limit=_PAGE)
                for entry in page["Items"]
            )
            for shard in shards(worklist)
        ]
        for entry in heapq.merge(*sources, key=lambda entry: entry["since"]["S"]):
            if valid := _entry(deserialize(entry)):
                yield valid

    def count(self, worklist: Worklist, until: datetime) -> int:
        """Return the number of entries that `read` would yield.

        Raises:
            StoreUnavailable: the worklist could not be read.
        """
        return sum(
            page["Count"]
            for shard in shards(worklist)
            for page in self._pages(shard, until, Select="COUNT")
        )

    def defer(
        self,
        entry: WorklistEntry,
        now: datetime,
        delay: Callable[[int], timedelta],
        *,
        confirmed: bool,
    ) -> bool:
        """Move an entry of a worklist to the deferred list; return False if it moved meanwhile.

        `delay` returns the time from `now` to the next attempt, given the number of failures so
        far. `confirmed` is True if Vonage's API has just returned the recording. The change causes
        no event, since `seen` does not change.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        key = (RECORDING if entry.kind == "recording" else SESSION) + entry.id
        item = self._table.get(key) or {}
        attempts, queued_at = 1, entry.since
        target = entry.worklist if entry.is_deferred else DEFERRED + entry.worklist
        if entry.is_deferred:
            attempts += known if isinstance(known := item.get("attempts"), int) else 0
            queued_at = item.get("queued_at", queued_at)
        sets = "worklist = :to, since = :next, attempts = :attempts, queued_at = :queued"
        values = {
            ":from": serialize(entry.worklist),
            ":since": serialize(entry.since),
            ":next": serialize(now + delay(attempts)),
            ":attempts": serialize(attempts),
            ":queued": serialize(queued_at),
        }
        if confirmed:
            name, _, shard = target.partition("#")
            target = f"{IF_CONFIRMED.get(name, name)}#{shard}"
            sets += ", confirmed_at = if_not_exists(confirmed_at, :at)"
            values[":at"] = serialize(now)
        return self._table.update(
            key,
            f"SET {sets}",
            "worklist = :from AND since = :since",
            ExpressionAttributeValues={**values, ":to": serialize(target)},
        )

    def queued_at(self, entry: WorklistEntry) -> datetime:
        """Return when an entry was queued on its worklist, before any deferral.

        If the item does not say it, or is corrupt, that is the entry's `since`.

        Raises:
            StoreUnavailable: the item could not be read.
        """
        key = (RECORDING if entry.kind == "recording" else SESSION) + entry.id
        item = (self._table.get(key) or {}) if entry.is_deferred else {}
        return _time_or_none(item.get("queued_at")) or entry.since

    def mark_session_checked(
        self, session: WorklistEntry, confirmed_at: datetime | None = None
    ) -> bool:
        """Take a session off its worklist; return False if it was queued again meanwhile.

        `confirmed_at` is the time at which Vonage's API returned its recordings; None if Vonage
        does not have the session.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        confirmed = {":at": serialize(confirmed_at)} if confirmed_at else {}
        sets = "SET confirmed_at = if_not_exists(confirmed_at, :at) " if confirmed else ""
        return self._table.update(
            SESSION + session.id,
            f"{sets}REMOVE worklist, since, attempts, queued_at",
            "since = :since",
            ExpressionAttributeValues={":since": serialize(session.since), **confirmed},
        )

    def _pages(
        self, shard: str, until: datetime, after: datetime | None = None, **query: Any
    ) -> Iterator[Any]:
        start = after or datetime.min.replace(tzinfo=UTC)
        return self._table.pages(
            "worklist",
            "worklist = :shard AND since BETWEEN :after AND :until",
            ExpressionAttributeValues={
                ":shard": {"S": shard},
                ":after": serialize(min(start, until)),
                ":until": serialize(until),
            },
            **query,
        )


def _entry(entry: Mapping[str, Any]) -> WorklistEntry | None:
    key, since, worklist = entry["pk"], _time_or_none(entry["since"]), entry["worklist"]
    if since is None:
        logger.warning(
            "The item %s is corrupt: its since is no time. Correct it in the table.", key
        )
        return None
    if key.startswith(RECORDING):
        return WorklistEntry("recording", key.removeprefix(RECORDING), since, worklist)
    return WorklistEntry("session", key.removeprefix(SESSION), since, worklist)


def _time_or_none(value: Any) -> datetime | None:
    try:
        return from_iso(value)
    except (TypeError, ValueError):
        return None
