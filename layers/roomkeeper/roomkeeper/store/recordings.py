"""The recordings in the table."""

import logging
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import msgspec

from roomkeeper.domain.observations import DeletedBy, RecordingObservation
from roomkeeper.domain.recordings import IF_CONFIRMED, Hold, Recording
from roomkeeper.store.items import (
    DEFERRAL,
    RECORDING,
    CorruptItem,
    build_update,
    read,
    serialize,
    serialize_all,
)
from roomkeeper.store.observations import confirmed_update
from roomkeeper.store.table import Table

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

logger = logging.getLogger(__name__)


class RecordingStore:
    """The recordings in the table.

    Args:
        client: a DynamoDB client of `roomkeeper.aws`.
        table: the table's name.
        deleted_days: the days for which a recording's item is kept once the recording is deleted,
            failed, expired, missing at Vonage, or marked as never uploaded.
        copies: whether recordings are copied, so that uploaded ones await their copy.
    """

    def __init__(
        self, client: "DynamoDBClient", table: str, *, deleted_days: int, copies: bool = False
    ) -> None:
        self._table = Table(client, table)
        self._deleted_time = timedelta(days=deleted_days)
        self._copies = copies

    def reconcile(self, observation: RecordingObservation, now: datetime) -> bool:
        """Write an observation of Vonage's API, as a CallbackStore does for a callback.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        update = confirmed_update(observation, now, self.expires_at(now), copies=self._copies)
        return self._table.update(**build_update(update))

    def mark_missing(self, recording: Recording, now: datetime) -> bool:
        """Mark a recording as missing at Vonage, and take it off its worklist.

        Returns False if it is uploaded, stored, failed, expired or deleted. The item expires after
        `deleted_days`, unless the recording is on hold.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        return self._close(
            recording,
            now,
            "missing_at",
            " ADD seen :lost, reconciled :lost",
            {":lost": {"SS": ["recording:lost"]}},
        )

    def mark_never_uploaded(self, recording: Recording, now: datetime) -> bool:
        """Mark a recording as never uploaded, and take it off its worklist.

        Returns False if it is uploaded, stored, failed, expired or deleted. The item expires after
        `deleted_days`, unless the recording is on hold. Until then, a `recording:uploaded` has its
        usual effect.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        return self._close(recording, now, "never_uploaded_at")

    def _close(
        self,
        recording: Recording,
        now: datetime,
        timestamp: str,
        adds: str = "",
        values: Mapping[str, Any] = MappingProxyType({}),
    ) -> bool:
        # A hold, which may have been set since the recording was read, has a closed_ttl of null.
        return self._table.update(
            RECORDING + recording.recording_id,
            f"SET {timestamp} = if_not_exists({timestamp}, :at), "
            "#ttl = if_not_exists(closed_ttl, :ttl) "
            f"REMOVE worklist, since, attempts, queued_at{adds}",
            "attribute_exists(pk) AND attribute_not_exists(deleted_at) "
            "AND attribute_not_exists(closed_worklist) "
            "AND NOT contains(seen, :uploaded) AND NOT contains(seen, :stored)",
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={
                ":at": serialize(now),
                ":ttl": serialize(self.expires_at(now)),
                ":uploaded": {"S": "recording:uploaded"},
                ":stored": {"S": "recording:stored"},
                **values,
            },
        )

    def confirm(self, recording: Recording, now: datetime) -> bool:
        """Mark a recording as returned by Vonage's API; return False if nothing was written.

        Cleanup handles confirmed recordings first: a forged callback cannot confirm one. A
        recording that was deferred while it awaited its upload returns to its worklist.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        if not recording.needs_confirmation:
            return False
        name, _, shard = (recording.worklist or "").partition("#")
        sets, removes = "SET confirmed_at = if_not_exists(confirmed_at, :at)", ""
        condition, values = "attribute_exists(pk)", {":at": serialize(now)}
        if name in IF_CONFIRMED:
            sets, condition = f"{sets}, worklist = :to", "worklist = :from"
            values[":from"] = serialize(f"{name}#{shard}")
            values[":to"] = serialize(f"{IF_CONFIRMED[name]}#{shard}")
        if name == "deferred_awaiting_upload" and recording.queued_at:
            sets, removes = f"{sets}, since = :queued", f" REMOVE {', '.join(DEFERRAL)}"
            values[":queued"] = serialize(recording.queued_at)
        return self._table.update(
            RECORDING + recording.recording_id,
            sets + removes,
            condition,
            ExpressionAttributeValues=values,
        )

    def mark_expiring(self, recording_id: str, now: datetime) -> bool:
        """Record that Vonage will soon delete the recording's file; return False if that is known.

        Returns False also if the recording is copied or deleted, or has no file at Vonage any more.
        The recording stays on its worklist.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        return self._table.update(
            RECORDING + recording_id,
            "SET expiring_at = :at ADD seen :names, reconciled :names",
            "attribute_exists(pk) AND attribute_not_exists(deleted_at) "
            "AND attribute_not_exists(copied_at) "
            "AND attribute_not_exists(closed_worklist) AND NOT contains(seen, :name)",
            ExpressionAttributeValues={
                ":at": serialize(now),
                ":name": {"S": "recording:expiring"},
                ":names": {"SS": ["recording:expiring"]},
            },
        )

    def get(self, recording_id: str) -> Recording | None:
        """Return the recording; None if it is not in the table.

        Raises:
            StoreUnavailable: the item could not be read.
            CorruptItem: the item has a missing or invalid attribute.
        """
        item = self._table.get(RECORDING + recording_id)
        return read(RECORDING + recording_id, item, Recording) if item else None

    def get_many(self, recording_ids: Iterable[str]) -> dict[str, Recording]:
        """Return the recordings that are in the table, by id.

        A corrupt item is logged and left out, so that it does not block the others.

        Raises:
            StoreUnavailable: not all items could be read.
        """
        known: dict[str, Recording] = {}
        for id_, found in self.get_each(recording_ids).items():
            if isinstance(found, CorruptItem):
                logger.warning("%s", found)
            else:
                known[id_] = found
        return known

    def get_each(self, recording_ids: Iterable[str]) -> dict[str, Recording | CorruptItem]:
        """Return the recordings that are in the table, by id; the error of each corrupt item.

        Raises:
            StoreUnavailable: not all items could be read.
        """
        items = self._table.get_all((RECORDING + id_ for id_ in recording_ids), ConsistentRead=True)
        return {item["pk"].removeprefix(RECORDING): _recording_or_error(item) for item in items}

    def in_session(self, session_id: str) -> list[str]:
        """Return the ids of the session's recordings whose start time is known.

        `recording:started` carries no time, so recordings known only from it are missing.

        Raises:
            StoreUnavailable: not all pages could be read.
        """
        pages = self._table.pages(
            "by_session",
            "session_id = :session_id",
            ExpressionAttributeValues={":session_id": {"S": session_id}},
        )
        keys = [item["pk"]["S"] for page in pages for item in page["Items"]]
        return [key.removeprefix(RECORDING) for key in keys if key.startswith(RECORDING)]

    def mark_deleted(
        self,
        recording_id: str,
        by: DeletedBy,
        now: datetime,
        *,
        file_kept: bool = False,
        adding: Recording | RecordingObservation | None = None,
    ) -> bool:
        """Mark a recording as deleted at Vonage, and take it off its worklist.

        Returns False if it is marked already, or is not in the table. The item expires after
        `deleted_days`, or with its copy. With `file_kept`, the file stays in its owner's storage.
        With `adding`, a recording that is not in the table is added.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        identity, values = "", {}
        kept = ", file_kept = :kept" if file_kept else ""
        condition = "attribute_exists(pk) AND attribute_not_exists(deleted_at)"
        if adding is not None:
            condition = "attribute_not_exists(deleted_at)"
            identity = (
                ", recording_id = :id, session_id = if_not_exists(session_id, :session)"
                ", product = if_not_exists(product, :product)"
            )
            values = {
                ":id": serialize(recording_id),
                ":session": serialize(adding.session_id),
                ":product": serialize(adding.product),
            }
        return self._table.update(
            RECORDING + recording_id,
            "SET deleted_at = :at, deleted_by = :by, "
            f"#ttl = if_not_exists(closed_ttl, :ttl){kept}{identity} "
            "REMOVE worklist, since, attempts, queued_at ADD seen :seen",
            condition,
            ExpressionAttributeNames={"#ttl": "ttl"},
            ExpressionAttributeValues={
                **values,
                ":at": serialize(now),
                ":by": serialize(by),
                ":ttl": serialize(self.expires_at(now)),
                ":seen": {"SS": ["recording:deleted"]},
                **({":kept": {"BOOL": True}} if file_kept else {}),
            },
        )

    def hold(self, recording_id: str, reason: str, requested_by: str, now: datetime) -> bool:
        """Put a recording on hold, replacing an earlier hold; return False if it is deleted.

        Returns False also if the recording is not in the table. One that is deleted at Vonage can
        be put on hold as long as it has a copy. The item does not expire while it is on hold.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        hold = Hold(reason=reason, requested_by=requested_by, since=now)
        fields = serialize_all(msgspec.structs.asdict(hold))
        return self._table.update(
            RECORDING + recording_id,
            "SET #hold = :hold, closed_ttl = :never REMOVE #ttl",
            "attribute_exists(pk) "
            "AND (attribute_not_exists(deleted_at) OR attribute_exists(copied_at))",
            ExpressionAttributeNames={"#hold": "hold", "#ttl": "ttl"},
            ExpressionAttributeValues={":hold": {"M": fields}, ":never": serialize(None)},
        )

    def keep_if_on_hold(self, recording_id: str) -> bool:
        """Remove the TTL of a recording that is on hold; return False if it is not.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        return self._table.update(
            RECORDING + recording_id,
            "SET closed_ttl = :never REMOVE #ttl",
            "attribute_exists(#hold)",
            ExpressionAttributeNames={"#hold": "hold", "#ttl": "ttl"},
            ExpressionAttributeValues={":never": serialize(None)},
        )

    def release(self, recording: Recording, ttl: int | None) -> bool:
        """Remove a recording's hold; return False if there is none, or the recording has changed.

        `ttl` is when the item expires, in Unix seconds; None for never. It takes effect at once if
        Vonage has no file any more. Otherwise it takes effect with the deletion or expiry of the
        original, if there is a copy. All that depends on `recording` as it was read: another hold,
        a change of its worklist or a copy made since then prevents the release.

        Raises:
            StoreUnavailable: the write failed or its outcome is unknown.
        """
        is_closed = recording.status in ("failed", "expired")
        is_over = is_closed or recording.deleted_at or recording.worklist is None
        sets = ["#ttl = :ttl"] if is_over else []
        removes = ["#hold"]
        if is_closed or recording.copied_at:
            sets.append("closed_ttl = :ttl")
        else:
            removes.append("closed_ttl")
        values = {":ttl": serialize(ttl)} if sets else {}
        unchanged = f"attribute_{'' if recording.copied_at else 'not_'}exists(copied_at)"
        if recording.worklist is None:
            unchanged += " AND attribute_not_exists(worklist)"
        else:
            unchanged += " AND worklist = :worklist"
            values[":worklist"] = serialize(recording.worklist)
        if recording.hold:
            unchanged += " AND #hold.since = :held_since"
            values[":held_since"] = serialize(recording.hold.since)
        return self._table.update(
            RECORDING + recording.recording_id,
            f"{'SET ' if sets else ''}{', '.join(sets)} REMOVE {', '.join(removes)}",
            f"attribute_exists(#hold) AND {unchanged}",
            ExpressionAttributeNames={"#hold": "hold"} | ({"#ttl": "ttl"} if is_over else {}),
            **({"ExpressionAttributeValues": values} if values else {}),
        )

    def may_have_expired(self, observation: RecordingObservation, now: datetime) -> bool:
        """Return True if the table may have had this recording until its item expired.

        Vonage may list a recording that failed, or whose file expired, for longer than its item is
        kept. That is `deleted_days` after the end of its file, and so after its start.
        """
        started_at = observation.started_at
        is_closed = observation.event in ("recording:failed", "recording:expired")
        return is_closed and started_at is not None and started_at + self._deleted_time < now

    def expires_at(self, now: datetime) -> int:
        """Return when an item that is not needed from `now` on expires, in Unix seconds."""
        return int((now + self._deleted_time).timestamp())


def _recording_or_error(item: Mapping[str, Any]) -> Recording | CorruptItem:
    try:
        return read(item["pk"], item, Recording)
    except CorruptItem as exc:
        return exc
