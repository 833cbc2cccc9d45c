"""What the management API does. Vonage comes first, then our table."""

from collections.abc import Sequence
from datetime import datetime

import msgspec

from roomkeeper.domain.recordings import Hold, Recording, url_expiry
from roomkeeper.domain.rooms import Room
from roomkeeper.errors import RoomkeeperError
from roomkeeper.management.requests import HoldRequest, Page
from roomkeeper.management.views import KnownRecording, Recordings, Republished, Rooms, merge
from roomkeeper.store import Store
from roomkeeper.times import from_iso, iso
from roomkeeper.vonage import NotFound, VonageClient
from roomkeeper.vonage import Recording as VonageRecording


class NotKnown(RoomkeeperError):
    """Neither Vonage nor we know it, or we do not and it has to be us."""


class OnHold(RoomkeeperError):
    """The recording is protected from deletion."""


class AlreadyDeleted(RoomkeeperError):
    """The recording is deleted, and only on record here."""


class NotDeletableYet(RoomkeeperError):
    """Vonage deletes recordings only after their upload."""


class NotUploaded(RoomkeeperError):
    """There is nothing to download: the recording is not uploaded, or Vonage has it no more."""


class Management:
    """Every operation of the management API, on a table and a Vonage client.

    Each raises VonageError or StoreUnavailable when one of those fails, and is safe to repeat.
    """

    def __init__(self, store: Store, vonage: VonageClient) -> None:
        self._store = store
        self._vonage = vonage

    # --- rooms ------------------------------------------------------------------------------------

    def rooms(self, page: Page) -> Rooms:
        """Return the rooms of a page; its cursor is Vonage's `start_id`."""
        found = self._vonage.list_rooms(page.cursor, page.size)
        return Rooms(
            rooms=found.rooms,
            next_cursor=found.next_start_id,
            total_items=found.total_items,
            invalid_rooms=len(found.invalid),
        )

    def room(self, room_id: str) -> Room:
        """Return the room."""
        return self._vonage.get_room(room_id)

    def update_expiry(self, room_id: str, expires_at: datetime) -> Room:
        """Have a long-term room live until `expires_at`; return it as it is now."""
        return self._vonage.update_room_expiry(room_id, expires_at)

    def delete_room(self, room_id: str) -> None:
        """Delete the room."""
        self._vonage.delete_room(room_id)

    # --- recordings -------------------------------------------------------------------------------

    def recordings_in(self, session_id: str) -> Recordings:
        """Return what Vonage and we know of the session's recordings, in the order of their start.

        Raises:
            NotKnown: nobody knows a recording of it, and Vonage not even the session.
        """
        theirs = self._session_at_vonage(session_id)
        at_vonage = {each.id: each for each in theirs or []}
        ours = self._store.recordings({*self._store.recordings_in(session_id), *at_vonage})
        if theirs is None and not ours:
            raise NotKnown(f"Neither Vonage nor Roomkeeper knows the session {session_id!r}.")
        room_id = self._store.room_ids_by_session([session_id]).get(session_id)
        found = [merge(ours.get(id_), at_vonage.get(id_), room_id) for id_ in {**at_vonage, **ours}]
        return Recordings(recordings=sorted(found, key=_start))

    def recording(self, recording_id: str) -> KnownRecording:
        """Return what Vonage and we know of the recording, with a fresh URL if Vonage has one.

        Raises:
            NotKnown: neither knows it.
        """
        ours, theirs = self._store.recording(recording_id), self._at_vonage(recording_id)
        known = ours or theirs
        if known is None:
            raise NotKnown(f"Neither Vonage nor Roomkeeper knows the recording {recording_id!r}.")
        return merge(
            ours, theirs, self._store.room_ids_by_session([known.session_id]).get(known.session_id)
        )

    def delete_recording(self, recording_id: str, now: datetime) -> None:
        """Delete the recording at Vonage, then note it here; do nothing when that is noted.

        One that Vonage has no more counts as deleted by this call: the last try may have got so
        far and no further.

        Raises:
            OnHold: the hold has to be lifted first.
            NotDeletableYet: it is not uploaded yet.
            NotKnown: neither Vonage nor we know it.
        """
        ours = self._store.recording(recording_id)
        if ours and ours.deleted_at:
            return
        if ours and ours.hold:
            raise OnHold(
                f"The recording {recording_id!r} is on hold since {iso(ours.hold.since)}, by "
                f"{ours.hold.who}: {ours.hold.reason}. Lift the hold to delete it."
            )
        known = ours or self._at_vonage(recording_id)
        if known is None:
            raise NotKnown(f"Neither Vonage nor Roomkeeper knows the recording {recording_id!r}.")
        if self._vonage.delete_recording(recording_id) == "not_yet":
            raise NotDeletableYet(
                f"Vonage has not uploaded the recording {recording_id!r} yet. Delete it after its "
                "recording:uploaded."
            )
        session_id = known.session_id
        self._store.mark_deleted(recording_id, "management", now, session_id=session_id)

    def hold(self, recording_id: str, order: HoldRequest, who: str, now: datetime) -> Hold:
        """Keep the recording from being deleted; return the hold, which replaces an earlier one.

        Raises:
            NotKnown: not in our table, and so nothing that cleanup would find.
            AlreadyDeleted: it is too late.
        """
        since = from_iso(iso(now))  # as the table keeps it
        hold = Hold(reason=order.reason, who=order.by or who, since=since)
        if not self._store.hold(recording_id, hold.reason, hold.who, since):
            self._stored(recording_id)
            raise AlreadyDeleted(f"The recording {recording_id!r} was deleted before.")
        return hold

    def release(self, recording_id: str) -> None:
        """Lift the recording's hold, if there is one.

        Raises:
            NotKnown: not in our table.
        """
        if not self._store.release(recording_id):
            self._stored(recording_id)

    def republish(self, recording_id: str, now: datetime) -> Republished:
        """Have the recording's `recording:uploaded` sent again, with a fresh URL.

        Raises:
            NotKnown: not in our table.
            AlreadyDeleted: there is nothing to download any more.
            NotUploaded: it never was published, or Vonage has no file of it.
        """
        ours = self._stored(recording_id)
        if ours.deleted_at:
            raise AlreadyDeleted(f"The recording {recording_id!r} is deleted.")
        if "recording:uploaded" not in ours.seen:
            raise NotUploaded(f"No upload of the recording {recording_id!r} was ever heard of.")
        theirs = self._at_vonage(recording_id)
        if theirs is None or theirs.url is None:
            raise NotUploaded(f"Vonage has no file of the recording {recording_id!r} any more.")
        fresh = msgspec.structs.replace(ours, url=theirs.url, url_expires_at=url_expiry(theirs.url))
        event_id = self._store.republish(fresh, now)
        return Republished(event_id=event_id, url_expires_at=fresh.url_expires_at)

    # --- what is known where ----------------------------------------------------------------------

    def _stored(self, recording_id: str) -> Recording:
        ours = self._store.recording(recording_id)
        if ours is None:
            raise NotKnown(f"Roomkeeper does not know the recording {recording_id!r}.")
        return ours

    def _at_vonage(self, recording_id: str) -> VonageRecording | None:
        try:
            return self._vonage.get_recording(recording_id)
        except NotFound:
            return None

    def _session_at_vonage(self, session_id: str) -> Sequence[VonageRecording] | None:
        try:
            return self._vonage.list_recordings(session_id).found
        except NotFound:
            return None


def _start(recording: KnownRecording) -> tuple[str, str]:
    started_at = recording.started_at
    return started_at.isoformat() if started_at else "", recording.recording_id
