"""The operations of the management API. A change is made at Vonage first, then in the table."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from roomkeeper import holds
from roomkeeper.aws.bucket import Bucket
from roomkeeper.aws.copy_queue import CopyQueue
from roomkeeper.domain.copies import Copy
from roomkeeper.domain.observations import RecordingObservation
from roomkeeper.domain.recordings import Recording, is_in_owners_storage
from roomkeeper.domain.rooms import Room
from roomkeeper.management.errors import (
    AlreadyDeleted,
    CopyingIsOff,
    CopyInProgress,
    CopyOutOfReach,
    NotCopied,
    NotDeletableYet,
    NotKnown,
    NotUploaded,
    OnHold,
)
from roomkeeper.management.requests import HoldRequest, Page
from roomkeeper.management.sources import RecordingsAtVonage
from roomkeeper.management.views import (
    CopyRequest,
    Deletion,
    File,
    KnownRecording,
    RecordingHold,
    Recordings,
    Republished,
    Rooms,
    made_copy,
    merge,
)
from roomkeeper.store import Store
from roomkeeper.times import from_iso, iso
from roomkeeper.vonage import UnrecognizedStatus
from roomkeeper.vonage.connect import Clients

logger = logging.getLogger(__name__)

URL_VALID_FOR = timedelta(hours=1)
"""How long the URL of a copy is valid, unless the function's credentials expire earlier."""


class Copies(Struct, frozen=True):
    """The bucket of the copies, and the queue of the recordings to copy.

    `expires_at` takes the time of a copy, and returns when the recording's item may expire, in Unix
    seconds; None for never.
    """

    bucket: Bucket
    queue: CopyQueue
    expires_at: Callable[[datetime], int | None]


class Management:
    """All operations of the management API, on a store and the clients of Vonage's products.

    `copies` is None if the stack does not copy recordings.

    Each operation is idempotent, and raises VonageError, StoreUnavailable or AwsError if a call
    fails.
    """

    def __init__(self, store: Store, clients: Clients, copies: Copies | None = None) -> None:
        self._copies = copies
        self._store = store
        self._clients = clients
        self._vonage = RecordingsAtVonage(clients)

    # --- rooms ------------------------------------------------------------------------------------

    def rooms(self, page: Page) -> Rooms:
        """Return the rooms of a page; its cursor is Vonage's `start_id`."""
        found = self._clients.rooms.list_rooms(page.cursor, page.size)
        return Rooms(
            rooms=found.rooms,
            next_cursor=found.next_start_id,
            total_items=found.total_items,
            invalid_rooms=len(found.invalid),
        )

    def room(self, room_id: str) -> Room:
        """Return the room."""
        return self._clients.rooms.get_room(room_id)

    def update_expiry(self, room_id: str, expires_at: datetime) -> Room:
        """Set the expiry of a long-term room; return the updated room."""
        return self._clients.rooms.update_room_expiry(room_id, expires_at)

    def delete_room(self, room_id: str) -> None:
        """Delete the room."""
        self._clients.rooms.delete_room(room_id)

    # --- recordings -------------------------------------------------------------------------------

    def recordings_in(self, session_id: str) -> Recordings:
        """Return the session's recordings at Vonage and in the table, merged, in order of start.

        Raises:
            NotKnown: Vonage does not have the session, and the table has no recording of it.
        """
        stored = self._store.recordings.get_many(self._store.recordings.in_session(session_id))
        listed = self._vonage.in_session(session_id, {each.product for each in stored.values()})
        at_vonage = {each.recording_id: each for each in listed or ()}
        stored |= self._store.recordings.get_many(at_vonage.keys() - stored.keys())
        if listed is None and not stored:
            raise NotKnown(f"Neither Vonage nor Roomkeeper knows the session {session_id!r}.")
        room_id = self._store.sessions.room_ids([session_id]).get(session_id)
        ids = {**at_vonage, **stored}
        merged = [merge(stored.get(id_), at_vonage.get(id_), room_id) for id_ in ids]
        return Recordings(recordings=sorted(merged, key=_start))

    def recording(self, recording_id: str) -> KnownRecording:
        """Return the recording, merged from Vonage and the table, with a fresh URL if there is one.

        Raises:
            NotKnown: neither Vonage nor the table has the recording.
        """
        stored = self._store.recordings.get(recording_id)
        at_vonage = self._at_vonage(recording_id, stored)
        known = stored or at_vonage
        if known is None:
            raise NotKnown(f"Neither Vonage nor Roomkeeper knows the recording {recording_id!r}.")
        rooms = self._store.sessions.room_ids([known.session_id])
        return merge(stored, at_vonage, rooms.get(known.session_id))

    def _at_vonage(
        self, recording_id: str, stored: Recording | None
    ) -> RecordingObservation | None:
        """Return the recording at Vonage; None if there is none.

        None also for a recording in the table whose status Roomkeeper does not know: the table's
        data is more useful then.
        """
        if stored is None:
            return self._vonage.recording(recording_id)
        try:
            return self._vonage.recording(recording_id, stored.product)
        except UnrecognizedStatus as error:
            logger.warning("Only the table's data is used: %s", error)
            return None

    def delete_recording(
        self, recording_id: str, now: datetime, *, deletes_copy: bool = False
    ) -> Deletion | None:
        """Delete the recording at Vonage, then mark it deleted in the table.

        Returns whether its copy was kept or deleted (`deletes_copy`); None if there is no copy. The
        original is not deleted again if it is marked already. A recording that Vonage no longer has
        counts as deleted by this call: an earlier attempt may have failed between the two steps.

        Raises:
            OnHold: the recording is on hold, and so is its copy; release the hold first.
            CopyInProgress: the copy to delete is being made.
            CopyingIsOff, CopyOutOfReach: the copy cannot be deleted.
            NotDeletableYet: the recording is not uploaded yet.
            NotKnown: neither Vonage nor the table has the recording.
        """
        stored = self._store.recordings.get(recording_id)
        if stored and stored.deleted_at and not (stored.hold and deletes_copy):
            return self._after_deletion(stored, now, deletes_copy=deletes_copy)
        if stored:
            _require_no_hold(stored)
        if stored and deletes_copy:
            self._require_deletable_copy(stored, now)
        known = stored or self._vonage.recording(recording_id)
        if known is None:
            raise NotKnown(f"Neither Vonage nor Roomkeeper knows the recording {recording_id!r}.")
        if self._vonage.api(known.product).delete(recording_id) == "not_yet":
            raise NotDeletableYet(
                f"Vonage has not finished the recording {recording_id!r} yet. Delete it after its "
                "recording:uploaded or recording:stored."
            )
        self._store.recordings.mark_deleted(
            recording_id,
            "management",
            now,
            file_kept=is_in_owners_storage(known),
            adding=known,
        )
        if stored is None:
            return None
        return self._after_deletion(stored, now, deletes_copy=deletes_copy)

    def _require_deletable_copy(self, stored: Recording, now: datetime) -> None:
        if stored.copied_at and stored.copy:
            self._bucket_of(stored.copy)
        elif stored.copy_claimed_until and stored.copy_claimed_until > now:
            raise CopyInProgress(
                f"The recording {stored.recording_id!r} is being copied. Try again later, or "
                "delete it without copy=delete."
            )
        elif stored.unrecorded_copy:
            self._bucket_of(stored.unrecorded_copy)

    def _after_deletion(
        self, stored: Recording, now: datetime, *, deletes_copy: bool
    ) -> Deletion | None:
        """Delete or keep the copy of a recording that is deleted at Vonage; None without a copy."""
        if deletes_copy:
            return self._delete_copy(stored.recording_id, now)
        if stored.copy is None or not stored.copied_at:
            return None
        return Deletion(recording_id=stored.recording_id, copy="kept")

    def _delete_copy(self, recording_id: str, now: datetime) -> Deletion | None:
        """Delete the copy; None if there is none.

        The table is changed first: an earlier hold prevents the deletion, and no later one is
        accepted. A repeated request completes an interrupted one.
        """
        stored = self._stored(recording_id)
        self._require_deletable_copy(stored, now)
        if stored.copied_at and not self._store.copies.start_deletion(recording_id, now):
            stored = self._stored(recording_id)
            _require_no_hold(stored)
            _require_started_deletion(stored)
        if stored.unrecorded_copy:
            return self._delete_unrecorded(recording_id, stored.unrecorded_copy)
        if stored.copy is None or not (stored.copied_at or stored.copy_deleted_at):
            return None
        copy = stored.copy
        self._bucket_of(copy).delete(copy.key, copy.version_id)
        self._store.copies.finish_deletion(recording_id, self._store.recordings.expires_at(now))
        return Deletion(recording_id=recording_id, copy="deleted")

    def _delete_unrecorded(self, recording_id: str, copy: Copy) -> Deletion | None:
        """Delete the object of a copy whose copier was killed before it recorded the copy."""
        if not self._bucket_of(copy).delete_matching(copy.key, copy.s3_checksum or ""):
            return None
        return Deletion(recording_id=recording_id, copy="deleted")

    # --- copies -----------------------------------------------------------------------------------

    def file(self, recording_id: str, now: datetime) -> File:
        """Return a pre-signed URL of the recording's copy.

        Raises:
            CopyingIsOff: the stack does not copy recordings.
            NotKnown: the recording is not in the table.
            NotCopied: there is no verified copy.
            CopyOutOfReach: the copy is in a bucket that the stack has no access to.
        """
        self._reachable_copies()
        stored = self._stored(recording_id)
        copy = stored.copy if stored.copied_at else None
        if copy is None:
            raise NotCopied(f"There is no copy of the recording {recording_id!r}.")
        return File(
            url=self._bucket_of(copy).url(copy.key, copy.version_id, URL_VALID_FOR),
            url_expires_at=from_iso(iso(now + URL_VALID_FOR)),
            size=copy.size,
            sha256=copy.sha256,
        )

    def copy(self, recording_id: str) -> CopyRequest:
        """Queue the recording for copying, unless it has a copy; return the copy if there is one.

        Raises:
            CopyingIsOff: the stack does not copy recordings.
            NotKnown: the recording is not in the table.
            AlreadyDeleted: the recording, or its copy, is deleted.
            NotUploaded: Vonage has no file: the recording is not uploaded yet, or it is in its
                owner's storage.
        """
        queue = self._reachable_copies().queue
        stored = self._stored(recording_id)
        made = made_copy(stored)
        if made is None:
            if stored.deleted_at or stored.copy_deleted_at:
                raise AlreadyDeleted(f"The recording {recording_id!r} is deleted.")
            if stored.status != "uploaded":
                raise NotUploaded(f"Vonage has no file of the recording {recording_id!r}.")
            queue.send(recording_id)
        return CopyRequest(recording_id=recording_id, copy=made)

    def _reachable_copies(self) -> Copies:
        if self._copies is None:
            raise CopyingIsOff("This stack does not copy recordings: CopyRecordings is false.")
        return self._copies

    def _bucket_of(self, copy: Copy) -> Bucket:
        """Return the bucket that has the copy.

        Raises:
            CopyingIsOff: the stack does not copy recordings.
            CopyOutOfReach: the copy was made before the stack got another bucket.
        """
        bucket = self._reachable_copies().bucket
        if copy.bucket != bucket.name:
            raise CopyOutOfReach(
                f"The copy is in the bucket {copy.bucket}, and the stack has access to "
                f"{bucket.name} only. Deploy it with CopyBucket={copy.bucket}, and try again."
            )
        return bucket

    def hold(
        self, recording_id: str, request: HoldRequest, caller: str, now: datetime
    ) -> RecordingHold:
        """Protect the recording from deletion; return the hold, which replaces an earlier one.

        It is requested by `caller`, unless the request names somebody else.

        Raises:
            NotKnown: the recording is not in the table, so the cleanup will not delete it.
            AlreadyDeleted: the recording is deleted.
            CopyOutOfReach: the recording is on hold now, but its copy is not.
        """
        since = from_iso(iso(now))  # the precision of the table
        requested_by = request.requested_by or caller
        is_held = self._store.recordings.hold(recording_id, request.reason, requested_by, since)
        stored = self._stored(recording_id)
        if not is_held:
            raise AlreadyDeleted(f"The recording {recording_id!r} is deleted already.")
        self._apply_hold_to_copy(recording_id)
        return RecordingHold(
            product=stored.product, reason=request.reason, requested_by=requested_by, since=since
        )

    def release(self, recording_id: str, now: datetime) -> None:
        """Remove the recording's hold, if there is one. A hold that is accepted meanwhile stays.

        Raises:
            NotKnown: the recording is not in the table.
            CopyOutOfReach: the recording is released now, but its copy is not.
        """
        stored = self._stored(recording_id)
        released = stored.hold
        while released and stored.hold == released and not self._release(stored, now):
            stored = self._stored(recording_id)
        self._apply_hold_to_copy(recording_id)

    def _release(self, stored: Recording, now: datetime) -> bool:
        """Remove the hold; return False if the recording has changed since it was read."""
        return self._store.recordings.release(stored, self._expires_at(stored, now))

    def _expires_at(self, stored: Recording, now: datetime) -> int | None:
        """Return when the item may expire, in Unix seconds; None for never.

        It expires after the retention of deleted recordings, but not before its copy.
        """
        after_deletion = self._store.recordings.expires_at(now)
        if not stored.copied_at:
            return after_deletion
        after_copy = self._copies.expires_at(stored.copied_at) if self._copies else None
        return after_copy and max(after_copy, after_deletion)

    def _apply_hold_to_copy(self, recording_id: str) -> None:
        """Exclude the copy, if there is one, from the bucket's retention while it is on hold."""
        stored = self._store.recordings.get(recording_id)
        if stored is None or stored.copy is None or not stored.copied_at:
            return
        try:
            bucket = self._bucket_of(stored.copy)
        except (CopyingIsOff, CopyOutOfReach) as error:
            name = stored.copy.bucket
            raise CopyOutOfReach(
                f"The recording {recording_id!r} is {'on hold' if stored.hold else 'released'}, "
                f"but its copy is not: the stack has no access to the bucket {name}. Deploy it "
                f"with CopyRecordings=true and CopyBucket={name}, then repeat the request."
            ) from error
        holds.apply_to_copy(self._store, bucket, stored)

    def republish(self, recording_id: str, now: datetime) -> Republished:
        """Publish the recording's `recording:uploaded` again, with a fresh URL.

        Raises:
            NotKnown: the recording is not in the table.
            AlreadyDeleted: the recording is deleted.
            NotUploaded: no `recording:uploaded` was received, or Vonage has no file.
        """
        stored = self._stored(recording_id)
        if stored.deleted_at:
            raise AlreadyDeleted(f"The recording {recording_id!r} is deleted.")
        if "recording:uploaded" not in stored.seen:
            raise NotUploaded(f"No recording:uploaded was received for {recording_id!r}.")
        download = self._vonage.api(stored.product).download(recording_id)
        if download is None:
            raise NotUploaded(f"Vonage no longer has a file of the recording {recording_id!r}.")
        fresh = msgspec.structs.replace(stored, url=download.url)
        event_id = self._store.outbox.republish(fresh, now)
        return Republished(
            product=stored.product, event_id=event_id, url_expires_at=fresh.url_expires_at
        )

    def _stored(self, recording_id: str) -> Recording:
        stored = self._store.recordings.get(recording_id)
        if stored is None:
            raise NotKnown(f"Roomkeeper does not know the recording {recording_id!r}.")
        return stored


def _require_no_hold(stored: Recording) -> None:
    if stored.hold:
        raise OnHold(
            f"The recording {stored.recording_id!r} is on hold since {iso(stored.hold.since)}, by "
            f"{stored.hold.requested_by}: {stored.hold.reason}. Release the hold to delete it."
        )


def _require_started_deletion(stored: Recording) -> None:
    if stored.copied_at:
        raise CopyInProgress(f"The recording {stored.recording_id!r} was on hold. Try again.")


def _start(recording: KnownRecording) -> tuple[str, str]:
    started_at = recording.started_at
    return started_at.isoformat() if started_at else "", recording.recording_id
