"""The copies of recordings in the table: claims, progress and results."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from roomkeeper.domain.copies import Copy
from roomkeeper.domain.recordings import Recording, Worklist
from roomkeeper.errors import RoomkeeperError
from roomkeeper.store.items import (
    CHECKPOINT,
    DEFERRAL,
    RECORDING,
    serialize,
    serialize_nested,
    shard_of,
)
from roomkeeper.store.table import Table
from roomkeeper.times import from_iso

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

COPIED = "recording:copied"

_CLAIM = "copy_claim, copy_claimed_until"

_SWEEP = CHECKPOINT + "copying"


class ClaimLost(RoomkeeperError):
    """Another invocation has the claim by now, or the recording's item no longer exists."""

    @property
    def is_item_specific(self) -> bool:
        """True: other recordings are not affected."""
        return True


class CopyStore:
    """The copies of recordings in the table called `table`.

    An invocation claims a recording before it copies it, and only the one with the claim may change
    the recording's copy. A claim ends by itself with the invocation's time, so a killed invocation
    does not block the next. `client` is a DynamoDB client of `roomkeeper.aws`.

    All methods raise StoreUnavailable if a write fails or its outcome is unknown.
    """

    def __init__(self, client: "DynamoDBClient", table: str) -> None:
        self._table = Table(client, table)

    def claim(self, recording_id: str, claim: str, until: datetime, now: datetime) -> bool:
        """Claim a recording until a time; return False if it is claimed, copied or not there.

        Returns False also if its copy was deleted by the operator.
        """
        return self._table.update(
            RECORDING + recording_id,
            "SET copy_claim = :claim, copy_claimed_until = :until",
            "attribute_exists(pk) AND attribute_not_exists(copy_deleted_at) "
            "AND NOT contains(seen, :copied) "
            "AND (attribute_not_exists(copy_claimed_until) OR copy_claimed_until < :now "
            "OR copy_claim = :claim)",  # the response to the first attempt of this call was lost
            ExpressionAttributeValues={
                ":claim": serialize(claim),
                ":until": serialize(until),
                ":now": serialize(now),
                ":copied": {"S": COPIED},
            },
        )

    def release(self, recording_id: str, claim: str) -> bool:
        """Give a claim back; return False if it is lost already."""
        return self._table.update(
            RECORDING + recording_id,
            f"REMOVE {_CLAIM}",
            "copy_claim = :claim",
            ExpressionAttributeValues={":claim": serialize(claim)},
        )

    def save(self, recording_id: str, claim: str, copy: Copy) -> None:
        """Save the progress of a copy.

        Raises:
            ClaimLost: another invocation has the claim by now.
        """
        if not self._table.update(
            RECORDING + recording_id,
            "SET #copy = :copy",
            "copy_claim = :claim",
            ExpressionAttributeNames={"#copy": "copy"},
            ExpressionAttributeValues={":copy": _as_item(copy), ":claim": serialize(claim)},
        ):
            raise ClaimLost(f"Another invocation copies the recording {recording_id!r}.")

    def mark_copied(
        self, recording: Recording, claim: str, copy: Copy, ttl: int | None, now: datetime
    ) -> bool:
        """Record that a copy is made, and queue the recording for the cleanup.

        Returns False if another invocation recorded it before. The cleanup's time counts from the
        upload. The item expires at `ttl`, in Unix seconds, and not before; never if that is None. A
        recording that has no file at Vonage any more is not queued.

        Raises:
            ClaimLost: another invocation has the claim by now.
        """
        made = {
            ":copy": _as_item(copy),
            ":at": serialize(copy.copied_at or now),
            ":claim": serialize(claim),
            ":ttl": serialize(ttl),
            ":now": serialize(now),
        }
        shard = shard_of(recording.recording_id)
        if self._mark(
            recording,
            "worklist = :to, since = :since",
            f"REMOVE {_CLAIM}, {', '.join(DEFERRAL)}",
            "attribute_not_exists(deleted_at) AND attribute_not_exists(closed_worklist)",
            **made,
            **{
                ":to": serialize(f"confirmed#{shard}"),
                ":since": serialize(recording.uploaded_at or now),
            },
        ):
            return True
        if self._mark(
            recording,
            "#ttl = :ttl",
            f"REMOVE {_CLAIM}",
            "(attribute_exists(deleted_at) OR attribute_exists(closed_worklist))",
            **made,
        ):
            return True
        known = self._table.get(RECORDING + recording.recording_id) or {}
        if COPIED in known.get("seen", ()):  # by us, if only the response to the write was lost
            return bool(known.get("copied_at") == made[":at"]["S"])
        raise ClaimLost(f"Another invocation copies the recording {recording.recording_id!r}.")

    def _mark(
        self, recording: Recording, sets: str, removes: str, condition: str, **values: Any
    ) -> bool:
        names = {"#copy": "copy"} | ({"#ttl": "ttl"} if "#ttl" in sets else {})
        return self._table.update(
            RECORDING + recording.recording_id,
            "SET #copy = :copy, copied_at = :at, closed_ttl = :ttl, "
            f"confirmed_at = if_not_exists(confirmed_at, :now), {sets} {removes} ADD seen :names",
            f"copy_claim = :claim AND NOT contains(seen, :copied) AND {condition}",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={
                **values,
                ":names": {"SS": [COPIED]},
                ":copied": {"S": COPIED},
            },
        )

    def queue(self, recording: Recording) -> bool:
        """Take a recording without a copy back from the cleanup's worklists, to be copied.

        Returns False if it was deleted or copied, has no file at Vonage any more, or moved to
        another worklist meanwhile.
        """
        return self._move(recording, "awaiting_copy")

    def skip(self, recording: Recording) -> bool:
        """Queue a recording that needs no copy for the cleanup; return False if it moved."""
        return self._move(recording, "retained")

    def _move(self, recording: Recording, to: Worklist) -> bool:
        """Move a recording to a worklist, with the time of its upload."""
        shard = shard_of(recording.recording_id)
        return self._table.update(
            RECORDING + recording.recording_id,
            f"SET worklist = :to, since = if_not_exists(queued_at, since) "
            f"REMOVE {', '.join(DEFERRAL)}",
            "worklist = :from AND attribute_not_exists(deleted_at) "
            "AND attribute_not_exists(closed_worklist) AND NOT contains(seen, :copied)",
            ExpressionAttributeValues={
                ":from": serialize(recording.worklist),
                ":to": serialize(f"{to}#{shard}"),
                ":copied": {"S": COPIED},
            },
        )

    def start_deletion(self, recording_id: str, now: datetime) -> bool:
        """Record that the operator deletes the copy; return False if there is none, or a hold.

        From now on the recording has no copy, and cannot be put on hold. `copy` still says where
        the object is, until `finish_deletion`.
        """
        return self._table.update(
            RECORDING + recording_id,
            "SET copy_deleted_at = :now REMOVE copied_at",
            "attribute_exists(copied_at) AND attribute_exists(deleted_at) "
            "AND attribute_not_exists(#hold)",
            ExpressionAttributeNames={"#hold": "hold"},
            ExpressionAttributeValues={":now": serialize(now)},
        )

    def finish_deletion(self, recording_id: str, ttl: int) -> bool:
        """Record that the object is deleted; return False if that is recorded already.

        The item expires at `ttl`, in Unix seconds.
        """
        return self._table.update(
            RECORDING + recording_id,
            "SET #ttl = :ttl REMOVE #copy, closed_ttl",
            "attribute_exists(copy_deleted_at) AND attribute_exists(#copy)",
            ExpressionAttributeNames={"#copy": "copy", "#ttl": "ttl"},
            ExpressionAttributeValues={":ttl": serialize(ttl)},
        )

    def swept_until(self) -> datetime | None:
        """Return the upload time up to which the cleanup's worklists were checked for copies."""
        item = self._table.get(_SWEEP) or {}
        return from_iso(item["swept_until"]) if item else None

    def save_sweep(self, until: datetime) -> None:
        """Save the upload time up to which the cleanup's worklists were checked for copies."""
        self._table.update(
            _SWEEP,
            "SET swept_until = :until",
            "attribute_not_exists(swept_until) OR swept_until < :until",
            ExpressionAttributeValues={":until": serialize(until)},
        )


def _as_item(copy: Copy) -> Any:
    fields = msgspec.to_builtins(copy)
    return serialize_nested({name: value for name, value in fields.items() if value is not None})
